"""The first words on a connection to the hub, before any LSP: who calls, and who answers. Standard library only.

Caller: four bytes of length, then JSON `{version, protocolVersion, environment}`, and with the first byte a file
descriptor, the pipe on which it wants to hear its exit code. Hub: four bytes of length, then JSON
`{version, protocolVersion, pid, accepted, reason}`. Then both sides speak LSP. Fields are only ever added.
"""

import json
import socket

LIMIT = 8 * 1024 * 1024
_LENGTH = 4


def encode(message: dict[str, object]) -> bytes:
    """Return a message with its length before it."""
    body = json.dumps(message).encode("utf-8", "surrogateescape")
    return len(body).to_bytes(_LENGTH, "big") + body


def call(connection: socket.socket, message: dict[str, object], exit_pipe: int | None = None) -> dict[str, object]:
    """Say hello over a connected socket and return the hub's answer. Raises OSError where there is none."""
    data = memoryview(encode(message))
    sent = socket.send_fds(connection, [data], [exit_pipe]) if exit_pipe is not None else connection.send(data)
    if sent < len(data):  # to send nothing fails, too, where the hub has answered and left
        connection.sendall(data[sent:])
    length = int.from_bytes(_exactly(connection, _LENGTH), "big")
    if length > LIMIT:
        raise ConnectionError("the hub's hello is too long")
    answer: dict[str, object] = json.loads(_exactly(connection, length))
    return answer


class Receiver:
    """Takes a caller's hello from a non-blocking socket, in as many pieces as it comes, and not a byte more."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._data = bytearray()
        self.descriptors: list[int] = []

    def receive(self) -> dict[str, object] | None:
        """Return the hello once it is complete, None before. Raises OSError or ValueError where it cannot be one."""
        while True:
            wanted = _LENGTH - len(self._data)
            if wanted <= 0:
                length = int.from_bytes(self._data[:_LENGTH], "big")
                if length > LIMIT:
                    raise ValueError("the caller's hello is too long")
                wanted += length
                if wanted == 0:
                    message = json.loads(bytes(self._data[_LENGTH:]).decode("utf-8", "surrogateescape"))
                    if not isinstance(message, dict):
                        raise ValueError("the caller's hello is no object")
                    return message
            try:
                data, descriptors, _, _ = socket.recv_fds(self._connection, min(wanted, 1 << 20), 4)
            except BlockingIOError:
                return None
            self.descriptors.extend(descriptors)
            if not data:
                raise ConnectionError("the caller left before its hello was complete")
            self._data += data


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionError("the hub left before its hello was complete")
        data += piece
    return data
