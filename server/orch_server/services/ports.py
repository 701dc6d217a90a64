"""Ten ports for every session, so that the servers its agent starts do not meet those of other sessions."""

import asyncio
import hashlib
import socket
import struct
import sys
from collections.abc import Iterator

from orch_server.domain.session import LIVE, State
from orch_server.services.context import Context
from orch_server.store.transaction import Transaction

BLOCK = 10
VARIABLE = "ORCH_PORT_BASE"

# linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h
_SOCK_DIAG, _BY_FAMILY, _DUMP, _LISTENING = 4, 20, 0x301, 10
_HEAD = struct.Struct("=IH")
_ASK = struct.Struct("=IHHIIBBxxI48x")
_PORT, _PORT_AT = struct.Struct(">H"), 20


async def environment_for(context: Context, session_id: str) -> dict[str, str]:
    """Return the variable that tells a session's agent its ports."""
    base = await block_of(context, session_id)
    return {} if base is None else {VARIABLE: str(base)}


async def block_of(context: Context, session_id: str) -> int | None:
    """Return the first of a session's ports: those it had, if they are still to be had, else others; None if none are.

    They are free now, and no other live session has them. A program that takes one later is nobody's fault.
    """
    async with context.lock("ports"):
        first, last = context.limits.ports
        bases = range(first, last - BLOCK + 2, BLOCK)
        taken = _taken(context, session_id)
        session = context.store.session(session_id)
        assert session is not None
        # Each session begins its search elsewhere, so that one that starts anew finds its old ports free most often.
        start = int.from_bytes(hashlib.blake2b(session_id.encode(), digest_size=4).digest()) % max(1, len(bases))
        order = [*bases[start:], *bases[:start]]
        if session.port_base in bases:
            order.insert(0, session.port_base)
        in_use = await asyncio.to_thread(_in_use)
        free = (base for base in order if base not in taken and in_use.isdisjoint(range(base, base + BLOCK)))
        found = next(free, None)
        if found != session.port_base:
            await context.store.write(lambda transaction: _set(transaction, session_id, found))
        return found


def _taken(context: Context, session_id: str) -> set[int | None]:
    states = [State.CREATED, *LIVE]
    others, _ = context.store.sessions(states=states, limit=10_000)
    lingering = (context.store.session(other) for other in context.live)
    return {other.port_base for other in (*others, *lingering) if other is not None and other.id != session_id}


def _set(transaction: Transaction, session_id: str, base: int | None) -> None:
    transaction.session(session_id).port_base = base


def _in_use() -> set[int]:
    """Return the TCP ports at which programs of this machine listen, as Linux tells who asks (sock_diag(7)).

    To read /proc/net/tcp would take the kernel 8 ms instead of 0.1, since it looks for every connection there may be.
    No port is opened to find out. Where nothing answers, sessions are only kept from one another's ports.
    """
    if not sys.platform.startswith("linux"):
        return set()
    found = set()
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
            kernel.settimeout(1.0)
            for family in (socket.AF_INET, socket.AF_INET6):
                kernel.send(_ASK.pack(_ASK.size, _BY_FAMILY, _DUMP, 0, 0, family, socket.IPPROTO_TCP, 1 << _LISTENING))
                found |= {_PORT.unpack_from(message, _PORT_AT)[0] for message in _answers(kernel)}
    except OSError:
        return set()
    return found


def _answers(kernel: socket.socket) -> Iterator[bytes]:
    """Yield what the kernel says of each socket, until it says that there are no more, or refuses."""
    while True:
        messages = kernel.recv(1 << 16)
        while messages:
            length, kind = _HEAD.unpack_from(messages)
            if kind != _BY_FAMILY:
                return
            yield messages[:length]
            messages = messages[(length + 3) & ~3 :]
