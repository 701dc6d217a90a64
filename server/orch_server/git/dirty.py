"""A worktree that begins with what lies uncommitted in the project's checkout, as uncommitted changes of its own."""

import asyncio
import os

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git.command import TIMEOUT, Git, run
from orch_server.git.commit import name_some
from orch_server.git.index import copy_index, scratch_index
from orch_server.git.objects import join, tree_of
from orch_server.git.repository import Repository
from orch_server.git.shadow import Shadow
from orch_server.git.snapshot import project_files, snapshot, worktree_files
from orch_server.git.worktree import Worktree


async def dirty_tree(git: Git, repository: Repository, shadow: Shadow, base: str) -> str:
    """Return what a worktree at the commit `base` holds once the checkout's uncommitted changes are in it.

    Nothing of the user's is touched. Where worktree and checkout begin at different commits the changes are merged.
    """
    present = (await snapshot(git, shadow, project_files(repository))).tree
    if repository.head_commit in {None, base}:
        return present
    assert repository.head_commit is not None
    head, start = await tree_of(git, shadow, repository.head_commit), await tree_of(git, shadow, base)
    joined = await join(git, shadow, head, start, present)
    if joined.conflicts:
        names = [conflict.path for conflict in joined.conflicts]
        raise OrchError(
            ErrorKind.CONFLICT,
            f"Your uncommitted changes do not go onto the commit the worktree starts from: {name_some(names)}.",
            hint="Start it from what is checked out (no base), or commit them first.",
            files=names,
        )
    return joined.tree


async def lay_out(git: Git, shadow: Shadow, worktree: Worktree, tree: str) -> None:
    """Bring a new worktree's files to a tree; its index stays at the base. May be repeated after a kill."""
    present = (await snapshot(git, shadow, worktree_files(worktree))).tree
    if present == tree:
        return
    with scratch_index(shadow.directory) as index:
        target = shadow.target(work_tree=worktree.path, index=index)
        if present == await tree_of(git, shadow, worktree.base):
            await asyncio.to_thread(copy_index, os.path.join(worktree.admin_dir, "index"), index)
        else:
            await run(git, target, ["read-tree", present], timeout=TIMEOUT)
            await run(git, target, ["update-index", "-q", "--refresh"], accept=(0, 1), timeout=TIMEOUT)
        await run(git, target, ["read-tree", "-m", "-u", present, tree], timeout=TIMEOUT)
