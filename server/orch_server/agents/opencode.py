"""OpenCode over the Agent Client Protocol (`opencode acp`). Seen in 1.18.33.

* Left to itself it asks about nothing. What it may do is said in a variable, which its own settings cannot loosen:
  an implementing run asks about everything that could change something, a read-only run may do nothing of it.
* A prompt that comes while one runs is read at the next step of the same turn; both are answered with its end.
* Its modes are agents of its own, a config option of the session.
"""

import orjson

from orch_server.agents.acp import AcpAdapter
from orch_server.agents.adapter import Capabilities, Launch, Task

CHANGING = ("edit", "bash", "webfetch", "external_directory")


class OpenCodeAdapter(AcpAdapter):
    """OpenCode."""

    name = "opencode"
    display_name = "OpenCode"
    rank = 50
    programs = ("opencode",)
    install_hint = "Install OpenCode: npm install -g opencode-ai"
    capabilities = Capabilities(
        resume=True, follow_up="steer", approvals=True, questions=False, read_only=True, model=True
    )
    arguments = ("acp",)
    read_only_modes = ("plan",)
    joins = True

    def launch(self, task: Task) -> Launch:
        """Say how the program is started for `task`, and what it may do."""
        launch = super().launch(task)
        permissions = orjson.dumps(dict.fromkeys(CHANGING, "deny" if task.read_only else "ask")).decode()
        return Launch(launch.arguments, {**launch.environment, "OPENCODE_PERMISSION": permissions})


ADAPTER = OpenCodeAdapter
