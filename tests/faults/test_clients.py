"""Clients that leave anywhere, never read, or come in hundreds harm neither the hub nor one another (C.4, C.1c)."""

import json
import os
import random
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.faults.driver import Driver, Zygote
from tests.faults.figures import record
from tests.faults.scenario import complete, new_home
from tests.home import BIN
from tests.lsp import RawClient, frame
from tests.marks import FULL
from tests.waiting import wait_until
from tests.world import LARGEST_HUB, resident

pytestmark = pytest.mark.timeout(900)
LEAVE = 1_000 if FULL else 100
BRIDGES = 60 if FULL else 6
CROWD = 200
INITIALIZE = frame(
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"processId":null,"rootUri":null,"capabilities":{}}}'
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Iterator[Driver]:
    with Driver(new_home(tmp_path_factory.mktemp("clients")), zygote) as driver:
        driver.call("orch/project/add", path=str(driver.home.root / "shop"))
        yield driver


def descriptors(driver: Driver) -> int:
    return len(os.listdir(f"/proc/{driver.hub}/fd"))


class Recorded(RawClient):
    """A client that remembers what it sent."""

    def send_raw(self, data: bytes) -> None:
        self.sent: bytes = getattr(self, "sent", b"") + data
        super().send_raw(data)


def test_a_client_that_leaves_in_the_middle_of_anything(driver: Driver) -> None:
    """Every conversation ends after some byte of it; the session that it may have begun is whole or is not there."""
    with Recorded(driver.home, patience=60) as client:
        what = {"agent": "demo", "action": "analyze", "project": "shop", "prompt": "[[say hi]]", "requestKey": "left"}
        client.request("orch/session/start", what)
        client.request("orch/session/list", {})
        client.request("orch/event/subscribe", {"after": 0})
        said = client.sent
    before, chance = descriptors(driver), random.Random(7)
    for _ in range(LEAVE):
        with RawClient(driver.home, initialize=False, patience=60) as leaving:
            leaving.send_raw(said[: chance.randrange(len(said))])
    assert driver.call("orch/hub/status")["pid"] == driver.hub
    wait_until(lambda: driver.call("orch/hub/status")["connections"] == 1, 60)
    wait_until(lambda: descriptors(driver) <= before + 3, 60)
    assert len(driver.call("orch/session/list")["items"]) == 1
    for session in driver.call("orch/session/list")["items"]:
        complete(driver, session["id"])
    record("clients", left_in_the_middle=LEAVE)


def test_a_bridge_that_is_killed_in_the_middle_of_a_request(driver: Driver) -> None:
    """Its editor cannot tell what became of the request, and sends it again by another bridge: it is done once."""
    before, chance = len(driver.call("orch/session/list", limit=1000)["items"]), random.Random(8)
    for number in range(BRIDGES):
        what = {"agent": "demo", "action": "analyze", "project": "shop", "prompt": "[[say hi]]"}
        params = {**what, "requestKey": f"bridge-{number}"}
        sent = frame(json.dumps({"jsonrpc": "2.0", "id": 2, "method": "orch/session/start", "params": params}).encode())
        with subprocess.Popen(
            [f"{BIN}/orch-server"],
            env=driver.home.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # so that the rest of the first reply is there to be read below
        ) as bridge:
            assert bridge.stdin is not None
            assert bridge.stdout is not None
            bridge.stdin.write(INITIALIZE)
            bridge.stdin.flush()
            assert bridge.stdout.readline().startswith(b"Content-Length")  # it has its hub
            bridge.stdin.write(sent[: chance.choice([len(sent), chance.randrange(len(sent))])])
            bridge.stdin.flush()
            if number % 3 == 2:
                os.read(bridge.stdout.fileno(), 1)  # the hub answers, be it to the first request
            bridge.kill()
        with RawClient(driver.home, patience=60) as client:
            session = client.request("orch/session/start", params)["id"]
            assert client.request("orch/session/start", params)["id"] == session
        assert len(driver.call("orch/session/list", limit=1000)["items"]) == before + number + 1
        complete(driver, session)
    driver.settle()
    record("clients", bridges_killed=BRIDGES)


def test_clients_that_never_read_hold_nobody_up(driver: Driver) -> None:
    what = {"agent": "demo", "action": "analyze", "project": "shop", "prompt": "[[flood 3000000]]"}
    with ExitStack() as stack:
        deaf = [stack.enter_context(RawClient(driver.home, patience=60)) for _ in range(5)]
        for client in deaf:
            client.send({"jsonrpc": "2.0", "id": 1, "method": "orch/event/subscribe", "params": {"after": 0}})
        session = driver.call("orch/session/start", **what)["id"]
        complete(driver, session)
        assert driver.hub is not None
        assert resident(driver.hub) <= LARGEST_HUB
    driver.settle()


def test_hundreds_at_once_are_all_served(driver: Driver) -> None:
    before = descriptors(driver)
    with ExitStack() as stack:
        crowd = [stack.enter_context(RawClient(driver.home, patience=60)) for _ in range(CROWD)]
        seconds = []
        for client in crowd:
            begun = time.monotonic()
            assert client.request("orch/hub/status")["pid"] == driver.hub
            seconds.append(time.monotonic() - begun)
        assert driver.call("orch/hub/status")["connections"] == CROWD + 1
    wait_until(lambda: descriptors(driver) <= before + 3, 60)
    record("clients", at_once=CROWD, median_microseconds=round(statistics.median(seconds) * 1e6))


def test_a_hub_that_is_stopped_and_goes_on(driver: Driver) -> None:
    what = {"agent": "demo", "action": "implement", "project": "shop", "prompt": "[[count 200 5]]"}
    session = driver.call("orch/session/start", **what)["id"]
    driver.until(session, "running")
    assert driver.hub is not None
    os.kill(driver.hub, signal.SIGSTOP)
    time.sleep(1)  # the agent goes on meanwhile
    os.kill(driver.hub, signal.SIGCONT)
    complete(driver, session)
    driver.settle()
