"""Files that git ignores, brought into a new worktree because the project's `.worktreeinclude` asks for them.

The file lies in the top directory of the project's checkout and has lines as `.gitignore` has. What matches them *and*
is ignored by git is copied: a worktree has everything else already. A line `link: PATH` makes a symbolic link to the
checkout's own PATH instead, for what is big and shared on purpose.

Nothing is read through a symbolic link: a link is copied as a link. A file that the worktree has is left as it is.
"""

import asyncio
import errno
import fcntl
import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from orch_server.git.command import Git, run, visible
from orch_server.git.runtime_dir import opened, opened_made
from orch_server.git.shadow import Shadow
from orch_server.git.snapshot import TIMEOUT

NAME = ".worktreeinclude"
LINK = b"link:"
LARGEST_LIST = 64 * 1024
CLONE_REQUEST = 0x40049409  # FICLONE: share the blocks, where the file system can


@dataclass(slots=True)
class Included:
    """What came along, and what a person should know about what did not."""

    files: int = 0
    size: int = 0
    links: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


async def include(
    git: Git, shadow: Shadow, project: str, worktree: str, *, runtime_dir: str, most_bytes: int
) -> Included | None:
    """Bring what `.worktreeinclude` names into a worktree; None where there is no such file."""
    lines = await asyncio.to_thread(_read_list, project)
    if lines is None:
        return None
    result = Included()
    links = [line.removeprefix(LINK).strip().strip(b"/") for line in lines if line.startswith(LINK)]
    patterns = [line for line in lines if not line.startswith(LINK)]
    names = await _ignored(git, shadow, project, [name for name in links if name], result)
    if patterns:
        listing = os.path.join(shadow.directory, "info", "worktreeinclude")
        await asyncio.to_thread(_write, listing, b"\n".join(patterns) + b"\n")
        arguments = ["ls-files", "-z", "--others", "--ignored", f"--exclude-from={listing}"]
        listed = await run(git, shadow.target(work_tree=project), arguments, timeout=TIMEOUT)
        ours = os.fsencode(runtime_dir) + b"/"
        found = [
            name for name in listed.stdout.split(b"\0")[:-1] if not name.startswith(ours) and not name.endswith(b"/")
        ]
        copied = await _ignored(git, shadow, project, found, None)
        await asyncio.to_thread(_copy_all, project, worktree, copied, most_bytes, result)
    for name in names:
        await _link(git, shadow, project, worktree, name, result)
    return result


async def _ignored(
    git: Git, shadow: Shadow, project: str, names: Sequence[bytes], result: Included | None
) -> list[bytes]:
    """Return those of the names that git ignores in the checkout."""
    if not names:
        return []
    stdin = b"".join(name + b"\0" for name in names)
    asked = shadow.target(work_tree=project)
    answer = await run(git, asked, ["check-ignore", "-z", "--stdin"], stdin=stdin, accept=(0, 1, 128), timeout=TIMEOUT)
    ignored = set(answer.stdout.split(b"\0")) if answer.status != 128 else set()
    if result is not None:
        result.warnings += [f"{visible(name)} is not ignored by git: no link" for name in names if name not in ignored]
    return [name for name in names if name in ignored]


async def _link(git: Git, shadow: Shadow, project: str, worktree: str, name: bytes, result: Included) -> None:
    shown = visible(name)
    source = os.path.join(os.fsencode(project), name)
    if not os.path.lexists(source):
        result.warnings.append(f"{shown} is not there: no link")
        return
    if os.path.realpath(source) != os.path.join(os.path.realpath(os.fsencode(project)), name):
        result.warnings.append(f"{shown} is reached by a symbolic link: no link")
        return
    try:
        await asyncio.to_thread(_make_link, source, worktree, os.fsdecode(name))
    except OSError as error:
        result.warnings.append(f"{shown} is not linked: {error.strerror}")
        return
    # A pattern with a slash at its end ignores directories and not links: then the link would be taken for new work.
    asked = shadow.target(work_tree=worktree)
    answer = await run(git, asked, ["check-ignore", "-z", "--stdin"], stdin=name + b"\0", accept=(0, 1, 128))
    if answer.status != 0:
        await asyncio.to_thread(_remove_link, worktree, os.fsdecode(name))
        result.warnings.append(f"{shown} is not linked: .gitignore has to name it without a slash at its end")
        return
    result.links.append(shown)


def _read_list(project: str) -> list[bytes] | None:
    """Return the lines that say something; None where there is no list, or none that is a plain small file."""
    try:
        file = os.open(os.path.join(project, NAME), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with open(file, "rb") as opened_file:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return None
        content = opened_file.read(LARGEST_LIST)
    lines = [line.rstrip(b"\r") for line in content.split(b"\n")]
    return [line for line in lines if line.strip() and not line.startswith(b"#")]


def _copy_all(project: str, worktree: str, names: Sequence[bytes], most_bytes: int, result: Included) -> None:
    left = 0
    for name in names:
        path = os.fsdecode(name)
        *parts, last = path.split("/")
        try:
            with opened(project, parts) as source:
                found = os.stat(last, dir_fd=source, follow_symlinks=False)
                if result.size + found.st_size > most_bytes:
                    left += 1
                    continue
                with opened_made(worktree, parts) as target:
                    if _copy(source, target, last, found):
                        result.files += 1
                        result.size += found.st_size
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise
            result.warnings.append(f"{visible(name)} was not copied: {error.strerror}")
    if left:
        result.warnings.append(
            f"{left} files were not copied: more than {most_bytes >> 20} MiB (include_bytes in [limits])"
        )


def _copy(source: int, target: int, name: str, found: os.stat_result) -> bool:
    """Copy a file or link from one open directory to another; nothing that is there is replaced."""
    if stat.S_ISLNK(found.st_mode):
        try:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        except FileExistsError:
            return False
        return True
    if not stat.S_ISREG(found.st_mode):
        return False
    mode = stat.S_IMODE(found.st_mode) & 0o777
    with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=source), "rb") as reader:
        try:
            made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode, dir_fd=target)
        except FileExistsError:
            return False
        with open(made, "wb") as writer:
            if not _clone(reader.fileno(), writer.fileno()):
                while chunk := reader.read(1024 * 1024):
                    writer.write(chunk)
            os.fchmod(made, mode)
            os.utime(made, ns=(found.st_atime_ns, found.st_mtime_ns))
    return True


def _clone(source: int, target: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        fcntl.ioctl(target, CLONE_REQUEST, source)
    except OSError:
        return False
    return True


def _make_link(source: bytes, worktree: str, name: str) -> None:
    *parts, last = name.split("/")
    with opened_made(worktree, parts) as directory:
        os.symlink(os.fsdecode(source), last, dir_fd=directory)


def _remove_link(worktree: str, name: str) -> None:
    *parts, last = name.split("/")
    with opened(worktree, parts) as directory:
        os.unlink(last, dir_fd=directory)


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
