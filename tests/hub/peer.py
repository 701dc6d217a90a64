"""A client at the other end of a real connection object, in the test's own process."""

import asyncio
import itertools
import json
import socket
from collections.abc import Callable
from typing import Any

from orch_server.hub.connection import Connection
from orch_server.hub.language.documents import uri_of
from orch_server.protocol.registry import Dispatcher
from orch_server.services.context import Context, Environment
from tests.lsp import Failed, frame
from tests.waiting import wait_until_async

Answer = Callable[[Any], Any]


class Peer:
    """Sends what a test says, keeps all that comes, and answers what it is asked by `answers`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard: list[dict[str, Any]] = []
        """Notifications and requests that the server sent, in order."""
        self.answers: dict[str, Answer | None] = {}
        """By method: what to reply to a request of the server; None for a method leaves it without an answer."""
        self.refuses: set[str] = set()
        """Methods of the server that the client does not know."""
        self.capabilities: dict[str, Any] = {}
        """What the server announced."""
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def connect(
        cls,
        context: Context,
        environment: Environment,
        capabilities: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        folder: str | None = None,
    ) -> "Peer":
        """Connect and initialize."""
        ours, theirs = socket.socketpair()
        connection = Connection(context, Dispatcher(context), environment, lambda _: None)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, theirs)
        peer = cls(*await asyncio.open_connection(sock=ours))
        params: dict[str, Any] = {"processId": None, "rootUri": None, "capabilities": capabilities or {}}
        if options is not None:
            params["initializationOptions"] = options
        if folder is not None:
            params["workspaceFolders"] = [{"uri": uri_of(folder), "name": "folder"}]
        peer.capabilities = (await peer.call("initialize", params))["capabilities"]
        peer.notify("initialized", {})
        return peer

    async def call(self, method: str, params: Any = None, *, timeout: float = 60) -> Any:
        """Send a request and return its result; raises Failed for an error reply."""
        id_ = next(self._ids)
        self._waiting[id_] = asyncio.get_running_loop().create_future()
        self._send({"id": id_, "method": method, **({} if params is None else {"params": params})})
        reply = await asyncio.wait_for(self._waiting[id_], timeout)
        if "error" in reply:
            raise Failed(reply["error"])
        return reply["result"]

    def notify(self, method: str, params: Any) -> None:
        """Send a notification."""
        self._send({"method": method, "params": params})

    def open(self, path: str, text: str, version: int = 1) -> str:
        """Open a document, and return its uri."""
        uri = uri_of(path)
        document = {"uri": uri, "languageId": "text", "version": version, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": document})
        return uri

    def heard_of(self, method: str) -> list[Any]:
        """Return the params of what came of one method."""
        return [message.get("params") for message in self.heard if message["method"] == method]

    async def hears(self, method: str, count: int = 1, *, timeout: float = 60) -> Any:
        """Wait until a method came so often, and return the params of the last."""
        await wait_until_async(lambda: len(self.heard_of(method)) >= count, timeout)
        return self.heard_of(method)[count - 1]

    async def close(self) -> None:
        """Leave."""
        self._listening.cancel()
        self._writer.close()
        await self._writer.wait_closed()

    def reply(self, id_: Any, result: Any) -> None:
        """Reply to a request of the server."""
        self._send({"id": id_, "result": result})

    def _send(self, message: dict[str, Any]) -> None:
        self._writer.write(frame(json.dumps({"jsonrpc": "2.0", **message}).encode()))

    async def _listen(self) -> None:
        while True:
            try:
                header = await self._reader.readuntil(b"\r\n\r\n")
                message = json.loads(await self._reader.readexactly(int(header.split(b":")[1])))
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            if "method" not in message:
                self._waiting[message["id"]].set_result(message)
                continue
            self.heard.append(message)
            answer: Answer | None = self.answers.get(message["method"], _nothing)
            if message["method"] in self.refuses:
                self._send({"id": message["id"], "error": {"code": -32601, "message": "There is no such method."}})
            elif "id" in message and answer is not None:
                self.reply(message["id"], answer(message.get("params")))


def _nothing(_: Any) -> None:
    """Reply null, as a client does that has done what it was asked."""
