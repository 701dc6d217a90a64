"""Reading from a big database: the newest sessions, and events after a number."""

import sqlite3
import time
from collections.abc import Callable, Iterator

from tests.bench.crowd import fill
from tests.bench.measure import Line, Samples, Scale, below
from tests.bench.scene import ORCH_SERVER, orch_home
from tests.bench.wire import Wire, frame

SESSIONS = 10_000


def run(scale: Scale) -> Iterator[Line]:
    """Measure through the bridge, the replies unread, against sqlite3 fetching the same rows."""
    events = 1_000_000 if scale.full else 200_000
    with orch_home() as home:
        fill(home, sessions=SESSIONS, events=events)
        client = Wire(ORCH_SERVER, home.environment)
        client.initialize()
        connection = sqlite3.connect(home.path / "orchestrator.db")
        asked = {
            f"newest 100 of {SESSIONS:,} sessions": (
                ("orch/session/list", {"limit": 100}),
                ("SELECT * FROM sessions ORDER BY number DESC LIMIT 100", ()),
            ),
            f"1,000 events after one of {events:,}": (
                ("orch/event/list", {"after": events // 2, "limit": 1000}),
                ("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT 1000", (events // 2,)),
            ),
        }
        rounds = 300 if scale.full else 100
        for what, ((method, params), (statement, values)) in asked.items():
            orch, raw = Samples(), Samples()
            request = frame({"jsonrpc": "2.0", "id": 5, "method": method, "params": params})
            for number in range(-10, rounds):
                taken = _timed(lambda: client.exchange(request))  # noqa: B023
                fetched = _timed(lambda: connection.execute(statement, values).fetchall())  # noqa: B023
                if number >= 0:
                    orch.values.append(taken)
                    raw.values.append(fetched)
            note = f"p50 {orch.median:.2f} against {raw.median:.2f} ms; the way through the bridge included"
            p99, raw_p99 = orch.percentile(0.99), raw.percentile(0.99)
            yield Line("query", f"{what}, p99", "ms", p99, orch.spread(), "raw sqlite3", raw_p99, below(5, "ms"), note)
        connection.close()
        client.close()


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000
