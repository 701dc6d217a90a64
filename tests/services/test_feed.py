"""The feed: the past and the present without a gap, and nobody waits for a client that does not read."""

import asyncio

import orjson

from orch_server.domain.events import AgentMessage
from orch_server.services.feed import Batch, Feed, Subscription
from tests.store.conftest import Kept, kept
from tests.waiting import wait_until_async

__all__ = ["kept"]


class Listener:
    """A client that reads, or does not."""

    def __init__(self, *, reads: bool = True) -> None:
        self.heard: list[int] = []
        self.lost_after: int | None = None
        self.size = 0
        self._reads = reads

    def send_events(self, subscription: str, batch: Batch) -> None:
        self.heard.extend(orjson.loads(event.json)["seq"] for event in batch.events)
        self.size += 0 if self._reads else sum(len(event.json) for event in batch.events)

    def flush(self) -> None:
        pass

    def send_lost(self, subscription: str, resume_after: int) -> None:
        self.lost_after = resume_after

    def buffered(self) -> int:
        return self.size

    async def drained(self) -> None:
        await asyncio.sleep(0)


async def say(kept: Kept, feed: Feed, count: int, text: str = "x") -> None:
    """Append events, and publish them as the hub does."""
    before = len(kept.published)

    def work(transaction: object) -> None:
        for _ in range(count):
            transaction.emit(AgentMessage(message_id="m", text=text, final=False), project_id="p1")  # type: ignore[attr-defined]

    await kept.store.write(work)
    feed.publish(kept.published[before:])


async def test_past_and_live_meet_without_gap_or_repeat(kept: Kept) -> None:
    feed, listener = Feed(), Listener()
    await say(kept, feed, 2_500)
    subscription = Subscription("s", listener)
    feed.subscribe(subscription, kept.store, after=10)
    for _ in range(50):
        await say(kept, feed, 7)
    await wait_until_async(lambda: subscription.live and len(listener.heard) == 2_840)
    assert listener.heard == list(range(11, 2_851))


async def test_without_after_only_what_comes_is_told(kept: Kept) -> None:
    feed, listener = Feed(), Listener()
    await say(kept, feed, 3)
    feed.subscribe(Subscription("s", listener), kept.store, after=None)
    await say(kept, feed, 2)
    assert listener.heard == [4, 5]


async def test_filters_are_kept(kept: Kept) -> None:
    feed, other, none, typed = Feed(), Listener(), Listener(), Listener()
    await say(kept, feed, 3)
    feed.subscribe(Subscription("a", other, project_id="p1"), kept.store, after=0)
    feed.subscribe(Subscription("b", none, project_id="p2"), kept.store, after=0)
    feed.subscribe(Subscription("c", typed, types=["agent.*"]), kept.store, after=1)
    await wait_until_async(lambda: len(other.heard) == 3 and len(typed.heard) == 2)
    await say(kept, feed, 1)
    assert (other.heard[-1], none.heard, typed.heard) == (4, [], [2, 3, 4])


async def test_who_does_not_read_is_dropped_and_told_from_where_to_resume(kept: Kept) -> None:
    feed, slow, quick = Feed(), Listener(reads=False), Listener()
    for listener in (slow, quick):
        feed.subscribe(Subscription("s", listener), kept.store, after=None)
    for _ in range(10):
        await say(kept, feed, 10, "x" * 100_000)
    assert len(quick.heard) == 100
    assert slow.lost_after == slow.heard[-1]
    assert slow.size < 5_000_000


async def test_who_asked_for_events_yet_to_come_is_told_from_there(kept: Kept) -> None:
    feed, later, now = Feed(), Listener(), Listener()
    feed.subscribe(Subscription("l", later), kept.store, after=5)
    feed.subscribe(Subscription("n", now), kept.store, after=None)
    for _ in range(4):
        await say(kept, feed, 2)
    assert (later.heard, now.heard) == ([6, 7, 8], list(range(1, 9)))
