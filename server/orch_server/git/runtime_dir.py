"""The directory in a project that is ours: `.orchestrator` with worktrees, artifacts, logs and trash.

A repository can contain a symbolic link of that name, so every step into it is taken without following one.
"""

import asyncio
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from orch_server.domain.errors import ErrorKind, OrchError, is_full
from orch_server.git.command import Git, run
from orch_server.git.repository import Repository

PARTS = ("worktrees", "artifacts", "logs", "trash")
IGNORE_FILE = b"# Made by orch. Nothing in this directory belongs into the repository.\n*\n"
LARGEST_FILE = 16 * 1024


async def ensure_runtime_dir(git: Git, repository: Repository, name: str = ".orchestrator") -> str:
    """Make the runtime directory of the project where it is missing, and return its path."""
    if not name or name in (".", "..", ".git") or "/" in name or "\0" in name:
        raise OrchError(
            ErrorKind.INVALID_PARAMS,
            f"{name!r} cannot name the runtime directory.",
            hint="Set a plain name such as `.orchestrator`.",
        )
    tracked = await run(git, repository.target(), ["ls-files", "-z", "--cached", "--", name])
    if tracked.stdout:
        raise _refused(
            repository.path, name, "is tracked by git", f"Take it out: `git rm -r --cached {name}`, then commit."
        )
    return await asyncio.to_thread(make_runtime_dir, repository.path, name)


def make_runtime_dir(project: str, name: str) -> str:
    """Make what is missing of the runtime directory and return its path; whether git tracks it is not looked at."""
    try:
        _make(project, name)
    except OSError as error:
        full = is_full(error)
        raise OrchError(
            ErrorKind.DISK_FULL if full else ErrorKind.GIT_FAILED,
            f"{os.path.join(project, name)} cannot be made: {error.strerror}.",
            hint="Free some space." if full else "Is the project's directory writable for you?",
        ) from error
    return os.path.join(project, name)


@contextmanager
def opened(root: str, parts: Sequence[str]) -> Iterator[int]:
    """Open the directory `parts` below `root`, following no symbolic link."""
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for part in parts:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = below
        yield directory
    finally:
        os.close(directory)


@contextmanager
def opened_made(root: str, parts: Sequence[str]) -> Iterator[int]:
    """Open the directory `parts` below `root`, made where it is missing, following no symbolic link."""
    for length in range(1, len(parts) + 1):
        with opened(root, parts[: length - 1]) as above:
            try:
                os.mkdir(parts[length - 1], dir_fd=above)
            except FileExistsError:
                pass
    with opened(root, parts) as directory:
        yield directory


def read_file(directory: int, name: str) -> str:
    """Return the text of a small regular file in an open directory; a link or anything else raises OSError."""
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    with open(file, encoding="utf-8", errors="surrogateescape", newline="") as reader:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(f"{name} is not a file")
        return reader.read(LARGEST_FILE)


def _make(project: str, name: str) -> None:
    with opened(project, ()) as root:
        _make_directory(root, name, project, name)
    with opened(project, (name,)) as directory:
        for part in PARTS:
            _make_directory(directory, part, project, f"{name}/{part}")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with open(os.open(".gitignore", flags, 0o600, dir_fd=directory), "wb") as file:
                file.write(IGNORE_FILE)
        except FileExistsError:
            pass  # the user's to change; that nothing below is tracked was looked at


def _make_directory(parent: int, part: str, project: str, shown: str) -> None:
    try:
        os.mkdir(part, 0o700, dir_fd=parent)
    except FileExistsError:
        pass
    found = os.stat(part, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        kind = "symbolic link" if stat.S_ISLNK(found.st_mode) else "file"
        raise _refused(project, shown, f"is a {kind}", "orch keeps its worktrees there: move it away.")
    if found.st_uid != os.geteuid():
        raise _refused(project, shown, "belongs to another user", "Move it away; orch makes its own.")


def _refused(project: str, shown: str, why: str, hint: str) -> OrchError:
    path = os.path.join(project, shown)
    return OrchError(ErrorKind.CONFLICT, f"{path} {why}, so orch does not use it.", hint=hint, path=path)
