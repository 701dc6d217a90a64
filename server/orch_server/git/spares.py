"""Worktrees that are kept ready, so that a session in a big repository begins at once.

A spare lies in `<project>/.orchestrator/spares/<token>`, its commit checked out without a branch, locked with the
reason `orch:spare`. To claim one is a rename, after which it is a worktree like any other. The order of the steps is
such that a claim that was killed leaves what `worktree.recover` knows: git's entry names the session and its place
before the directory is there, and the branch comes last.

A spare that somebody changed is nobody's to destroy: it goes to the trash, and the session begins the usual way.
"""

import asyncio
import os
import secrets
from dataclasses import dataclass, replace

from orch_server.git import runtime_dir, trash
from orch_server.git.command import Git, Target, run
from orch_server.git.objects import tree_of
from orch_server.git.refs import Update, attach_head, update_refs
from orch_server.git.repository import Repository
from orch_server.git.shadow import Shadow
from orch_server.git.snapshot import WorkingTree, snapshot
from orch_server.git.worktree import CHECKOUT_TIMEOUT, CHECKOUT_WORKERS, Worktree, WorktreePlan, read_worktree

PLACE = "spares"
REASON = "orch:spare"


@dataclass(frozen=True, slots=True)
class Spare:
    """A worktree that is kept ready, and where git keeps its entry."""

    token: str
    path: str
    admin_dir: str
    head: str


async def make(git: Git, repository: Repository, shadow: Shadow, name: str, base: str, *, trusted: bool) -> None:
    """Make a spare at the commit `base`, in the runtime directory called `name`."""
    await runtime_dir.ensure_runtime_dir(git, repository, name)
    with runtime_dir.opened(repository.path, (name,)) as directory:
        try:
            os.mkdir(PLACE, 0o700, dir_fd=directory)
        except FileExistsError:
            pass
    token = f"spare-{secrets.token_hex(6)}"
    path = os.path.join(repository.path, name, PLACE, token)
    arguments = ["worktree", "add", "--quiet", "--no-checkout", "--detach", "--lock", "--reason", REASON]
    async with git.lock(repository.common_dir):
        await run(git, repository.target(), [*arguments, "--end-of-options", path, base], intent=token)
    found = await asyncio.to_thread(_read, repository, name, token)
    if found is not None:
        await _check_out(git, shadow, found, ["-m", "-u", base], trusted=trusted)


async def listed(git: Git, repository: Repository, name: str) -> list[Spare]:
    """Return the spares there are; what is no whole spare is moved to the trash."""
    found = []
    for token in await asyncio.to_thread(_tokens, repository.path, name):
        spare = await asyncio.to_thread(_read, repository, name, token)
        if spare is None or not await asyncio.to_thread(_is_whole, spare):
            await throw_away(git, repository, name, token)
        else:
            found.append(spare)
    return found


async def refresh(git: Git, shadow: Shadow, spare: Spare, base: str, *, trusted: bool) -> None:
    """Bring a spare to another commit; a file of it that was changed makes this fail, and stays."""
    await _check_out(git, shadow, spare, ["-m", "-u", spare.head, base], trusted=trusted)
    await update_refs(git, Target(git_dir=spare.admin_dir), [Update("HEAD", base, spare.head)], detach=True)


async def is_untouched(git: Git, repository: Repository, shadow: Shadow, spare: Spare) -> bool:
    """Tell whether a spare holds exactly the files of its commit, and nothing that git ignores."""
    target = replace(shadow.target(work_tree=spare.path), git_dir=spare.admin_dir, common_dir=shadow.directory)
    others = await run(git, target, ["ls-files", "-z", "--others", "--directory"])
    if others.stdout:
        return False
    taken = await snapshot(git, shadow, WorkingTree(spare.path, spare.admin_dir, repository))
    return taken.tree == await tree_of(git, shadow, spare.head)


async def claim(
    git: Git, repository: Repository, shadow: Shadow, planned: WorktreePlan, *, trusted: bool
) -> Worktree | None:
    """Turn a spare into the planned worktree; None where there is none to be had."""
    async with git.lock(f"spares {repository.path}"):
        await runtime_dir.ensure_runtime_dir(git, repository, planned.runtime_dir)
        spares = await listed(git, repository, planned.runtime_dir)
        for spare in sorted(spares, key=lambda spare: spare.head != planned.base):
            if not await is_untouched(git, repository, shadow, spare):
                await throw_away(git, repository, planned.runtime_dir, spare.token)
                continue
            await _settle_in(git, repository, shadow, planned, spare, trusted=trusted)
            return await asyncio.to_thread(read_worktree, planned)
    return None


async def throw_away(git: Git, repository: Repository, name: str, token: str) -> None:
    """Move what is not a spare as we made it to the trash, and git's entry with it where that is ours."""
    entry = os.path.join(repository.common_dir, "worktrees", token)
    async with git.lock(repository.common_dir):
        await asyncio.to_thread(_throw_away, repository.path, name, token, entry)


async def remove(git: Git, repository: Repository, shadow: Shadow, name: str, spare: Spare) -> None:
    """Remove a spare for good if it holds nothing of anybody's; else it goes to the trash."""
    if not await is_untouched(git, repository, shadow, spare):
        await throw_away(git, repository, name, spare.token)
        return
    root = os.path.join(repository.path, name)
    await asyncio.to_thread(trash.remove_directory, root, PLACE, spare.token)
    async with git.lock(repository.common_dir):
        await run(git, repository.target(), ["worktree", "unlock", spare.path])
        await run(git, repository.target(), ["worktree", "remove", spare.path])


async def _settle_in(
    git: Git, repository: Repository, shadow: Shadow, planned: WorktreePlan, spare: Spare, *, trusted: bool
) -> None:
    async with git.lock(planned.common_dir):
        await asyncio.to_thread(_move, repository.path, planned, spare)
    moved = replace(spare, path=planned.path)
    if spare.head != planned.base:
        arguments = ["-m", "-u", spare.head, planned.base]
        await _check_out(git, shadow, moved, arguments, trusted=trusted, intent=planned.intent)
    ref = f"refs/heads/{planned.branch}"
    own = Target(git_dir=spare.admin_dir, common_dir=planned.common_dir)
    await update_refs(git, own, [Update(ref, planned.base, "")], intent=planned.intent)
    await attach_head(git, own, ref, message="orch: claimed", intent=planned.intent)


async def _check_out(
    git: Git, shadow: Shadow, spare: Spare, arguments: list[str], *, trusted: bool, intent: str | None = None
) -> None:
    target = Target(
        git_dir=spare.admin_dir,
        common_dir=None if trusted else shadow.directory,
        work_tree=spare.path,
        settings=(*(() if trusted else shadow.settings), ("checkout.workers", CHECKOUT_WORKERS)),
        trusted=trusted,
    )
    await run(git, target, ["read-tree", *arguments], intent=intent or spare.token, timeout=CHECKOUT_TIMEOUT)


def _is_whole(spare: Spare) -> bool:
    """Tell whether git has all that belongs to a spare, and nothing in it is locked by a git that was killed."""
    present = set(os.listdir(spare.admin_dir))
    return "index" in present and not present & {"index.lock", "HEAD.lock"}


def _tokens(project: str, name: str) -> list[str]:
    try:
        with runtime_dir.opened(project, (name, PLACE)) as directory:
            return sorted(os.listdir(directory))
    except OSError:
        return []


def _read(repository: Repository, name: str, token: str) -> Spare | None:
    """Return a spare, if directory and git's entry point at each other and it is locked as ours."""
    path = os.path.join(repository.path, name, PLACE, token)
    admin_dir = os.path.join(repository.common_dir, "worktrees", token)
    try:
        with runtime_dir.opened(repository.path, (name, PLACE, token)) as directory:
            dot_git = runtime_dir.read_file(directory, ".git")
        with runtime_dir.opened(admin_dir, ()) as directory:
            gitdir = runtime_dir.read_file(directory, "gitdir")
            locked = runtime_dir.read_file(directory, "locked")
            head = runtime_dir.read_file(directory, "HEAD").strip()
    except OSError:
        return None
    ours = locked.strip() == REASON and gitdir == f"{path}/.git\n"
    if not ours or os.path.realpath(dot_git.removeprefix("gitdir: ").strip()) != admin_dir:
        return None
    return Spare(token, path, admin_dir, head)


def _move(project: str, planned: WorktreePlan, spare: Spare) -> None:
    _write(spare.admin_dir, "locked", f"{planned.lock_reason}\n")
    _write(spare.admin_dir, "gitdir", f"{planned.path}/.git\n")
    with (
        runtime_dir.opened(project, (planned.runtime_dir, PLACE)) as source,
        runtime_dir.opened(project, (planned.runtime_dir, "worktrees")) as target,
    ):
        os.rename(spare.token, planned.session_id, src_dir_fd=source, dst_dir_fd=target)


def _throw_away(project: str, name: str, token: str, entry: str) -> None:
    runtime_dir.make_runtime_dir(project, name)
    place = f"spare-{secrets.token_hex(4)}"
    with runtime_dir.opened(project, (name, "trash")) as target:
        os.mkdir(place, 0o700, dir_fd=target)
    with (
        runtime_dir.opened(project, (name, PLACE)) as source,
        runtime_dir.opened(project, (name, "trash", place)) as target,
    ):
        os.rename(token, "tree", src_dir_fd=source, dst_dir_fd=target)
    try:
        with runtime_dir.opened(entry, ()) as directory:
            ours = runtime_dir.read_file(directory, "locked").strip() == REASON
    except OSError:
        return
    if ours:
        # git's entry goes along: with it the tree can be looked at and restored by hand.
        _write(entry, "gitdir", f"{os.path.join(project, name, 'trash', place, 'tree')}/.git\n")


def _write(directory: str, name: str, content: str) -> None:
    path = os.path.join(directory, name)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)
