"""A bare LSP client over a bridge's stdio: it sends exactly what it is told to, also what no client should send."""

import asyncio
import itertools
import json
import sys
from collections.abc import Callable
from typing import Any

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
        self._ids = itertools.count(1)
        self._waiting: dict[Any, asyncio.Future[dict[str, Any]]] = {}
        self._unasked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, home: OrchHome, *arguments: str, initialize: bool = True, listen: bool = True) -> "Client":
        """Start a bridge (or `orch-server` with other arguments) and initialize it."""
        process = await asyncio.create_subprocess_exec(
            f"{BIN}/orch-server",
            *arguments,
            env=home.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=sys.stderr,
            limit=64 * 1024 * 1024,
        )
        client = cls(process)
        if listen:
            client._listening = asyncio.create_task(client._listen())
        if initialize:
            await client.call("initialize", {"processId": None, "rootUri": None, "capabilities": {}})
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
        self.send_raw(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def send_raw(self, data: bytes) -> None:
        """Send any bytes."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def events(self) -> list[dict[str, Any]]:
        """Return the events that came so far."""
        return [note["params"]["event"] for note in self.notifications if note["method"] == "orch/event"]

    async def until(self, condition: "Callable[[Client], Any]", *, timeout: float = 30) -> Any:
        """Wait until a condition on what came is true, and return its value."""

        async def wait() -> Any:
            while not (value := condition(self)):
                self._changed.clear()
                await self._changed.wait()
            return value

        return await asyncio.wait_for(wait(), timeout)

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
        elif message.get("id") in self._waiting:
            self._waiting.pop(message["id"]).set_result(message)
        else:
            self._unasked.put_nowait(message)
        self._changed.set()
