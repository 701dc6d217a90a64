"""Where a coding session works: a worktree and branch of its own, made so that it may be killed at any instant.

The caller stores the plan before `create` and the worktree after it. Whatever happened between (a failure, a
cancellation, a killed hub), `recover` with the same plan either finds the worktree complete or moves what there is
aside and leaves the way free for another `create`.

* No bytes are destroyed: a half-made tree goes to the trash with git's entry for it, and the branch is dropped only
  while it is still exactly what we made.
* The worktree is locked from its first moment, so that no `git worktree prune` takes it for gone.
* The files are written by a separate call, by way of the shadow, so that nothing the project configures runs. git
  writes the index last: where there is one, every file is there.
"""

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.session import Attention
from orch_server.git import runtime_dir
from orch_server.git.command import Git, Target, is_oid, kill_survivors, run, visible
from orch_server.git.refs import Update, update_refs
from orch_server.git.repository import Repository, check_identity
from orch_server.git.shadow import Shadow
from orch_server.settings.crashpoint import crashpoint

PERCENT = re.compile(rb"(\d{1,3})% \(")
REGISTER_TIMEOUT = 60.0
CHECKOUT_TIMEOUT = 30 * 60.0
CHECKOUT_WORKERS = str(min(4, os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class WorktreePlan:
    """What is to be made: plain values, to be stored before it is begun."""

    session_id: str
    intent: str
    project: str
    common_dir: str
    runtime_dir: str
    branch: str
    base: str

    @property
    def path(self) -> str:
        """Where the worktree will be."""
        return os.path.join(self.project, self.runtime_dir, "worktrees", self.session_id)

    @property
    def lock_reason(self) -> str:
        """What the worktree is locked with, and known by."""
        return f"orch:{self.session_id}"


@dataclass(frozen=True, slots=True)
class Worktree:
    """A worktree that was made, and how to know it again."""

    session_id: str
    project: str
    common_dir: str
    path: str
    admin_dir: str
    dot_git: str
    device: int
    inode: int
    branch: str
    base: str


def plan(
    repository: Repository,
    *,
    session_id: str,
    agent: str,
    project_slug: str,
    base: str,
    runtime_dir: str = ".orchestrator",
) -> WorktreePlan:
    """Return the plan of a session's worktree, which begins at the commit `base`."""
    assert is_oid(base), base
    branch = f"orch/{agent}/{project_slug}/{session_id}"
    intent = f"worktree-{session_id}-{secrets.token_hex(4)}"
    return WorktreePlan(session_id, intent, repository.path, repository.common_dir, runtime_dir, branch, base)


async def create(
    git: Git,
    repository: Repository,
    shadow: Shadow,
    planned: WorktreePlan,
    *,
    trusted: bool,
    progress: Callable[[int], None],
) -> Worktree:
    """Make the planned worktree and branch; after a failure or cancellation `recover` clears what there is of it.

    `progress` is called on the event loop with percents, which only grow.
    """
    await asyncio.to_thread(check_identity, repository)
    await runtime_dir.ensure_runtime_dir(git, repository, planned.runtime_dir)
    if await asyncio.to_thread(os.path.lexists, planned.path):
        raise OrchError(
            ErrorKind.CONFLICT,
            f"{planned.path} exists already.",
            hint="It was not made by this attempt. Start another session.",
        )
    target = Target(directory=planned.project, git_dir=planned.common_dir)
    arguments = ["worktree", "add", "--quiet", "--no-checkout", "--no-track", "--lock", "--reason", planned.lock_reason]
    arguments += ["-b", planned.branch, "--end-of-options", planned.path, planned.base]
    try:
        async with git.lock(planned.common_dir):
            await run(git, target, arguments, intent=planned.intent, timeout=REGISTER_TIMEOUT)
    except OrchError as error:
        raise await _explain(git, target, planned, error) from error
    crashpoint("worktree.registered")
    worktree = await asyncio.to_thread(read_worktree, planned)
    target = Target(
        git_dir=worktree.admin_dir,
        common_dir=None if trusted else shadow.directory,
        work_tree=worktree.path,
        settings=(*(() if trusted else shadow.settings), ("checkout.workers", CHECKOUT_WORKERS)),
        trusted=trusted,
    )
    await _check_out(git, target, planned, progress)
    crashpoint("worktree.checked_out")
    return worktree


async def recover(git: Git, planned: WorktreePlan) -> Worktree | None:
    """Return the worktree if it was made completely; else clear the way for another `create` and return None.

    What a kill can have left: (1) nothing; (2) the branch, or its lock; (3) git's entry, whole or in part; (4) some
    files, without an index; (5) everything.
    """
    await kill_survivors(git, planned.intent)
    crashpoint("worktree.recovering")
    async with git.lock(planned.common_dir):
        target = Target(directory=planned.project, git_dir=planned.common_dir)
        ref = f"refs/heads/{planned.branch}"
        tip = await run(git, target, ["rev-parse", "--quiet", "--verify", ref], accept=(0, 1, 128))
        if tip.status == 0 and await asyncio.to_thread(_is_complete, planned):
            return await asyncio.to_thread(read_worktree, planned)
        await asyncio.to_thread(_move_aside, planned)
        crashpoint("worktree.aside")
        if tip.line == planned.base:
            # Only while it is still at the base: git compares, under its own lock.
            await update_refs(git, target, [Update(ref, "", planned.base)], intent=planned.intent)
    return None


async def check(git: Git, worktree: Worktree) -> list[Attention]:
    """Return what happened to the worktree and its branch behind our back. Nothing is changed."""
    if not await asyncio.to_thread(os.path.isdir, worktree.common_dir):
        return [Attention.PROJECT_MISSING]
    found = await asyncio.to_thread(_check_directory, worktree)
    target = Target(directory="/", git_dir=worktree.common_dir)
    ref = f"refs/heads/{worktree.branch}"
    tip = await run(git, target, ["rev-parse", "--quiet", "--verify", ref + "^{commit}"], accept=(0, 1, 128))
    if tip.status != 0:
        return [*found, Attention.BRANCH_MISSING]
    grown = await run(git, target, ["merge-base", "--is-ancestor", worktree.base, tip.line], accept=(0, 1, 128))
    if grown.status != 0 or await asyncio.to_thread(_branch_at_work, worktree.admin_dir) not in (ref, None):
        found.append(Attention.BRANCH_MOVED)
    return found


def check_recorded(worktree: Worktree) -> None:
    """Raise a conflict unless the directory at the worktree's path is the one that was made there."""
    attention = _check_directory(worktree)
    if attention:
        raise OrchError(
            ErrorKind.CONFLICT,
            f"The worktree {worktree.path} is not as orch made it ({', '.join(attention)}).",
            hint="It is left as it is. Put it back, or look at it yourself before you delete the session.",
            attention=[flag.value for flag in attention],
        )


async def _check_out(git: Git, target: Target, planned: WorktreePlan, progress: Callable[[int], None]) -> None:
    loop = asyncio.get_running_loop()
    shown = -1

    def show(percent: int) -> None:
        nonlocal shown
        if percent > shown:
            shown = percent
            progress(percent)

    def on_stderr(chunk: bytes) -> None:
        for found in PERCENT.findall(chunk):
            loop.call_soon_threadsafe(show, min(99, int(found)))

    show(0)
    await run(
        git,
        target,
        ["read-tree", "-m", "-u", "-v", planned.base],
        intent=planned.intent,
        timeout=CHECKOUT_TIMEOUT,
        on_stderr=on_stderr,
    )
    show(100)


async def _explain(git: Git, target: Target, planned: WorktreePlan, error: OrchError) -> OrchError:
    """Return the error that says why a worktree could not be registered, the given one if there is no better."""
    if error.data.get("status", -1) < 0:  # git was ended before it could refuse, and may have made the branch itself
        return error
    listed = await run(git, target, ["for-each-ref", "--format=%(refname)", "refs/heads/orch"])
    refs = set(visible(listed.stdout).splitlines())
    parts = planned.branch.split("/")
    for length in range(1, len(parts)):
        name = "/".join(parts[:length])
        if f"refs/heads/{name}" in refs:
            return OrchError(
                ErrorKind.CONFLICT,
                f"The branch {name!r} is in the way: git cannot hold {planned.branch!r} beside it.",
                hint=f"Rename it: `git branch -m {name} {name.replace('/', '-')}-branch`.",
                branch=name,
            )
    inside = [ref for ref in refs if ref.startswith(f"refs/heads/{planned.branch}/")]
    if f"refs/heads/{planned.branch}" in refs or inside:
        return OrchError(
            ErrorKind.CONFLICT,
            f"The branch {planned.branch!r} exists already.",
            hint="It was not made by this attempt, so it is left alone. Start another session.",
            branch=planned.branch,
        )
    return error


def read_worktree(planned: WorktreePlan) -> Worktree:
    """Return what there is at the planned path, walked to without following a link."""
    parts = (planned.runtime_dir, "worktrees", planned.session_id)
    try:
        with runtime_dir.opened(planned.project, parts) as directory:
            found = os.fstat(directory)
            dot_git = runtime_dir.read_file(directory, ".git")
    except OSError as error:
        raise _tampered(planned) from error
    admin_dir = os.path.realpath(dot_git.removeprefix("gitdir: ").removesuffix("\n"))
    if os.path.dirname(admin_dir) != os.path.join(planned.common_dir, "worktrees"):
        raise _tampered(planned)
    return Worktree(
        planned.session_id,
        planned.project,
        planned.common_dir,
        planned.path,
        admin_dir,
        dot_git,
        found.st_dev,
        found.st_ino,
        planned.branch,
        planned.base,
    )


def _tampered(planned: WorktreePlan) -> OrchError:
    message = f"{planned.path} is not the worktree that git made there."
    return OrchError(ErrorKind.CONFLICT, message, hint="Something replaced it meanwhile: look at it, then try again.")


def _is_complete(planned: WorktreePlan) -> bool:
    try:
        admin_dir = read_worktree(planned).admin_dir
    except OrchError:
        return False
    return (
        _text(admin_dir, "gitdir") == f"{planned.path}/.git\n"
        and _text(admin_dir, "locked") == f"{planned.lock_reason}\n"
        and _head_of(admin_dir) == f"refs/heads/{planned.branch}"
        and os.path.exists(os.path.join(admin_dir, "index"))
    )


def _move_aside(planned: WorktreePlan) -> None:
    """Move the half-made tree, git's entry for it and a left lock of its branch into the trash."""
    entries = _our_entries(planned)
    ref_lock = os.path.join(planned.common_dir, "refs", "heads", *planned.branch.split("/")) + ".lock"
    left = [path for path in (planned.path, *entries, ref_lock) if os.path.lexists(path)]
    if not left:
        return
    parts = (planned.runtime_dir, "trash")
    runtime_dir.make_runtime_dir(planned.project, planned.runtime_dir)  # the user may have cleaned it away
    with runtime_dir.opened(planned.project, parts) as trash:
        name = f"half-made-{planned.session_id}-{secrets.token_hex(4)}"
        os.mkdir(name, 0o700, dir_fd=trash)
    place = os.path.join(planned.project, *parts, name)
    for number, path in enumerate(left):
        # git's entry may lie on another file system than the project, where a rename is not possible.
        shutil.move(path, os.path.join(place, "tree" if path == planned.path else f"entry-{number}"))


def _our_entries(planned: WorktreePlan) -> list[str]:
    """Return git's entries for the planned path: by what they say, or by our name while they say nothing yet."""
    found = []
    root = os.path.join(planned.common_dir, "worktrees")
    for name in os.listdir(root) if os.path.isdir(root) else ():
        entry = os.path.join(root, name)
        gitdir = _text(entry, "gitdir")
        if gitdir == f"{planned.path}/.git\n" or (name == planned.session_id and not gitdir):
            found.append(entry)
    return found


def _check_directory(worktree: Worktree) -> list[Attention]:
    gitdir = _text(worktree.admin_dir, "gitdir")
    if gitdir is not None and gitdir != f"{worktree.path}/.git\n":
        return [Attention.WORKTREE_MOVED]
    if not os.path.lexists(worktree.path):
        return [Attention.WORKTREE_MISSING]
    try:
        same = _is_recorded(worktree)
    except OSError:
        same = False
    whole = same and gitdir is not None and _head_of(worktree.admin_dir) is not None
    return [] if whole else [Attention.WORKTREE_REPLACED]


def _is_recorded(worktree: Worktree) -> bool:
    # The device number is recorded and not compared: on many file systems it changes with a restart.
    with runtime_dir.opened(worktree.path, ()) as directory:
        same = os.fstat(directory).st_ino == worktree.inode
        return same and runtime_dir.read_file(directory, ".git") == worktree.dot_git


def _head_of(admin_dir: str) -> str | None:
    head = _text(admin_dir, "HEAD")
    return None if head is None else head.removeprefix("ref: ").removesuffix("\n")


def _branch_at_work(admin_dir: str) -> str | None:
    """Return the ref that is checked out, or the one that a rebase or bisect under way will come back to."""
    head = _head_of(admin_dir)
    if head is None or head.startswith("refs/"):
        return head
    rebased = _text(admin_dir, "rebase-merge/head-name") or _text(admin_dir, "rebase-apply/head-name")
    bisected = _text(admin_dir, "BISECT_START")
    if rebased is not None:
        return rebased.removesuffix("\n")
    return head if bisected is None else "refs/heads/" + bisected.removesuffix("\n")


def _text(directory: str, name: str) -> str | None:
    try:
        with open(os.path.join(directory, name), encoding="utf-8", errors="surrogateescape") as file:
            return file.read(16 * 1024)
    except OSError:
        return None
