"""A small JSON-RPC client over the hub's socket, for one request at a time and for following events."""

import itertools
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from orch_server.hub.dial import dial
from orch_server.settings.places import Places, find_places

_RETRY_SECONDS = 20.0


class RequestFailed(Exception):
    """The hub's error reply."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error.get("message", ""))
        self.code = int(error.get("code", 0))
        self.data: dict[str, Any] = error.get("data") or {}


class HubGone(Exception):
    """The hub ended while we spoke to it."""


class Client:
    """A connection to the hub. A request that changes something carries a key and is repeated across a hub's death."""

    def __init__(self, *, start: bool = True, environment: Mapping[str, str] = os.environ) -> None:
        self.places: Places = find_places(environment)
        self._environment = environment
        self._start = start
        self._ids = itertools.count(1)
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._notifications: list[dict[str, Any]] = []

    def call(self, method: str, /, **params: Any) -> Any:
        """Send a request and return its result; None values are left out. Raises RequestFailed."""
        return self._call(method, {name: value for name, value in params.items() if value is not None})

    def change(self, method: str, /, **params: Any) -> Any:
        """Send a request that changes something, once, whatever happens to the hub meanwhile."""
        return self.call(method, requestKey=str(uuid.uuid4()), **params)

    def pages(self, method: str, /, limit: int | None = None, **params: Any) -> Iterator[Any]:
        """Yield the items of a list, page by page to its end or to `limit`."""
        cursor = None
        left = limit if limit is not None else 1 << 60
        while left > 0:
            page = self.call(method, limit=min(left, 1000), cursor=cursor, **params)
            yield from page["items"]
            left -= len(page["items"])
            cursor = page["nextCursor"]
            if cursor is None:
                return

    def past(self, after: int, /, **filters: Any) -> Iterator[dict[str, Any]]:
        """Yield the events after a number, page by page to the last."""
        while (page := self.call("orch/event/list", after=after, limit=1000, **filters))["items"]:
            yield from page["items"]
            after = page["lastSeq"]

    def follow(
        self, after: int | None, /, *, deadline: float | None = None, **filters: Any
    ) -> Iterator[dict[str, Any]]:
        """Subscribe now, and return the events as they come, with no gap and no repeat.

        Also across a hub's death, and where we are too slow. Raises TimeoutError at `deadline` (monotonic seconds).
        """
        wanted = {name: value for name, value in filters.items() if value is not None}
        subscribed = self.call("orch/event/subscribe", after=after, **wanted)
        return self._stream(subscribed["lastSeq"] if after is None else after, deadline, wanted)

    def _stream(self, seen: int, deadline: float | None, filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
        while True:
            try:
                message = self._next_notification(deadline)
            except HubGone:
                self._socket = None
                self._notifications.clear()
                self.call("orch/event/subscribe", after=seen, **filters)
                continue
            if message["method"] == "orch/event/lost":
                self.call("orch/event/subscribe", after=message["params"]["resumeAfter"], **filters)
            elif message["method"] == "orch/event" and message["params"]["event"]["seq"] > seen:
                event = message["params"]["event"]
                seen = event["seq"]
                yield event

    def skip_events(self, until: int) -> None:
        """Drop what came of the events up to a number: whoever asks knows what they led to."""
        self._notifications = [
            note
            for note in self._notifications
            if note["method"] != "orch/event" or note["params"]["event"]["seq"] > until
        ]

    def close(self) -> None:
        """End the connection in order."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _call(self, method: str, params: dict[str, Any]) -> Any:
        deadline = time.monotonic() + _RETRY_SECONDS
        while True:
            try:
                self._connect()
                return self._request(method, params)
            except HubGone:
                self._socket = None
                if time.monotonic() > deadline:
                    raise

    def _connect(self) -> None:
        if self._socket is None:
            self._socket = dial(self.places, self._environment, start=self._start)
            self._buffer = b""
            info = {"processId": os.getpid(), "rootUri": None, "capabilities": {}, "clientInfo": {"name": "orch"}}
            self._request("initialize", info)
            self._send({"jsonrpc": "2.0", "method": "initialized", "params": {}})

    def _request(self, method: str, params: dict[str, Any]) -> Any:
        number = next(self._ids)
        self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        while True:
            message = self._receive()
            if message.get("id") == number and "method" not in message:
                if "error" in message:
                    raise RequestFailed(message["error"])
                return message.get("result")
            if "method" in message and "id" not in message:
                self._notifications.append(message)

    def _next_notification(self, deadline: float | None) -> dict[str, Any]:
        assert self._socket is not None
        try:
            while not self._notifications:
                if deadline is not None:
                    self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                message = self._receive()
                if "method" in message and "id" not in message:
                    self._notifications.append(message)
        finally:
            self._socket.settimeout(None)
        return self._notifications.pop(0)

    def _send(self, message: dict[str, Any]) -> None:
        assert self._socket is not None
        body = json.dumps(message).encode("utf-8", "surrogatepass")
        try:
            self._socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        except OSError as error:
            raise HubGone(str(error)) from error

    def _receive(self) -> dict[str, Any]:
        header = self._until(b"\r\n\r\n")
        length = int(header.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        while len(self._buffer) < length:
            self._more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        message: dict[str, Any] = json.loads(body)
        return message

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(mark)
        return head + b"\r\n"

    def _more(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(1 << 20)
        except TimeoutError:
            raise
        except OSError as error:
            raise HubGone(str(error)) from error
        if not data:
            raise HubGone("the hub closed the connection")
        self._buffer += data
