"""`orch/hub/*`."""

import os

from pydantic import Field

import orch_server
from orch_server.domain.wire import WireModel
from orch_server.protocol.registry import Call, Empty, request


class HubStatus(WireModel):
    """How the hub is."""

    version: str
    protocol_version: int
    pid: int
    started_at: str
    home: str
    database: str
    socket: str
    connections: int
    runs: int = Field(description="Agent processes that live.")
    queued: int = Field(description="Sessions that wait for a place, a client or a limit to end.")
    sessions_by_state: dict[str, int]
    data_bytes: int = Field(description="The size of the database.")


@request("orch/hub/status")
def status(call: Call, params: Empty) -> HubStatus:
    """Say how the hub is; the health check."""
    del params
    context = call.context
    database = context.store.path
    return HubStatus(
        version=orch_server.__version__,
        protocol_version=orch_server.PROTOCOL_VERSION,
        pid=os.getpid(),
        started_at=context.started_at,
        home=context.places.home,
        database=database,
        socket=context.places.socket,
        connections=len(context.clients),
        runs=len(context.live),
        queued=context.queued(),
        sessions_by_state=context.store.count_by_state(),
        data_bytes=sum(
            os.path.getsize(database + suffix) for suffix in ("", "-wal") if os.path.exists(database + suffix)
        ),
    )


@request("orch/hub/shutdown", changes=True)
async def shutdown(call: Call, params: Empty) -> Empty:
    """Ask the hub to leave; agents run on, and the next hub adopts them."""
    del params
    call.client.after_reply(call.context.leave)
    return Empty()
