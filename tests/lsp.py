"""A bare LSP client over a bridge's stdio: it sends exactly what it is told to, also what no client should send."""

import asyncio
import itertools
import json
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, Self

from orch_server.hub.dial import dial
from orch_server.settings.places import find_places
from tests.home import BIN, OrchHome


class Failed(Exception):
    """An error reply."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code: int = error["code"]
        self.data: dict[str, Any] = error.get("data") or {}


class Client:
    """One bridge process, as an editor starts it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.notifications: list[dict[str, Any]] = []
        self.on_event: Callable[[dict[str, Any]], object] = lambda _: None
        self._ids = itertools.count(1)
        self._waiting: dict[Any, asyncio.Future[dict[str, Any]]] = {}
        self._unasked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._reads = asyncio.Event()
        self._reads.set()
        self._listening: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        home: OrchHome,
        *arguments: str,
        initialize: bool = True,
        listen: bool = True,
    ) -> "Client":
        """Start a bridge (or `orch-server` with other arguments) and initialize it."""
        return await cls.run(home, [f"{BIN}/orch-server", *arguments], initialize=initialize, listen=listen)

    @classmethod
    async def run(
        cls, home: OrchHome, command: Sequence[str], *, initialize: bool = True, listen: bool = True
    ) -> "Client":
        """Start another program that serves, and initialize it."""
        process = await asyncio.create_subprocess_exec(
            *command,
            env=home.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=sys.stderr,
            limit=256 * 1024,  # more than twice that is never read ahead
        )
        client = cls(process)
        if listen:
            client._listening = asyncio.create_task(client._listen())
        if initialize:
            info: dict[str, Any] = {"processId": None, "rootUri": None, "capabilities": {}}
            await client.call("initialize", info, timeout=60)
            client.notify("initialized", {})
        return client

    async def call(self, method: str, params: Any = None, *, timeout: float = 30) -> Any:
        """Send a request and return its result; raises Failed for an error reply."""
        id_ = next(self._ids)
        reply = self.expect(id_)
        self.send({"jsonrpc": "2.0", "id": id_, "method": method, **({"params": params} if params is not None else {})})
        answer = await asyncio.wait_for(reply, timeout)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer.get("result")

    def expect(self, id_: Any) -> "asyncio.Future[dict[str, Any]]":
        """Return a future of the reply with this id."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[id_] = future
        return future

    async def unasked(self, *, timeout: float = 10) -> dict[str, Any]:
        """Return the next reply that belongs to no request (an error with the id null)."""
        return await asyncio.wait_for(self._unasked.get(), timeout)

    def notify(self, method: str, params: Any) -> None:
        """Send a notification."""
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def send(self, message: Any) -> None:
        """Send anything that is JSON."""
        self.send_body(json.dumps(message).encode())

    def send_body(self, body: bytes) -> None:
        """Send a frame with any body."""
        self.send_raw(frame(body))

    def send_raw(self, data: bytes) -> None:
        """Send any bytes."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def events(self) -> list[dict[str, Any]]:
        """Return the events that came so far."""
        return [note["params"]["event"] for note in self.notifications if note["method"] == "orch/event"]

    def stop_reading(self) -> None:
        """Take nothing more from the bridge after the present message."""
        self._reads.clear()

    def read_on(self) -> None:
        """Read again."""
        self._reads.set()

    async def until(self, condition: "Callable[[Client], Any]", *, timeout: float = 30) -> Any:
        """Wait until a condition on what came is true, and return its value."""

        async def wait() -> Any:
            while not (value := condition(self)):
                assert not self.ended, "the bridge ended"
                self._changed.clear()
                await self._changed.wait()
            return value

        return await asyncio.wait_for(wait(), timeout)

    @property
    def ended(self) -> bool:
        """Whether nothing more can come."""
        return self._listening is not None and self._listening.done()

    async def exit(self, *, shutdown: bool = True) -> int:
        """End the connection as LSP wants and return the bridge's exit code."""
        if shutdown:
            await self.call("shutdown")
        self.notify("exit", None)
        return await self.gone()

    async def gone(self, *, timeout: float = 15) -> int:
        """Wait for the bridge's end and return its exit code."""
        return await asyncio.wait_for(self.process.wait(), timeout)

    async def close(self) -> None:
        """End the bridge, if it still runs."""
        if self._listening is not None:
            self._listening.cancel()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        stream = self.process.stdout
        try:
            while True:
                await self._reads.wait()
                header = await stream.readuntil(b"\r\n\r\n")
                length = int(header.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                self._take(json.loads(await stream.readexactly(length)))
        except asyncio.IncompleteReadError:
            pass
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError("the bridge ended"))
        self._changed.set()

    def _take(self, message: dict[str, Any]) -> None:
        if "method" in message:
            self.notifications.append(message)
            if message["method"] == "orch/event":
                self.on_event(message["params"]["event"])
        elif message.get("id") in self._waiting:
            self._waiting.pop(message["id"]).set_result(message)
        else:
            self._unasked.put_nowait(message)
        self._changed.set()


class RawClient:
    """A connection straight to the running hub's socket, one step at a time, for what no client should send."""

    def __init__(self, home: OrchHome, *, initialize: bool = True, patience: float = 15) -> None:
        self.patience = patience
        self.socket: socket.socket = dial(find_places(home.environment), home.environment, start=False)
        self._buffer = b""
        if initialize:
            try:
                self.request("initialize", {"processId": None, "rootUri": None, "capabilities": {}}, id_="initialize")
                self.send({"jsonrpc": "2.0", "method": "initialized", "params": {}})
            except BaseException:
                self.close()
                raise

    def send(self, *messages: Any) -> None:
        """Send messages, all in one write."""
        self.send_raw(b"".join(frame(json.dumps(message).encode()) for message in messages))

    def send_raw(self, data: bytes) -> None:
        """Send any bytes."""
        self.socket.sendall(data)

    def read(self, *, timeout: float | None = None) -> dict[str, Any] | None:
        """Return the next message as it came, None at the end of the connection."""
        self.socket.settimeout(timeout or self.patience)
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return None
        header, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        length = int(header.lower().split(b"content-length:")[1])
        while len(self._buffer) < length:
            assert self._more(), "the hub closed in the middle of a message"
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        message: dict[str, Any] = json.loads(body)
        return message

    def request(self, method: str, params: Any = None, *, id_: str | int = "probe") -> Any:
        """Send a request and return its result; the very next message must be the reply."""
        self.send({"jsonrpc": "2.0", "id": id_, "method": method, **({} if params is None else {"params": params})})
        reply = self.read()
        assert reply is not None, "the hub closed the connection"
        assert reply.get("id") == id_, f"something else came first: {reply}"
        if "error" in reply:
            raise Failed(reply["error"])
        return reply["result"]

    def close(self) -> None:
        """Leave without a word."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _more(self) -> bool:
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self._buffer += data
        return bool(data)


def frame(body: bytes) -> bytes:
    """Return a body with its header."""
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
