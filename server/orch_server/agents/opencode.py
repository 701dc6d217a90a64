"""OpenCode over the Agent Client Protocol (`opencode acp`). Seen in 1.18.33.

Its modes are agents of its own, a config option of the session; `plan` is the one that may not edit. What it asks in
spite of that is refused by orch's policy.
"""

from orch_server.agents.acp import AcpAdapter
from orch_server.agents.adapter import Capabilities


class OpenCodeAdapter(AcpAdapter):
    """OpenCode."""

    name = "opencode"
    display_name = "OpenCode"
    rank = 50
    programs = ("opencode",)
    install_hint = "Install OpenCode: npm install -g opencode-ai"
    capabilities = Capabilities(
        resume=True, follow_up="queue", approvals=True, questions=False, read_only=True, model=True
    )
    arguments = ("acp",)
    read_only_modes = ("plan",)


ADAPTER = OpenCodeAdapter
