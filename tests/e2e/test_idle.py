"""When a bridge and the hub end, and with what: exit codes, standalone, idleness, a socket that vanished."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.home import BIN, OrchHome, is_gone
from tests.lsp import Client
from tests.repositories import make_repository
from tests.waiting import wait_until, wait_until_async

Connect = Callable[..., Awaitable[Client]]
PATIENCE = 60.0
ANOTHER_HUB = 3
LOOKS = 2


@pytest.fixture
def cold_home(tmp_path: Path) -> Iterator[OrchHome]:
    """A home in which nothing has ever run."""
    home = OrchHome(tmp_path / "cold")
    make_repository(tmp_path / "cold" / "shop")
    try:
        yield home
    finally:
        home.close()


async def test_the_exit_codes_of_a_bridge(home: OrchHome, connect: Connect) -> None:
    assert await (await connect()).exit() == 0
    assert await (await connect()).exit(shutdown=False) == 1
    before_initialize = await connect(initialize=False)
    assert await before_initialize.exit(shutdown=False) == 1
    others = [await connect(), await connect()]
    home.kill_hub()
    assert [await client.gone(timeout=PATIENCE) for client in others] == [75, 75]
    others = [await connect(), await connect()]
    await others[0].call("orch/hub/shutdown")
    assert [await client.gone(timeout=PATIENCE) for client in others] == [75, 75]


async def test_a_client_that_ends_its_side_is_told_so_and_the_hub_lives(home: OrchHome, connect: Connect) -> None:
    client, other = await connect(), await connect()
    pid = (await other.call("orch/hub/status"))["pid"]
    assert client.process.stdin is not None
    client.process.stdin.close()
    assert await client.gone(timeout=PATIENCE) == 1
    broken = await connect()
    broken.send_raw(b"Content-Length: x\r\n\r\n")
    assert (await broken.unasked())["error"]["code"] == -32700
    assert await broken.gone(timeout=PATIENCE) == 1
    killed = await connect()
    killed.process.kill()
    await killed.gone()

    async def only_one_is_left() -> bool:
        return bool((await other.call("orch/hub/status"))["connections"] == 1)

    while not await only_one_is_left():
        await asyncio.sleep(0.01)
    assert (await other.call("orch/hub/status"))["pid"] == pid


@pytest.mark.parametrize("shutdown", [True, False])
async def test_standalone_serves_and_exits(cold_home: OrchHome, shutdown: bool) -> None:
    client = await Client.start(cold_home, "--standalone")
    try:
        assert (await client.call("orch/hub/status"))["pid"] == client.process.pid
        await client.call("orch/project/add", {"path": str(cold_home.root / "shop")})
        await client.call("orch/event/subscribe", {})
        params = {"agent": "demo", "action": "analyze", "project": "shop", "prompt": "[[say hello]] [[hang]]"}
        session_id = (await client.call("orch/session/start", params))["id"]
        await client.until(
            lambda _: any(event["type"] == "agent.message" for event in client.events()), timeout=PATIENCE
        )
        agent = (await client.call("orch/session/get", {"session": session_id}))["pid"]
        refused = subprocess.run(
            [f"{BIN}/orch-server", "--standalone"],
            env=cold_home.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert refused.returncode == ANOTHER_HUB
        assert "needs a home of its own" in refused.stderr
        assert await client.exit(shutdown=shutdown) == (0 if shutdown else 1)
    finally:
        await client.close()
    assert not is_gone(agent)
    assert cold_home.session(session_id)["pid"] == agent
    cold_home.cli("stop", session_id)
    assert is_gone(agent)


@pytest.mark.timeout(240)
async def test_the_hub_leaves_when_nobody_is_there_and_nothing_runs(cold_home: OrchHome) -> None:
    cold_home.configure("[limits]\nhub_idle_seconds = 1\nidle_seconds = 0\n")
    client = await Client.start(cold_home)
    hub = psutil.Process(cold_home.hub_pid())
    await _looked_around(cold_home)
    assert hub.is_running(), "it left while a client was there"
    await client.call("orch/project/add", {"path": str(cold_home.root / "shop")})
    params = {"agent": "demo", "action": "analyze", "project": "shop", "prompt": "[[hang]]"}
    session_id = (await client.call("orch/session/start", params))["id"]
    agent = await _pid_of(client, session_id)
    assert await client.exit() == 0
    await _looked_around(cold_home)
    assert hub.is_running(), "it left while an agent ran"
    os.kill(agent, signal.SIGKILL)
    await wait_until_async(lambda: is_gone(hub.pid), PATIENCE)
    assert cold_home.processes() == []
    assert not list(cold_home.root.glob("run/**/hub.sock"))
    reasons = [event["data"]["reason"] for event in cold_home.events("hub.stopping")]
    assert reasons[0] == "idle"
    assert cold_home.session(session_id)["reason"] == "killed"


async def test_a_socket_that_vanished_is_bound_again(home: OrchHome, connect: Connect) -> None:
    client = await connect()
    status = await client.call("orch/hub/status")
    socket = Path(status["socket"])
    socket.unlink()
    late = await connect()
    assert (await late.call("orch/hub/status"))["pid"] == status["pid"]
    assert socket.is_socket()
    assert socket.stat().st_mode & 0o777 == 0o600
    await client.call("orch/hub/status")
    for file in (socket, socket.parent):
        file.unlink() if file.is_socket() else file.rmdir()
    late = await connect()
    assert (await late.call("orch/hub/status"))["pid"] == status["pid"]
    assert len(home.events("hub.started")) == 1


def test_a_hub_that_is_asked_to_end_ends_in_order(home: OrchHome) -> None:
    pid = home.hub_pid()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: is_gone(pid), PATIENCE)
    assert home.processes() == []
    assert home.events("hub.stopping")[0]["data"]["reason"] == "signal"


async def _looked_around(home: OrchHome) -> None:
    """Wait until the hub has looked around some times and found that it is needed."""

    def seen() -> Any:
        return home.query("SELECT value FROM facts WHERE name = 'last_seen'")

    for _ in range(LOOKS):
        before = seen()
        await wait_until_async(lambda before=before: seen() != before, PATIENCE)  # type: ignore[misc]


async def _pid_of(client: Client, session_id: str) -> int:
    while True:
        pid = (await client.call("orch/session/get", {"session": session_id}))["pid"]
        if pid is not None:
            return int(pid)
        await asyncio.sleep(0.01)
