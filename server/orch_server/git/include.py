"""Files that git ignores, brought into a new worktree because the project's `.worktreeinclude` asks for them.

The file lies in the top directory of the project's checkout and has lines as `.gitignore` has. What matches them *and*
is ignored by git is copied: a worktree has everything else already. A line `link: PATH` makes a symbolic link to the
checkout's own PATH instead, for what is big and shared on purpose.

Nothing is read through a symbolic link: a link is copied as a link. A file that the worktree has is left as it is.
"""

import asyncio
import fcntl
import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from orch_server.domain.errors import is_full
from orch_server.git.checkout import real_index
from orch_server.git.command import TIMEOUT, Git, run, visible
from orch_server.git.repository import Repository
from orch_server.git.runtime_dir import opened, opened_made
from orch_server.git.shadow import Shadow

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
    git: Git, repository: Repository, shadow: Shadow, worktree: str, *, runtime_dir: str, most_bytes: int
) -> Included | None:
    """Bring what `.worktreeinclude` names into a worktree; None where there is no such file."""
    lines = await asyncio.to_thread(_read_list, repository.path)
    if lines is None:
        return None
    result = Included()
    patterns = [line for line in lines if not line.startswith(LINK)]
    if patterns:
        names = await _ignored(git, repository, shadow, patterns, os.fsencode(runtime_dir) + b"/")
        await asyncio.to_thread(_copy_all, repository.path, worktree, names, most_bytes, result)
    for line in lines:
        if line.startswith(LINK):
            name = line.removeprefix(LINK).strip().strip(b"/")
            problem = await _link(git, repository, shadow, worktree, name)
            if problem is None:
                result.links.append(visible(name))
            else:
                result.warnings.append(f"{visible(name)} is not linked: {problem}")
    return result


async def _ignored(
    git: Git, repository: Repository, shadow: Shadow, patterns: Sequence[bytes], ours: bytes
) -> list[bytes]:
    """Return the files of the checkout that match the patterns and that git ignores."""
    listing = os.path.join(shadow.directory, "info", "worktreeinclude")
    await asyncio.to_thread(_write, listing, b"\n".join(patterns) + b"\n")
    target = real_index(repository, shadow)
    matching = ["ls-files", "-z", "--others", "--ignored", f"--exclude-from={listing}"]
    matched = (await run(git, target, matching, timeout=TIMEOUT)).stdout.split(b"\0")[:-1]
    untracked = await run(git, target, ["ls-files", "-z", "--others", "--exclude-standard"], timeout=TIMEOUT)
    others = set(untracked.stdout.split(b"\0"))
    return [name for name in matched if name not in others and not name.startswith(ours) and not name.endswith(b"/")]


async def _link(git: Git, repository: Repository, shadow: Shadow, worktree: str, name: bytes) -> str | None:
    """Make a link to the checkout's own file or directory of that name; return what stands against it."""
    top = os.fsencode(os.path.realpath(repository.path))
    source = os.path.join(top, name)
    if not name or os.path.realpath(source) != source:
        return "it is no plain path in the project"
    if not os.path.lexists(source):
        return "it is not there"
    known = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", os.fsdecode(name)]
    if (await run(git, real_index(repository, shadow), known, timeout=TIMEOUT)).stdout:
        return "git does not ignore it"
    try:
        await asyncio.to_thread(_make_link, source, worktree, os.fsdecode(name))
    except OSError as error:
        return error.strerror or str(error)
    # A pattern with a slash at its end ignores directories and not links: then the link would be taken for new work.
    seen = ["ls-files", "-z", "--others", "--exclude-standard", "--", os.fsdecode(name)]
    if (await run(git, shadow.target(work_tree=worktree), seen, timeout=TIMEOUT)).stdout:
        await asyncio.to_thread(_remove_link, worktree, os.fsdecode(name))
        return ".gitignore has to name it without a slash at its end"
    return None


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
            if is_full(error):
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
