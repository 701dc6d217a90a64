"""`orch/collision/*`."""

from pydantic import Field

from orch_server.domain.collision import Collision
from orch_server.domain.session import Session
from orch_server.domain.wire import Params, WireModel
from orch_server.protocol.registry import Call, request
from orch_server.services import advice, cleanup, collisions, projects, sessions


class ListCollisions(Params):
    """Which collisions."""

    project: str | None = Field(default=None, min_length=1)
    session: str | None = Field(default=None, min_length=1)


class CollisionList(WireModel):
    """What would not merge now."""

    items: list[Collision]


class PlanMerge(Params):
    """Whose sessions to bring home."""

    project: str = Field(min_length=1, description="Its id or slug.")


class MergePlan(WireModel):
    """In which order ended sessions come home so that the fewest conflict."""

    order: list[str] = Field(description="Sessions that ended and did something that is not at home yet.")
    settle_first: list[tuple[str, str]] = Field(
        description="Pairs that collide; first those without which more sessions would come home together."
    )


class TellCollision(Params):
    """Whom to tell of which collision."""

    collision: str = Field(min_length=1)
    session: str = Field(min_length=1, description="The side that is told what the other one changed.")


@request("orch/collision/list")
def list_(call: Call, params: ListCollisions) -> CollisionList:
    """Return the pairs of sides that would not merge, with the lines of each side."""
    project_id = projects.get(call.context, params.project).id if params.project is not None else None
    session_id = sessions.find(call.context, params.session).id if params.session is not None else None
    return CollisionList(items=collisions.list_(call.context, project_id=project_id, session_id=session_id))


@request("orch/collision/plan")
async def plan(call: Call, params: PlanMerge) -> MergePlan:
    """Return in which order to bring ended sessions home, and which pair to settle first."""
    order, settle_first = await advice.plan(call.context, projects.get(call.context, params.project).id)
    return MergePlan(order=order, settle_first=settle_first)


@request("orch/collision/tell", changes=True)
async def tell(call: Call, params: TellCollision) -> Session:
    """Give a session a follow-up that says what the other side changed, with the hunks."""
    await cleanup.settle_before(call.context, params.session)
    return await advice.tell(call.context, call.caller, params.collision, params.session)
