"""Whatever an agent does, its session ends with a reason, nothing of it stays, and nobody else notices (C.7)."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import misbehave
from tests.faults.driver import Driver, Zygote
from tests.faults.figures import record
from tests.faults.scenario import new_home
from tests.marks import FULL
from tests.waiting import wait_until
from tests.world import LARGEST_HUB, Known, World, digest_of, peak

pytestmark = pytest.mark.timeout(1800)

STOPPED = {
    "ignores_signals",
    "closes_its_output",
    "reads_nothing",
    "takes_another_name",
}
"""Those that would go on for ever: the user stops them."""
ENDS = {
    "hides_a_child": "completed",
    "forks_a_crowd": "completed",
    "floods": "failed",
    "writes_one_long_line": "completed failed",
    "never_ends_a_line": "completed",
    "writes_no_utf8": "completed",
    "writes_nul": "completed",
    "writes_many_small_lines": "completed failed",
    "nests_deeply": "completed",
    "says_nothing": "completed",
    "exits_137": "failed",
    "crashes": "failed",
    "eats_memory": "failed",
    "writes_after_its_input_ended": "completed",
    "removes_its_directory": "completed",
    "replaces_its_git_file": "completed",
    "kills_its_runner": "completed failed",
    "floods_its_errors": "completed failed",
    "exits_before_the_handshake": "failed",
    "talks_nonsense": "waiting_for_user completed failed",
}
SPEAK_ACP = {"exits_before_the_handshake", "talks_nonsense", "reads_nothing"}
LIMIT = 128 << 20 if FULL else 2 << 20


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Iterator[Driver]:
    home = new_home(tmp_path_factory.mktemp("agents"))
    script = str(Path(misbehave.__file__))
    tables = [f"[limits]\nidle_seconds = 0.2\nstart_free_bytes = 0\noutput_bytes = {LIMIT}\n"]
    for name in [*STOPPED, *ENDS]:
        protocol = "acp" if name in SPEAK_ACP else "command"
        command = json.dumps([sys.executable, "-I", "-S", script, name])
        size = f'env = {{ FULL_SIZE = "{int(FULL)}" }}'
        tables.append(f'[agents.{_agent(name)}]\nprotocol = "{protocol}"\ncommand = {command}\n{size}\n')
    home.configure("\n".join(tables))
    with Driver(home, zygote) as driver:
        driver.call("orch/project/add", path=str(home.root / "shop"))
        yield driver


def test_every_way_to_misbehave_is_tried() -> None:
    ways = {name for name, what in vars(misbehave).items() if callable(what)}
    ways -= {"say", "send"}
    assert len(STOPPED | ENDS.keys()) >= 24
    assert STOPPED | ENDS.keys() == {name for name in ways if name[0].islower()}


def test_no_misbehaviour_of_an_agent_harms_anything(driver: Driver) -> None:
    shop = driver.home.root / "shop"
    untouched = {shop: digest_of(shop)}
    good = _start(driver, "demo", "[[count 0 50]]")
    driver.until(good, "running")
    largest, slowest = 0, 0.0
    for name in [*STOPPED, *ENDS]:
        session = _start(driver, _agent(name), "go")
        if name in STOPPED:
            driver.until(session, "running", "failed")
            if name not in SPEAK_ACP:
                wait_until(lambda session=session: _said(driver, session), 60)  # type: ignore[misc]
            driver.call("orch/session/stop", session=session)
            wanted = {"stopped"}
        else:
            wanted = set(ENDS[name].split())
        found = driver.until(session, "completed", "failed", "stopped", "waiting_for_user")
        if found["state"] == "waiting_for_user":
            driver.call("orch/session/stop", session=session)
        assert found["state"] in wanted, (name, found)
        assert found["state"] == "waiting_for_user" or found["reason"], (name, found)
        if name == "floods":
            assert found["reason"] == "output_limit", found
        assert driver.hub is not None
        largest = max(largest, peak(driver.hub))
        begun = time.monotonic()
        assert driver.call("orch/session/get", session=good)["state"] == "running", name
        slowest = max(slowest, time.monotonic() - begun)
    driver.call("orch/session/stop", session=good)
    wait_until(lambda: driver.call("orch/hub/status")["runs"] == 0, 60)
    assert largest <= LARGEST_HUB
    _check_without_the_broken(driver, Known(untouched))
    record("agents", misbehaviours=len(STOPPED) + len(ENDS), leftover_processes=0, hub_mb=largest // 10**6)


def _check_without_the_broken(driver: Driver, known: Known) -> None:
    """Check the world; the two that broke their worktree show that, and are put in order as a user would do it."""
    removed, replaced = (
        next(item for item in _sessions(driver) if item["agent"] == _agent(name))
        for name in ("removes_its_directory", "replaces_its_git_file")
    )
    assert removed["attention"] == ["worktree_missing"]
    assert "worktree_replaced" in replaced["attention"]
    driver.call("orch/session/restore", session=removed["id"])
    driver.call("orch/session/delete", session=replaced["id"])
    driver.read_events()
    found = list(World(driver.home).violations(Known(known.untouched, driver.told, hub=driver.hub)))
    # Git takes a worktree whose `.git` file was replaced for what it is; orch keeps its bytes in the trash.
    assert [text for text in found if replaced["id"] not in text and "said" not in text] == []


def _agent(way: str) -> str:
    return way.replace("_", "-")


def _sessions(driver: Driver) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = driver.call("orch/session/list", limit=100)["items"]
    return found


def _start(driver: Driver, agent: str, prompt: str) -> str:
    what = {"agent": agent, "action": "implement", "project": "shop", "prompt": prompt}
    return str(driver.call("orch/session/start", **what)["id"])


def _said(driver: Driver, session: str) -> bool:
    listed = driver.call("orch/event/list", session=session, types=["agent.message"])
    return bool(listed["items"])
