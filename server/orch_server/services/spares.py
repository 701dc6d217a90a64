"""Looking after the worktrees that big projects keep ready, in the background and never in anybody's way."""

import asyncio
import logging

from orch_server.domain.errors import OrchError
from orch_server.git import spares
from orch_server.git.repository import resolve_commit
from orch_server.services import projects
from orch_server.services.context import Context

log = logging.getLogger(__name__)


def look_after(context: Context, project_id: str) -> "asyncio.Task[None]":
    """Have a project's spares made, brought up to date or removed soon."""
    return context.spawn(_look_after(context, project_id))


def look_after_all(context: Context) -> None:
    """Do so for every project, at the hub's start: what lies half made is put aside, what is missing made."""
    for project in context.store.projects(limit=1_000):
        if project.spares:
            look_after(context, project.id)


async def clear(context: Context, project_id: str) -> None:
    """Remove all of a project's spares."""
    await _settle(context, project_id, 0)


async def _look_after(context: Context, project_id: str) -> None:
    try:
        await _settle(context, project_id, projects.get(context, project_id).spares)
    except (OrchError, OSError) as error:
        log.warning("The spare worktrees of project %s are looked after later: %s", project_id, error)


async def _settle(context: Context, project_id: str, wanted: int) -> None:
    project = projects.get(context, project_id)
    git, name = context.git, context.settings.project_runtime_dirname
    repository = await projects.open_repository(context, project)
    shadow = await projects.shadow_of(context, project, repository)
    lock = git.lock(f"spares {repository.path}")
    async with lock:
        present = await spares.listed(git, repository, name)
        if not wanted and not present:
            return
        base = await resolve_commit(git, repository, project.default_branch or "HEAD")
        for spare in present[wanted:]:
            await spares.remove(git, repository, shadow, name, spare)
        for spare in present[:wanted]:
            if spare.head != base:
                await spares.refresh(git, shadow, spare, base, trusted=project.trusted)
    missing = wanted - len(present)
    while missing > 0:
        async with lock:  # taken anew for each, so that a session that wants one does not wait for all
            await spares.make(git, repository, shadow, name, base, trusted=project.trusted)
        missing -= 1
