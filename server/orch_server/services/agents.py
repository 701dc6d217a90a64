"""Which agents there are, seen with a client's PATH."""

import asyncio
import os
import re

from orch_server.agents.adapter import Adapter, Capabilities
from orch_server.domain.errors import OrchError
from orch_server.domain.wire import WireModel
from orch_server.services.context import Context, Environment
from orch_server.services.launching import agent_environment, find_program

_VERSION_SECONDS = 10.0
_VERSION = re.compile(r"\d+\.\d+[\w.+-]*")


class AgentInfo(WireModel):
    """An agent as a client can use it."""

    name: str
    display_name: str
    available: bool
    version: str | None
    path: str | None
    protocol: str
    capabilities: Capabilities
    hint: str


async def list_(context: Context, environment: Environment) -> list[AgentInfo]:
    """Return every known agent: whether it is installed for this client, where and in which version."""
    return list(await asyncio.gather(*(_look(adapter, environment) for adapter in context.adapters.values())))


async def _look(adapter: Adapter, environment: Environment) -> AgentInfo:
    path = version = None
    hint = ""
    try:
        path = find_program(adapter, environment)
    except OrchError as error:
        hint = error.hint
    else:
        version = await _version(path, adapter, environment)
    return AgentInfo(
        name=adapter.name,
        display_name=adapter.display_name,
        available=path is not None,
        version=version,
        path=path,
        protocol=adapter.protocol,
        capabilities=adapter.capabilities,
        hint=hint,
    )


_versions: dict[tuple[str, float, int], str | None] = {}


async def _version(path: str, adapter: Adapter, environment: Environment) -> str | None:
    """Return what the program says its version is; asked once for as long as its file stays the same."""
    if not adapter.version_arguments:
        return None
    status = os.stat(path)
    key = (path, status.st_mtime, status.st_size)
    if key not in _versions:
        _versions[key] = await _ask_version([path, *adapter.version_arguments], environment)
    return _versions[key]


async def _ask_version(command: list[str], environment: Environment) -> str | None:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=agent_environment(environment, {}),
            cwd="/",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _VERSION_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    text = output.decode(errors="replace").strip()
    found = _VERSION.search(text)
    return found.group() if found else None
