"""What happened to sessions behind our back, shown as attention flags. Nothing is repaired here, and never deleted.

Most looks cost a handful of stats: git is asked only where one of the files that could tell has changed.
"""

import asyncio
import logging
import os

from orch_server.domain.errors import OrchError
from orch_server.domain.session import Attention, State
from orch_server.git import worktree as git_worktree
from orch_server.git.worktree import Worktree
from orch_server.services.context import Context
from orch_server.services.worktrees import worktree_of
from orch_server.store.records import SessionRecord, Standing
from orch_server.store.transaction import Transaction

log = logging.getLogger(__name__)

WATCHED = frozenset(
    {
        Attention.WORKTREE_MISSING,
        Attention.WORKTREE_REPLACED,
        Attention.WORKTREE_MOVED,
        Attention.BRANCH_MISSING,
        Attention.BRANCH_MOVED,
        Attention.PROJECT_MISSING,
    }
)
_DIRECTORY = 0

Signature = tuple[tuple[int, int] | None, ...]


async def look(context: Context, session_id: str) -> None:
    """Look at one session's project, worktree and branch now, and set or clear its flags."""
    session = context.store.session(session_id)
    if session is None or session.state == State.DELETED or session.purged_at is not None:
        return
    try:
        found = await _look(context, session)
    except (OrchError, OSError) as error:
        log.warning("What became of %s cannot be seen: %s", session_id, error)
        return
    await set_attention(context, session_id, WATCHED, found)


async def look_around(context: Context, seen: dict[str, Signature]) -> None:
    """Look at all sessions that are not deleted; `seen` remembers what was found unchanged."""
    busy = {intent.session_id for intent in context.store.intents()}
    standings = await context.store.standings()
    signatures = await asyncio.to_thread(lambda: [_signature(standing) for standing in standings])
    for standing, signature in zip(standings, signatures, strict=True):
        if standing.session_id not in busy and seen.get(standing.session_id) != signature:
            if not _is_quiet(standing, signature):
                await look(context, standing.session_id)
            seen[standing.session_id] = signature


async def set_attention(context: Context, session_id: str, about: frozenset[Attention], found: list[Attention]) -> None:
    """Have a session show, of the flags in `about`, those that were found and no others."""
    session = context.store.session(session_id)
    if session is None or {flag for flag in session.attention if flag in about} == set(found):
        return

    def work(transaction: Transaction) -> None:
        draft = transaction.session(session_id)
        if draft.state != State.DELETED:
            draft.attention = [*(flag for flag in draft.attention if flag not in about), *found]

    await context.store.write(work)


async def _look(context: Context, session: SessionRecord) -> list[Attention]:
    worktree = worktree_of(session)
    if worktree is not None:
        return await git_worktree.check(context.git, worktree)
    project = context.store.project(session.project_id)
    missing = project is None or not await asyncio.to_thread(os.path.isdir, project.path)
    return [Attention.PROJECT_MISSING] if missing else []


def _signature(standing: Standing) -> Signature:
    if standing.worktree is not None:
        return tuple(_mark(path) for path in _telling(Worktree(**standing.worktree)))
    return (_mark(standing.project_path),)


def _is_quiet(standing: Standing, signature: Signature) -> bool:
    """Whether a session that works in its project has nothing to tell: thousands of them need no look each."""
    if standing.worktree is not None or WATCHED.intersection(standing.attention):
        return False
    (project,) = signature
    return project is not None and project[1] == _DIRECTORY


def _telling(worktree: Worktree) -> list[str]:
    """Return the files and directories of which one changes with whatever may become of the worktree."""
    return [
        worktree.path,
        os.path.join(worktree.path, ".git"),
        os.path.join(worktree.admin_dir, "gitdir"),
        os.path.join(worktree.admin_dir, "HEAD"),
        os.path.join(worktree.common_dir, "packed-refs"),
        os.path.join(worktree.common_dir, "refs", "heads", *worktree.branch.split("/")),
    ]


def _mark(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    # A directory's time changes with every file in it: which one stands there is enough.
    return found.st_ino, _DIRECTORY if os.path.isdir(path) else found.st_mtime_ns
