"""Codex through the bridge `codex-acp`, over the Agent Client Protocol. Seen in 2.6.0.

For who has the bridge already; the adapter `codex` needs none. Its read-only mode asks for leave to write, so that only
orch's refusal makes a run read-only.
"""

from orch_server.agents.acp import AcpAdapter
from orch_server.agents.adapter import Capabilities


class CodexAcpAdapter(AcpAdapter):
    """Codex through its ACP bridge."""

    name = "codex-acp"
    display_name = "Codex (ACP)"
    rank = 120
    programs = ("codex-acp",)
    install_hint = "Install the bridge: npm install -g @agentclientprotocol/codex-acp"
    capabilities = Capabilities(
        resume=True, follow_up="queue", approvals=True, questions=True, read_only=False, model=True
    )
    read_only_modes = ("read-only",)
    # Its other modes write without asking.
    implement_modes = ("read-only",)


ADAPTER = CodexAcpAdapter
