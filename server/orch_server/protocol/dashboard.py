"""`orch/dashboard/*`."""

from pydantic import Field

from orch_server.domain.collision import Collision
from orch_server.domain.events import Event
from orch_server.domain.project import Project
from orch_server.domain.session import ENDED, Session, State, Usage
from orch_server.domain.wire import WireModel
from orch_server.protocol.registry import Call, Empty, request
from orch_server.services import projects

_MOST_SESSIONS = 50
_RECENT_EVENTS = 50
_MOST_PROJECTS = 1_000


class Dashboard(WireModel):
    """What a user wants to see first."""

    projects: list[Project]
    sessions_by_state: dict[str, int]
    active: list[Session]
    waiting: list[Session]
    failures: list[Session]
    collisions: list[Collision]
    recent_events: list[Event]
    changed: list[Session] = Field(description="Over for now, with changes in their worktrees; the newest.")
    usage: Usage = Field(description="What all sessions together have used.")


@request("orch/dashboard/get")
async def get(call: Call, params: Empty) -> Dashboard:
    """Return what runs, what waits for the user, what failed, and what happened last."""
    del params
    store = call.context.store

    def sessions(*states: State) -> list[Session]:
        return [*store.sessions(states=states, limit=_MOST_SESSIONS)[0]]

    recent = await store.events(max(0, store.last_seq - _RECENT_EVENTS))
    return Dashboard.model_construct(
        projects=projects.list_(call.context, None, _MOST_PROJECTS),
        sessions_by_state=store.count_by_state(),
        active=sessions(State.CREATED, State.RUNNING),
        waiting=sessions(State.WAITING_FOR_USER),
        failures=sessions(State.FAILED),
        collisions=store.collisions(),
        changed=[session for session in sessions(*ENDED) if session.changes is not None and session.changes.files],
        usage=store.total_usage(),
        recent_events=[Event.model_validate_json(event.json) for event in recent],
    )
