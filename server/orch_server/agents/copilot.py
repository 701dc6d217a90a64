"""GitHub Copilot CLI over the Agent Client Protocol (`copilot --acp`). Seen in 1.0.102.

* Its tools are chosen at the start: a read-only run has only those that look, so that nothing else could be asked for.
* An error of the model is a turn that ends well, without usage and with "Error: ..." as its last words.
* Its mode `plan` is not used: it puts instructions into the user's texts, and forbids nothing that it could do.
* It has no tool to ask the user with over this protocol.
* Usage counts since the program's start.
"""

from orch_server.agents.acp import AcpAdapter
from orch_server.agents.adapter import Capabilities

READ_ONLY_TOOLS = ("view", "grep", "glob")


class CopilotAdapter(AcpAdapter):
    """GitHub Copilot CLI."""

    name = "copilot"
    display_name = "GitHub Copilot"
    rank = 30
    programs = ("copilot",)
    install_hint = "Install GitHub Copilot CLI: npm install -g @github/copilot"
    capabilities = Capabilities(
        resume=True, follow_up="queue", approvals=True, questions=False, read_only=True, model=True
    )
    arguments = ("--acp", "--no-auto-update", "--no-color", "--model", "{model}")
    read_only_arguments = (f"--available-tools={','.join(READ_ONLY_TOOLS)}",)
    read_only_modes = ()
    notices = ("Info: ", "Warning: ", "Error: ")
    error_prefix = "Error:"
    usage_is_cumulative = True


ADAPTER = CopilotAdapter
