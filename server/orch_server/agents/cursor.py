"""Cursor's agent over the Agent Client Protocol (`cursor-agent acp`).

Not verified: no Cursor program could be run when this was written, so there is no recording of it. What stands here is
what its documentation says; everything else is what programs of this protocol have in common.
"""

from orch_server.agents.acp import AcpAdapter
from orch_server.agents.adapter import Capabilities


class CursorAdapter(AcpAdapter):
    """Cursor's agent."""

    name = "cursor"
    display_name = "Cursor"
    rank = 60
    programs = ("cursor-agent",)
    install_hint = "Install Cursor's command line agent: https://cursor.com/cli"
    capabilities = Capabilities(
        resume=True, follow_up="queue", approvals=True, questions=False, read_only=False, model=True
    )
    arguments = ("acp",)
    read_only_modes = ("ask", "plan")


ADAPTER = CursorAdapter
