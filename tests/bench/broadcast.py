"""Telling one event to 50 subscribers instead of one: from the hub's publishing until all have read it."""

import asyncio
import contextlib
import time
from collections.abc import Iterator

from orch_server.hub.hub import Hub
from orch_server.services.context import Context
from orch_server.store.records import StoredEvent
from tests.bench.ingest import hub_here, subscriber
from tests.bench.measure import Line, Samples, Scale, at_most, compare
from tests.bench.scene import orch_home

MANY = 50
EVENTS = 200
_JSON = b'{"seq":%d,"type":"agent.message","data":{"text":"' + b"a line of an agent " * 8 + b'"}}'


def run(scale: Scale) -> Iterator[Line]:
    """Measure the hub's loop: serialising for and writing to every connection."""
    with orch_home() as home:
        home.cli("hub", "stop")
        one, many = Samples(), Samples()

        async def measure() -> None:
            async with hub_here(home) as (hub, context):
                for _ in range(scale.rounds):
                    for count, samples in ((1, one), (MANY, many)):
                        samples.values.append(await _publish(hub, context, count))

        asyncio.run(measure())
    what = f"one event to {MANY} subscribers, the hub's part"
    yield compare("broadcast", what, "us", many, "to one", one, at_most(8))


async def _publish(hub: Hub, context: Context, count: int) -> float:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            await stack.enter_async_context(subscriber(hub))
        took = 0.0
        for number in range(EVENTS):
            seq = context.feed.last_seq + 1
            event = StoredEvent(seq, "agent.message", None, None, _JSON % number)
            began = time.perf_counter()
            context.feed.publish([event])
            await asyncio.sleep(0)  # what was gathered goes out
            took += time.perf_counter() - began
            await asyncio.sleep(0.001)
        context.feed.last_seq = context.store.last_seq
    return took / EVENTS * 1e6
