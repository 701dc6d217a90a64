"""`orch/event/*`, and the notifications that carry events."""

from pydantic import Field

from orch_server.domain.errors import invalid_params
from orch_server.domain.events import EVENT_TYPES, Event
from orch_server.domain.ids import random_id
from orch_server.domain.wire import Params, WireModel
from orch_server.protocol.registry import Call, Empty, Encoded, request
from orch_server.services import projects, sessions
from orch_server.services.feed import Subscription


class EventFilter(Params):
    """Which events."""

    after: int | None = Field(default=None, ge=0, lt=2**63, description="Only events with a number above this.")
    project: str | None = Field(default=None, min_length=1)
    session: str | None = Field(default=None, min_length=1)
    types: list[str] | None = Field(default=None, min_length=1, description="`session.*` takes all that begin so.")


class ListEvents(EventFilter):
    """Which events, and how many."""

    limit: int = Field(default=100, ge=1, le=1000)


class SubscribeEvents(EventFilter):
    """Which events to hear; with `after` the past ones first."""


class EventPage(WireModel):
    """Some events, ascending."""

    items: list[Event]
    last_seq: int = Field(description="The number of the last item, or `after`.")


class Subscribed(WireModel):
    """A subscription that began."""

    subscription: str
    last_seq: int = Field(description="The newest event when the subscription began.")


class NamedSubscription(Params):
    """Which subscription."""

    subscription: str


class EventNotification(WireModel):
    """`orch/event`: something happened."""

    subscription: str
    event: Event


class EventLostNotification(WireModel):
    """`orch/event/lost`: the client did not read fast enough; subscribe again with `after`."""

    subscription: str
    resume_after: int


@request("orch/event/list", result=EventPage)
async def list_(call: Call, params: ListEvents) -> Encoded:
    """Return past events, ascending; a page also ends at 8 MiB."""
    after = params.after or 0
    project_id, session_id = _filters(call, params)
    items, last_seq = await call.context.store.event_page(
        after, project_id=project_id, session_id=session_id, types=params.types, limit=params.limit
    )
    return Encoded(b'{"items":[%s],"lastSeq":%d}' % (items, last_seq))


@request("orch/event/subscribe")
async def subscribe(call: Call, params: SubscribeEvents) -> Subscribed:
    """Begin to send events as notifications; the reply precedes them."""
    project_id, session_id = _filters(call, params)
    feed, client = call.context.feed, call.client
    subscription = Subscription(random_id(8), client, project_id, session_id, params.types)
    client.subscriptions[subscription.id] = subscription
    client.after_reply(lambda: feed.subscribe(subscription, call.context.store, params.after))
    return Subscribed(subscription=subscription.id, last_seq=feed.last_seq)


@request("orch/event/unsubscribe")
async def unsubscribe(call: Call, params: NamedSubscription) -> Empty:
    """Stop sending events."""
    subscription = call.client.subscriptions.pop(params.subscription, None)
    if subscription is None:
        raise invalid_params(f"{params.subscription!r} is no subscription of this connection.")
    call.context.feed.unsubscribe(subscription)
    return Empty()


def _filters(call: Call, params: EventFilter) -> tuple[str | None, str | None]:
    for pattern in params.types or ():
        stem = pattern.removesuffix("*")
        if not any(name.startswith(stem) if pattern.endswith("*") else name == stem for name in EVENT_TYPES):
            raise invalid_params(
                f"There is no event of type {pattern!r}.",
                hint=f"There are {', '.join(dict.fromkeys(known.partition('.')[0] + '.*' for known in EVENT_TYPES))}; "
                "docs/event-taxonomy.md lists them all.",
                known=sorted(EVENT_TYPES),
            )
    project_id = projects.get(call.context, params.project).id if params.project is not None else None
    session_id = sessions.find(call.context, params.session).id if params.session is not None else None
    return project_id, session_id
