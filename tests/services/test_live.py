"""The output of a live run is taken in to its end, once, whatever interrupts the hub in between."""

from pathlib import Path

from orch_server.services import sessions
from tests.services.world import World


async def test_what_was_being_taken_in_when_an_agent_ended_is_taken_once(world: World) -> None:
    session = await world.work("[[say first]] [[hang]]")
    live = world.context.live[session.id]
    live._out.offset = 0  # as after a commit that nobody waited for any more
    await sessions.stop(world.context, session.id)
    (run,) = world.context.store.runs_of(session.id)
    assert run.out_offset == Path(live.bundle.out_log).stat().st_size
    events = await world.context.store.events(0, session_id=session.id, types=["agent.message"])
    assert sum(b'"first"' in event.json for event in events) == 1
