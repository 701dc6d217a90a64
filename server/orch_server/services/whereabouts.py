"""Which sessions changed which files, and which lines: kept in memory, for editors, which ask at every look. What came
home counts no more: it is the project's own.

An answer never waits for git. A session is looked at again after a tool of its agent ended, after a turn, and when
`mark` is called; whoever wants to know of news adds a listener to the context's `touches`.
"""

import asyncio
import logging
import os
import time
from dataclasses import dataclass
from functools import partial

from orch_server.domain.errors import OrchError, invalid_params
from orch_server.domain.ids import random_id
from orch_server.domain.project import Project
from orch_server.domain.session import State
from orch_server.services import changes
from orch_server.services.changes import Against
from orch_server.services.context import Context
from orch_server.services.feed import LocalListener, Subscription
from orch_server.services.touches import SessionTouch, Touch, lines_of
from orch_server.services.worktrees import worktree_of
from orch_server.store.records import StoredEvent

log = logging.getLogger(__name__)

_SOON_SECONDS = 0.3
_SHARE_OF_TIME = 0.2
"""At most this share of the time goes into looking at one session."""
_NEWS = (
    "agent.tool_finished",
    "turn.completed",
    "turn.failed",
    "worktree.*",
    "session.state_changed",
    "session.archived",
    "session.unarchived",
    "session.deleted",
    "session.restored",
    "session.purged",
)
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file lies: in a project's checkout, or in the worktree of one of its sessions."""

    project: Project
    path: str
    """From the top of the checkout or worktree."""
    session_id: str | None = None


def place_of(context: Context, path: str) -> Place | None:
    """Return where a file (without symbolic links in its path) lies; None outside of every project."""
    for project in context.store.projects(limit=1_000):
        if path.startswith(project.path + os.sep):
            inner = path[len(project.path) + 1 :]
            parts = inner.split(os.sep)
            if parts[0] != context.settings.project_runtime_dirname:
                return Place(project, inner)
            session = context.store.session(parts[2]) if len(parts) > 3 else None
            root = session.worktree_path if session is not None else None
            if session is not None and root is not None and path.startswith(root + os.sep):
                return Place(project, path[len(root) + 1 :], session.id)
            return None
    return None


def inside(root: str, path: str) -> str:
    """Return a file by its path from the top of a checkout or worktree; refuse what leads out of it."""
    found = os.path.realpath(os.path.join(root, path))
    if "\0" in path or not found.startswith(os.path.realpath(root) + os.sep):
        raise invalid_params(f"{path!r} is no file below {root}.", hint="Name it from the top of the project.")
    return found


def sessions_at(context: Context, path: str) -> list[SessionTouch]:
    """Return the sessions that changed this file, the newest first; a worktree's own session comes before all.

    What is not known yet is looked up in the background, and told to the listeners.
    """
    place = place_of(context, path)
    if place is None:
        return []
    _follow(context, place.project.id)
    found = []
    for session_id, files in context.touches.files.items():
        touch = files.get(place.path)
        session = context.store.session(session_id) if touch is not None else None
        if touch is not None and session is not None and session.project_id == place.project.id:
            found.append(SessionTouch(session, touch, session_id == place.session_id))
    return sorted(found, key=lambda item: (item.in_worktree, item.session.created_at), reverse=True)


def mark(context: Context, session_id: str) -> None:
    """Have a session looked at soon: its files changed, or came home."""
    touches = context.touches
    if session_id in touches.looking:
        touches.again.add(session_id)
    elif session_id not in touches.due:
        _look_in(context, session_id, _SOON_SECONDS)


def _look_in(context: Context, session_id: str, seconds: float) -> None:
    def look() -> None:
        del context.touches.due[session_id]
        context.spawn(_look(context, session_id))

    context.touches.due[session_id] = asyncio.get_running_loop().call_later(seconds, look)


async def _look(context: Context, session_id: str) -> None:
    touches = context.touches
    touches.looking.add(session_id)
    began = time.monotonic()
    try:
        found = await _touches_of(context, session_id)
    except (OrchError, OSError) as error:
        log.warning("What session %s changed cannot be seen: %s", session_id, error)
        found = touches.files.get(session_id, {})
    finally:
        touches.looking.discard(session_id)
    before = touches.files.pop(session_id, {})
    if found:
        touches.files[session_id] = found
    changed = frozenset(path for path in {*before, *found} if before.get(path) != found.get(path))
    session = context.store.session(session_id)
    if changed and session is not None:
        for listener in tuple(touches.listeners):
            listener(session.project_id, changed)
    if session_id in touches.again:
        touches.again.discard(session_id)
        _look_in(context, session_id, max(_SOON_SECONDS, (time.monotonic() - began) / _SHARE_OF_TIME))


async def _touches_of(context: Context, session_id: str) -> dict[str, Touch]:
    session = context.store.session(session_id)
    if session is None or session.state in {State.ARCHIVED, State.DELETED} or session.purged_at is not None:
        return {}
    if session.base_commit is None or worktree_of(session) is None:
        return {}
    if context.collisions.project(session.project_id).is_home(session.id):
        return {}
    diff = await changes.diff(context, session, Against.BASE, ())
    found = {}
    for file in diff.files:
        lines = lines_of(file.patch) if file.patch is not None and not file.binary else ()
        touch = Touch(file.path, file.status, file.insertions, file.deletions, lines)
        for path in (file.path, file.old_path):
            if path is not None:
                found[path] = touch
    return found


def _follow(context: Context, project_id: str) -> None:
    """Begin to watch the sessions of a project, once somebody looks at a file of it."""
    touches = context.touches
    if project_id in touches.known_projects:
        return
    touches.known_projects.add(project_id)
    if touches.follower is None:
        touches.follower = Subscription(random_id(8), LocalListener(partial(_take, context)), types=_NEWS)
        context.feed.subscribe(touches.follower, context.store, None)
    states = [state for state in State if state not in {State.ARCHIVED, State.DELETED}]
    cursor: int | None = None
    while True:
        page, cursor = context.store.sessions(project_id=project_id, states=states, before=cursor, limit=_PAGE)
        for session in page:
            if session.worktree is not None:
                mark(context, session.id)
        if cursor is None:
            return


def _take(context: Context, event: StoredEvent) -> None:
    """Mark a session whose files may have changed by what happened."""
    if event.session_id is not None and event.project_id in context.touches.known_projects:
        mark(context, event.session_id)
