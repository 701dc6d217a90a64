"""However many start at once, there is one hub, and everybody reaches it (C.3)."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.faults.figures import record
from tests.home import OrchHome
from tests.marks import FULL

pytestmark = pytest.mark.timeout(1800)
RACERS = 100
ROUNDS = 30 if FULL else 2


def race(home: OrchHome) -> int:
    """Let all start at once; return the pid of the one hub that all of them reached."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.racers", str(RACERS)],
        env=home.environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    reached = [int(line) for line in done.stdout.split()]
    assert len(reached) == RACERS, done.stderr[-2000:]
    assert set(reached) == {home.hub_pid()}, (sorted(set(reached)), done.stderr[-2000:])
    assert [hub.pid for hub in home.hubs()] == [reached[0]]
    return reached[0]


def test_a_hundred_starts_at_once_give_one_hub(tmp_path: Path) -> None:
    """On a cold home, then on what a killed hub left: its socket, its lock file, its database."""
    for number in range(ROUNDS):
        home = OrchHome(tmp_path / str(number // 2))
        hub = race(home)
        os.kill(hub, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(hub)] if psutil.pid_exists(hub) else [], timeout=30)
        if number % 2:
            home.close()
    home.close()
    record("start races", rounds=ROUNDS, racers=RACERS, hubs_each=1)
