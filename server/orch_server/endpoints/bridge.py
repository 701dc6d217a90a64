"""The bridge: what an editor starts. It reaches the hub and copies bytes both ways. Standard library only.

Its exit code is the hub's word on the connection: 0 after an orderly `shutdown` and `exit`, 1 without, 75 where the
hub died or left, so that the editor starts it again.
"""

import _thread
import os
import socket
import sys
from collections.abc import Mapping

from orch_server.hub.address import AddressRefused
from orch_server.hub.dial import HubUnreachable, ProtocolMismatch, dial
from orch_server.settings.places import Places

HUB_DIED = 75
UNREACHABLE = 6
_CHUNK = 64 * 1024


def run(places: Places, environment: Mapping[str, str]) -> int:
    """Connect standard input and output to the hub until either side ends; return the exit code."""
    told, tell = os.pipe()
    try:
        connection = dial(places, environment, exit_pipe=tell)
    except (HubUnreachable, ProtocolMismatch, AddressRefused) as error:
        print(f"orch-server: {error}", file=sys.stderr)
        return UNREACHABLE
    os.close(tell)
    copy(connection)
    connection.close()
    code = os.read(told, 1)
    return code[0] if code else HUB_DIED


def copy(connection: socket.socket) -> None:
    """Copy between standard input and output and a hub, until the hub closes.

    Each way has a thread of its own, so that neither can hold the other up.
    """
    _thread.start_new_thread(_pass_input_on, (connection,))
    while True:
        try:
            data = connection.recv(_CHUNK)
        except OSError:
            return
        if not data or not _write(1, data):
            return


def _pass_input_on(connection: socket.socket) -> None:
    try:
        while data := os.read(0, _CHUNK):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)  # the hub's last words are still taken
    except OSError:
        pass


def _write(descriptor: int, data: bytes) -> bool:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        return False
    return True
