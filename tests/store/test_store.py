"""The store: one writer, gapless events, what is told and what is not, keys, search."""

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.events import AgentMessage, SessionCreated
from orch_server.domain.session import Reason, State, Usage
from orch_server.store.records import RunRow, SessionRecord
from orch_server.store.store import ANNOUNCE_SECONDS, Store
from orch_server.store.transaction import Transaction
from tests.records import session_record
from tests.store.conftest import Kept
from tests.waiting import wait_until_async


def add(transaction: Transaction, **changed: object) -> SessionRecord:
    session = transaction.add_session(session_record(**changed))
    transaction.tell(session, lambda snapshot: SessionCreated(session=snapshot))
    return session


async def test_events_are_numbered_without_gaps_whatever_fails(kept: Kept) -> None:
    await kept.store.write(add)

    def fails(transaction: Transaction) -> None:
        transaction.emit(AgentMessage(message_id="m", text="lost", final=False), project_id="p1")
        raise ValueError("no")

    def works(transaction: Transaction) -> None:
        transaction.emit(AgentMessage(message_id="m", text="kept", final=False), project_id="p1")

    outcomes = await asyncio.gather(
        *(kept.store.write(fails if number % 3 == 0 else works) for number in range(30)), return_exceptions=True
    )
    assert sum(isinstance(outcome, ValueError) for outcome in outcomes) == 10
    found = await kept.store.events(0)
    assert [event.seq for event in found] == list(range(1, len(found) + 1))
    assert [event.json for event in found] == [event.json for event in kept.published]
    assert not any(b"lost" in event.json for event in found)


async def test_a_page_of_events_is_the_events_byte_by_byte(kept: Kept) -> None:
    texts = ["", "a", 'a "quoted" \\ %s %d', "Gr\u00fc\u00dfe \u2028\U0001f600", "a\0b\x1b", "x" * 3_000]
    await kept.store.write(add)

    def say(transaction: Transaction) -> None:
        session = transaction.session("abcdefghijkl")
        for number, text in enumerate(texts):
            message = AgentMessage(message_id="m%", text=text, final=False)
            transaction.emit(message, session=session, run_id=f"r{number}" if number % 2 else None)
            transaction.emit(message, project_id="p1")
            transaction.emit(message)

    await kept.store.write(say)
    last = kept.published[-1].seq
    assert await kept.store.event_page(0) == (b",".join(event.json for event in kept.published), last)
    filters: list[dict[str, Any]] = [
        {"project_id": "p1"},
        {"session_id": "abcdefghijkl"},
        {"types": ["agent.*"]},
        {"types": ["session.created", "turn.*"]},
        {"project_id": "p1", "session_id": "abcdefghijkl", "types": ["agent.message"], "limit": 3},
        {"session_id": "nobody"},
        {"limit": 1},
    ]
    for filter_ in filters:
        for after in (0, 5, last):
            found = await kept.store.events(after, **filter_)
            page = b",".join(event.json for event in found), found[-1].seq if found else after
            assert await kept.store.event_page(after, **filter_) == page, (filter_, after)


@pytest.mark.parametrize("page_bytes", [0, 1, 1_000, 10_000, 100_000])
async def test_pages_of_events_are_no_larger_than_asked_and_all_come(kept: Kept, page_bytes: int) -> None:
    def say(transaction: Transaction) -> None:
        for size in [0, 100, 9_000, 1, 1, 20_000, 300] * 10:
            transaction.emit(AgentMessage(message_id="m", text="x" * size, final=False), project_id="p1")

    await kept.store.write(say)
    pages, after = [], 0
    while True:
        page, after = await kept.store.event_page(after, page_bytes=page_bytes)
        if not page:
            break
        pages.append(page)
    assert b",".join(pages) == b",".join(event.json for event in kept.published)
    sizes = [(sum(len(orjson.dumps(event["data"])) for event in events), len(events)) for events in map(_events, pages)]
    assert all(size <= page_bytes or count == 1 for size, count in sizes), sizes


def _events(page: bytes) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = orjson.loads(b"[%s]" % page)
    return events


async def test_a_failing_unit_undoes_only_itself(kept: Kept) -> None:
    await kept.store.write(add)

    def rename(title: str, error: Exception | None = None) -> None:
        def work(transaction: Transaction) -> None:
            transaction.session("abcdefghijkl").title = title
            if error is not None:
                raise error

        units.append(kept.store.write(work))

    units: list[object] = []
    rename("first")
    rename("second", ValueError())
    await asyncio.gather(*units, return_exceptions=True)  # type: ignore[call-overload]
    session = kept.store.session("abcdefghijkl")
    assert session is not None
    assert session.title == "first"


async def test_changes_are_told_at_most_twice_a_second_and_all_in_the_end(kept: Kept) -> None:
    await kept.store.write(add)

    def use(transaction: Transaction) -> None:
        session = transaction.session("abcdefghijkl")
        session.usage = Usage(input_tokens=session.usage.input_tokens + 1)

    for _ in range(20):
        await kept.store.write(use)
    await wait_until_async(lambda: _told(kept).get("usage", {}).get("inputTokens") == 20)
    updates = [event for event in kept.published if event.type == "session.updated"]
    assert len(updates) == 2, f"one at once and one after {ANNOUNCE_SECONDS} s"
    session = kept.store.session("abcdefghijkl")
    assert session is not None
    assert orjson.loads(session.wire_bytes()) == _told(kept), "a client that folds the events has the same session"


async def test_a_transition_that_is_not_listed_is_refused(kept: Kept) -> None:
    await kept.store.write(add)
    with pytest.raises(OrchError) as refused:
        await kept.store.write(
            lambda transaction: transaction.move(transaction.session("abcdefghijkl"), State.COMPLETED, None)
        )
    assert refused.value.kind == ErrorKind.ILLEGAL_TRANSITION
    assert refused.value.data["allowed"] == ["failed", "running", "stopped"]


async def test_all_is_there_after_a_restart(kept: Kept, tmp_path: Path) -> None:
    def work(transaction: Transaction) -> None:
        session = add(transaction)
        transaction.move(session, State.RUNNING, Reason.STARTING)
        run = RunRow("r1", session.id, "running", created_at=transaction.now, adapter_state={"a": ["ü", 1]})
        transaction.add_run(run)
        run.out_offset, run.adapter_state = 17, {"b": None}
        transaction.save_progress(run)
        transaction.post("r1", "line", prompt_id="p", seen=3)
        transaction.claim_key("k", "m", "d", session.id)

    await kept.store.write(work)
    await kept.store.close()
    again = Store(str(tmp_path / "orch.db"), lambda events: None)
    try:
        session = again.session("abcdefghijkl")
        assert session is not None
        assert (session.state, session.reason) == (State.RUNNING, Reason.STARTING)
        (run,) = again.live_runs()
        assert (run.out_offset, run.adapter_state, run.revision) == (17, {"b": None}, 1)
        assert [row.line for row in again.outbox_of("r1")] == ["line"]
        kept_reply = await again.write(lambda transaction: transaction.kept_reply("k"))
        assert kept_reply is not None
        assert (kept_reply.session_id, kept_reply.reply) == ("abcdefghijkl", None)
        assert again.database_id == kept.store.database_id
        assert again.last_seq == kept.store.last_seq
    finally:
        await again.close()


async def test_an_outbox_number_is_never_used_twice(kept: Kept) -> None:
    def post(transaction: Transaction) -> int:
        if transaction.live_run_of("abcdefghijkl") is None:
            session = add(transaction)
            transaction.add_run(RunRow("r1", session.id, "running", created_at=transaction.now))
        return transaction.post("r1", "line", prompt_id=None, seen=0).id

    first = await kept.store.write(post)
    await kept.store.write(lambda transaction: transaction.acknowledge(first))
    assert await kept.store.write(post) > first


async def test_lists_are_paged_newest_first(kept: Kept) -> None:
    for number in range(5):
        await kept.store.write(lambda transaction, number=number: add(transaction, id=f"session{number}"))  # type: ignore[misc]
    first, cursor = kept.store.sessions(limit=2)
    second, cursor = kept.store.sessions(limit=2, before=cursor)
    third, end = kept.store.sessions(limit=2, before=cursor)
    assert [record.id for record in first + second + third] == [f"session{number}" for number in (4, 3, 2, 1, 0)]
    assert end is None
    assert kept.store.session_ids("session", 10) == [f"session{number}" for number in range(5)]


async def test_lists_of_some_states_are_newest_first_too(kept: Kept) -> None:
    states = [State.CREATED, State.COMPLETED, State.FAILED]

    def fill(transaction: Transaction) -> None:
        for number in range(12):
            add(transaction, id=f"s{number:02}", state=states[number % 3])

    await kept.store.write(fill)
    for project_id in (None, "p1"):
        wanted = [State.FAILED, State.CREATED, State.FAILED]
        found, cursor = kept.store.sessions(project_id=project_id, states=wanted, limit=3)
        rest, end = kept.store.sessions(project_id=project_id, states=wanted, before=cursor, limit=10)
        assert [record.id for record in found + rest] == ["s11", "s09", "s08", "s06", "s05", "s03", "s02", "s00"]
        assert end is None
        assert kept.store.sessions(project_id=project_id, states=[]) == ([], None)


async def test_bytes_of_a_session_are_those_of_its_last_commit(kept: Kept) -> None:
    await kept.store.write(lambda transaction: add(transaction, id="s"))
    before = kept.store.sessions()[0][0]
    assert kept.store.session_json(before) == before.wire_bytes()

    def rename(transaction: Transaction) -> None:
        transaction.session("s").title = "renamed"

    await kept.store.write(rename)
    after = kept.store.session("s")
    assert after is not None
    assert b'"title":"renamed"' in kept.store.session_json(after)
    assert b'"title":"renamed"' not in kept.store.session_json(before)


async def test_many_threads_may_read_at_once(kept: Kept) -> None:
    def read() -> bool:
        return all(kept.store.project("shop") is not None for _ in range(100))

    assert all(await asyncio.gather(*(asyncio.to_thread(read) for _ in range(4))))


async def test_words_are_found(kept: Kept) -> None:
    def work(transaction: Transaction) -> None:
        session = add(transaction)
        transaction.index(session, 7, "message", 'The "Größe" of a cart; x*y', "t")

    await kept.store.write(work)

    async def found(query: str) -> int:
        hits, _ = await kept.store.search(query, project_id=None, agent=None, kinds=None, before=None, limit=10)
        return len(hits)

    assert [await found(query) for query in ("cart", "grosse", "größe", "gro*", 'a "cart', "wagon", "NOT cart")] == [
        1, 0, 1, 1, 1, 0, 0,
    ]  # fmt: skip


async def test_a_full_disk_is_said_and_changes_nothing(kept: Kept) -> None:
    await kept.store.write(add)

    def fill(transaction: Transaction) -> None:
        transaction.session("abcdefghijkl").title = "never"
        transaction.connection.exec_driver_sql("PRAGMA max_page_count = 1")
        for number in range(200):
            transaction.emit(AgentMessage(message_id=str(number), text="x" * 4000, final=False), project_id="p1")

    with pytest.raises(OrchError) as refused:
        await kept.store.write(fill)
    assert refused.value.kind == ErrorKind.DISK_FULL
    session = kept.store.session("abcdefghijkl")
    assert session is not None
    assert session.title == "Do it"
    before = kept.store.last_seq
    await kept.store.write(
        lambda transaction: transaction.connection.exec_driver_sql("PRAGMA max_page_count = 1073741823")
    )
    await kept.store.write(lambda transaction: add(transaction, id="another"))
    assert kept.store.last_seq == before + 1


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "orch.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    connection.execute("INSERT INTO alembic_version VALUES ('9999')")
    connection.commit()
    connection.close()
    before = path.read_bytes()

    async def open_it() -> None:
        Store(str(path), lambda events: None)

    with pytest.raises(OrchError) as refused:
        asyncio.run(open_it())
    assert refused.value.kind == ErrorKind.DATABASE_UNUSABLE
    assert "newer version" in refused.value.message
    assert _content(path) == _content_of(before, tmp_path)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "orch.db"
    path.write_bytes(b"this is no database at all, " * 100)

    async def open_it() -> None:
        Store(str(path), lambda events: None)

    with pytest.raises(OrchError) as refused:
        asyncio.run(open_it())
    assert refused.value.kind == ErrorKind.DATABASE_UNUSABLE


def _told(kept: Kept) -> dict[str, Any]:
    """Fold the published events as a client does."""
    folded: dict[str, Any] = {}
    for event in kept.published:
        data = orjson.loads(event.json)["data"]
        folded |= data.get("session") or data.get("changed") or {}
    return folded


def _content(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def _content_of(data: bytes, tmp_path: Path) -> list[str]:
    copy = tmp_path / "copy.db"
    copy.write_bytes(data)
    return _content(copy)


async def test_many_who_read_at_once_share_a_few_connections(kept: Kept) -> None:
    together = threading.Barrier(4)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32))
    await asyncio.gather(*(kept.store._in_thread(lambda _: together.wait(30)) for _ in range(32)))
    held = [file for file in psutil.Process().open_files() if file.path == kept.store.path]
    assert len(held) <= 4 + 2, "those of the readers, of the writer and of this thread"
