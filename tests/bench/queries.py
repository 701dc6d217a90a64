"""Reading from a big database: the newest sessions, and events after a number.

Measured in the server, which the target is for: a hub in this process, from the bytes of a request reaching its
connection until the bytes of the whole reply are handed to the transport. The way through a bridge comes in addition.
"""

import asyncio
import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

from orch_server.hub.hub import Hub
from tests.bench.crowd import fill
from tests.bench.ingest import hub_here
from tests.bench.measure import Line, Samples, Scale, below
from tests.bench.scene import orch_home
from tests.bench.wire import INITIALIZE, frame
from tests.home import OrchHome

SESSIONS = 10_000
PAGE_OF_SESSIONS, PAGE_OF_EVENTS = 100, 1_000
_NEWEST = f"SELECT * FROM sessions ORDER BY number DESC LIMIT {PAGE_OF_SESSIONS}"
_AFTER = f"SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT {PAGE_OF_EVENTS}"


def run(scale: Scale) -> Iterator[Line]:
    """Measure beside sqlite3 fetching the same rows."""
    events = 1_000_000 if scale.full else 200_000
    rounds = 100 if scale.quick else 300
    with orch_home() as home:
        fill(home, sessions=SESSIONS, events=events)
        yield from asyncio.run(_measure(home, events, rounds))


async def _measure(home: OrchHome, events: int, rounds: int) -> list[Line]:
    database = sqlite3.connect(home.path / "orchestrator.db")
    async with hub_here(home) as (hub, _):
        client = Client(hub)
        await client.ask("initialize", INITIALIZE)
        newest = Samples(), Samples()
        chosen = Samples(), Samples()
        for number in range(-10, rounds):
            after = random.randrange(events - PAGE_OF_EVENTS)
            taken = (
                await client.ask("orch/session/list", {"limit": PAGE_OF_SESSIONS}),
                _timed(lambda: database.execute(_NEWEST).fetchall()),
                await client.ask("orch/event/list", {"after": after, "limit": PAGE_OF_EVENTS}),
                _timed(lambda: database.execute(_AFTER, (after,)).fetchall()),  # noqa: B023
            )
            if number >= 0:
                for samples, value in zip((*newest, *chosen), taken, strict=True):
                    samples.values.append(value)
        first = Samples([await client.ask("orch/session/list", page) async for page in client.pages()])
        client.close()
    database.close()
    what = f"newest {PAGE_OF_SESSIONS} of {SESSIONS:,} sessions, in the server, p99"
    note = f"p50 {newest[0].median:.2f} against {newest[1].median:.2f} ms; of pages not read before {first.median:.2f}"
    lines = [_line(what, newest, note)]
    what = f"{PAGE_OF_EVENTS:,} events after any one of {events:,}, in the server, p99"
    note = f"p50 {chosen[0].median:.2f} against {chosen[1].median:.2f} ms"
    return [*lines, _line(what, chosen, note)]


def _line(what: str, taken: tuple[Samples, Samples], note: str) -> Line:
    orch, raw = taken
    p99, raw_p99 = orch.percentile(0.99), raw.percentile(0.99)
    return Line("query", what, "ms", p99, orch.spread(), "raw sqlite3", raw_p99, below(5, "ms"), note)


class Client:
    """A connection of a hub in this process, whose transport only notes when a reply was written."""

    def __init__(self, hub: Hub) -> None:
        self._connection = hub.attach({})
        self._sink = _Sink()
        self._asked = 0
        self._connection.connection_made(self._sink)

    async def ask(self, method: str, params: object) -> float:
        """Send a request and return the milliseconds until its reply was written."""
        self._asked += 1
        request = frame({"jsonrpc": "2.0", "id": self._asked, "method": method, "params": params})
        self._sink.written.clear()
        began = time.perf_counter()
        self._connection.data_received(request)
        await self._sink.written.wait()
        assert "error" not in self._sink.reply(), self._sink.reply()
        return (self._sink.at - began) * 1000

    async def pages(self) -> Any:
        """Give the parameters of page after page of sessions, each of which nobody read before."""
        await self.ask("orch/session/list", {"limit": PAGE_OF_SESSIONS})
        for _ in range(SESSIONS // PAGE_OF_SESSIONS - 1):
            cursor = self._sink.reply()["result"]["nextCursor"]
            yield {"limit": PAGE_OF_SESSIONS, "cursor": cursor}

    def close(self) -> None:
        """Leave."""
        self._connection.connection_lost(None)


class _Sink(asyncio.Transport):
    """A client that takes everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()
        self.at = 0.0
        self._last = b""

    def reply(self) -> Any:
        return json.loads(self._last.partition(b"\r\n\r\n")[2])

    def write(self, data: bytes | bytearray | memoryview) -> None:
        present = time.perf_counter()
        if b'"method":' not in bytes(data[:80]):  # a request or a notification of the server has one there
            self.at = present
            self._last = bytes(data)
            self.written.set()

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del high, low

    def close(self) -> None:
        pass


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000
