"""Gemini CLI over the Agent Client Protocol (`gemini --acp`). Seen in 0.61.0.

* It does not ask whether a directory is trusted: nobody could answer (`--skip-trust`).
* A read-only run is in its plan mode from the start, in which it has no tool that writes.
* It retries a failing model for minutes.
* It resumes a conversation once, and not within the minute in which it began: it begins to save it anew under the same
  name before it reads it, and later takes the empty twin for a reason to delete both. What it answers then is told as
  the error that it is.
"""

from orch_server.agents.acp import AcpAdapter
from orch_server.agents.adapter import Capabilities


class GeminiAdapter(AcpAdapter):
    """Gemini CLI."""

    name = "gemini"
    display_name = "Gemini CLI"
    rank = 40
    programs = ("gemini",)
    install_hint = "Install Gemini CLI: npm install -g @google/gemini-cli"
    capabilities = Capabilities(
        resume=True, follow_up="queue", approvals=True, questions=False, read_only=True, model=True
    )
    arguments = ("--acp", "--skip-trust", "-m", "{model}")
    read_only_arguments = ("--approval-mode", "plan")
    read_only_modes = ("plan",)
    history_follows_load = True


ADAPTER = GeminiAdapter
