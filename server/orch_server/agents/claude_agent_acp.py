"""Claude Code through the bridge `claude-agent-acp`, over the Agent Client Protocol. Seen in 0.49.0.

For who has the bridge already; the adapter `claude` needs none. Its plan mode asks for leave to write, so that only
orch's refusal makes a run read-only.
"""

from orch_server.agents.acp import AcpAdapter
from orch_server.agents.adapter import Capabilities


class ClaudeAgentAcpAdapter(AcpAdapter):
    """Claude Code through its ACP bridge."""

    name = "claude-agent-acp"
    display_name = "Claude Code (ACP)"
    rank = 110
    programs = ("claude-agent-acp",)
    install_hint = "Install the bridge: npm install -g @agentclientprotocol/claude-agent-acp"
    capabilities = Capabilities(
        resume=True, follow_up="queue", approvals=True, questions=True, read_only=False, model=True
    )
    read_only_modes = ("plan",)
    implement_modes = ("default",)


ADAPTER = ClaudeAgentAcpAdapter
