"""The demo agent as orch starts it: an agent that needs no installation, no account and no network."""

import os

from orch_server.agents.acp import AcpAdapter
from orch_server.agents.adapter import Capabilities, Launch, Task

DEMO_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "demo_agent.py")


class DemoAdapter(AcpAdapter):
    """An agent without a model that does what directives in its prompt say."""

    name = "demo"
    display_name = "Demo agent"
    install_hint = "It comes with orch."
    version_arguments = ("-I", "-S", DEMO_FILE, "--version")
    capabilities = Capabilities(
        resume=True, follow_up="queue", approvals=True, questions=True, read_only=True, model=True
    )
    read_only_modes = ()

    def __init__(self, python: str, state_dir: str, module_file: str = DEMO_FILE) -> None:
        self.programs = (python,)
        self._state_dir = state_dir
        self._module_file = module_file

    def launch(self, task: Task) -> Launch:
        """Say how the demo agent is started for `task`."""
        arguments = ["-I", "-S", self._module_file, "--state", self._state_dir]
        if task.read_only:
            arguments.append("--read-only")
        if task.model:
            arguments += ["--model", task.model]
        return Launch(arguments)
