"""From an agent's `write()` until a client has read the event through the bridge, while many agents speak at once."""

import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from orch_server.services.live import COALESCE_SECONDS
from tests.bench.measure import Line, Samples, Scale, below
from tests.bench.scene import ORCH_SERVER, REFERENCES, orch_home, python_agent
from tests.bench.wire import Wire
from tests.home import OrchHome
from tests.waiting import wait_until

LINES_A_SECOND = 1_000
COALESCING_MS = COALESCE_SECONDS * 1000
_STAMP = re.compile(rb'"text":"@(\d+) ')


def run(scale: Scale) -> Iterator[Line]:
    """Measure at 1,000 lines a second, spoken by 20 agents, with --full by 100 too; until the first ends."""
    for agents in (20, 100) if scale.full else (20,):
        with orch_home(python_agent("talker", "acp", str(REFERENCES / "talker.py"))) as home:
            taken, commits = _listen(home, agents, seconds=4 if scale.quick else 10)
        lowest = Samples([value + COALESCING_MS for value in commits.values])
        what = f"agent's write -> event at a client, {agents} agents"
        against = f"{COALESCING_MS:g} ms + one bare commit"
        for share, limit in ((0.5, 10.0), (0.99, 25.0)):
            name = f"p{share * 100:g}"
            yield Line(
                "stream",
                f"{what}, {name}",
                "ms",
                taken.percentile(share),
                taken.spread(),
                f"{against}, {name}",
                lowest.percentile(share),
                below(limit, "ms"),
                f"{len(taken.values):,} lines; bare commit alone {commits.percentile(share):.2f} ms",
            )


def _listen(home: OrchHome, agents: int, seconds: int) -> tuple[Samples, Samples]:
    client = Wire(ORCH_SERVER, home.environment)
    try:
        client.initialize()
        gate = home.root / "gate"
        each = LINES_A_SECOND * seconds // agents
        interval = agents * 1000 / LINES_A_SECOND
        for _ in range(agents):
            params = {"agent": "talker", "action": "analyze", "project": "shop"}
            client.call("orch/session/start", {**params, "prompt": f"{each} {interval:g} {gate} "})
        wait_until(lambda: _all_run(client), timeout=120)
        client.call("orch/event/subscribe", {"types": ["agent.message", "turn.completed"]})
        commits = _bare_commits(home.root, 100)
        gate.touch()
        taken = _read(client, agents)
        commits.values.extend(_bare_commits(home.root, 100).values)
    finally:
        client.close()
    return taken, commits


def _all_run(client: Wire) -> bool:
    return all(item["state"] == "running" for item in client.call("orch/session/list", {})["items"])


def _read(client: Wire, agents: int) -> Samples:
    taken = Samples()
    ended = 0
    while ended < agents:
        body = client.read()
        now = time.monotonic_ns()
        if b'"type":"turn.completed"' in body:
            ended += 1
        elif not ended and (found := _STAMP.search(body)):
            taken.values.append((now - int(found[1])) / 1e6)
    return Samples(taken.values[len(taken.values) // 20 :])  # the first lines come while agents still begin


def _bare_commits(directory: Path, count: int) -> Samples:
    """Time commits of one row as durable as the hub's, on the same disk."""
    connection = sqlite3.connect(directory / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS lines (number INTEGER PRIMARY KEY, text TEXT)")
    taken = Samples()
    for _ in range(count):
        began = time.perf_counter()
        connection.execute("INSERT INTO lines (text) VALUES (?)", ("a line " * 10,))
        taken.values.append((time.perf_counter() - began) * 1000)
    connection.close()
    return taken
