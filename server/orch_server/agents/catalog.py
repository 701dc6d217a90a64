"""Which agents there are: those that orch knows, and the user's own from the config.

Every module of this folder that names an `ADAPTER` is an agent that orch knows; the class's `rank` is its place in
lists. A table `[agents.<name>]` in the user's config adds a program without code, or takes the place of a known one.
"""

import importlib
import os
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orch_server import agents
from orch_server.agents.acp import AcpAdapter
from orch_server.agents.adapter import Adapter
from orch_server.agents.command import MODEL, PROMPT, CommandAdapter
from orch_server.agents.demo import DemoAdapter
from orch_server.domain.errors import OrchError, invalid_params
from orch_server.domain.ids import AGENT_NAME

PROTOCOLS: dict[str, type[AcpAdapter] | type[CommandAdapter]] = {"acp": AcpAdapter, "command": CommandAdapter}


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """A table `[agents.<name>]` of the user's config."""

    protocol: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


def build_catalog(config: Mapping[str, AgentConfig], *, python: str, demo_state: str) -> dict[str, Adapter]:
    """Return every agent by its name; `python` runs the demo agent, which remembers in `demo_state`.

    Raises invalidParams for a table that cannot be meant, saying what to change.
    """
    catalog = {adapter.name: adapter for adapter in _known(python, demo_state)}
    for name, table in config.items():
        catalog[name] = _configured(name, table)
    return catalog


def _known(python: str, demo_state: str) -> list[Adapter]:
    # The demo agent is the one that must be told where it is.
    known = [*(adapter() for adapter in discovered()), DemoAdapter(python, demo_state)]
    return sorted(known, key=lambda adapter: (adapter.rank, adapter.name))


def discovered() -> Iterator[type[Adapter]]:
    """Yield the adapter of every module of this folder that names one."""
    for module in pkgutil.iter_modules(agents.__path__, f"{agents.__name__}."):
        adapter = getattr(importlib.import_module(module.name), "ADAPTER", None)
        if adapter is not None:
            if not (isinstance(adapter, type) and issubclass(adapter, Adapter)):
                raise TypeError(f"{module.name}.ADAPTER must be a subclass of Adapter, not {adapter!r}.")
            yield adapter


def _configured(name: str, table: AgentConfig) -> Adapter:
    if not AGENT_NAME.fullmatch(name):
        raise _wrong(
            name, "its name must match [a-z][a-z0-9-]{0,31}", "Rename the table, for example [agents.my-agent]."
        )
    base = PROTOCOLS.get(table.protocol)
    if base is None:
        raise _wrong(
            name, f"protocol {table.protocol!r} is not known", f"Set protocol to {_listed(sorted(PROTOCOLS))}."
        )
    command = table.command
    if isinstance(command, str) or not command or not all(isinstance(word, str) and word for word in command):
        hint = 'Write the program and each argument as a string of their own: command = ["agent", "--acp"].'
        raise _wrong(name, "command must be a list of strings that are not empty", hint)
    if os.sep in command[0] and not os.path.isabs(command[0]):
        raise _wrong(name, f"{command[0]!r} is a relative path", "Write a name on your PATH, or an absolute path.")
    if table.protocol == "acp" and PROMPT in command:
        raise _wrong(name, f"{PROMPT} has no place in an ACP command", 'Leave it out, or set protocol = "command".')
    if not all(isinstance(key, str) and isinstance(value, str) for key, value in table.env.items()):
        raise _wrong(name, "env must hold strings", 'Write values in quotes: env = {LEVEL = "1"}.')
    adapter = base()
    adapter.name = adapter.display_name = name
    adapter.programs = (command[0],)
    adapter.arguments = tuple(command[1:])
    adapter.environment = dict(table.env)
    adapter.install_hint = f"{command[0]} is named in [agents.{name}] of your config; install it or change the command."
    if table.protocol == "command":
        takes_model = any(MODEL in word for word in command)
        adapter.capabilities = adapter.capabilities.model_copy(update={"model": takes_model})
    return adapter


def _wrong(name: str, problem: str, hint: str) -> OrchError:
    return invalid_params(f"[agents.{name}] in the config: {problem}.", hint=hint, agent=name)


def _listed(words: Sequence[str]) -> str:
    return " or ".join(f'"{word}"' for word in words)
