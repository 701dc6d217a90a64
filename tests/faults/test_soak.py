"""Hours in minutes: agents talk without end, sessions come and go, the hub dies now and then, nothing grows (C.15)."""

import os
import time
from pathlib import Path

import pytest

from tests.faults.driver import Driver, Zygote
from tests.faults.figures import record
from tests.faults.scenario import complete, new_home, start
from tests.marks import FULL
from tests.waiting import wait_until
from tests.world import Known, digest_of, resident

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1200)]
SECONDS = 120 if FULL else 0
KILL_EVERY = 20.0
TALKING = 8
GROWTH = 24 * 1024 * 1024
"""What a hub may grow by in one life: caches fill up."""
MORE = 6
"""How many more descriptors it may hold, once what was just under way is over: connections of further readers."""


def test_nothing_grows(tmp_path: Path, zygote: Zygote) -> None:
    with Driver(new_home(tmp_path), zygote) as driver:
        shop = tmp_path / "shop"
        untouched = {shop: digest_of(shop)}
        driver.call("orch/project/add", path=str(shop))
        talking = [start(driver, "[[count 0 20]]") for _ in range(TALKING)]
        for session in talking:
            driver.until(session, "running")
        kills = done = 0
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            next_kill = time.monotonic() + KILL_EVERY
            _one_more(driver)  # so that what a hub opens for its work is open
            done += 1
            small, few = resident(driver.hub or 0), _descriptors(driver)
            while time.monotonic() < next_kill:
                _one_more(driver)
                done += 1
            assert resident(driver.hub or 0) <= small + GROWTH
            wait_until(lambda few=few: _descriptors(driver) <= few + MORE)  # type: ignore[misc]
            driver.kill()
            kills += 1
        for session in talking:
            driver.call("orch/session/stop", session=session)
        counted = driver.settle(Known(untouched))
        record("soak", seconds=SECONDS, kills=kills, sessions=done + TALKING, events=counted["events"])


def _one_more(driver: Driver) -> None:
    session = start(driver, "[[write a.txt x]] [[say hi]]")
    complete(driver, session)
    driver.call("orch/session/delete", session=session)


def _descriptors(driver: Driver) -> int:
    return len(os.listdir(f"/proc/{driver.hub}/fd"))
