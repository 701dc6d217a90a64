"""The project's own checkout changed in one go: its files, then its index, and last its branch.

Used by `apply.py` and, the other way round, by `undo.py`. Whatever fails, or is killed, everything is as before: the
step that counts is the branch's move, or the mark `done` where no branch moves.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.wire import WireModel
from orch_server.git.command import TIMEOUT, Git, Target, run
from orch_server.git.commit import name_some
from orch_server.git.diff import DiffFile
from orch_server.git.exchange import Change, Exchange, Heads, begin, content_name, interrupted
from orch_server.git.index import set_index
from orch_server.git.objects import NOTHING, Changed, Conflict, ConflictKind
from orch_server.git.refs import Update, update_refs
from orch_server.git.repository import Repository
from orch_server.git.shadow import Shadow
from orch_server.settings.crashpoint import crashpoint


class ApplyPreview(WireModel):
    """What would change in the checkout, and what stands against it."""

    files: list[DiffFile] = Field(description="What would change, without patches.")
    conflicts: list[Conflict]


def refusal(preview: ApplyPreview) -> OrchError:
    """Return the error for what cannot be done, with the files that stand against it."""
    theirs = {ConflictKind.UNCOMMITTED, ConflictKind.IN_THE_WAY}
    names = [conflict.path for conflict in preview.conflicts]
    uncommitted = all(conflict.kind in theirs for conflict in preview.conflicts)
    why = "would touch files that you changed and did not commit" if uncommitted else "does not go together"
    return OrchError(
        ErrorKind.CONFLICT,
        f"Nothing was applied: it {why}: {name_some(names)}.",
        hint="Commit them or put them away first."
        if uncommitted
        else "Let the session's agent merge your branch first.",
        files=names,
        conflicts=[conflict.model_dump(mode="json", by_alias=True) for conflict in preview.conflicts],
    )


async def make_ready(
    git: Git, repository: Repository, contents: Target, touched: Sequence[Changed], runtime_dir: str
) -> Exchange:
    """Write what is to come beside the checkout, as the index of `contents` says and its settings make it look."""
    made = await asyncio.to_thread(begin, repository.path, runtime_dir, repository.object_format)
    stdin = b"".join(change.path + b"\0" for change in touched if change.new_mode != NOTHING)
    if stdin:
        arguments = ["checkout-index", "-z", "--stdin", f"--prefix={made.new}/"]
        try:
            await run(git, contents, arguments, stdin=stdin, timeout=TIMEOUT)
        except BaseException:
            await asyncio.to_thread(made.finish)  # nothing was touched
            raise
    return made


async def look(repository: Repository, made: Exchange, touched: Sequence[Changed], heads: Heads) -> list[Change]:
    """Return the changes by the exact contents on both sides."""
    return await asyncio.to_thread(_look, repository, made, touched, heads)


async def exchange_files(git: Git, repository: Repository, shadow: Shadow, made: Exchange) -> None:
    """Carry an exchange out whose plan is written, and move index and branch with it."""
    heads = made.heads
    await asyncio.to_thread(made.carry_out)
    crashpoint("apply.exchanged")
    if heads.before is not None and heads.after is not None and heads.before != heads.after:
        index = real_index(repository, shadow)
        try:
            await set_index(git, index, [heads.before, heads.after])
            crashpoint("apply.indexed")
            moved = Update("HEAD", heads.after, heads.before)
            await update_refs(git, repository.target(), [moved], message=f"orch: {os.path.basename(made.record)}")
            crashpoint("apply.moved")
        except BaseException:
            # git may have moved the branch and died before it could say so: where that is done, all is done.
            if not await asyncio.shield(_has_moved(git, repository, shadow, made)):
                raise
    await asyncio.to_thread(made.finish)
    crashpoint("apply.finished")


async def recover(git: Git, repository: Repository, shadow: Shadow, runtime_dir: str) -> list[str]:
    """Settle the exchanges that a killed hub left, and return the undo records of those that were taken back."""
    taken_back = []
    for left in await asyncio.to_thread(interrupted, repository.path, runtime_dir):
        if left.heads.after is not None and left.heads.after == repository.head_commit:
            await asyncio.to_thread(left.finish)
        else:
            await _take_back(git, repository, shadow, left)
            taken_back.append(left.record)
    return taken_back


async def _has_moved(git: Git, repository: Repository, shadow: Shadow, made: Exchange) -> bool:
    """Tell whether the branch has moved; if it has not, everything is put back."""
    head = await run(git, repository.target(), ["rev-parse", "--quiet", "--verify", "HEAD^{commit}"])
    if head.line == made.heads.after:
        return True
    await _take_back(git, repository, shadow, made)
    return False


async def _take_back(git: Git, repository: Repository, shadow: Shadow, made: Exchange) -> None:
    await asyncio.to_thread(made.take_back)
    if made.heads.before is not None and made.heads.after is not None:
        # What the index has of the new commit goes back to the old one; anything else in it stays.
        await set_index(git, real_index(repository, shadow), [made.heads.after, made.heads.before])


def real_index(repository: Repository, shadow: Shadow) -> Target:
    """Return the target for the checkout's own index, nothing of the project's configuration applied."""
    target = shadow.target(work_tree=repository.path)
    return replace(target, git_dir=repository.common_dir, common_dir=shadow.directory)


def _look(repository: Repository, made: Exchange, touched: Sequence[Changed], heads: Heads) -> list[Change]:
    changes = []
    for change in touched:
        path = os.fsdecode(change.path)
        before = content_name(os.path.join(repository.path, path), repository.object_format)
        after = None
        if change.new_mode != NOTHING:
            after = content_name(os.path.join(made.new, path), repository.object_format)
        # A file that a sparse checkout leaves away stays away when the branch moves.
        away = before is None and change.old_mode != NOTHING and heads.after is not None
        if before != after and not away:
            changes.append(Change(path, before, after))
    return changes
