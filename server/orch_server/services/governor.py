"""How many agents may work at once, and when one that ran into a usage limit goes on.

All limits are off unless the user sets them, but for the disk: nothing new is begun where hardly any space is left.
A session that is over a limit waits in a queue that everybody can see, first come first served.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psutil

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.session import ENDED, Reason, Session
from orch_server.settings.options import Limits
from orch_server.store.transaction import Transaction

if TYPE_CHECKING:
    from orch_server.services.context import Context

_LOOK_SECONDS = 2.0
_LONGEST_TIMER_SECONDS = 3_600.0


class Governor:
    """Admits sessions to work, in the order they came. One for the hub; lives on the event loop."""

    def __init__(self, limits: Limits) -> None:
        self.parked: dict[str, asyncio.TimerHandle] = {}
        """Sessions that wait for a usage limit to end."""
        self._limits = limits
        self._working: dict[str, Session] = {}
        self._queue: list[tuple[Session, asyncio.Future[None]]] = []

    async def admit(self, session: Session, tell: Callable[[str], Awaitable[None]]) -> None:
        """Return once the session may work; `tell` is awaited with the reason if it has to wait."""
        obstacle = self._obstacle(session)
        if obstacle is None:
            self._working[session.id] = session
            return
        waiter = (session, asyncio.get_running_loop().create_future())
        self._queue.append(waiter)
        try:
            await tell(obstacle)
            while not waiter[1].done():  # a place is told of; memory is freed without a word
                await asyncio.wait([waiter[1]], timeout=_LOOK_SECONDS)
                self._admit_waiting()
        except BaseException:
            if waiter in self._queue:
                self._queue.remove(waiter)
            self.release(session.id)
            raise

    def occupy(self, session: Session) -> None:
        """Count a session as working: its process was adopted, or took up a further text."""
        self._working[session.id] = session

    def release(self, session_id: str) -> None:
        """Let go of a session's place: its agent is not at work any more."""
        if self._working.pop(session_id, None) is not None:
            self._admit_waiting()

    def queued(self) -> int:
        """Return how many sessions wait for a place or for a usage limit to end."""
        return len(self._queue) + len(self.parked)

    def _admit_waiting(self) -> None:
        for waiter in list(self._queue):
            session, admitted = waiter
            if self._obstacle(session) is None:
                self._queue.remove(waiter)
                self._working[session.id] = session
                admitted.set_result(None)

    def _obstacle(self, session: Session) -> str | None:
        limits = self._limits
        projects = Counter(other.project_id for other in self._working.values())
        agents = Counter(other.agent for other in self._working.values())
        for most, present, what in (
            (limits.runs, len(self._working), "agents at once"),
            (limits.runs_per_project, projects[session.project_id], f"agents at once in {session.project_slug}"),
            (limits.runs_per_agent, agents[session.agent], f"sessions of {session.agent} at once"),
        ):
            if most is not None and present >= most:
                return f"The limit is {most} {what}."
        if limits.min_free_memory_bytes and psutil.virtual_memory().available < limits.min_free_memory_bytes:
            return "Little memory is free."
        return None


def check_disk(paths: list[str], floor: int) -> None:
    """Raise diskFull where less than `floor` bytes are free under one of the paths."""
    for path in paths:
        found = os.statvfs(path)
        free = found.f_bavail * found.f_frsize
        if free < floor:
            raise OrchError(
                ErrorKind.DISK_FULL,
                f"Only {free // 2**20} MiB are free at {path}; nothing new is begun below {floor // 2**20} MiB.",
                hint="Free some space, or set start_free_bytes in [limits]. Nothing was deleted to make room.",
            )


def park(context: "Context", session_id: str, wake: Callable[[str], object]) -> None:
    """Have a session that ran into a usage limit go on when the limit ends, if the user wants that."""
    session = context.store.session(session_id)
    if session is None or session.resumes_at is None or session.state not in ENDED:
        return
    if session_id in context.governor.parked:
        return
    seconds = (datetime.fromisoformat(session.resumes_at) - datetime.now(UTC)).total_seconds()
    loop = asyncio.get_running_loop()

    def later() -> None:
        context.governor.parked.pop(session_id, None)
        if seconds > _LONGEST_TIMER_SECONDS:
            park(context, session_id, wake)  # looked at the clock again: a machine may sleep, a clock may be set
        else:
            wake(session_id)

    context.governor.parked[session_id] = loop.call_later(min(max(seconds, 0), _LONGEST_TIMER_SECONDS), later)


def note_parked(transaction: Transaction, session_id: str) -> None:
    """Say in a session that it goes on by itself."""
    session = transaction.session(session_id)
    if session.state in ENDED and session.reason == Reason.USAGE_LIMIT and session.resumes_at is not None:
        message = f"{session.message} It goes on by itself at {session.resumes_at}.".strip()
        transaction.move(session, session.state, Reason.PARKED_UNTIL_RESET, message)
