"""The readable log of a session has everything, however much comes at once; little waits in memory, little is open."""

import asyncio
import os
from pathlib import Path

import psutil
import pytest

from orch_server.domain.events import AgentLog, AgentMessage
from orch_server.services import session_logs
from orch_server.services.session_logs import SessionLogs
from orch_server.store.transaction import Transaction
from tests.services.world import World
from tests.waiting import wait_until_async


async def test_the_log_of_a_session_that_is_done_is_whole_and_not_held_open(world: World) -> None:
    session = await world.work("[[say hi]]")
    events = await world.context.store.events(0, session_id=session.id)
    logs = SessionLogs(world.context)
    writing = asyncio.create_task(logs.run())
    place = Path(world.scratch.path, ".orchestrator", "logs", f"{session.id}.log")
    logs.take(events[:3])
    logs.take(events[3:])
    await wait_until_async(lambda: place.exists() and "turn.completed" in place.read_text())
    await wait_until_async(lambda: not _is_open(place), 5)
    logs.take(events)
    await wait_until_async(lambda: not logs._waiting)
    writing.cancel()
    await asyncio.wait([writing])
    numbers = [int(line.split()[0]) for line in place.read_text().splitlines()]
    assert numbers == sorted(numbers)
    assert len([line for line in place.read_text().splitlines() if " agent.message hi" in line]) == 1


async def test_what_waits_at_the_end_is_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_logs, "_GATHER_SECONDS", 3_600)
    session = await world.work("[[say hi]]")
    logs = SessionLogs(world.context)
    writing = asyncio.create_task(logs.run())
    logs.take(await world.context.store.events(0, session_id=session.id))
    await asyncio.sleep(0)  # one step of the loop: a task that never began has nothing to end
    writing.cancel()
    await asyncio.wait([writing])
    assert writing.cancelled()
    text = Path(world.scratch.path, ".orchestrator", "logs", f"{session.id}.log").read_text()
    assert "agent.message hi" in text
    assert "turn.completed" in text


async def test_what_is_too_much_to_wait_is_read_from_the_store(world: World) -> None:
    session = await world.work()
    context, logs = world.context, SessionLogs(world.context)
    lines = [f"line {number} " + "x" * 1_000 for number in range(5_000)]

    def work(transaction: Transaction) -> None:
        draft = transaction.session(session.id)
        for line in lines:
            transaction.emit(AgentLog(stream="stderr", text=line), session=draft)

    await context.store.write(work)
    after = 0
    while page := await context.store.events(after):
        logs.take(page)
        after = page[-1].seq
        assert sum(len(event.json) for event in logs._waiting) <= session_logs._MOST_WAITING_BYTES
    written = await _written(world, logs, session.id, lines[-1])
    assert all(line.endswith(wanted) for line, wanted in zip(written[-len(lines) :], lines, strict=True))


async def test_a_message_that_does_not_end_is_written_as_it_comes(world: World) -> None:
    session = await world.work()
    logs = SessionLogs(world.context)
    text = "y" * session_logs._LONGEST_ENTRY

    def work(transaction: Transaction) -> None:
        message = AgentMessage(message_id="m", text=text, final=False)
        transaction.emit(message, session=transaction.session(session.id))

    await world.context.store.write(work)
    logs.take(await world.context.store.events(0))
    assert any(text in line for line in await _written(world, logs, session.id, text))


async def _written(world: World, logs: SessionLogs, session_id: str, last: str) -> list[str]:
    """Let the logs be written until they have the text that came last; return the lines."""
    path = Path(world.scratch.path, world.context.settings.project_runtime_dirname, "logs", f"{session_id}.log")
    writing = asyncio.create_task(logs.run())
    await wait_until_async(lambda: os.path.exists(path) and last in path.read_text(), 60)
    writing.cancel()
    await asyncio.wait([writing])
    return path.read_text().splitlines()


def _is_open(path: Path) -> bool:
    return any(found.path == str(path) for found in psutil.Process().open_files())
