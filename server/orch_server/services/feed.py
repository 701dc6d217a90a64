"""Who is told what: the live feed, and the past before it, without a gap.

A subscription first reads the past from the store, page by page and only as quickly as its client reads; once it
has reached the last published event it goes live in the same step of the event loop, so nothing falls between. A
client that does not read is dropped from the feed, told from where to resume, and never grows the hub's memory.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Protocol

from orch_server.store.records import StoredEvent
from orch_server.store.store import Store

_PAGE = 1_000
_MOST_BUFFERED_BYTES = 4 * 1024 * 1024


class Listener(Protocol):
    """A client's connection, as the feed sees it."""

    def send_event(self, subscription: str, event: StoredEvent) -> None:
        """Put an event into the connection's buffer."""

    def send_lost(self, subscription: str, resume_after: int) -> None:
        """Say that events were dropped after this number."""

    def buffered(self) -> int:
        """Return how many bytes wait to be read by the client."""

    async def drained(self) -> None:
        """Return once the client has read most of what waits."""


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
        self.last_seq = events[-1].seq
        for subscription in tuple(self._subscriptions):
            if subscription.live:
                self._tell(subscription, events)

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

    def _tell(self, subscription: Subscription, events: Sequence[StoredEvent]) -> None:
        listener = subscription.listener
        for event in events:
            if event.seq > subscription.last_seq and subscription.wants(event):
                if listener.buffered() > _MOST_BUFFERED_BYTES:
                    self.unsubscribe(subscription)
                    listener.send_lost(subscription.id, subscription.last_seq)
                    return
                listener.send_event(subscription.id, event)
            subscription.last_seq = max(subscription.last_seq, event.seq)

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
            for event in page:
                subscription.listener.send_event(subscription.id, event)
            subscription.last_seq = page[-1].seq if page else target
            await subscription.listener.drained()
        subscription.live = True
        subscription.catching_up = None
