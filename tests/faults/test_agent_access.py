"""An agent reads its own session and can do nothing else to the hub, however it detaches itself (B10)."""

import json
import sys
from pathlib import Path

import pytest

from orch_server.protocol.access import READING
from orch_server.protocol.methods import METHODS
from tests.faults.driver import Driver, Zygote
from tests.faults.scenario import complete, new_home
from tests.world import digest_of

pytestmark = pytest.mark.timeout(300)
HERE = Path(__file__).parents[2]


@pytest.mark.parametrize("how", ["plain", "detached", "stripped"])
def test_an_agent_can_only_read_its_own_session(how: str, tmp_path: Path, zygote: Zygote) -> None:
    home = new_home(tmp_path)
    output = tmp_path / "told.json"
    probe = Path(__file__).with_name("probe.py")
    command = [sys.executable, str(probe), json.dumps(home.environment), how, "{prompt}", str(output)]
    home.configure(f"""
[limits]
start_free_bytes = 0
[agents.probe]
protocol = "command"
command = {json.dumps(command)}
env = {{ PYTHONPATH = {json.dumps(str(HERE))} }}
""")
    with Driver(home, zygote) as driver:
        driver.call("orch/project/add", path=str(tmp_path / "shop"))
        what = {"agent": "demo", "action": "implement", "project": "shop", "prompt": "[[say hi]]"}
        other = driver.call("orch/session/start", **what)["id"]
        complete(driver, other)
        checkout = digest_of(tmp_path / "shop")
        own = driver.call("orch/session/start", agent="probe", action="implement", project="shop", prompt=other)["id"]
        found = driver.until(own, "completed", "failed")
        told = json.loads(output.read_text())
        assert found["state"] == "completed", found
        assert len(told) == 2 * len(METHODS) + 1
        done = {(method, mine) for method, mine, answer in told if answer == "done"}
        assert done == {(method, True) for method in READING - {"orch/event/unsubscribe"}}
        refused = {method for method, _, answer in told if answer == "forbidden"}
        assert refused == METHODS.keys() - {"orch/event/unsubscribe"} | {"textDocument/hover"}
        after = driver.call("orch/session/get", session=other)
        assert (after["state"], after["turns"], after["queued"], after["title"]) == ("completed", 1, [], "[[say hi]]")
        assert digest_of(tmp_path / "shop") == checkout
        assert len(driver.call("orch/session/list")["items"]) == 2
        log = (home.path / "hub.log").read_text()
        assert log.count(f"The agent of session {own} was refused") >= len(METHODS) - 1


def test_what_it_may_read_is_named() -> None:
    assert METHODS.keys() >= READING
    assert not any(METHODS[name].changes for name in READING)
