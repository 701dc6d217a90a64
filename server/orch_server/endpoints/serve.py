"""The hub as a process: in the background, in the foreground, or in one process with its only client."""

import asyncio
import ctypes
import gc
import logging
import os
import resource
import socket
import sys
import threading
from logging.handlers import RotatingFileHandler

from orch_server.domain.errors import OrchError
from orch_server.endpoints.bridge import copy
from orch_server.hub.address import AddressRefused
from orch_server.hub.dial import ANOTHER_HUB
from orch_server.hub.hub import AnotherHub, Hub
from orch_server.settings.crashpoint import crashpoint
from orch_server.settings.options import ConfigError
from orch_server.settings.places import Places, find_places

log = logging.getLogger(__name__)
_LAST_WORDS_SECONDS = 2.0
_MALLOC = {-8: 1, -3: 1 << 20, -1: 1 << 20}
"""Settings of glibc's malloc, by their numbers in malloc.h: M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD."""
_REFUSALS = (OrchError, AddressRefused, ConfigError, OSError)


def run_hub(ready_fd: int | None) -> int:
    """Be the hub until it leaves. `ready_fd` hears "ready", "another", or why it cannot start."""
    try:
        asyncio.run(_serve(_prepare(), ready_fd))
    except AnotherHub:
        _tell(ready_fd, "another")
        return ANOTHER_HUB
    except _REFUSALS as error:
        message = _explained(error)
        log.exception("The hub cannot serve")
        _tell(ready_fd, message)
        print(f"orch-server: {message}", file=sys.stderr)
        return 1
    return 0


def run_standalone() -> int:
    """Serve one client on standard input and output, with the hub in this process."""
    try:
        return asyncio.run(_serve_one(_prepare()))
    except AnotherHub as error:
        print(f"orch-server: a hub runs ({error}); --standalone needs a home of its own.", file=sys.stderr)
        return ANOTHER_HUB
    except _REFUSALS as error:
        print(f"orch-server: {_explained(error)}", file=sys.stderr)
        return 1


def tune() -> None:
    """Set up a process for the hub that has begun in it."""
    sys.setswitchinterval(0.001)  # the store's thread computes much, and requests should not wait 5 ms for it
    # What was imported lives as long as the hub and need not be looked at again and again; nor was it while it was
    # imported, which took a seventh longer so.
    gc.freeze()
    gc.enable()


def give_memory_back() -> None:
    """Have glibc return freed memory to the system.

    By default threads have heaps of their own, and once a block of 16 MiB was freed, twice as much is kept from then
    on: after a flood of output, a hub stayed 70 MiB larger than what it used.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not every C library has it
    if mallopt is not None:
        for setting, value in _MALLOC.items():
            mallopt(setting, value)


async def _serve(places: Places, ready_fd: int | None) -> None:
    hub = Hub(places, os.environ)
    await hub.start()
    tune()
    hub.listen()
    crashpoint("hub.listening")
    _tell(ready_fd, "ready")
    await hub.serve()


async def _serve_one(places: Places) -> int:
    hub = Hub(places, os.environ)
    await hub.start()
    tune()
    loop = asyncio.get_running_loop()
    told, tell = os.pipe()
    ours, theirs = socket.socketpair()
    connection = hub.attach(dict(os.environ), tell, on_closed=lambda: hub.leave("its client left"))
    ours.setblocking(False)
    await loop.connect_accepted_socket(lambda: connection, ours)
    copier = threading.Thread(target=copy, args=(theirs,), daemon=True)
    copier.start()
    await hub.until_left()
    await asyncio.to_thread(copier.join, _LAST_WORDS_SECONDS)
    code = os.read(told, 1)
    return code[0] if code else 1


def _prepare() -> Places:
    os.umask(0o077)
    os.chdir("/")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # memory holds the clients' environments
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    give_memory_back()
    places = find_places(os.environ)
    os.makedirs(places.home, mode=0o700, exist_ok=True)
    handler = RotatingFileHandler(places.log, maxBytes=4 * 1024 * 1024, backupCount=2)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.raiseExceptions = False  # on a full disk the log is the least that matters
    return places


def _tell(ready_fd: int | None, message: str) -> None:
    if ready_fd is not None:
        os.write(ready_fd, message.encode())
        os.close(ready_fd)


def _explained(error: BaseException) -> str:
    hint = error.hint if isinstance(error, OrchError) else ""
    return f"{error} {hint}".strip()
