"""Telling one event to 50 subscribers instead of one.

Two views of it: how long the hub's loop is busy, beside the kernel's part of that (as many bare sends of as many
bytes to processes that wait for them); and how long it takes from a change being asked for, through its commit, until
the last client has read it.
"""

import asyncio
import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator

from orch_server.domain.events import AgentMessage
from orch_server.hub.hub import Hub
from orch_server.services.context import Context
from orch_server.store.records import StoredEvent
from tests.bench.ingest import attach, hub_here, subscriber
from tests.bench.measure import Line, Samples, Scale, at_most, compare
from tests.bench.scene import orch_home

MANY = 50
EVENTS = 200
_TEXT = "a line of an agent " * 8
_JSON = b'{"seq":%d,"type":"agent.message","data":{"text":"' + _TEXT.encode() + b'"}}'


def run(scale: Scale) -> Iterator[Line]:
    """Measure both views in turn."""
    with orch_home() as home:
        home.cli("hub", "stop")
        told = {count: Samples() for count in (1, MANY)}
        read = {count: Samples() for count in (1, MANY)}
        bare = Samples()

        async def measure() -> None:
            async with hub_here(home) as (hub, context):
                for _ in range(scale.rounds):
                    for count in (1, MANY):
                        told[count].values.append(await publish(hub, context, count))
                        read[count].values.extend(await _until_read(hub, context, count))
                    bare.values.append(_bare_sends(MANY))

        asyncio.run(measure())
    what = f"one event, from the wish to its last of {MANY} readers"
    yield compare("broadcast", what, "us", read[MANY], "to one", read[1], at_most(8))
    what = f"one event to {MANY} subscribers, the hub's loop"
    note = f"to one {told[1].median:.0f} us: {told[MANY].median / told[1].median:.1f} times that"
    yield compare("broadcast", what, "us", told[MANY], f"{MANY} bare sends", bare, at_most(2), note)


async def publish(hub: Hub, context: Context, count: int) -> float:
    """Return for how many microseconds telling one event to so many subscribers keeps the hub's loop busy."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            await stack.enter_async_context(subscriber(hub))
        took = 0.0
        for number in range(EVENTS):
            seq = context.feed.last_seq + 1
            event = StoredEvent(seq, "agent.message", None, None, _JSON % number)
            began = time.perf_counter()
            context.feed.publish([event])
            took += time.perf_counter() - began
            await asyncio.sleep(0.001)
        context.feed.last_seq = context.store.last_seq
    return took / EVENTS * 1e6


async def _until_read(hub: Hub, context: Context, count: int) -> list[float]:
    """Commit events and read each by all clients, in this process: more than clients of their own would cost."""
    clients = [await attach(hub) for _ in range(count)]
    message = AgentMessage(message_id="m", text=_TEXT, final=False)
    taken = []
    for _ in range(EVENTS // 10):
        began = time.perf_counter()
        await context.store.write(lambda transaction: transaction.emit(message))
        for client, _ in clients:
            await asyncio.get_running_loop().sock_recv(client, 1 << 16)
        taken.append((time.perf_counter() - began) * 1e6)
    for client, connection in clients:
        connection.close()
        client.close()
    return taken


def _bare_sends(count: int) -> float:
    """Return what sending as much to as many waiting processes takes, with nothing around it."""
    frame = b"x" * (len(_JSON) + 150)
    pairs = [socket.socketpair() for _ in range(count)]
    readers = [subprocess.Popen(["cat"], stdin=theirs.fileno(), stdout=subprocess.DEVNULL) for _, theirs in pairs]
    for _, theirs in pairs:
        theirs.close()
    took = 0.0
    for _ in range(EVENTS):
        began = time.perf_counter()
        for ours, _ in pairs:
            ours.send(frame)
        took += time.perf_counter() - began
        time.sleep(0.001)
    for (ours, _), reader in zip(pairs, readers, strict=True):
        ours.close()
        reader.wait()
    return took / EVENTS * 1e6
