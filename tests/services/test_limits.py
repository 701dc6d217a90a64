"""What the runner ends its agent for by itself is the reason that the session tells."""

from pathlib import Path

from orch_server.domain.session import Action, Reason, State
from orch_server.services import sessions
from tests.services.world import World
from tests.waiting import wait_until_async


async def test_an_agent_that_writes_more_than_the_limit(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.open(output_bytes=10_000)
    prompt = f"[[say {'x' * 20_000}]] [[hang]]"
    started = await sessions.start(
        world.context, world.caller, agent="demo", action=Action.IMPLEMENT, project="project", prompt=prompt
    )
    await wait_until_async(lambda: world.session(started.id).state == State.FAILED, 60)
    ended = world.session(started.id)
    assert ended.reason == Reason.OUTPUT_LIMIT
    assert "output_bytes" in ended.message
    failed = await world.context.store.events(0, session_id=started.id, types=["turn.failed", "run.output_limited"])
    assert [b'"reason":"output_limit"' in event.json for event in failed] == [True, False]
    await world.close()
