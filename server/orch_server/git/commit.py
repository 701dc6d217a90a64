"""All that lies in a worktree, committed on the session's branch as the user.

The files are only read. In a project that its user does not trust the commit is made in the shadow, so that nothing
of the project runs; in a trusted one git does it as in a terminal, with the project's filters and hooks.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.wire import WireModel
from orch_server.git.command import TIMEOUT, Git, Target, run, visible
from orch_server.git.diff import DiffFile, list_files
from orch_server.git.index import release, set_index
from orch_server.git.locks import run_locking
from orch_server.git.objects import carry_over, changed, make_commit, tree_of
from orch_server.git.refs import Update, head_locks, update_refs
from orch_server.git.repository import Repository
from orch_server.git.shadow import Shadow
from orch_server.git.snapshot import UPDATE_OPTIONS, snapshot, worktree_files
from orch_server.git.worktree import Worktree, check_recorded
from orch_server.settings.crashpoint import crashpoint

UNDER_WAY = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
}
NAMED = 10


class Committed(WireModel):
    """A commit and the files that it changed; without files there was nothing to commit."""

    commit: str
    files: list[DiffFile]


async def commit(
    git: Git, repository: Repository, shadow: Shadow, worktree: Worktree, *, message: str, trusted: bool
) -> Committed:
    """Commit the worktree's present content on the session's branch, as the user that `git` stands for."""
    await asyncio.to_thread(check_recorded, worktree)
    async with git.lock(f"commit {worktree.path}"):
        target = Target(git_dir=worktree.admin_dir, common_dir=worktree.common_dir)
        await _check_branch(git, target, worktree)
        await check_nothing_under_way(git, target, worktree.path, worktree.admin_dir)
        head = (await run(git, target, ["rev-parse", "--verify", "HEAD^{commit}"])).line
        taken = await snapshot(git, shadow, worktree_files(worktree))
        files = await list_files(git, shadow, head, taken.tree)
        if not files:
            return Committed(commit=head, files=[])
        if trusted:
            paths = [change.path for change in await changed(git, shadow, head, taken.tree)]
            made = await _commit_as_in_a_terminal(git, worktree, paths, message)
            return Committed(commit=made, files=await list_files(git, shadow, head, made))
        made = await make_commit(git, shadow, taken.tree, (head,), f"{message}\n".encode())
        crashpoint("commit.made")
        await carry_over(git, repository, shadow, [made], [taken.tree], [await tree_of(git, shadow, head)])
        crashpoint("commit.carried")
        index = replace(shadow.target(work_tree=worktree.path), git_dir=worktree.admin_dir, common_dir=shadow.directory)
        await set_index(git, index, [taken.tree])
        crashpoint("commit.indexed")
        await update_refs(git, target, [Update("HEAD", made, head)], message=f"commit: {message.splitlines()[0]}")
        crashpoint("commit.referenced")
        return Committed(commit=made, files=files)


async def recover(worktree: Worktree) -> None:
    """Take away the lock of the worktree's index, if a hub that was killed in `commit` left it."""
    await asyncio.to_thread(release, os.path.join(worktree.admin_dir, "index"))


async def check_nothing_under_way(git: Git, target: Target, path: str, git_dir: str) -> None:
    """Raise a conflict where a merge, rebase or the like waits to be finished in a working tree."""
    for name, what in UNDER_WAY.items():
        if await asyncio.to_thread(os.path.exists, os.path.join(git_dir, name)):
            raise OrchError(
                ErrorKind.CONFLICT,
                f"A {what} is under way in {path}.",
                hint=f"Finish it, or end it: `git {what} --abort`.",
            )
    listed = await run(git, target, ["ls-files", "-z", "--unmerged"])
    names = sorted({visible(entry.split(b"\t", 1)[1]) for entry in listed.stdout.split(b"\0")[:-1]})
    if names:
        raise OrchError(
            ErrorKind.CONFLICT,
            f"{path} has files with unsettled conflicts: {name_some(names)}.",
            hint="Settle them and `git add` them.",
            files=names,
        )


def name_some(names: Sequence[str]) -> str:
    """Return names as a person reads them: the first few, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


async def _check_branch(git: Git, target: Target, worktree: Worktree) -> None:
    head = await run(git, target, ["symbolic-ref", "--quiet", "HEAD"], accept=(0, 1))
    if head.line != f"refs/heads/{worktree.branch}":
        where = visible(head.stdout).strip().removeprefix("refs/heads/") or "no branch"
        raise OrchError(
            ErrorKind.CONFLICT,
            f"The worktree {worktree.path} has {where} checked out, not the session's branch {worktree.branch}.",
            hint=f"Go back to it there: `git switch {worktree.branch}`.",
        )


async def _commit_as_in_a_terminal(git: Git, worktree: Worktree, paths: Sequence[bytes], message: str) -> str:
    """Let the project's own filters and hooks have their say; a hook that refuses leaves the files staged."""
    target = Target(git_dir=worktree.admin_dir, work_tree=worktree.path, trusted=True)
    stdin = b"".join(path + b"\0" for path in paths)
    own = Target(git_dir=worktree.admin_dir, common_dir=worktree.common_dir)
    locks = [os.path.join(worktree.admin_dir, "index.lock"), *await head_locks(own)]
    updating = ["update-index", *UPDATE_OPTIONS, "-z", "--stdin"]
    await run_locking(git, target, updating, locks, stdin=stdin, timeout=TIMEOUT)
    same = await run(git, target, ["diff-index", "--cached", "--quiet", "HEAD"], accept=(0, 1), timeout=TIMEOUT)
    if same.status == 1:
        words = ["commit", "--quiet", "--cleanup=whitespace", "-F", "-"]
        hooked = replace(target, hooks=True)
        await run_locking(git, hooked, words, locks, stdin=f"{message}\n".encode(), timeout=TIMEOUT)
    return (await run(git, target, ["rev-parse", "--verify", "HEAD^{commit}"])).line
