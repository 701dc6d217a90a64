"""Reaching the hub, and starting it where none runs. Standard library only: the bridge starts with it.

Many may try at once: whoever gets the start lock looks again, and only then starts a hub. The hub holds a lock of
its own for life, so that even a start from elsewhere gives no second one.
"""

import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from orch_server import PROTOCOL_VERSION, __version__
from orch_server.hub import address, hello
from orch_server.settings.places import Places

ANOTHER_HUB = 3
"""The exit code of a hub that finds another one holding the lock."""
_START_SECONDS = 30.0
_LEAVE_SECONDS = 15.0
_MOST_DEATHS = 3
_KEPT = ("HOME", "PATH", "LANG", "TMPDIR", "LOGNAME", "USER")


class HubUnreachable(Exception):
    """No hub answers and none could be started; the message says why."""


class ProtocolMismatch(Exception):
    """The running hub speaks another protocol version."""


def dial(
    places: Places, environment: Mapping[str, str], *, start: bool = True, exit_pipe: int | None = None
) -> socket.socket:
    """Return a socket to the hub on which LSP can be spoken, after the hello.

    Where no hub runs one is started (unless `start` is false); an older hub is asked to leave first.
    """
    deadline = time.monotonic() + _START_SECONDS
    deaths = 0
    while True:
        connection = _connect(places)
        if connection is None:
            if not start:
                raise HubUnreachable(f"No hub runs for {places.home}.")
            if "ORCH_RUN" in environment:
                # It would be below the agent's runner, which ends all that is below it when the agent ends.
                raise HubUnreachable("No hub runs, and none is started from inside an agent's run.")
            if not _start(places, environment):
                deaths += 1
                if deaths == _MOST_DEATHS:
                    raise HubUnreachable(f"The hub ended while it started. {places.log} may say why.")
            connection = _connect(places)
        if connection is not None:
            answer = _greet(connection, environment, exit_pipe)
            if answer is not None and answer.get("accepted"):
                connection.setblocking(True)
                return connection
            connection.close()
            if answer is not None and answer.get("reason") == "protocol":
                raise ProtocolMismatch(
                    f"The running hub (orch {answer.get('version')}) speaks protocol {answer.get('protocolVersion')}, "
                    f"this is orch {__version__} with {PROTOCOL_VERSION}. Use the same version for both."
                )
            if answer is not None:
                wait_for_leave(places)
            else:
                time.sleep(0.05)
        if time.monotonic() > deadline:
            raise HubUnreachable(f"The hub at {places.socket} does not answer. {places.log} may say why.")


def _connect(places: Places) -> socket.socket | None:
    try:
        address.check_directory(places.socket_dir, create=False)
    except FileNotFoundError:
        return None
    except address.AddressRefused as error:
        raise HubUnreachable(str(error)) from error
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(places.socket)
    except OSError:
        connection.close()
        return None
    return connection


def _greet(
    connection: socket.socket, environment: Mapping[str, str], exit_pipe: int | None
) -> dict[str, object] | None:
    message = {
        "version": __version__,
        "protocolVersion": PROTOCOL_VERSION,
        "environment": dict(environment),
    }
    try:
        connection.settimeout(_START_SECONDS)
        return hello.call(connection, message, exit_pipe)
    except (OSError, ValueError):
        return None  # it left while we spoke


def _start(places: Places, environment: Mapping[str, str]) -> bool:
    """Start a hub where there is still none; false if it was killed before it could say why it cannot serve."""
    with _start_lock(places):
        other = _connect(places)
        if other is not None:
            other.close()
            return True
        ready, told = os.pipe()
        try:
            os.set_inheritable(told, True)
            command = [sys.executable, "-I", "-m", "orch_server", "--hub", "--ready-fd", str(told)]
            null = os.open(os.devnull, os.O_RDWR)
            actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
            try:
                os.posix_spawn(
                    sys.executable, command, _hub_environment(environment), file_actions=actions, setsid=True
                )
            except OSError as error:
                raise HubUnreachable(f"The hub cannot be started: {error}") from error
            finally:
                os.close(null)
                os.close(told)
            said = _read_all(ready)
        finally:
            os.close(ready)
    if said not in {"", "ready", "another"}:
        raise HubUnreachable(said)
    return said != ""


def _hub_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environment.items() if name in _KEPT or name.startswith(("XDG_", "ORCH_", "LC_"))
    }


@contextmanager
def _start_lock(places: Places) -> Iterator[None]:
    before = os.umask(0o077)  # the caller's may take from its owner too, who could not enter this home any more
    try:
        os.makedirs(places.home, mode=0o700, exist_ok=True)
        descriptor = os.open(os.path.join(places.home, "start.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HubUnreachable(f"No hub can be started in {places.home}: {error}") from error
    finally:
        os.umask(before)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read_all(descriptor: int) -> str:
    said = b""
    while piece := os.read(descriptor, 4096):
        said += piece
    return said.decode(errors="replace").strip()


def wait_for_leave(places: Places) -> None:
    """Wait until the hub that said it leaves has let go of its lock."""
    deadline = time.monotonic() + _LEAVE_SECONDS
    descriptor = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while time.monotonic() < deadline:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.02)
    finally:
        os.close(descriptor)
