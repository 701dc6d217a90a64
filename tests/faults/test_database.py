"""A damaged database gives a prefix of its history, or a clear refusal that keeps the file (C.10)."""

import asyncio
import os
import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.events import HubStopping
from orch_server.store.schema import HEAD
from orch_server.store.store import Store
from tests.faults.figures import record
from tests.marks import FULL

pytestmark = pytest.mark.timeout(600)
EVENTS = 120
STEP = 509  # no divisor of a page, so that every part of one is cut somewhere
CUTS = 400 if FULL else 60
FLIPS = 300 if FULL else 40


@dataclass(frozen=True, slots=True)
class Written:
    """A database as a killed hub leaves it, its WAL not yet taken in, and the events it acknowledged."""

    directory: Path
    events: list[bytes]

    def copy(self, to: Path) -> Path:
        """Return the database file of a fresh copy."""
        shutil.copytree(self.directory, to)
        return to / "orchestrator.db"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """One commit an event; the files are copied while the store is open, as a power cut would leave them."""
    live, place = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("damaged") / "home"

    async def write() -> list[bytes]:
        store = Store(str(live / "orchestrator.db"), lambda _: None)
        for number in range(EVENTS):
            text = f"{number} " + "x" * (number * 7 % 900)
            await store.write(lambda transaction, text=text: transaction.emit(HubStopping(reason=text)))  # type: ignore[misc]
        shutil.copytree(live, place)
        events = [event.json for event in await store.events(0)]
        await store.close()
        return events

    return Written(place, asyncio.run(write()))


async def read(path: Path) -> list[bytes]:
    """Return the events that a store finds there."""
    store = Store(str(path), lambda _: None)
    try:
        return [event.json for event in await store.events(0)]
    finally:
        await store.close()


async def prefix_or_refusal(path: Path, events: list[bytes], *, same: bool = True) -> int | None:
    """Open a damaged database; return how many events it has kept, None where it is refused and left as it is."""
    before = path.read_bytes()
    found: list[bytes] = []
    refusal: OrchError | None = None
    try:
        found = await read(path)
    except OrchError as error:
        refusal = error
    if refusal is not None:
        assert refusal.kind is ErrorKind.DATABASE_UNUSABLE, refusal
        assert refusal.hint
        assert path.read_bytes() == before, "the damaged file is not kept"
        return None
    # A single bit may lie in a text, which no database notices.
    assert (found == events[: len(found)]) or (not same and len(found) == len(events)), (
        "it gives something that was never written"
    )
    return len(found)


async def test_the_whole_is_read(written: Written, tmp_path: Path) -> None:
    assert await read(written.copy(tmp_path / "copy")) == written.events
    assert len(written.events) == EVENTS


async def test_a_log_that_was_cut_gives_a_prefix(written: Written, tmp_path: Path) -> None:
    size = (written.directory / "orchestrator.db-wal").stat().st_size
    lengths = sorted({*range(0, size, max(STEP, size // CUTS // STEP * STEP)), size - 1})
    kept = set()
    for number, length in enumerate(lengths):
        path = written.copy(tmp_path / str(number))
        os.truncate(f"{path}-wal", length)
        Path(f"{path}-shm").unlink(missing_ok=True)
        found = await prefix_or_refusal(path, written.events)
        kept.add(found)
        shutil.rmtree(path.parent)
    assert len(kept) > 5
    record("database", cuts_of_the_log=len(lengths), prefixes=len(kept))


async def test_a_file_that_was_cut_or_flipped_gives_a_prefix_or_a_refusal(written: Written, tmp_path: Path) -> None:
    whole = written.copy(tmp_path / "whole")
    with closing(sqlite3.connect(whole)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = whole.stat().st_size
    chance = random.Random(5)
    damages: list[tuple[str, int]] = [("cut", length) for length in range(0, size, 4096)]
    damages += [("cut", chance.randrange(size)) for _ in range(CUTS // 2)]
    damages += [("flip", chance.randrange(size * 8)) for _ in range(FLIPS)]
    refused = 0
    for number, (how, place) in enumerate(damages):
        path = tmp_path / str(number) / "orchestrator.db"
        path.parent.mkdir()
        data = bytearray(whole.read_bytes())
        if how == "cut":
            del data[place:]
        else:
            data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        if how == "flip":
            Path(f"{path}-wal").write_bytes(b"not closed in order")
        refused += await prefix_or_refusal(path, written.events, same=how == "cut") is None
        shutil.rmtree(path.parent)
    record("database", cuts_and_flips_of_the_file=len(damages), refused=refused)


async def test_a_file_that_lost_its_last_byte_is_refused(written: Written, tmp_path: Path) -> None:
    path = written.copy(tmp_path / "cut")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(OrchError, match="cut short") as caught:
        await read(path)
    assert caught.value.kind is ErrorKind.DATABASE_UNUSABLE


@pytest.mark.parametrize("content", [b"", b"this is no database", b"\0" * 8192], ids=["empty", "text", "zeros"])
async def test_what_is_no_database(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.db"
    path.write_bytes(content)
    if content == b"":  # SQLite takes it for a new one, and so nothing is lost
        assert await read(path) == []
        return
    with pytest.raises(OrchError) as caught:
        await read(path)
    assert caught.value.kind is ErrorKind.DATABASE_UNUSABLE
    assert path.read_bytes() == content


async def test_a_newer_schema_is_left_alone(written: Written, tmp_path: Path) -> None:
    path = written.copy(tmp_path / "copy")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.read_bytes()
    with pytest.raises(OrchError, match="9999") as caught:
        await read(path)
    assert caught.value.hint
    assert path.read_bytes() == before
    assert HEAD not in str(caught.value)


async def test_a_log_or_index_that_was_removed(written: Written, tmp_path: Path) -> None:
    path = written.copy(tmp_path / "no shm")
    Path(f"{path}-shm").unlink()
    assert await read(path) == written.events
    path = written.copy(tmp_path / "no wal")
    Path(f"{path}-wal").unlink()
    await prefix_or_refusal(path, written.events)


async def test_another_process_holds_the_write_lock(written: Written, tmp_path: Path) -> None:
    path = written.copy(tmp_path / "copy")
    store = Store(str(path), lambda _: None)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.ensure_future(_stop(store))
        await asyncio.wait([waiting], timeout=0.5)
        assert not waiting.done()
        other.rollback()
        await waiting
    assert len(await store.events(0)) == EVENTS + 1
    await store.close()


async def _stop(store: Store) -> Any:
    await store.write(lambda transaction: transaction.emit(HubStopping(reason="after the lock")))
