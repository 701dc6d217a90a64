"""Refs made, moved and deleted by git; a git that is killed meanwhile leaves none of them locked.

What is locked in the namespace `refs/orch/` is locked by us. Elsewhere a lock counts as ours if it came while our git
lived, which was then killed, and says nothing else than what our git would have written.
"""

import asyncio
import os
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orch_server.domain.errors import OrchError
from orch_server.git.command import Git, Target, kill_survivors, run
from orch_server.git.heads import read_head_file

OURS = "refs/orch/"
CLOCK_STEP_NS = 20_000_000  # how far the times of a file system may lie behind the clock


@dataclass(frozen=True, slots=True)
class Update:
    """What a ref is to name: "" deletes it. `old` is what it must name before: "" nothing, None whatever it does."""

    name: str
    new: str
    old: str | None = None

    @property
    def line(self) -> str:
        """The update as git reads it."""
        if not self.new:
            return f"delete {self.name} {self.old or ''}".rstrip() + "\n"
        if self.old == "":
            return f"create {self.name} {self.new}\n"
        return f"update {self.name} {self.new} {self.old or ''}".rstrip() + "\n"


async def update_refs(
    git: Git,
    target: Target,
    updates: Sequence[Update],
    *,
    message: str = "",
    detach: bool = False,
    intent: str | None = None,
) -> None:
    """Update refs, all or none. HEAD means the branch it is on, with `detach` HEAD itself.

    Raises gitFailed where one is not as it must be before.
    """
    if not updates:
        return
    common_dir = _common_dir(target)
    locks = {}
    for update in updates:
        name = update.name
        if name == "HEAD":
            locks[_head_lock(target)] = f"{update.new}\n"
            name = "" if detach else await asyncio.to_thread(read_head_file, target.git_dir or "")
        if name.startswith("refs/"):
            locks[os.path.join(common_dir, f"{name}.lock")] = f"{update.new}\n" if update.new else ""
        if not update.new:
            locks[os.path.join(common_dir, "packed-refs.lock")] = ""
    about = ["-m", message] if message else []
    flags = ["--no-deref"] if detach else []
    stdin = "".join(update.line for update in updates).encode()
    async with git.lock(f"refs of {common_dir}"):
        intent = intent or updates[0].name
        for update in updates:
            lock = os.path.join(common_dir, f"{update.name}.lock")
            if update.name.startswith(OURS) and await asyncio.to_thread(os.path.lexists, lock):
                # Only a call of an earlier hub can have left it: calls of this one wait for each other.
                await kill_survivors(git, intent)
                await asyncio.to_thread(_unlink, lock)
        await _run(git, target, ["update-ref", *about, *flags, "--stdin"], locks, intent=intent, stdin=stdin)


async def attach_head(git: Git, target: Target, ref: str, *, message: str = "", intent: str | None = None) -> None:
    """Put HEAD on a branch, whatever that names."""
    about = ["-m", message] if message else []
    locks = {_head_lock(target): f"ref: {ref}\n"}
    async with git.lock(f"refs of {_common_dir(target)}"):
        await _run(git, target, ["symbolic-ref", *about, "HEAD", ref], locks, intent=intent)


async def _run(
    git: Git,
    target: Target,
    arguments: list[str],
    locks: Mapping[str, str],
    *,
    intent: str | None,
    stdin: bytes | None = None,
) -> None:
    began = time.time_ns() - CLOCK_STEP_NS
    try:
        await run(git, target, arguments, stdin=stdin, intent=intent)
    except OrchError as error:
        if error.data.get("status", 0) < 0:
            await asyncio.to_thread(_take_away, locks, began)
        raise


def _take_away(locks: Mapping[str, str], since: int) -> None:
    """Remove the locks that a git left which was killed."""
    for path, wanted in locks.items():
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                found = os.fstat(file.fileno())
                ours = stat.S_ISREG(found.st_mode) and found.st_ctime_ns >= since
                if not ours or not wanted.encode().startswith(file.read(len(wanted) + 1)):
                    continue
        except OSError:
            continue
        if os.path.basename(path) == "packed-refs.lock":
            _unlink(path.removesuffix("lock") + "new")  # written by whoever has the lock
        _unlink(path)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _common_dir(target: Target) -> str:
    directory = target.common_dir or target.git_dir
    assert directory is not None
    return directory


def _head_lock(target: Target) -> str:
    assert target.git_dir is not None
    return os.path.join(target.git_dir, "HEAD.lock")
