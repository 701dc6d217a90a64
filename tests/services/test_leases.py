"""Leases: who may not be waved through, who is told, and who may claim what."""

import orjson
import pytest

from orch_server.domain.errors import OrchError
from orch_server.domain.session import Action, State
from orch_server.services import cleanup, leases, sessions
from tests.services.world import World
from tests.waiting import wait_until_async


async def test_an_edit_of_a_claimed_path_asks_although_the_policy_would_allow_it(world: World) -> None:
    holder = await world.work("[[say mine]]")
    [lease] = await leases.claim(world.context, "project", holder, ["src"])
    prompt = "[[edit-approved src/main.py changed]] [[edit-approved README.md changed]]"
    asking = await sessions.start(
        world.context, world.caller, agent="demo", action=Action.IMPLEMENT, project="project", prompt=prompt
    )
    await wait_until_async(lambda: world.session(asking.id).state is State.WAITING_FOR_USER, 60)
    [request] = world.session(asking.id).input_requests
    assert f"src is claimed by session {holder.id}." in request.detail
    told = await world.context.store.events(0, types=["lease.contested"])
    assert [(event.session_id, orjson.loads(event.json)["data"]["path"]) for event in told] == [
        (holder.id, "src/main.py")
    ]
    await sessions.respond(
        world.context, world.caller, asking.id, request.id, option_id=request.options[0].id, text=None, answers=[]
    )
    await wait_until_async(lambda: world.session(asking.id).state is State.COMPLETED, 60)
    await leases.release(world.context, lease.id[:6])
    assert leases.list_(world.context, "project") == []


async def test_the_holder_itself_is_not_asked_and_is_told_nothing(world: World) -> None:
    session = await world.work("[[say mine]]")
    await leases.claim(world.context, "project", session, ["src/main.py"])
    await sessions.follow_up(world.context, world.caller, session.id, "[[edit-approved src/main.py changed]]")
    await wait_until_async(lambda: world.session(session.id).turns == 2, 60)
    await wait_until_async(lambda: world.session(session.id).state is State.COMPLETED, 60)
    assert await world.context.store.events(0, types=["lease.contested"]) == []


async def test_a_tool_that_does_not_ask_is_told_of(world: World) -> None:
    await leases.claim(world.context, "project", None, ["README.md"])
    session = await world.work("[[write README.md changed]] [[write README.md again]]")
    told = await world.context.store.events(0, types=["lease.contested"])
    assert [orjson.loads(event.json)["data"]["by"] for event in told] == [session.id]


async def test_what_another_holds_cannot_be_claimed_until_it_is_put_away(world: World) -> None:
    holder = await world.work("[[say mine]]")
    first = await leases.claim(world.context, "project", holder, ["src/", "src"])
    assert [lease.path for lease in first] == ["src", "src"]
    assert await leases.claim(world.context, "project", holder, ["src"]) == first[:1]
    for path in ("src/main.py", ".", "src"):
        with pytest.raises(OrchError, match="claimed by session"):
            await leases.claim(world.context, "project", None, [path])
    await cleanup.archive(world.context, world.caller, holder.id)
    assert leases.list_(world.context, None) == []
    await leases.claim(world.context, "project", None, ["src/main.py"])


@pytest.mark.parametrize("path", ["../x", "/etc", "", "a\0b", "src/../.."])
async def test_only_paths_in_the_project_are_claimed(world: World, path: str) -> None:
    with pytest.raises(OrchError, match="is no path in the project"):
        await leases.claim(world.context, "project", None, [path])
