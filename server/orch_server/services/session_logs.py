"""A readable log of each session in its project: `.orchestrator/logs/<session-id>.log`.

Every line begins with the number of its event, so a hub that starts again cuts off what was torn, sees how far the
log came, and goes on from there. It is a convenience: what counts is in the database, and a log that cannot be
written (the project is gone, the disk is full) holds nothing up.
"""

import asyncio
import io
import logging
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import orjson

from orch_server.domain.errors import OrchError
from orch_server.domain.readable import harmless, told
from orch_server.domain.session import LIVE, State
from orch_server.git.runtime_dir import make_runtime_dir, opened
from orch_server.services.context import Context
from orch_server.store.records import StoredEvent

log = logging.getLogger(__name__)

_GATHER_SECONDS = 0.25
"""How long events wait for others: people read the log, and line by line it would cost the hub a third of its time."""
_OPEN_LOGS = 256
"""More than there are agents at work: to open one again, what it lacks is read from the store."""
_QUIET = frozenset({"session.updated", "agent.usage"})
_SPOKEN = frozenset({"agent.message", "agent.thought"})
_TAIL_BYTES = 64 * 1024
_MOST_WAITING_BYTES = 4 * 1024 * 1024
_EVENT_WEIGHT = 512
"""What an event weighs in memory besides its text."""
_LONGEST_ENTRY = 64 * 1024
"""Characters of a message in one entry; a longer one goes on in the next, since an agent may never come to its end."""


class SessionLogs:
    """Writes the logs of all sessions, a batch of events at a time, never on the event loop's thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: list[StoredEvent] = []
        self._waiting_bytes = 0
        self._missed: dict[str, int] = {}
        """Sessions that told more than is kept waiting, each with the last event to be read from the store."""
        self._arrived = asyncio.Event()
        self._open: OrderedDict[str, _Log] = OrderedDict()

    def take(self, events: Sequence[StoredEvent]) -> None:
        """Take published events; they are written soon. What is too much to wait is read from the store instead."""
        for event in events:
            if event.session_id is not None:
                self._waiting.append(event)
                self._waiting_bytes += _EVENT_WEIGHT + len(event.json)
        if self._waiting_bytes > _MOST_WAITING_BYTES:
            self._missed.update(
                (event.session_id, event.seq) for event in self._waiting if event.session_id is not None
            )
            self._waiting, self._waiting_bytes = [], 0
        self._arrived.set()

    async def run(self) -> None:
        """Write what arrives, until cancelled; what was waiting then is written too."""
        try:
            while True:
                try:
                    await self._arrived.wait()
                    await asyncio.sleep(_GATHER_SECONDS)
                except asyncio.CancelledError:
                    await self._write_waiting()
                    raise
                self._arrived.clear()
                await self._write_waiting()
        finally:
            for opened_log in self._open.values():
                opened_log.close()

    async def _write_waiting(self) -> None:
        missed, self._missed = self._missed, {}
        events, self._waiting, self._waiting_bytes = self._waiting, [], 0
        for session_id, seq in missed.items():
            await self._write(session_id, [], through=seq)
        by_session: dict[str, list[StoredEvent]] = {}
        for event in events:
            assert event.session_id is not None
            by_session.setdefault(event.session_id, []).append(event)
        for session_id, found in by_session.items():
            await self._write(session_id, found)

    async def _write(self, session_id: str, events: list[StoredEvent], *, through: int = 0) -> None:
        """Append events to a session's log, and before them what it lacks up to the event `through`."""
        try:
            found = self._open.get(session_id)
            if found is None:
                found = await self._open_log(session_id)
                through = through or events[0].seq - 1
            if found is not None:
                self._open.move_to_end(session_id)
                await self._catch_up(found, session_id, through)
                await asyncio.to_thread(found.append, events)
                self._close_at_rest(session_id)
        except (OrchError, OSError) as error:
            log.warning("The log of session %s cannot be written: %s", session_id, error)
            self._close(session_id)

    def _close_at_rest(self, session_id: str) -> None:
        """Close the log of a session that is not at work: little more comes, and what is purged is to be gone."""
        session = self._context.store.session(session_id)
        if session is None or session.state not in {State.CREATED, *LIVE}:
            self._close(session_id)

    def _close(self, session_id: str) -> None:
        found = self._open.pop(session_id, None)
        if found is not None:
            found.close()

    async def _open_log(self, session_id: str) -> "_Log | None":
        """Open a session's log."""
        session = self._context.store.session(session_id)
        project = self._context.store.project(session.project_id) if session is not None else None
        if session is None or project is None or session.purged_at is not None:
            return None
        name = self._context.settings.project_runtime_dirname
        found = await asyncio.to_thread(_Log, project.path, name, session_id)
        self._open[session_id] = found
        if len(self._open) > _OPEN_LOGS:
            self._open.popitem(last=False)[1].close()
        return found

    async def _catch_up(self, found: "_Log", session_id: str, through: int) -> None:
        while found.last_seq < through and (
            page := await self._context.store.events(
                found.last_seq, session_id=session_id, page_bytes=_MOST_WAITING_BYTES
            )
        ):
            await asyncio.to_thread(found.append, [event for event in page if event.seq <= through])
            if page[-1].seq > through:
                break


class _Log:
    """One log file, open for appending."""

    def __init__(self, project: str, runtime_dir: str, session_id: str) -> None:
        make_runtime_dir(project, runtime_dir)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with opened(project, (runtime_dir, "logs")) as directory:
            self._descriptor = os.open(f"{session_id}.log", flags, 0o600, dir_fd=directory)
        self.last_seq = self._cut_torn_end()
        self._spoken: dict[str, io.StringIO] = {}

    def append(self, events: Sequence[StoredEvent]) -> None:
        """Append the events that the log does not have."""
        lines = []
        for event in events:
            if event.seq > self.last_seq:
                self.last_seq = event.seq
                lines.extend(self._lines_of(orjson.loads(event.json)))
        if lines:
            os.lseek(self._descriptor, 0, os.SEEK_END)
            os.write(self._descriptor, "".join(lines).encode("utf-8", "replace"))

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _lines_of(self, event: dict[str, Any]) -> list[str]:
        """Return the lines of an event: what an agent says becomes one entry once it is said to its end."""
        if event["type"] in _QUIET:
            return []
        text = told(event)
        if event["type"] in _SPOKEN:
            words = self._spoken.setdefault(event["data"]["messageId"], io.StringIO())
            words.write(event["data"]["text"])
            if not event["data"]["final"] and words.tell() < _LONGEST_ENTRY:
                return []
            text = self._spoken.pop(event["data"]["messageId"]).getvalue()
        head = f"{event['seq']} {event['at']} {event['type']}"
        return [f"{head} {harmless(line, keep=chr(9))}\n" for line in text.splitlines() or [""]]

    def _cut_torn_end(self) -> int:
        size = os.fstat(self._descriptor).st_size
        tail = os.pread(self._descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        whole = tail[: tail.rfind(b"\n") + 1]
        os.ftruncate(self._descriptor, size - len(tail) + len(whole))
        for line in reversed(whole.splitlines()):
            number = line.split(b" ", 1)[0]
            if number.isdigit():
                return int(number)
        return 0
