"""Refs made, moved and deleted by git, without leaving one locked."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass

from orch_server.domain.errors import OrchError
from orch_server.git.command import Git, Target, kill_survivors
from orch_server.git.heads import read_head_file
from orch_server.git.locks import remove_left, run_locking

OURS = "refs/orch/"  # and then, by kind, the session's id


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
    flags = [*(["-m", message] if message else []), *(["--no-deref"] if detach else [])]
    arguments = ["update-ref", *flags, "--stdin"]
    stdin = os.fsencode("".join(update.line for update in updates))
    locks = await _locks(target, updates)
    ours = [update.name for update in updates if update.name.startswith(OURS)]
    if ours and intent is None:
        intent = f"refs of session {ours[0].split('/')[3]}"
    async with git.lock(f"refs of {_common_dir(target)}"):
        try:
            await run_locking(git, target, arguments, locks, stdin=stdin, intent=intent)
        except OrchError:
            left = [lock for name in ours if os.path.lexists(lock := _lock(target, name))]
            if not left or intent is None:
                raise
            # Calls of this hub wait for each other: if nobody lets go of it, a call of an earlier hub has left it.
            await kill_survivors(git, intent)
            await asyncio.to_thread(remove_left, left)
            await run_locking(git, target, arguments, locks, stdin=stdin, intent=intent)


async def attach_head(git: Git, target: Target, ref: str, *, message: str = "", intent: str | None = None) -> None:
    """Put HEAD on a branch, whatever that names."""
    arguments = ["symbolic-ref", *(["-m", message] if message else []), "HEAD", ref]
    async with git.lock(f"refs of {_common_dir(target)}"):
        await run_locking(git, target, arguments, [_head_lock(target)], intent=intent)


async def head_locks(target: Target) -> list[str]:
    """Return what git locks to move HEAD and the branch it is on."""
    assert target.git_dir is not None
    ref = await asyncio.to_thread(read_head_file, target.git_dir)
    return [_head_lock(target), *([_lock(target, ref)] if ref.startswith("refs/") else [])]


async def _locks(target: Target, updates: Sequence[Update]) -> list[str]:
    locks = []
    for update in updates:
        locks += await head_locks(target) if update.name == "HEAD" else [_lock(target, update.name)]
        if not update.new:
            locks.append(os.path.join(_common_dir(target), "packed-refs.lock"))
    return locks


def _lock(target: Target, ref: str) -> str:
    return os.path.join(_common_dir(target), f"{ref}.lock")


def _head_lock(target: Target) -> str:
    assert target.git_dir is not None
    return os.path.join(target.git_dir, "HEAD.lock")


def _common_dir(target: Target) -> str:
    directory = target.common_dir or target.git_dir
    assert directory is not None
    return directory
