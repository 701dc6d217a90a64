"""A session begins anew: another conversation of the agent, which is told what was said before."""

import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.session import Action, FollowUp, FollowUpMode, State
from orch_server.services import sessions
from orch_server.services.past import LIMIT, PREFACE, in_context
from orch_server.services.transcript import Entry, EntryKind, Role
from orch_server.store.transaction import Transaction
from tests.services.world import World
from tests.waiting import wait_until_async


def entry(role: Role, kind: EntryKind, text: str) -> Entry:
    return Entry(seq=1, turn=1, role=role, kind=kind, text=text, at="t")


def test_the_past_is_told_once() -> None:
    past = [
        entry(Role.USER, EntryKind.MESSAGE, "Do it"),
        entry(Role.AGENT, EntryKind.THOUGHT, "Hm"),
        entry(Role.AGENT, EntryKind.TOOL, "Edit a.py"),
        entry(Role.AGENT, EntryKind.MESSAGE, "Done"),
    ]
    first = in_context(past, "Go on")
    assert first.startswith(PREFACE)
    assert "User: Do it\n\nTool: Edit a.py\n\nAgent: Done" in first
    assert first.endswith("\n\nGo on")
    second = in_context([*past, entry(Role.USER, EntryKind.MESSAGE, first)], "And on")
    assert second.count(PREFACE) == 1
    assert second.count("Do it") == 1
    assert "User: Go on" in second


def test_of_a_long_past_the_end_is_told_and_of_none_nothing() -> None:
    assert in_context([], "Begin") == "Begin"
    told = in_context([entry(Role.AGENT, EntryKind.MESSAGE, f"begin {'x' * LIMIT} end")], "Go on")
    assert len(told) < LIMIT + 1000
    assert "begin" not in told
    assert "end\n" in told


async def test_a_session_begins_anew_with_its_transcript(world: World) -> None:
    session = await world.work("[[say the colour is blue]]")
    waiting = FollowUp(id="w", text="[[say later]]", mode=FollowUpMode.QUEUE, at="t")
    await world.context.store.write(lambda transaction: _queue(transaction, session.id, waiting))
    resumed = await sessions.resume(world.context, world.caller, session.id, "Go on", anew=True)
    await wait_until_async(lambda: world.session(resumed.id).turns == 3, 60)
    await wait_until_async(lambda: world.session(resumed.id).state == State.COMPLETED, 60)
    after = world.session(session.id)
    assert after.agent_session_id not in {None, session.agent_session_id}
    assert (after.turns, after.queued) == (3, [])
    turns = await world.context.store.events(0, session_id=session.id, types=["turn.started"])
    assert b"the colour is blue" in turns[1].json
    assert b"say later" in turns[2].json


def _queue(transaction: Transaction, session_id: str, item: FollowUp) -> None:
    transaction.session(session_id).queued = [item]


async def test_what_cannot_resume_says_so_and_offers_to_begin_anew(world: World) -> None:
    session = await world.work()
    adapter = world.context.adapter("demo")
    adapter.capabilities = adapter.capabilities.model_copy(update={"resume": False})
    with pytest.raises(OrchError, match="cannot go on with an earlier conversation") as caught:
        await sessions.resume(world.context, world.caller, session.id, None)
    assert caught.value.kind == ErrorKind.CONFLICT
    assert f"orch resume {session.id} --anew" in caught.value.hint
    assert session.action == Action.IMPLEMENT
