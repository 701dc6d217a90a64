"""`$/progress` of a session's start, for a request that carried a workDoneToken."""

from collections.abc import Callable

import orjson

from orch_server.domain.ids import random_id
from orch_server.services.feed import Feed, LocalListener, Subscription
from orch_server.store.records import StoredEvent
from orch_server.store.store import Store

Token = str | int


class StartProgress:
    """Reports how the worktree of a session grows, until its agent runs or cannot. Listens to the feed."""

    def __init__(
        self, token: Token, session_id: str, write: Callable[[bytes], None], ended: Callable[[Token], object]
    ) -> None:
        self.token = token
        self.session_id = session_id
        self._write = write
        self._ended = ended
        self._feed: Feed | None = None
        self._subscription = Subscription(
            random_id(8),
            LocalListener(self._take),
            session_id=session_id,
            types=["worktree.*", "session.state_changed"],
        )

    def begin(self, feed: Feed, store: Store, after: int) -> None:
        """Begin to report; `after` is the last event before the session."""
        self._feed = feed
        self._tell(
            {"kind": "begin", "title": f"Starting session {self.session_id}", "cancellable": True, "percentage": 0}
        )
        feed.subscribe(self._subscription, store, after)

    def stop(self) -> None:
        """Report no more."""
        if self._feed is not None:
            self._feed.unsubscribe(self._subscription)
            self._feed = None

    def _take(self, event: StoredEvent) -> None:
        if self._feed is None:
            return  # it has ended within this batch
        data = orjson.loads(event.json)["data"]
        if event.type == "worktree.creating" and data["percent"] is not None:
            self._tell({"kind": "report", "message": "worktree", "percentage": data["percent"]})
        elif event.type == "session.state_changed" and data["to"] != "created":
            self._tell({"kind": "end", "message": data["to"]})
            self.stop()
            self._ended(self.token)

    def _tell(self, value: dict[str, object]) -> None:
        params = {"token": self.token, "value": value}
        self._write(orjson.dumps({"jsonrpc": "2.0", "method": "$/progress", "params": params}))
