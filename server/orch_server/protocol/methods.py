"""All methods: importing the files of the nouns registers them."""

from orch_server.protocol import agent, event, hub, project, session
from orch_server.protocol.registry import METHODS

NOUNS = (hub, project, agent, session, event)

__all__ = ["METHODS", "NOUNS"]
