"""`orch/agent/*`."""

from orch_server.domain.wire import WireModel
from orch_server.protocol.registry import Call, Empty, request
from orch_server.services import agents
from orch_server.services.agents import AgentInfo


class AgentList(WireModel):
    """All known agents."""

    items: list[AgentInfo]


@request("orch/agent/list")
async def list_(call: Call, params: Empty) -> AgentList:
    """Return the agents, seen with the caller's PATH: which are installed, what they can, how to get the others."""
    del params
    return AgentList(items=await agents.list_(call.context, call.caller.environment))
