"""The store: one thread writes, everybody reads.

Whatever waits for the writer goes into one commit, each unit in a savepoint of its own, so that one that fails
undoes only itself and a hundred agents cost few more syncs than one.
"""

import asyncio
import functools
import logging
import queue
import sqlite3
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

import orjson
from sqlalchemy import Connection, Integer, Select, literal_column, select
from sqlalchemy.exc import DBAPIError

from orch_server.domain.artifact import Artifact
from orch_server.domain.collision import Collision
from orch_server.domain.command import Command
from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.ids import random_id
from orch_server.domain.lease import Lease
from orch_server.domain.project import Project
from orch_server.domain.session import Reason, State, Usage
from orch_server.settings.crashpoint import crashpoint
from orch_server.store import tables
from orch_server.store.records import Intent, OutboxRow, RunRow, SearchHit, SessionRecord, Standing, StoredEvent
from orch_server.store.schema import driver, open_engine, unusable
from orch_server.store.transaction import EVENT_JSON, Transaction, event_json, run_from_row

log = logging.getLogger(__name__)
ParamsT = ParamSpec("ParamsT")
ResultT = TypeVar("ResultT")

ANNOUNCE_SECONDS = 0.5
"""How far apart `session.updated` events of one session are at least."""
_CACHED_SESSIONS = 2_000
_READERS = 4
"""How many threads read at once: each needs a connection, with its descriptors and a cache of its own."""
_MOST_IN_ONE_COMMIT = 256
_TURN_ENDS = "('turn.completed', 'turn.failed')"
EVENT_PAGE_BYTES = 8 * 1024 * 1024
_INSERT_EVENTS = (
    "INSERT INTO events (seq, type, at, project_id, session_id, run_id, turn, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


def now() -> str:
    """Return the present time as RFC 3339, UTC, with milliseconds and Z."""
    return _written(datetime.now(UTC))


def time_ago(seconds: float) -> str:
    """Return the time that was some seconds ago, written as `now` does."""
    return _written(datetime.now(UTC) - timedelta(seconds=seconds))


def _written(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


@dataclass(slots=True)
class _Unit:
    work: Callable[[Transaction], Any]
    future: "asyncio.Future[Any]"


@dataclass(slots=True)
class _Kept:
    """A committed session in memory, and its bytes on the wire once somebody asked for them."""

    record: SessionRecord
    json: bytes | None = None


def _reads(
    read: Callable[Concatenate["Store", ParamsT], ResultT],
) -> Callable[Concatenate["Store", ParamsT], ResultT]:
    """Have a method raise what its caller can act on where the database cannot be read."""

    @functools.wraps(read)
    def guarded(store: "Store", /, *args: ParamsT.args, **kwargs: ParamsT.kwargs) -> ResultT:
        try:
            return read(store, *args, **kwargs)
        except (DBAPIError, sqlite3.DatabaseError) as error:
            raise _as_orch_error(store.path, error) from error

    return guarded


class Store:
    """The hub's memory. `publish` is called on the event loop with every commit's events, in order of seq."""

    def __init__(self, path: str, publish: Callable[[Sequence[StoredEvent]], None]) -> None:
        self.path = path
        self._engine = open_engine(path)
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._readers = threading.local()
        self._idle_readers: list[Connection] = []
        self._reading = asyncio.Semaphore(_READERS)
        self._cache: OrderedDict[str, _Kept] = OrderedDict()
        self._cache_lock = threading.Lock()
        self._announced_at: dict[str, float] = {}
        self._announcing: set[str] = set()
        self._gathered: list[_Unit] = []
        self._units: queue.SimpleQueue[list[_Unit] | None] = queue.SimpleQueue()
        with self._engine.connect() as connection:
            connection.exec_driver_sql("INSERT OR IGNORE INTO facts VALUES ('database', ?)", (random_id(6),))
            self.database_id: str = connection.exec_driver_sql(
                "SELECT value FROM facts WHERE name = 'database'"
            ).scalar_one()
            self.last_seq: int = connection.exec_driver_sql("SELECT coalesce(max(seq), 0) FROM events").scalar_one()
        self._thread = threading.Thread(target=self._write_loop, name="orch-store", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[Transaction], ResultT]) -> ResultT:
        """Run `work` in a transaction on the writer's thread and return its result once it is committed."""
        future: asyncio.Future[ResultT] = self._loop.create_future()
        self._submit(_Unit(work, future))
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Finish what waits, and close the database."""
        self._hand_over()
        self._units.put(None)
        await asyncio.to_thread(self._thread.join)
        for connection in (self._reader, *self._idle_readers):
            connection.close()  # those of other threads, which may be reading, end with their threads
        self._engine.dispose()

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def _reader(self) -> Connection:
        """A connection for quick reads: each thread has its own, since SQLite's must not be used by two at once."""
        try:
            found: Connection = self._readers.connection
        except AttributeError:
            found = self._readers.connection = self._engine.connect()
        return found

    @_reads
    def session(self, session_id: str) -> SessionRecord | None:
        """Return a session as committed. Do not change it. Quick: for use on the event loop."""
        return self._committed(self._reader, session_id)

    @_reads
    def session_ids(self, prefix: str, limit: int) -> list[str]:
        """Return the ids of sessions that begin with `prefix`, at most `limit`."""
        column = tables.sessions.c.id
        statement = select(column).where(column >= prefix, column < prefix + "\x7f").order_by(column).limit(limit)
        return list(self._reader.execute(statement).scalars())

    @_reads
    def sessions(
        self,
        *,
        project_id: str | None = None,
        agent: str | None = None,
        states: Iterable[State] | None = None,
        reason: Reason | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> tuple[list[SessionRecord], int | None]:
        """Return sessions that are not purged, newest first, and the cursor of the next page (None at the end)."""
        asked = {"project_id = ?": project_id, "agent = ?": agent, "reason = ?": reason, "number < ?": before}
        given = {condition: value for condition, value in asked.items() if value is not None}
        page = f"SELECT number, id FROM sessions WHERE {' AND '.join(['purged_at IS NULL', *given])}"  # noqa: S608
        newest = "ORDER BY number DESC LIMIT ?"
        statement, values = f"{page} {newest}", [*given.values(), limit + 1]
        if states is not None:
            wanted = list(dict.fromkeys(states))
            if not wanted:
                return [], None
            if project_id is not None:  # then the project's own index is the better one
                statement = f"{page} AND +state IN ({', '.join('?' for _ in wanted)}) {newest}"
                values = [*given.values(), *wanted, limit + 1]
            else:  # the newest of each state by its index, and of these the newest: SQLite would sort all there are
                of_one = f"SELECT * FROM ({page} AND state = ? {newest})"  # noqa: S608
                statement = f"{' UNION ALL '.join(of_one for _ in wanted)} {newest}"
                values = [*(value for state in wanted for value in (*given.values(), state, limit + 1)), limit + 1]
        rows = driver(self._reader).execute(statement, values).fetchall()
        more = len(rows) > limit
        return self._load_many([row[1] for row in rows[:limit]]), rows[limit - 1][0] if more else None

    async def standings(self) -> list[Standing]:
        """Return where the files of all sessions are to be that are neither deleted nor purged."""
        statement = (
            "SELECT sessions.id, projects.path, worktree, attention FROM sessions JOIN projects"  # noqa: S608
            f" ON projects.id = project_id WHERE purged_at IS NULL AND state != '{State.DELETED}'"
        )
        return await self._in_thread(
            lambda connection: [
                Standing(id_, path, worktree and orjson.loads(worktree), orjson.loads(attention))
                for id_, path, worktree, attention in driver(connection).execute(statement)
            ]
        )

    @_reads
    def count_by_state(self) -> dict[str, int]:
        """Return how many sessions there are in each state."""
        rows = self._reader.exec_driver_sql(
            "SELECT state, count(*) FROM sessions WHERE purged_at IS NULL GROUP BY state"
        ).all()
        return {row[0]: row[1] for row in rows}

    @_reads
    def total_usage(self) -> Usage:
        """Return what all sessions together have used, the purged ones included."""
        row = self._reader.exec_driver_sql(
            "SELECT total(json_extract(usage, '$.input_tokens')), total(json_extract(usage, '$.output_tokens')),"
            " sum(json_extract(usage, '$.cost_usd')) FROM sessions"
        ).one()
        return Usage(input_tokens=int(row[0]), output_tokens=int(row[1]), cost_usd=row[2])

    @_reads
    def project(self, reference: str) -> Project | None:
        """Return a project by its id or slug."""
        columns = tables.projects.c
        found = self._projects(select(tables.projects).where((columns.id == reference) | (columns.slug == reference)))
        return found[0] if found else None

    @_reads
    def projects(self, *, after: str | None = None, limit: int = 100) -> list[Project]:
        """Return projects in order of their slugs."""
        statement = select(tables.projects).order_by(tables.projects.c.slug).limit(limit)
        if after is not None:
            statement = statement.where(tables.projects.c.slug > after)
        return self._projects(statement)

    @_reads
    def collisions(self, *, project_id: str | None = None) -> list[Collision]:
        """Return the collisions there are, the oldest first."""
        statement = select(tables.collisions.c.data)
        if project_id is not None:
            statement = statement.where(tables.collisions.c.project_id == project_id)
        found = [Collision.model_validate_json(data) for data in self._reader.execute(statement).scalars()]
        return sorted(found, key=lambda one: (one.detected_at, one.id))

    @_reads
    def leases(self, project_id: str) -> list[Lease]:
        """Return the leases in a project, in the order in which they were taken."""
        columns = tables.leases.c
        statement = select(tables.leases).where(columns.project_id == project_id)
        rows = self._reader.execute(statement.order_by(columns.created_at, columns.id)).mappings()
        return [Lease.model_validate(dict(row)) for row in rows]

    @_reads
    def live_runs(self) -> list[RunRow]:
        """Return the runs that are not known to have ended."""
        statement = select(tables.runs).where(tables.runs.c.state != "ended")
        return [run_from_row(row) for row in self._reader.execute(statement).mappings()]

    @_reads
    def runs_of(self, session_id: str) -> list[RunRow]:
        """Return a session's runs, the oldest first."""
        statement = select(tables.runs).where(tables.runs.c.session_id == session_id).order_by(tables.runs.c.created_at)
        return [run_from_row(row) for row in self._reader.execute(statement).mappings()]

    @_reads
    def outbox_of(self, run_id: str) -> list[OutboxRow]:
        """Return the lines that a run's runner has not acknowledged, in order."""
        statement = select(tables.outbox).where(tables.outbox.c.run_id == run_id).order_by(tables.outbox.c.id)
        return [OutboxRow(*row) for row in self._reader.execute(statement)]

    @_reads
    def intents(self) -> list[Intent]:
        """Return what was begun and neither finished nor undone."""
        columns = tables.intents.c
        rows = self._reader.execute(select(columns.id, columns.kind, columns.session_id, columns.data))
        return [Intent(*row) for row in rows]

    @_reads
    def command(self, command_id: str) -> Command | None:
        """Return a command by its id."""
        row = self._reader.execute(select(tables.commands).where(tables.commands.c.id == command_id)).mappings().first()
        return Command.model_validate(dict(row)) if row else None

    @_reads
    def commands(self, *, project_id: str | None, before: int | None, limit: int) -> tuple[list[Command], int | None]:
        """Return commands, newest first, and the cursor of the next page (None at the end)."""
        number = literal_column("rowid", Integer)  # the order of insertion; the table has no number of its own
        statement = select(tables.commands, number.label("number")).order_by(number.desc()).limit(limit + 1)
        if project_id is not None:
            statement = statement.where(tables.commands.c.project_id == project_id)
        if before is not None:
            statement = statement.where(number < before)
        rows = self._reader.execute(statement).mappings().all()
        found = [Command.model_validate(dict(row)) for row in rows[:limit]]
        return found, rows[limit - 1]["number"] if len(rows) > limit else None

    async def last_turn_end(self, session_id: str) -> int:
        """Return the number of the event with which a session's last turn ended, 0 if none did."""
        statement = f"SELECT coalesce(max(seq), 0) FROM events WHERE session_id = ? AND type IN {_TURN_ENDS}"  # noqa: S608
        return await self._in_thread(
            lambda connection: int(connection.exec_driver_sql(statement, (session_id,)).scalar_one())
        )

    async def sessions_with_more_turns(self) -> list[str]:
        """Return the sessions of which turns ended that are not in their artifacts and the search yet."""
        statement = (
            "SELECT id FROM sessions WHERE purged_at IS NULL AND EXISTS (SELECT 1 FROM events WHERE "  # noqa: S608
            f"session_id = sessions.id AND seq > sessions.kept_seq AND type IN {_TURN_ENDS})"
        )
        return await self._in_thread(lambda connection: [row[0] for row in connection.exec_driver_sql(statement)])

    @_reads
    def artifact(self, artifact_id: str) -> Artifact | None:
        """Return an artifact by its id."""
        statement = select(tables.artifacts).where(tables.artifacts.c.id == artifact_id)
        row = self._reader.execute(statement).mappings().first()
        return Artifact.model_validate(dict(row)) if row else None

    @_reads
    def artifacts(
        self,
        *,
        project_id: str | None,
        session_id: str | None,
        kinds: Iterable[str] | None,
        before: int | None,
        limit: int,
    ) -> tuple[list[Artifact], int | None]:
        """Return artifacts, newest first, and the cursor of the next page (None at the end)."""
        columns = tables.artifacts.c
        statement = select(tables.artifacts).order_by(columns.number.desc()).limit(limit + 1)
        for column, value in ((columns.project_id, project_id), (columns.session_id, session_id)):
            if value is not None:
                statement = statement.where(column == value)
        if kinds is not None:
            statement = statement.where(columns.kind.in_(list(kinds)))
        if before is not None:
            statement = statement.where(columns.number < before)
        rows = self._reader.execute(statement).mappings().all()
        found = [Artifact.model_validate(dict(row)) for row in rows[:limit]]
        return found, rows[limit - 1]["number"] if len(rows) > limit else None

    async def search(
        self,
        query: str,
        *,
        project_id: str | None,
        agent: str | None,
        kinds: Sequence[str] | None,
        before: int | None,
        limit: int,
    ) -> tuple[list[SearchHit], int | None]:
        """Return where all words of `query` occur, newest first, and the cursor of the next page (None at the end)."""
        where, values = ["search MATCH ?"], [_match(query)]
        parameters: list[Any] = values
        for column, value in (("project_id", project_id), ("agent", agent)):
            if value is not None:
                where.append(f"{column} = ?")
                parameters.append(value)
        if kinds is not None:
            where.append(f"kind IN ({', '.join('?' for _ in kinds)})")
            parameters.extend(kinds)
        if before is not None:
            where.append("rowid < ?")
            parameters.append(before)
        statement = (
            "SELECT rowid, session_id, seq, kind, snippet(search, 0, '', '', '…', 24), at FROM search"  # noqa: S608
            f" WHERE {' AND '.join(where)} ORDER BY rowid DESC LIMIT ?"
        )

        def read(connection: Connection) -> tuple[list[SearchHit], int | None]:
            rows = connection.exec_driver_sql(statement, (*parameters, limit + 1)).all()
            hits = [
                SearchHit(session_id=row[1], seq=row[2], kind=row[3], snippet=row[4], at=row[5]) for row in rows[:limit]
            ]
            return hits, rows[limit - 1][0] if len(rows) > limit else None

        return await self._in_thread(read)

    @_reads
    def fact(self, name: str) -> str | None:
        """Return a remembered value."""
        return self._reader.exec_driver_sql("SELECT value FROM facts WHERE name = ?", (name,)).scalar()

    async def events(
        self,
        after: int,
        *,
        project_id: str | None = None,
        session_id: str | None = None,
        types: Sequence[str] | None = None,
        limit: int = 1_000,
        page_bytes: int = EVENT_PAGE_BYTES,
    ) -> list[StoredEvent]:
        """Return events with a number above `after`, ascending: at most `limit`, and about `page_bytes` of them.

        `types` may end in `*` for all that begin so.
        """
        chosen, parameters = _choose_events(after, project_id, session_id, types)
        return await self._in_thread(self._read_events, chosen, (*parameters, limit), page_bytes)

    def _read_events(
        self, connection: Connection, chosen: str, parameters: tuple[Any, ...], page_bytes: int
    ) -> list[StoredEvent]:
        found: list[StoredEvent] = []
        size = 0
        cursor = driver(connection).execute(f"SELECT * {chosen}", parameters)
        for seq, type_, at, project_id, session_id, run_id, turn, data in cursor:
            json = event_json(seq, type_, at, project_id, session_id, run_id, turn, data, self.database_id)
            size += len(json)
            if found and size > page_bytes:
                break
            found.append(StoredEvent(seq, type_, project_id, session_id, json))
        cursor.close()
        return found

    async def event_page(
        self,
        after: int,
        *,
        project_id: str | None = None,
        session_id: str | None = None,
        types: Sequence[str] | None = None,
        limit: int = 1_000,
        page_bytes: int = EVENT_PAGE_BYTES,
    ) -> tuple[bytes, int]:
        """Return the same events as they travel, with commas between, and the number of the last (or `after`).

        SQLite makes the page in one step: half the work, and nothing that the hub's loop has to wait for.
        """
        chosen, parameters = _choose_events(after, project_id, session_id, types)
        return await self._in_thread(self._read_page, chosen, parameters, limit, page_bytes, after)

    def _read_page(
        self, connection: Connection, chosen: str, parameters: Sequence[Any], limit: int, page_bytes: int, after: int
    ) -> tuple[bytes, int]:
        read = driver(connection).execute
        event = f"CASE WHEN length(data) <= ? THEN {EVENT_JSON} END AS event"
        make = (
            "SELECT CAST(group_concat(event) AS BLOB), max(seq), count(*) - count(event)"  # noqa: S608 - fixed names
            f" FROM (SELECT seq, {event} {chosen})"
        )
        # Events of no more than their share of the page fit into it, however many there are.
        page, last, larger = read(make, (page_bytes // limit, self.database_id, *parameters, limit)).fetchone()
        if larger:
            measure = f"SELECT count(*), total(size) FROM (SELECT length(data) AS size {chosen})"  # noqa: S608
            count, size = read(measure, (*parameters, limit)).fetchone()
            while size > page_bytes and count > 1:
                count, size = read(measure, (*parameters, count // 2)).fetchone()
            page, last, _ = read(make, (sys.maxsize, self.database_id, *parameters, count)).fetchone()
        return page or b"", last or after

    async def _in_thread(self, read: Callable[..., ResultT], *arguments: Any) -> ResultT:
        async with self._reading:
            return await asyncio.to_thread(self._read_aside, read, *arguments)

    @_reads
    def _read_aside(self, read: Callable[..., ResultT], *arguments: Any) -> ResultT:
        try:
            connection = self._idle_readers.pop()
        except IndexError:
            connection = self._engine.connect()
        try:
            return read(connection, *arguments)
        finally:
            self._idle_readers.append(connection)

    def _projects(self, statement: Select[Any]) -> list[Project]:
        counted = "SELECT project_id, count(*) FROM sessions WHERE purged_at IS NULL GROUP BY project_id"
        rows = self._reader.execute(statement).mappings().all()
        counts = {row[0]: row[1] for row in self._reader.exec_driver_sql(counted)} if rows else {}
        return [Project.model_validate({**row, "session_count": counts.get(row["id"], 0)}) for row in rows]

    def session_json(self, record: SessionRecord) -> bytes:
        """Return a committed session as it travels, encoded once for all who ask."""
        kept = self._cache.get(record.id)
        if kept is None or kept.record is not record:
            return record.wire_bytes()
        if kept.json is None:
            kept.json = record.wire_bytes()
        return kept.json

    def _load_many(self, ids: Sequence[str]) -> list[SessionRecord]:
        with self._cache_lock:
            found = {session_id: kept.record for session_id in ids if (kept := self._cache.get(session_id)) is not None}
            missing = [session_id for session_id in ids if session_id not in found]
            if missing:
                statement = select(tables.sessions).where(tables.sessions.c.id.in_(missing))
                for row in self._reader.execute(statement).mappings():
                    found[row["id"]] = record = _record(row)
                    self._remember(record)
        return [found[session_id] for session_id in ids if session_id in found]

    def _committed(self, connection: Connection, session_id: str) -> SessionRecord | None:
        kept = self._cache.get(session_id)
        if kept is not None:
            return kept.record
        with self._cache_lock:  # so that nobody remembers what a commit has just replaced
            statement = select(tables.sessions).where(tables.sessions.c.id == session_id)
            row = connection.execute(statement).mappings().first()
            if row is None:
                return None
            record = _record(row)
            self._remember(record)
            return record

    def _remember(self, record: SessionRecord) -> None:
        self._cache[record.id] = _Kept(record)
        self._cache.move_to_end(record.id)
        if len(self._cache) > _CACHED_SESSIONS:
            self._cache.popitem(last=False)

    # -- writing ------------------------------------------------------------------------------------------------

    def _submit(self, unit: _Unit) -> None:
        """Have a unit committed, together with all that are submitted in the same step of the loop.

        They are handed over once all of them are there: the writer's thread would begin with the first alone, and the
        two threads would take the interpreter from each other a dozen times a unit.
        """
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(unit)

    def _hand_over(self) -> None:
        if self._gathered:
            self._units.put(self._gathered)
            self._gathered = []

    def _write_loop(self) -> None:
        connection = self._engine.connect()
        open_ = True
        while open_:
            batch: list[_Unit] = []
            units = self._units.get()
            while units is not None:
                batch += units
                if len(batch) >= _MOST_IN_ONE_COMMIT or self._units.empty():
                    break
                units = self._units.get()
            open_ = units is not None
            if batch:
                self._commit(connection, batch)
        connection.close()

    def _commit(self, connection: Connection, batch: list[_Unit]) -> None:
        outcomes: list[tuple[_Unit, Any, BaseException | None]] = []
        events: list[StoredEvent] = []
        rows: list[tuple[Any, ...]] = []
        saved: dict[str, SessionRecord] = {}
        unannounced: set[str] = set()
        next_seq = self.last_seq + 1

        def committed(connection: Connection, session_id: str) -> SessionRecord | None:
            return saved.get(session_id) or self._committed(connection, session_id)

        try:
            execute = driver(connection).execute
            execute("BEGIN IMMEDIATE")
            crashpoint("store.begun")
            for unit in batch:
                transaction = Transaction(
                    connection,
                    now=now(),
                    next_seq=next_seq,
                    database_id=self.database_id,
                    committed=committed,
                    may_announce=self._may_announce,
                )
                execute("SAVEPOINT unit")
                try:
                    result = unit.work(transaction)
                    transaction.seal()
                except Exception as error:
                    if _is_storage_failure(error):
                        raise
                    execute("ROLLBACK TO unit")
                    outcomes.append((unit, None, error))
                else:
                    outcomes.append((unit, result, None))
                    events.extend(transaction.events)
                    rows.extend(transaction.rows)
                    saved.update(transaction.saved)
                    unannounced |= transaction.unannounced
                    next_seq = transaction.next_seq
                execute("RELEASE unit")
            if rows:
                driver(connection).executemany(_INSERT_EVENTS, rows)
            crashpoint("store.written")
            execute("COMMIT")
            crashpoint("store.committed")
        except Exception as error:
            log.exception("A commit of %d units failed", len(batch))
            _roll_back(connection)
            failure = _as_orch_error(self.path, error)
            outcomes = [(unit, None, failure) for unit in batch]
            events, saved, unannounced = [], {}, set()
        else:
            self.last_seq = next_seq - 1
            with self._cache_lock:
                for record in saved.values():
                    self._remember(record)
        try:
            self._loop.call_soon_threadsafe(self._settle, outcomes, events, unannounced)
        except RuntimeError:
            log.warning("The event loop is gone; a commit could not be told")

    def _settle(
        self,
        outcomes: list[tuple[_Unit, Any, BaseException | None]],
        events: list[StoredEvent],
        unannounced: set[str],
    ) -> None:
        if events:
            self._publish(events)
        for unit, result, error in outcomes:
            if unit.future.done():
                continue
            if error is not None:
                unit.future.set_exception(error)
            else:
                unit.future.set_result(result)
        for session_id in unannounced - self._announcing:
            self._announcing.add(session_id)
            self._loop.call_later(ANNOUNCE_SECONDS, self._announce, session_id)

    def _may_announce(self, session_id: str) -> bool:
        present = time.monotonic()
        if present - self._announced_at.get(session_id, -1e9) < ANNOUNCE_SECONDS:
            return False
        if len(self._announced_at) > _CACHED_SESSIONS:
            self._announced_at.clear()
        self._announced_at[session_id] = present
        return True

    def _announce(self, session_id: str) -> None:
        self._announcing.discard(session_id)
        future: asyncio.Future[None] = self._loop.create_future()
        future.add_done_callback(_log_failure)
        self._submit(_Unit(lambda transaction: transaction.announce(session_id), future))


def _choose_events(
    after: int, project_id: str | None, session_id: str | None, types: Sequence[str] | None
) -> tuple[str, Sequence[Any]]:
    """Return from where some events are selected, and the parameters but for the last one: how many at most."""
    where = ["seq > ?"]
    parameters: list[Any] = [after]
    for column, value in (("project_id", project_id), ("session_id", session_id)):
        if value is not None:
            where.append(f"{column} = ?")
            parameters.append(value)
    if types is not None:
        where.append("(" + " OR ".join("type GLOB ?" for _ in types) + ")")
        parameters.extend(types)
    return f"FROM events WHERE {' AND '.join(where)} ORDER BY seq LIMIT ?", parameters


def _match(query: str) -> str:
    """Return a query of plain words as FTS5 reads it: each word quoted, a `*` at a word's end kept."""
    words = (word.replace('"', "") for word in query.split())
    return " ".join(f'"{word.rstrip("*")}"{"*" if word.endswith("*") else ""}' for word in words if word.strip("*"))


def _record(row: Any) -> SessionRecord:
    values = dict(row)
    del values["number"]
    return SessionRecord.model_validate(values)


def _is_storage_failure(error: Exception) -> bool:
    return isinstance(error.orig if isinstance(error, DBAPIError) else error, sqlite3.DatabaseError)


def _as_orch_error(path: str, error: Exception) -> OrchError:
    text = str(getattr(error, "orig", None) or error)
    if "full" in text:
        return OrchError(
            ErrorKind.DISK_FULL,
            "The disk is full: nothing was changed.",
            hint="Free some space; orch goes on by itself.",
        )
    return unusable(path, error)


def _roll_back(connection: Connection) -> None:
    try:
        connection.exec_driver_sql("ROLLBACK")
    except DBAPIError:
        pass  # the failure had ended the transaction already


def _log_failure(future: "asyncio.Future[None]") -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.error("Telling a session's changes failed: %s", error)
