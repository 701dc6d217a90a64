"""Fifty agents that speak for minutes: the hub's memory and descriptors do not grow. Part of the full form alone."""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.bench.measure import Line, Scale, at_most
from tests.bench.scene import ORCH_SERVER, REFERENCES, orch_home, python_agent
from tests.bench.wire import Wire
from tests.waiting import wait_until

AGENTS = 50
LINES_A_SECOND = 10  # of each agent


def run(scale: Scale) -> Iterator[Line]:
    """Compare the last fifth of the time with the second, when everything is warm."""
    seconds = 600 if scale.full else 30
    with orch_home(python_agent("talker", "acp", str(REFERENCES / "talker.py"))) as home:
        client = Wire(ORCH_SERVER, home.environment)
        client.initialize()
        gate: Path = home.root / "gate"
        prompt = f"{seconds * LINES_A_SECOND} {1000 // LINES_A_SECOND} {gate} "
        params = {"agent": "talker", "action": "analyze", "project": "shop", "prompt": prompt}
        for _ in range(AGENTS):
            client.call("orch/session/start", params)
        running = {"states": ["running"]}
        wait_until(lambda: len(client.call("orch/session/list", running)["items"]) == AGENTS, timeout=180)
        client.call("orch/event/subscribe", {"types": ["agent.message", "turn.completed"]})
        gate.touch()
        samples = _watch(client, psutil.Process(home.hub_pid()), seconds / 50)
        client.close()
    fifth = len(samples) // 5
    early, late = samples[fifth : 2 * fifth], samples[-fifth:]
    minutes = f"{AGENTS} agents speaking for {seconds / 60:g} minutes"
    for index, what, unit in ((0, "hub's memory", "MB"), (1, "hub's descriptors", "")):
        before, after = (statistics.median(sample[index] for sample in part) for part in (early, late))
        yield Line("endurance", f"{what}, {minutes}", unit, after, None, "the same, early", before, at_most(1.05))


def _watch(client: Wire, hub: psutil.Process, interval: float) -> list[tuple[float, float]]:
    """Read all events, and look at the hub every now and then until every agent has ended."""
    samples: list[tuple[float, float]] = []
    ended, due = 0, time.monotonic()
    while ended < AGENTS:
        ended += b'"type":"turn.completed"' in client.read()
        if not ended and time.monotonic() >= due:
            due += interval
            samples.append((hub.memory_full_info().uss / 1e6, hub.num_fds()))
    return samples
