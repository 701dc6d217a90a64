"""Snapshots of a session's work in progress, kept in the project's repository: at each turn's end, and in between."""

import asyncio
import logging
import os

from orch_server.domain.errors import OrchError
from orch_server.domain.session import LIVE, Attention
from orch_server.git import wip as git_wip
from orch_server.services import projects, reconcile
from orch_server.services.context import Context
from orch_server.services.worktrees import worktree_of

log = logging.getLogger(__name__)

_ABOUT = frozenset({Attention.SNAPSHOT_FAILED})


async def take(context: Context, session_id: str) -> None:
    """Save the session's files if they changed; a failure is shown as attention and holds nothing up."""
    session = context.store.session(session_id)
    worktree = worktree_of(session) if session is not None else None
    if session is None or worktree is None or not await asyncio.to_thread(os.path.isdir, worktree.path):
        return
    async with context.lock(f"wip of {session_id}"):
        failed = False
        try:
            project = projects.get(context, session.project_id)
            repository = await projects.open_repository(context, project)
            shadow = await projects.shadow_of(context, project, repository)
            await git_wip.save(context.git, repository, shadow, worktree)
        except (OrchError, OSError) as error:
            log.warning("The work in progress of %s is not saved: %s", session_id, error)
            failed = True
    found = [Attention.SNAPSHOT_FAILED] if failed else []
    await reconcile.set_attention(context, session_id, _ABOUT, found)


async def take_all(context: Context) -> None:
    """Save the files of every session whose agent is at work."""
    for session_id in list(context.live):
        session = context.store.session(session_id)
        if session is not None and session.state in LIVE:
            await take(context, session_id)
