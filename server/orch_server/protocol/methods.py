"""All methods: importing the files of the nouns registers them."""

from orch_server.protocol import agent, artifact, event, hub, project, search, session
from orch_server.protocol.registry import METHODS

NOUNS = (hub, project, agent, session, artifact, event, search)

__all__ = ["METHODS", "NOUNS"]
