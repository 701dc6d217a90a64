"""A session's work brought into the project's own checkout.

The result is computed in the shadow, from snapshots: what the session did since it left the checkout's history, merged
with the checkout as it is now. Only where that goes through, and touches no file that the user has changed and not
committed, is the checkout changed, whole or not at all (`checkout.py`), and what it replaces is kept first (`undo.py`).
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git import undo
from orch_server.git.checkout import ApplyPreview, exchange_files, look, make_ready, real_index, refusal
from orch_server.git.command import TIMEOUT, Git, Target, run, visible
from orch_server.git.commit import check_nothing_under_way
from orch_server.git.diff import list_files
from orch_server.git.exchange import Heads
from orch_server.git.index import scratch_index
from orch_server.git.objects import (
    GITLINK,
    NOTHING,
    Changed,
    Conflict,
    ConflictKind,
    carry_over,
    changed,
    join,
    make_commit,
    read_raw,
    tree_of,
)
from orch_server.git.replay import own_commits, replay
from orch_server.git.repository import Repository, check_identity
from orch_server.git.shadow import Shadow
from orch_server.git.snapshot import project_files, snapshot, worktree_files
from orch_server.git.worktree import Worktree, check_recorded
from orch_server.settings.crashpoint import crashpoint


class Strategy(StrEnum):
    """How a session's work comes into the checkout."""

    PATCH = "patch"
    MERGE = "merge"
    SQUASH = "squash"
    REBASE = "rebase"


@dataclass(frozen=True, slots=True)
class Work:
    """Whose work is to be brought home, and how. `message` is what a commit made for it says."""

    worktree: Worktree
    strategy: Strategy
    message: str
    trusted: bool
    runtime_dir: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What would be done: from the checkout's present content to a new one, and to a new commit if one is made.

    `commits` and `trees` are what the project does not have of it yet.
    """

    before: str
    after: str
    heads: Heads = field(default_factory=Heads)
    commits: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()
    preview: ApplyPreview = field(default_factory=lambda: ApplyPreview(files=[], conflicts=[]))

    @property
    def is_nothing(self) -> bool:
        """Whether the checkout has it all already."""
        return self.before == self.after and self.heads.before == self.heads.after


async def prepare(git: Git, repository: Repository, shadow: Shadow, work: Work) -> Outcome:
    """Compute what bringing the work home would do. Nothing but the shadow is written."""
    await asyncio.to_thread(check_identity, repository)
    await asyncio.to_thread(check_recorded, work.worktree)
    present = (await snapshot(git, shadow, project_files(repository))).tree
    tip = await _branch_tip(git, repository, work.worktree)
    common = await _common_base(git, repository, tip) or work.worktree.base
    theirs = (await snapshot(git, shadow, worktree_files(work.worktree))).tree
    if work.strategy is Strategy.PATCH:
        joined = await join(git, shadow, await tree_of(git, shadow, common), present, theirs)
        outcome, conflicts = Outcome(present, joined.tree), list(joined.conflicts)
    else:
        outcome, conflicts = await _prepare_commit(git, repository, shadow, work, common, tip, theirs)
    if not conflicts:
        touched = await changed(git, shadow, outcome.before, outcome.after)
        conflicts = await _conflicts_with_user(git, repository, shadow, present, touched, outcome.heads)
    files = await list_files(git, shadow, outcome.before, outcome.after)
    return replace(outcome, preview=ApplyPreview(files=files, conflicts=conflicts))


async def apply(
    git: Git, repository: Repository, shadow: Shadow, work: Work, outcome: Outcome, *, key: str | None = None
) -> str:
    """Do what was prepared and return the record of it. `key` is the request's, by which the record is found again."""
    if outcome.preview.conflicts:
        raise refusal(outcome.preview)
    await carry_over(git, repository, shadow, outcome.commits, outcome.trees, [outcome.before])
    touched = [
        change
        for change in await changed(git, shadow, outcome.before, outcome.after)
        if GITLINK not in {change.old_mode, change.new_mode}  # what lies in a submodule is its own
    ]
    with scratch_index(shadow.directory) as index:
        contents = shadow.target(work_tree=repository.path, index=index)
        await run(git, contents, ["read-tree", outcome.after], timeout=TIMEOUT)
        if work.trusted:
            own = Target(git_dir=repository.common_dir, work_tree=repository.path, trusted=True)
            contents = replace(own, index=index, objects=contents.objects)
        made = await make_ready(git, repository, contents, touched, work.runtime_dir)
    changes = await look(repository, made, touched, outcome.heads)
    about = {"strategy": work.strategy.value, "key": key}
    session_id = work.worktree.session_id
    record = await undo.keep(git, repository, shadow, made, changes, outcome.heads, session_id=session_id, about=about)
    try:
        crashpoint("apply.kept")
        await exchange_files(git, repository, shadow, made)
    except BaseException:
        if not await asyncio.to_thread(undo.is_interrupted, repository.path, work.runtime_dir):
            await asyncio.shield(undo.set_aside(git, repository, record))
        raise  # what could not be put back yet is settled later, as after a kill
    return record


async def _prepare_commit(
    git: Git, repository: Repository, shadow: Shadow, work: Work, common: str, tip: str, theirs: str
) -> tuple[Outcome, list[Conflict]]:
    """Compute the commit that a merge, squash or rebase makes; work that is not committed counts as if it were."""
    head = repository.head_commit
    if head is None:
        message = f"The branch that is checked out in {repository.path} has no commit yet."
        raise OrchError(ErrorKind.CONFLICT, message, hint="Take the strategy patch.")
    await check_nothing_under_way(git, real_index(repository, shadow), repository.path, repository.common_dir)
    ours, base = await tree_of(git, shadow, head), await tree_of(git, shadow, common)
    pending: tuple[str, ...] = ()
    if theirs != await tree_of(git, shadow, tip):
        pending = (await make_commit(git, shadow, theirs, (tip,), f"{work.message}\n".encode()),)
    if common == head and work.strategy is not Strategy.SQUASH:  # nothing but to move on
        trees = (theirs,) if pending else ()
        return Outcome(ours, theirs, Heads(head, (*pending, tip)[0]), pending, trees), []
    if work.strategy is Strategy.REBASE:
        own = [*await own_commits(git, repository, common, tip), *pending]
        replayed = await replay(git, shadow, own, head)
        after = replayed.trees[-1] if replayed.trees else ours
        heads = Heads(head, replayed.commits[-1] if replayed.commits else head)
        return Outcome(ours, after, heads, replayed.commits, replayed.trees), list(replayed.conflicts)
    joined = await join(git, shadow, base, ours, theirs)
    if joined.conflicts or (joined.tree == ours and (work.strategy is Strategy.SQUASH or common == tip)):
        return Outcome(ours, ours, Heads(head, head)), list(joined.conflicts)
    merging = work.strategy is Strategy.MERGE
    words = f"Merge branch '{work.worktree.branch}'\n\n{work.message}\n" if merging else f"{work.message}\n"
    parents = (head, (*pending, tip)[0]) if merging else (head,)
    made = await make_commit(git, shadow, joined.tree, parents, words.encode())
    commits = (*pending, made) if merging else (made,)
    return Outcome(ours, joined.tree, Heads(head, made), commits, (joined.tree, *((theirs,) if pending else ()))), []


async def _conflicts_with_user(
    git: Git, repository: Repository, shadow: Shadow, present: str, touched: Sequence[Changed], heads: Heads
) -> list[Conflict]:
    """Return what of the user's would be touched: changes that are not committed, and files that git does not know."""
    committed = repository.empty_tree
    if repository.head_commit is not None:
        committed = await tree_of(git, shadow, repository.head_commit)
    arguments = [
        "diff-index",
        "--cached",
        "--raw",
        "-z",
        "--no-renames",
        "--no-ext-diff",
        "--end-of-options",
        committed,
    ]
    staged = read_raw(await run(git, real_index(repository, shadow), arguments, timeout=TIMEOUT))
    dirty = {change.path for change in (*staged, *await changed(git, shadow, committed, present))}
    gone = {change.path for change in touched if change.new_mode == NOTHING}
    blocked = await asyncio.to_thread(_in_the_way, os.fsencode(repository.path), touched, gone)
    found = []
    for change in touched:
        if GITLINK in {change.old_mode, change.new_mode} and heads.after is None:
            found.append(Conflict(path=visible(change.path), kind=ConflictKind.SUBMODULE))
        elif change.path in dirty:
            found.append(Conflict(path=visible(change.path), kind=ConflictKind.UNCOMMITTED))
        elif change.path in blocked:
            found.append(Conflict(path=visible(blocked[change.path]), kind=ConflictKind.IN_THE_WAY))
    return found


def _in_the_way(root: bytes, touched: Sequence[Changed], gone: set[bytes]) -> dict[bytes, bytes]:
    """Return for each path that would come what stands in its place without git knowing it (an ignored file, say)."""
    found = {}
    for change in touched:
        if change.new_mode in {NOTHING, GITLINK}:
            continue
        parts = change.path.split(b"/")
        for length in range(1, len(parts)):
            above = b"/".join(parts[:length])
            path = os.path.join(root, above)
            if os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path)) and above not in gone:
                found[change.path] = above
                break
        else:
            here = os.path.join(root, change.path)
            if os.path.isdir(here) and not os.path.islink(here):
                inside = (os.path.join(top, name) for top, _, names in os.walk(here) for name in names)
                if any(os.path.relpath(name, root) not in gone for name in inside):
                    found[change.path] = change.path
            elif change.old_mode == NOTHING and os.path.lexists(here):
                found[change.path] = change.path
    return found


async def _branch_tip(git: Git, repository: Repository, worktree: Worktree) -> str:
    name = f"refs/heads/{worktree.branch}^{{commit}}"
    found = await run(git, repository.target(), ["rev-parse", "--quiet", "--verify", name], accept=(0, 1, 128))
    if found.status != 0:
        raise OrchError(
            ErrorKind.CONFLICT,
            f"The session's branch {worktree.branch} is gone.",
            hint=f"Make it anew where its work is: `git branch {worktree.branch} COMMIT`.",
        )
    return found.line


async def _common_base(git: Git, repository: Repository, tip: str) -> str | None:
    """Return the commit in which checkout and session last were the same; None where they share no history."""
    if repository.head_commit is None:
        return None
    found = await run(git, repository.target(), ["merge-base", repository.head_commit, tip], accept=(0, 1))
    return found.line or None
