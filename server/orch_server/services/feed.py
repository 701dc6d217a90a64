"""Who is told what: the live feed, and the past before it, without a gap.

A subscription first reads the past from the store, page by page and only as quickly as its client reads; once it
has reached the last published event it goes live in the same step of the event loop, so nothing falls between. A
client that does not read is dropped from the feed, told from where to resume, and never grows the hub's memory.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Protocol

from orch_server.store.records import StoredEvent
from orch_server.store.store import Store

_PAGE = 1_000
_MOST_BUFFERED_BYTES = 4 * 1024 * 1024


class Batch:
    """Events that were published at once and pass the same filters: one object for all who are told them."""

    __slots__ = ("events", "frames", "least_room")

    def __init__(self, events: list[StoredEvent]) -> None:
        self.events = events
        self.frames: list[bytes] | None = None
        """What the first connection made of them, so that the next one need not."""
        self.least_room = sum(len(event.json) for event in events[:-1])
        """How many bytes a buffer must have room for: a single event is told however long it is."""


class Listener(Protocol):
    """A client's connection, as the feed sees it."""

    def send_events(self, subscription: str, batch: Batch) -> None:
        """Put events into the connection's buffer."""

    def flush(self) -> None:
        """Send what is in the buffer."""

    def send_lost(self, subscription: str, resume_after: int) -> None:
        """Say that events were dropped after this number."""

    def buffered(self) -> int:
        """Return how many bytes wait to be read by the client."""

    async def drained(self) -> None:
        """Return once the client has read most of what waits."""


class LocalListener:
    """A part of the hub that listens: each event is given to a function at once, and nothing waits."""

    def __init__(self, take: Callable[[StoredEvent], None]) -> None:
        self._take = take

    def send_events(self, subscription: str, batch: Batch) -> None:
        """Give the events to the function."""
        del subscription
        for event in batch.events:
            self._take(event)

    def flush(self) -> None:
        """Do nothing: nothing waits."""

    def send_lost(self, subscription: str, resume_after: int) -> None:
        """Never happens: nothing waits."""

    def buffered(self) -> int:
        """Return 0."""
        return 0

    async def drained(self) -> None:
        """Return at once."""


@dataclass(slots=True, eq=False)
class Subscription:
    """What one client wants to hear."""

    id: str
    listener: Listener
    project_id: str | None = None
    session_id: str | None = None
    types: Sequence[str] | None = None
    live: bool = False
    last_seq: int = 0
    """The last event of the feed that was looked at for this subscription."""
    catching_up: "asyncio.Task[None] | None" = field(default=None, repr=False)

    @property
    def filters(self) -> tuple[str | None, str | None, tuple[str, ...] | None]:
        """What tells those apart who want different events."""
        return self.project_id, self.session_id, None if self.types is None else tuple(self.types)

    def wants(self, event: StoredEvent) -> bool:
        """Whether the event passes the subscription's filters."""
        return (
            (self.project_id is None or event.project_id == self.project_id)
            and (self.session_id is None or event.session_id == self.session_id)
            and (self.types is None or any(fnmatchcase(event.type, pattern) for pattern in self.types))
        )


class Feed:
    """All subscriptions of the hub. Lives on the event loop."""

    def __init__(self) -> None:
        self.last_seq = 0
        """The last event that was published; everything up to it is committed."""
        self._subscriptions: set[Subscription] = set()

    def publish(self, events: Sequence[StoredEvent]) -> None:
        """Tell committed events, in order, to everyone who wants them."""
        before, self.last_seq = self.last_seq, events[-1].seq
        batches: dict[object, Batch] = {}
        told: dict[Listener, None] = {}
        for subscription in tuple(self._subscriptions):
            if not subscription.live:
                continue
            if subscription.last_seq > before:  # it asked for events after one that is still to come
                batch = self._batch(subscription, events)
            elif (found := batches.get(filters := subscription.filters)) is not None:
                batch = found
            else:
                batch = batches[filters] = self._batch(subscription, events)
            if batch.events and self._tell(subscription, batch):
                told[subscription.listener] = None
            subscription.last_seq = max(subscription.last_seq, self.last_seq)
        for listener in told:
            listener.flush()

    def subscribe(self, subscription: Subscription, store: Store, after: int | None) -> None:
        """Begin to tell a client: from `after` on, or only what comes from now."""
        subscription.last_seq = self.last_seq if after is None else after
        self._subscriptions.add(subscription)
        if after is None or after >= self.last_seq:
            subscription.live = True
        else:
            subscription.catching_up = asyncio.create_task(self._catch_up(subscription, store))

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop telling a client."""
        self._subscriptions.discard(subscription)
        if subscription.catching_up is not None:
            subscription.catching_up.cancel()

    @staticmethod
    def _batch(subscription: Subscription, events: Sequence[StoredEvent]) -> Batch:
        return Batch([event for event in events if event.seq > subscription.last_seq and subscription.wants(event)])

    def _tell(self, subscription: Subscription, batch: Batch) -> bool:
        listener = subscription.listener
        if listener.buffered() + batch.least_room > _MOST_BUFFERED_BYTES:
            self.unsubscribe(subscription)
            listener.send_lost(subscription.id, subscription.last_seq)
            return False
        listener.send_events(subscription.id, batch)
        return True

    async def _catch_up(self, subscription: Subscription, store: Store) -> None:
        while subscription.last_seq < self.last_seq:
            target = self.last_seq
            page = await store.events(
                subscription.last_seq,
                project_id=subscription.project_id,
                session_id=subscription.session_id,
                types=subscription.types,
                limit=_PAGE,
                page_bytes=1024 * 1024,
            )
            page = [event for event in page if event.seq <= target]
            subscription.listener.send_events(subscription.id, Batch(page))
            subscription.last_seq = page[-1].seq if page else target
            await subscription.listener.drained()
        subscription.live = True
        subscription.catching_up = None
