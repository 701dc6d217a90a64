"""`orch agents`."""

from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.client import Client
from orch_server.endpoints.cli.main import orch, verb


@verb(orch, prints="AgentList")
def agents(client: Client, as_json: bool) -> None:
    """List the agents: which are installed, where, and how to get the others."""
    found = client.call("orch/agent/list")
    if as_json:
        show.as_json(found)
        return
    rows = []
    for agent in found["items"]:
        where = agent["path"] if agent["available"] else f"not installed. {agent['hint']}"
        rows.append([agent["name"], agent["version"] or "", agent["protocol"], where])
    show.table(["AGENT", "VERSION", "PROTOCOL", "WHERE"], rows)
