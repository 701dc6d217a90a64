"""The readable logs of sessions: what is held open for them."""

import asyncio
from pathlib import Path

import psutil

from orch_server.services.session_logs import SessionLogs
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


def _is_open(path: Path) -> bool:
    return any(found.path == str(path) for found in psutil.Process().open_files())
