"""What a hub takes of the machine while nothing happens: processor and memory."""

import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.bench.crowd import fill
from tests.bench.measure import Line, Scale, at_most, below
from tests.bench.scene import ORCH_SERVER, orch_home
from tests.bench.wire import Wire
from tests.home import OrchHome
from tests.waiting import wait_until

SLEEPER = '[agents.sleeper]\nprotocol = "command"\ncommand = ["sleep", "3600"]\n'
CLIENTS = 20


def run(scale: Scale) -> Iterator[Line]:
    """Measure a hub with 100 sessions whose agents say nothing, 20 clients and a big database; and a bare one."""
    sessions, events = 100, 1_000_000 if scale.full else 200_000
    with orch_home(SLEEPER) as bare_home, orch_home(SLEEPER) as home:
        fill(home, sessions=1_000, events=events)
        clients = [Wire(ORCH_SERVER, home.environment) for _ in range(CLIENTS)]
        alone = Wire(ORCH_SERVER, bare_home.environment)
        try:
            for client in (*clients, alone):
                client.initialize()
            for client in clients:
                client.call("orch/event/subscribe", {"types": ["hub.*"]})
            params = {"agent": "sleeper", "action": "analyze", "project": "shop", "prompt": "sleep"}
            for _ in range(sessions):
                clients[0].call("orch/session/start", params)
            running = {"states": ["running"], "limit": sessions}
            asked = clients[0]
            wait_until(lambda: len(asked.call("orch/session/list", running)["items"]) == sessions, timeout=180)
            hub, bare = _hub(home), _hub(bare_home)
            seconds = 70 if scale.full else 20  # with the round of once a minute, or most often without
            time.sleep(3)
            before, bare_before = _busy_seconds(hub), _busy_seconds(bare)
            time.sleep(seconds)
            busy, bare_busy = _busy_seconds(hub) - before, _busy_seconds(bare) - bare_before
            memory, bare_memory = _memory(hub), _memory(bare)
        finally:
            for client in (*clients, alone):
                client.close()
    share, bare_share = 100 * busy / seconds, 100 * bare_busy / seconds
    what = f"hub's processor, {sessions} idle sessions"
    yield Line("idle", what, "%", share, None, "bare hub", bare_share, below(0.2, "%"), f"in {seconds} s")
    what = f"hub's memory, {sessions} sessions, {CLIENTS} clients, {events:,} events"
    yield Line("memory", what, "MB", memory, None, "bare hub", bare_memory, at_most(1.5))


def _hub(home: OrchHome) -> psutil.Process:
    return psutil.Process(home.hub_pid())


def _busy_seconds(process: psutil.Process) -> float:
    """Return what all threads of a process ran: by the scheduler, since cpu_times counts in hundredths of a second."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _memory(process: psutil.Process) -> float:
    return process.memory_full_info().uss / 1e6
