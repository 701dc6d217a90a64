"""The output of a live run is taken in to its end, once, whatever interrupts the hub in between."""

import os
import signal
from pathlib import Path

import pytest

from orch_server.domain.session import Action, Policy, Reason, State
from orch_server.services import sessions
from tests.home import is_gone
from tests.services.world import World, silent_runner
from tests.waiting import wait_until_async


async def test_what_was_being_taken_in_when_an_agent_ended_is_taken_once(world: World) -> None:
    session = await world.work("[[say first]] [[hang]]")
    live = world.context.live[session.id]
    log = Path(live.bundle.out_log)
    await wait_until_async(lambda: b"ready" in log.read_bytes() and live._out.offset == log.stat().st_size)
    live._out.offset = 0  # as after a commit that nobody waited for any more
    await sessions.stop(world.context, session.id)
    (run,) = world.context.store.runs_of(session.id)
    assert run.out_offset == log.stat().st_size
    events = await world.context.store.events(0, session_id=session.id, types=["agent.message"])
    assert sum(b'"first"' in event.json for event in events) == 1


async def test_a_policy_that_is_changed_counts_for_the_next_turn_of_a_program_that_is_told_it(world: World) -> None:
    session = await world.work("[[hang]]")
    await sessions.update(world.context, session.id, title=None, policy=Policy.ASK)
    live = world.context.live[session.id]
    assert await live.write(lambda step: step.conversation.dialogue.task.policy) == Policy.ASK


@pytest.mark.parametrize("wakes", [True, False])
async def test_an_agent_whose_runner_falls_silent_at_the_start_is_not_given_up(world: World, wakes: bool) -> None:
    with silent_runner(world) as runner:
        started = await sessions.start(
            world.context,
            world.caller,
            agent="demo",
            action=Action.IMPLEMENT,
            project="project",
            prompt="[[say done]]" if wakes else "[[hang]]",
        )
        await wait_until_async(lambda: started.id in world.context.unsettled)
    assert world.session(started.id).state == State.CREATED
    if wakes:
        os.kill(runner[0], signal.SIGCONT)
        await wait_until_async(lambda: world.session(started.id).state == State.COMPLETED)
    else:
        found = await sessions.stop(world.context, started.id)
        assert (found.state, found.reason) == (State.STOPPED, Reason.USER_STOPPED)
        assert is_gone(runner[0])
    assert started.id not in world.context.unsettled
