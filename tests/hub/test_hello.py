"""The first words on a connection to the hub."""

import socket
from typing import Any

from orch_server.hub import hello

_ANSWER: dict[str, object] = {"accepted": False, "reason": "Update the client."}


def test_a_hub_that_answers_and_leaves_at_once_is_heard() -> None:
    """A hub that refuses a caller has left before the caller does anything else."""
    ours, theirs = socket.socketpair()

    class Caller(socket.socket):
        def send(self, *arguments: Any) -> int:
            sent = super().send(*arguments)
            assert hello.Receiver(theirs).receive() == {"version": "0.0.1"}
            theirs.sendall(hello.encode(_ANSWER))
            theirs.close()
            return sent

    with Caller(fileno=ours.detach()) as caller:
        assert hello.call(caller, {"version": "0.0.1"}) == _ANSWER
