"""One unit of change: everything in it is committed together, or nothing of it.

Use cases are plain functions of a Transaction that run on the writer's thread, one after the other; so what they
read is the present state, and no two of them interleave. A session is taken as a draft, changed in place, and
saved at the end; what changed of it on the wire becomes an event by itself.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection, delete, func, insert, select, update

from orch_server.domain.artifact import Artifact
from orch_server.domain.collision import Collision
from orch_server.domain.command import Command
from orch_server.domain.errors import not_found
from orch_server.domain.events import EventData, SessionStateChanged, SessionUpdated
from orch_server.domain.lease import Lease
from orch_server.domain.project import Project
from orch_server.domain.redact import OF_AGENTS, redacted
from orch_server.domain.session import Reason, Session, State, Usage, check_transition
from orch_server.store import tables
from orch_server.store.records import Intent, KeptReply, OutboxRow, RunRow, RunState, SessionRecord, StoredEvent
from orch_server.store.schema import driver

RecordT = TypeVar("RecordT", bound=SessionRecord)

MOST_SEARCHED = 1024 * 1024
"""Characters of one entry that can be found."""
_WIRE_FIELDS = tuple(name for name in Session.model_fields if name not in {"version", "updated_at"})
_ALL_FIELDS = tuple(SessionRecord.model_fields)
_ALIASES = {name: field.alias or name for name, field in Session.model_fields.items()}


class Transaction:
    """What a use case may do to the store. Made by the store alone; valid only while its function runs."""

    def __init__(
        self,
        connection: Connection,
        *,
        now: str,
        next_seq: int,
        database_id: str,
        committed: Callable[[Connection, str], SessionRecord | None],
        may_announce: Callable[[str], bool],
    ) -> None:
        self.now = now
        """The time of this transaction, RFC 3339."""
        self.connection = connection
        self.next_seq = next_seq
        self.events: list[StoredEvent] = []
        self.saved: dict[str, SessionRecord] = {}
        """Sessions as they will be committed, filled when the transaction is sealed."""
        self.unannounced: set[str] = set()
        """Sessions whose changes are to be told a little later."""
        self._database_id = database_id
        self._committed = committed
        self._may_announce = may_announce
        self.rows: list[tuple[Any, ...]] = []
        """The events as rows of their table."""
        self._drafts: dict[str, tuple[SessionRecord, SessionRecord]] = {}
        self._told: dict[str, SessionRecord] = {}

    # -- events -------------------------------------------------------------------------------------------------

    def emit(
        self,
        data: EventData,
        *,
        session: Session | None = None,
        project_id: str | None = None,
        run_id: str | None = None,
    ) -> None:
        """Append an event; it is published after the commit."""
        session_id = turn = None
        if session is not None:
            session_id, project_id, turn = session.id, session.project_id, session.turns or None
        seq = self.next_seq
        self.next_seq += 1
        payload = redacted(data.json_bytes()) if data.type in OF_AGENTS else data.json_bytes()
        self.rows.append((seq, data.type, self.now, project_id, session_id, run_id, turn, payload))
        json = event_json(seq, data.type, self.now, project_id, session_id, run_id, turn, payload, self._database_id)
        self.events.append(StoredEvent(seq, data.type, project_id, session_id, json))

    # -- sessions -----------------------------------------------------------------------------------------------

    def session(self, session_id: str) -> SessionRecord:
        """Return the session as a draft: what is changed in it is saved at the end of the transaction.

        A draft shares its values with the committed session, so assign its fields anew, and never change the list or
        the object that one of them holds.
        """
        if session_id not in self._drafts:
            committed = self._committed(self.connection, session_id)
            if committed is None:
                raise not_found("session", session_id)
            self._drafts[session_id] = (committed, committed.model_copy())
        return self._drafts[session_id][1]

    def add_session(self, record: SessionRecord) -> SessionRecord:
        """Insert a session and return it as a draft."""
        self.connection.execute(insert(tables.sessions), record.model_dump(mode="json"))
        self._drafts[record.id] = (record.model_copy(), record)
        self._told[record.id] = record.model_copy()
        self.saved[record.id] = record
        return record

    def move(self, session: SessionRecord, state: State, reason: Reason | None, message: str = "") -> None:
        """Bring a session into another state, or give its state another reason, and tell it.

        Raises illegalTransition where the table of transitions does not list it.
        """
        if state == session.state and reason == session.reason and message == session.message:
            return
        if state != session.state:
            check_transition(session.state, state)
        before = session.state
        session.state, session.reason, session.message = state, reason, message
        self.tell(
            session,
            lambda snapshot: SessionStateChanged(from_state=before, to_state=state, reason=reason, session=snapshot),
        )

    def tell(self, session: SessionRecord, event: Callable[[Session], EventData]) -> None:
        """Emit an event that carries the whole session as it is now."""
        session.version += 1
        session.updated_at = self.now
        session.unannounced = []
        self._told[session.id] = session.model_copy()
        self.emit(event(session), session=session)

    def announce(self, session_id: str) -> None:
        """Tell what changed of a session and was held back."""
        session = self.session(session_id)
        if session.unannounced:
            self._tell_changes(session, session.unannounced)

    # -- projects and commands ----------------------------------------------------------------------------------

    def project(self, project_id: str) -> Project:
        """Return a project by its id."""
        project = self.project_by("id", project_id)
        if project is None:
            raise not_found("project", project_id)
        return project

    def project_by(self, column: str, value: str) -> Project | None:
        """Return the project whose `column` (id, slug or path) has this value."""
        statement = select(tables.projects).where(tables.projects.c[column] == value)
        row = self.connection.execute(statement).mappings().first()
        return Project.model_validate(dict(row)) if row else None

    def save_project(self, project: Project) -> None:
        """Insert a project, or save what changed of it."""
        values = project.model_dump(mode="json", exclude={"session_count", "missing"})
        if self.connection.execute(
            update(tables.projects).where(tables.projects.c.id == project.id).values(values)
        ).rowcount:
            return
        self.connection.execute(insert(tables.projects), values)

    def remove_project(self, project_id: str) -> None:
        """Forget a project whose sessions are all purged, with what is left of them; their events stay."""
        sessions = select(tables.sessions.c.id).where(tables.sessions.c.project_id == project_id)
        runs = select(tables.runs.c.id).where(tables.runs.c.session_id.in_(sessions))
        self.connection.execute(delete(tables.outbox).where(tables.outbox.c.run_id.in_(runs)))
        for table in (tables.runs, tables.artifacts, tables.intents):
            self.connection.execute(delete(table).where(table.c.session_id.in_(sessions)))
        for table in (tables.collisions, tables.leases, tables.sessions, tables.commands):
            self.connection.execute(delete(table).where(table.c.project_id == project_id))
        self.connection.execute(delete(tables.projects).where(tables.projects.c.id == project_id))

    def count_sessions(self, project_id: str) -> int:
        """Return how many sessions a project has, whatever their state; what was purged is none any more."""
        columns = tables.sessions.c
        statement = select(func.count()).select_from(tables.sessions)
        statement = statement.where(columns.project_id == project_id, columns.purged_at.is_(None))
        return self.connection.execute(statement).scalar_one()

    def add_command(self, command: Command) -> None:
        """Insert a command."""
        self.connection.execute(insert(tables.commands), command.model_dump(mode="json"))

    # -- runs ---------------------------------------------------------------------------------------------------

    def add_run(self, run: RunRow) -> None:
        """Insert a run."""
        self.connection.execute(
            insert(tables.runs),
            {
                "id": run.id,
                "session_id": run.session_id,
                "state": run.state,
                "out_offset": run.out_offset,
                "err_offset": run.err_offset,
                "revision": run.revision,
                "adapter_state": run.adapter_state,
                "usage_before": run.usage_before.model_dump(mode="json"),
                "stop_requested": run.stop_requested,
                "created_at": run.created_at,
            },
        )

    def run(self, run_id: str) -> RunRow:
        """Return a run."""
        return run_from_row(
            self.connection.execute(select(tables.runs).where(tables.runs.c.id == run_id)).mappings().one()
        )

    def live_run_of(self, session_id: str) -> RunRow | None:
        """Return the session's run that has not ended."""
        statement = select(tables.runs).where(tables.runs.c.session_id == session_id, tables.runs.c.state != "ended")
        row = self.connection.execute(statement).mappings().first()
        return run_from_row(row) if row else None

    def run_revision(self, run_id: str) -> int:
        """Return the revision of a run; quicker than reading all of it."""
        found = driver(self.connection).execute("SELECT revision FROM runs WHERE id = ?", (run_id,))
        revision: int = found.fetchone()[0]
        return revision

    def save_progress(self, run: RunRow) -> None:
        """Record how far a run has come: offsets, what its dialogue remembers, who asked for its end."""
        run.revision += 1
        state = orjson.dumps(run.adapter_state).decode()
        driver(self.connection).execute(
            "UPDATE runs SET revision = ?, out_offset = ?, err_offset = ?, adapter_state = ?, stop_requested = ?"
            " WHERE id = ?",
            (run.revision, run.out_offset, run.err_offset, state, run.stop_requested, run.id),
        )

    def set_run(self, run_id: str, **values: Any) -> None:
        """Set columns of a run."""
        self.connection.execute(update(tables.runs).where(tables.runs.c.id == run_id).values(values))

    def end_run(self, run_id: str, *, exit_code: int | None, signal: int | None) -> None:
        """Record a run's end, and drop the lines that no one will read."""
        state: RunState = "ended"
        self.set_run(run_id, state=state, exit_code=exit_code, signal=signal, ended_at=self.now)
        self.connection.execute(delete(tables.outbox).where(tables.outbox.c.run_id == run_id))

    # -- the outbox ---------------------------------------------------------------------------------------------

    def post(self, run_id: str, line: str, *, prompt_id: str | None, seen: int) -> OutboxRow:
        """Put a line for an agent into the outbox."""
        statement = insert(tables.outbox).values(run_id=run_id, line=line, prompt_id=prompt_id, seen=seen)
        key = self.connection.execute(statement).inserted_primary_key
        assert key is not None
        return OutboxRow(key[0], run_id, line, prompt_id, seen)

    def unacknowledged_prompts(self, run_id: str) -> dict[int, str]:
        """Return the user's texts that a run's runner never acknowledged, by the number of their line."""
        columns = tables.outbox.c
        statement = select(columns.id, columns.prompt_id).where(
            columns.run_id == run_id, columns.prompt_id.is_not(None)
        )
        return {row[0]: row[1] for row in self.connection.execute(statement)}

    def acknowledge(self, outbox_id: int) -> None:
        """Take a line out of the outbox: its runner has it."""
        self.connection.exec_driver_sql("DELETE FROM outbox WHERE id = ?", (outbox_id,))

    # -- artifacts and search -----------------------------------------------------------------------------------

    def artifact_named(self, session_id: str, name: str) -> Artifact | None:
        """Return a session's artifact by its name."""
        columns = tables.artifacts.c
        statement = select(tables.artifacts).where(columns.session_id == session_id, columns.name == name)
        row = self.connection.execute(statement).mappings().first()
        return Artifact.model_validate(dict(row)) if row else None

    def save_artifact(self, artifact: Artifact) -> None:
        """Insert an artifact, or save what changed of it."""
        values = artifact.model_dump(mode="json")
        columns = tables.artifacts.c
        if not self.connection.execute(
            update(tables.artifacts).where(columns.id == artifact.id).values(values)
        ).rowcount:
            self.connection.execute(insert(tables.artifacts), values)

    def index(self, session: SessionRecord, seq: int, kind: str, text: str, at: str) -> None:
        """Make an entry of a conversation searchable: its beginning, where it is endless, as all writing waits."""
        self.connection.exec_driver_sql(
            "INSERT INTO search (text, session_id, seq, kind, at, project_id, agent) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (text[:MOST_SEARCHED], session.id, seq, kind, at, session.project_id, session.agent),
        )

    # -- a session's content ------------------------------------------------------------------------------------

    def empty(self, session: SessionRecord) -> None:
        """Drop what a session was about, here and in its events. Numbers, types and ids stay."""
        session.title = session.prompt = session.message = ""
        session.scope_path = session.agent_session_id = session.base_ref = None
        session.queued, session.input_requests, session.turn_trees = [], [], []
        session.worktree = session.worktree_path = session.trash = None
        session.purged_at = self.now
        run = self.connection.exec_driver_sql
        run("UPDATE events SET data = ? WHERE session_id = ?", (b"{}", session.id))
        run("UPDATE commands SET prompt = '', text = NULL, scope_path = NULL WHERE session_id = ?", (session.id,))
        run("UPDATE runs SET adapter_state = '{}' WHERE session_id = ?", (session.id,))
        run("DELETE FROM artifacts WHERE session_id = ?", (session.id,))
        run("DELETE FROM leases WHERE session_id = ?", (session.id,))
        run("DELETE FROM search WHERE session_id = ?", (session.id,))
        # A kept reply holds the session as it was. A request that is repeated after this is told how it is now;
        # a delete, whose reply is no session, is simply answered anew.
        mine = (session.id, f'"id":"{session.id}"'.encode())
        run(
            "DELETE FROM request_keys WHERE method = 'orch/session/delete' AND (session_id = ? OR instr(reply, ?) > 0)",
            mine,
        )
        run(
            "UPDATE request_keys SET reply = NULL, session_id = ? WHERE session_id = ? OR instr(reply, ?) > 0",
            (session.id, *mine),
        )

    # -- collisions and leases ----------------------------------------------------------------------------------

    def save_collision(self, collision: Collision) -> None:
        """Keep a collision as it is now."""
        self.connection.exec_driver_sql(
            "INSERT INTO collisions (id, project_id, data) VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET data = excluded.data",
            (collision.id, collision.project_id, collision.json_bytes()),
        )

    def drop_collision(self, collision_id: str) -> None:
        """Forget a collision that is none any more."""
        self.connection.execute(delete(tables.collisions).where(tables.collisions.c.id == collision_id))

    def add_lease(self, lease: Lease) -> None:
        """Insert a lease."""
        self.connection.execute(insert(tables.leases), lease.model_dump(mode="json"))

    def leases(self, project_id: str) -> list[Lease]:
        """Return the leases in a project, in the order in which they were taken."""
        statement = select(tables.leases).where(tables.leases.c.project_id == project_id)
        rows = self.connection.execute(statement.order_by(tables.leases.c.created_at, tables.leases.c.id)).mappings()
        return [Lease.model_validate(dict(row)) for row in rows]

    def drop_lease(self, lease_id: str) -> None:
        """Forget a lease."""
        self.connection.execute(delete(tables.leases).where(tables.leases.c.id == lease_id))

    # -- intents, keys, facts -----------------------------------------------------------------------------------

    def intend(self, intent: Intent) -> None:
        """Record what is about to be done to the world."""
        values = {"id": intent.id, "kind": intent.kind, "session_id": intent.session_id, "data": intent.data}
        self.connection.execute(insert(tables.intents), {**values, "created_at": self.now})

    def advance(self, intent_id: str, data: dict[str, Any]) -> None:
        """Record how far an intent has come."""
        self.connection.execute(update(tables.intents).where(tables.intents.c.id == intent_id).values(data=data))

    def fulfil(self, intent_id: str) -> None:
        """Drop an intent: it is done, or undone."""
        self.connection.execute(delete(tables.intents).where(tables.intents.c.id == intent_id))

    def claim_key(self, key: str, method: str, digest: str, session_id: str | None, reply: bytes | None = None) -> None:
        """Record that a request with this key had its effect, with the reply if it is known already."""
        self.connection.exec_driver_sql(
            "INSERT INTO request_keys (key, method, digest, session_id, reply, created_at) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET reply = coalesce(excluded.reply, reply)",
            (key, method, digest, session_id, reply, self.now),
        )

    def kept_reply(self, key: str) -> KeptReply | None:
        """Return what became of the request with this key."""
        columns = tables.request_keys.c
        statement = select(columns.method, columns.digest, columns.session_id, columns.reply).where(columns.key == key)
        row = self.connection.execute(statement).first()
        return KeptReply(*row) if row else None

    def forget_keys(self, before: str) -> None:
        """Drop the keys of requests made before a time."""
        self.connection.execute(delete(tables.request_keys).where(tables.request_keys.c.created_at < before))

    def set_fact(self, name: str, value: str) -> None:
        """Remember a named value."""
        self.connection.exec_driver_sql(
            "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    # -- the end ------------------------------------------------------------------------------------------------

    def seal(self) -> None:
        """Write the drafts. Called by the store, once; it writes the events of all units of a commit together."""
        for session_id, (before, draft) in self._drafts.items():
            self._save(session_id, before, draft)

    def _save(self, session_id: str, before: SessionRecord, draft: SessionRecord) -> None:
        if session_id not in self._told and draft.__dict__ == before.__dict__:  # as after most lines of an agent
            if draft.unannounced:
                self.unannounced.add(session_id)
            return
        told = self._told.get(session_id, before)
        untold = [name for name in _WIRE_FIELDS if getattr(told, name) != getattr(draft, name)]
        if session_id not in self._told:
            untold += [name for name in before.unannounced if name not in untold]
        if untold and untold != before.unannounced:
            if self._may_announce(session_id):
                self._tell_changes(draft, untold)
            else:
                draft.version += 1
                draft.updated_at = self.now
                draft.unannounced = untold
        if draft.unannounced:
            self.unannounced.add(session_id)
        changed = {name for name in _ALL_FIELDS if getattr(before, name) != getattr(draft, name)}
        if changed:
            values = draft.model_dump(mode="json", include=changed)
            columns = tables.sessions.c
            saved = self.connection.execute(
                update(tables.sessions)
                .where(columns.id == session_id, columns.version == before.version)
                .values(values)
            )
            assert saved.rowcount == 1, "one thread writes, so nobody else can have changed the session"
            self.saved[session_id] = draft

    def _tell_changes(self, session: SessionRecord, names: list[str]) -> None:
        session.version += 1
        session.updated_at = self.now
        session.unannounced = []
        include = {*names, "version", "updated_at"}
        changed = session.model_dump(mode="json", by_alias=True, include=include)
        self.emit(SessionUpdated(changed=changed), session=session)
        self._told[session.id] = session.model_copy()


def run_from_row(row: Any) -> RunRow:
    """Return a run from its row's mapping."""
    return RunRow(**{**row, "usage_before": Usage.model_validate(row["usage_before"])})


def event_json(
    seq: int,
    type_: str,
    at: str,
    project_id: str | None,
    session_id: str | None,
    run_id: str | None,
    turn: int | None,
    data: bytes,
    database_id: str,
) -> bytes:
    """Return an event as it travels; `data` is put in as it was stored. Ids are ours and need no escaping."""
    head = (
        f'{{"seq":{seq},"id":"{database_id}-{seq}","type":"{type_}","at":"{at}","projectId":{_quoted(project_id)},'
        f'"sessionId":{_quoted(session_id)},"runId":{_quoted(run_id)},"turn":{"null" if turn is None else turn},"data":'
    )
    return b"%b%b}" % (head.encode(), data)


EVENT_JSON = (
    """printf('{"seq":%d,"id":"%s-%d","type":"%s","at":"%s","projectId":%s,"sessionId":%s,"runId":%s,"turn":%s,"data":%s}',"""
    """ seq, ?, seq, type, at, ifnull('"'||project_id||'"','null'), ifnull('"'||session_id||'"','null'),"""
    """ ifnull('"'||run_id||'"','null'), ifnull(turn,'null'), data)"""
)
"""The same of a row, as SQLite makes it; its parameter is the database's id."""


def _quoted(name: str | None) -> str:
    return "null" if name is None else f'"{name}"'
