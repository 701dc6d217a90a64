"""Many that start at once find or make exactly one hub."""

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.home import BIN, OrchHome
from tests.lsp import Client
from tests.marks import NIGHTLY
from tests.waiting import wait_until

SIZES = [
    pytest.param(20, id="20", marks=pytest.mark.timeout(300)),
    pytest.param(100, id="100", marks=(*NIGHTLY, pytest.mark.timeout(600))),
]
LOST_THE_RACE = 3
HUBS = 4


@pytest.mark.parametrize("racers", SIZES)
async def test_a_cold_home_gets_one_hub(tmp_path: Path, racers: int) -> None:
    home = OrchHome(tmp_path)
    try:
        await _race(home, racers)
        assert len(home.events("hub.started")) == 1
    finally:
        home.close()


@pytest.mark.parametrize("racers", SIZES)
async def test_what_a_killed_hub_left_behind_is_in_nobodys_way(tmp_path: Path, racers: int) -> None:
    home = OrchHome(tmp_path)
    try:
        socket = Path(home.json("health")["socket"])
        dead = home.kill_hub()
        assert socket.is_socket()
        assert (home.path / "hub.lock").read_text() == f"{dead}\n"
        assert await _race(home, racers) != dead
        assert len(home.events("hub.started")) == 2
    finally:
        home.close()


def test_of_hubs_started_by_hand_one_stays(tmp_path: Path) -> None:
    home = OrchHome(tmp_path)
    try:
        started = [
            psutil.Popen([f"{BIN}/orch-server", "--hub"], env=home.environment, stderr=subprocess.DEVNULL)
            for _ in range(HUBS)
        ]
        wait_until(lambda: sum(hub.poll() is None for hub in started) == 1, 60)
        assert sorted(hub.poll() for hub in started if hub.poll() is not None) == [LOST_THE_RACE] * (HUBS - 1)
        (winner,) = (hub for hub in started if hub.poll() is None)
        assert home.json("health")["pid"] == winner.pid
        winner.terminate()
        assert winner.wait(30) == 0
    finally:
        home.close()


async def _race(home: OrchHome, racers: int) -> int:
    """Start bridges at once, each served by the same hub; return the hub's pid."""
    clients = await asyncio.gather(*(Client.start(home, initialize=False) for _ in range(racers)))
    info: dict[str, Any] = {"processId": os.getpid(), "rootUri": None, "capabilities": {}}
    try:
        await asyncio.gather(*(client.call("initialize", info, timeout=200) for client in clients))
        told = await asyncio.gather(*(client.call("orch/hub/status", timeout=60) for client in clients))
        pids = {status["pid"] for status in told}
        assert [hub.pid for hub in home.hubs()] == list(pids)
        assert told[-1]["connections"] == racers
        assert await asyncio.gather(*(client.exit() for client in clients)) == [0] * racers
    finally:
        await asyncio.gather(*(client.close() for client in clients))
    (pid,) = pids
    print(f"{racers} bridges at once, one hub")
    return int(pid)
