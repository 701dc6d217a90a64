"""A newer orch takes eight live agents over, an older one takes them back, and none of them notices (C.17)."""

from pathlib import Path

import psutil
import pytest

from tests.e2e.test_upgrade import Installation
from tests.faults.figures import record
from tests.home import OrchHome
from tests.lsp import Client, RawClient
from tests.repositories import make_repository
from tests.waiting import wait_until
from tests.world import Known, check_world, digest_of

AGENTS = 8
PATIENCE = 60.0


@pytest.mark.nightly
@pytest.mark.timeout(600)
async def test_eight_agents_survive_an_upgrade_and_a_downgrade(tmp_path: Path) -> None:
    newer = Installation(tmp_path / "newer", version="99.0.0")
    make_repository(tmp_path / "shop")
    home = OrchHome(tmp_path)
    try:
        home.cli("projects", "add", str(tmp_path / "shop"))
        untouched = {tmp_path / "shop": digest_of(tmp_path / "shop")}
        sessions = [home.send("demo", "implement", "shop", "[[count 0 100]]") for _ in range(AGENTS)]
        before = home.hub_pid()
        born = {session: wait_until(lambda session=session: _process(home, session), PATIENCE) for session in sessions}  # type: ignore[misc]

        client = await Client.run(home, newer.server)  # the first hub leaves for it
        assert (await client.call("orch/hub/status"))["version"] == "99.0.0"
        assert home.hub_pid() != before
        assert {session: _process(home, session) for session in sessions} == born
        assert await client.exit() == 0
        upgraded = home.hub_pid()
        assert home.json("health")["version"] == "99.0.0"  # the older program uses the newer hub

        home.cli("hub", "stop")
        wait_until(lambda: not home.hubs(), PATIENCE)
        assert home.json("health")["version"] != "99.0.0"  # and starts its own where there is none
        assert home.hub_pid() != upgraded
        assert {session: _process(home, session) for session in sessions} == born

        with RawClient(home, patience=PATIENCE) as asking:
            for session in sessions:
                assert asking.request("orch/session/stop", {"session": session})["state"] == "stopped"
            events = asking.request("orch/event/list", {"types": ["run.*"], "limit": 1000})["items"]
        kinds = [event["type"] for event in events]
        assert (kinds.count("run.started"), kinds.count("run.adopted")) == (AGENTS, 2 * AGENTS)
        check_world(home, known=Known(untouched, hub=home.hub_pid()))
        record("upgrade", agents=AGENTS, restarted=0)
    finally:
        home.close()


def _process(home: OrchHome, session: str) -> tuple[int, float] | None:
    """Return the agent's process and when it began; None while there is none."""
    with RawClient(home, patience=PATIENCE) as client:
        pid = client.request("orch/session/get", {"session": session})["pid"]
    return None if pid is None else (pid, psutil.Process(pid).create_time())
