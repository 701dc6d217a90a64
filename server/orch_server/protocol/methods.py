"""All methods: importing the files of the nouns registers them."""

from orch_server.protocol import (
    agent,
    artifact,
    cleanup,
    collision,
    command,
    dashboard,
    event,
    home,
    hub,
    lease,
    project,
    search,
    session,
)
from orch_server.protocol.registry import METHODS

NOUNS = (hub, project, agent, command, session, cleanup, home, collision, lease, artifact, event, search, dashboard)

__all__ = ["METHODS", "NOUNS"]
