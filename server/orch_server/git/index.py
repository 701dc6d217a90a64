"""The index of a working tree: copied to be looked at, and changed as git would do it, but never left locked.

A git that is killed while it changes an index leaves `index.lock` behind, and from then on every git refuses to work
there. So git is only ever given a copy, and the hub puts the result in the index's place, under git's own lock. The
lock is a second name of the new index: where a hub was killed with it, the next one knows it for its own.
"""

import asyncio
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git.command import LEFT_LOCK, TIMEOUT, Git, Target, run, to_its_end
from orch_server.settings.crashpoint import crashpoint

SCRATCH = "index-"
TRIES = 5


@contextmanager
def scratch_index(directory: str) -> Iterator[str]:
    """Give a name for an index that nobody else uses, below a directory; whatever has come of it is removed."""
    with tempfile.TemporaryDirectory(dir=directory, prefix=SCRATCH) as place:
        yield os.path.join(place, "index")


def clear_scratch(directory: str) -> None:
    """Remove what a killed hub left of its scratch indexes below a directory."""
    for name in os.listdir(directory):
        if name.startswith(SCRATCH):
            shutil.rmtree(os.path.join(directory, name), ignore_errors=True)


async def set_index(git: Git, index: Target, trees: Sequence[str]) -> None:
    """Bring the index of `index.git_dir` to a tree (or from the first of two to the second), not the files.

    The caller keeps any other call for the same index away. Raises gitFailed if a git of somebody else holds the lock.
    """
    assert index.git_dir is not None
    real = os.path.join(index.git_dir, "index")
    for _ in range(TRIES):
        with scratch_index(index.directory) as copy:
            mark = await asyncio.to_thread(copy_index, real, copy)
            private = replace(index, index=copy)
            await run(git, private, ["read-tree", "-i", "-m", *trees], timeout=TIMEOUT)
            await run(git, private, ["update-index", "-q", "--refresh"], accept=(0, 1), timeout=TIMEOUT)
            if await to_its_end(asyncio.to_thread(_put_in_place, copy, real, mark)):
                return
    raise OrchError(ErrorKind.GIT_FAILED, f"{real} kept changing.", hint="Another git is at work there: try again.")


def copy_index(real: str, copy: str, mode: str = "wb") -> str:
    """Copy an index and return its mark; where there is none, return "" and copy nothing."""
    try:
        file = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise OrchError(ErrorKind.GIT_FAILED, f"{real} cannot be read: {error.strerror}.", hint="Repair it.") from error
    with open(file, "rb") as source:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise OrchError(ErrorKind.GIT_FAILED, f"{real} is not a file.", hint="The repository is damaged.")
        with open(copy, mode) as target:
            shutil.copyfileobj(source, target, 1024 * 1024)
    # git takes a file as unchanged only if it is older than the index: the copy must not look younger than it is.
    os.utime(copy, ns=(found.st_mtime_ns, found.st_mtime_ns))
    return _mark(found)


def mark_of(index: str) -> str:
    """Return what tells an index from every other that stood or will stand in its place, "" where there is none."""
    try:
        return _mark(os.lstat(index))
    except FileNotFoundError:
        return ""


def _mark(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns} {found.st_size} {found.st_ino}"


def release(real: str) -> None:
    """Take away the lock of an index if it is what a killed hub left of `set_index`."""
    new, lock = f"{real}.orch", f"{real}.lock"
    if os.path.lexists(new) and os.path.lexists(lock) and os.path.samestat(os.lstat(new), os.lstat(lock)):
        os.unlink(lock)
    Path(new).unlink(missing_ok=True)


def _put_in_place(copy: str, real: str, mark: str) -> bool:
    """Put a changed copy in the place of the index that it was made from; tell whether that was still there."""
    release(real)
    new, lock = f"{real}.orch", f"{real}.lock"
    placed = False
    try:
        copy_index(copy, new)
        _lock(new, lock)
        held = os.lstat(lock)
        crashpoint("index.locked")
        try:
            if mark_of(real) == mark:
                if mark:
                    shutil.copymode(real, lock)
                os.replace(lock, real)
                placed = True
        finally:
            if not placed and os.path.samestat(os.lstat(lock), held):
                os.unlink(lock)
    finally:
        Path(new).unlink(missing_ok=True)
    return placed


def _lock(new: str, lock: str) -> None:
    try:
        try:
            os.link(new, lock)
        except FileExistsError:
            raise
        except OSError:
            copy_index(new, lock, "xb")  # a file system without hard links
    except FileExistsError as error:
        raise OrchError(ErrorKind.GIT_FAILED, f"{lock} exists.", hint=LEFT_LOCK) from error
