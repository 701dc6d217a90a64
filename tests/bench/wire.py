"""A language server's process and the least of a client for it, so that little but the server is measured."""

import json
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any

INITIALIZE: dict[str, Any] = {"processId": None, "rootUri": None, "capabilities": {}}


class Wire:
    """One server on its standard input and output; everything blocks."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            close_fds=False,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._buffer = bytearray()

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    def initialize(self) -> None:
        """Say what an editor says first, and wait for the answer."""
        self.call("initialize", INITIALIZE)
        self.write(frame({"jsonrpc": "2.0", "method": "initialized", "params": {}}))

    def call(self, method: str, params: object) -> Any:
        """Send a request and return its result; notifications that come before are dropped."""
        self.write(frame({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        while True:
            message = json.loads(self.read())
            if message.get("id") == 1 and "method" not in message:
                if "error" in message:
                    raise AssertionError(message["error"])
                return message["result"]

    def exchange(self, request: bytes) -> None:
        """Send a framed request and take its reply, unread."""
        self.write(request)
        self.read()

    def pipeline(self, requests: bytes, replies: int) -> None:
        """Send many framed requests at once and take all replies, unread."""
        sender = threading.Thread(target=self.write, args=(requests,))
        sender.start()
        for _ in range(replies):
            self.read()
        sender.join()

    def write(self, data: bytes) -> None:
        """Write bytes."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._in, view) :]

    def read(self) -> bytes:
        """Return the next message's body."""
        buffer = self._buffer
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            self._more()
        head = bytes(buffer[:end]).lower()
        start = end + 4
        stop = start + int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        while len(buffer) < stop:
            self._more()
        body = bytes(buffer[start:stop])
        del buffer[:stop]
        return body

    def _more(self) -> None:
        data = os.read(self._out, 1 << 16)
        if not data:
            raise ConnectionError("the server ended")
        self._buffer += data

    def close(self) -> None:
        """End the server, in order if it will."""
        try:
            self.call("shutdown", None)
            self.write(frame({"jsonrpc": "2.0", "method": "exit"}))
        except OSError:
            pass
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


def frame(message: Mapping[str, object]) -> bytes:
    """Return a message with its header."""
    body = json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
