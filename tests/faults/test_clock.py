"""The wall clock may jump: nothing is timed, ordered or removed by it alone (C.6)."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from orch_server.domain.session import State
from orch_server.services import cleanup, sessions
from orch_server.store import store
from tests.services.world import World

pytestmark = pytest.mark.timeout(300)
JUMPS = {"a day back": timedelta(days=-1), "ten years ahead": timedelta(days=3652), "an hour back": timedelta(hours=-1)}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.open()
    yield world
    await world.close()


def clock(offset: timedelta) -> type[datetime]:
    """Return a `datetime` whose present is elsewhere."""

    class Moved(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Moved":
            found = datetime.now(tz) + offset
            return cls.fromisoformat(found.isoformat())

    return Moved


async def test_a_clock_that_jumps_ahead_empties_no_trash(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    session = await world.work("[[write a.txt kept]]")
    await cleanup.delete(world.context, session.id)
    for _ in range(cleanup.HUB_STARTS_KEPT):
        await world.close()
        await world.open()
    with monkeypatch.context() as wrong:
        wrong.setattr(cleanup, "datetime", clock(timedelta(days=3652)))
        for _ in range(3):
            await cleanup.purge_expired(world.context)
            assert world.session(session.id).purged_at is None
    await world.close()
    await world.open()
    await cleanup.purge_expired(world.context)
    assert "overIn" not in (world.session(session.id).trash or {})
    monkeypatch.setattr(cleanup, "datetime", clock(timedelta(days=3652)))
    await cleanup.purge_expired(world.context)
    assert world.session(session.id).purged_at is None
    restored = await cleanup.restore(world.context, world.caller, session.id)
    assert Path(restored.worktree_path or "", "a.txt").read_text() == "kept\n"


@pytest.mark.parametrize("jump", JUMPS)
async def test_work_goes_on_whatever_the_clock_says(world: World, jump: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await world.work("[[say before]]")
    monkeypatch.setattr(store, "datetime", clock(JUMPS[jump]))
    done = await world.work("[[write a.txt x]] [[say hi]]")
    assert (before.state, done.state) == (State.COMPLETED, State.COMPLETED)
    hanging = await world.work("[[hang]]")
    stopped = await sessions.stop(world.context, hanging.id)
    assert stopped.state == State.STOPPED
    events = await world.context.store.events(0)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


async def test_a_clock_that_stands_still(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime.now().astimezone()
    frozen = clock(timedelta())
    monkeypatch.setattr(frozen, "now", classmethod(lambda cls, tz=None: moment.astimezone(tz)))
    monkeypatch.setattr(store, "datetime", frozen)
    done = await world.work("[[count 20 1]]")
    assert done.state == State.COMPLETED
