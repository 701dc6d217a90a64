"""`orch/lease/*`."""

from pydantic import Field

from orch_server.domain.lease import Lease
from orch_server.domain.wire import Params, WireModel
from orch_server.protocol.registry import Call, Empty, request
from orch_server.services import leases, sessions


class ClaimPaths(Params):
    """Which paths are wanted, and by whom."""

    project: str = Field(min_length=1, description="Its id or slug.")
    paths: list[str] = Field(
        min_length=1, max_length=100, description="From the top of the project; a folder stands for all in it."
    )
    session: str | None = Field(default=None, min_length=1, description="Who holds them; the user if left out.")


class ListLeases(Params):
    """Which leases."""

    project: str | None = Field(default=None, min_length=1)


class ReleaseLease(Params):
    """Which lease to end."""

    lease: str = Field(min_length=1)


class LeaseList(WireModel):
    """Who wants which paths for itself."""

    items: list[Lease]


@request("orch/lease/claim", changes=True)
async def claim(call: Call, params: ClaimPaths) -> LeaseList:
    """Want paths for oneself: an agent that is about to change one of them has to ask. Refused if another holds one."""
    holder = sessions.find(call.context, params.session) if params.session is not None else None
    return LeaseList(items=await leases.claim(call.context, params.project, holder, params.paths))


@request("orch/lease/release", changes=True)
async def release(call: Call, params: ReleaseLease) -> Empty:
    """End a lease."""
    await leases.release(call.context, params.lease)
    return Empty()


@request("orch/lease/list")
def list_(call: Call, params: ListLeases) -> LeaseList:
    """Return the leases there are."""
    return LeaseList(items=leases.list_(call.context, params.project))
