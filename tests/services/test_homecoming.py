"""What came home is told once, whatever becomes of the hub, and a purge leaves nothing of it."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.session import State
from orch_server.git.apply import Strategy
from orch_server.services import changes, cleanup, home, homecoming, sessions
from orch_server.services.changes import Against
from orch_server.services.context import Caller, RequestKey
from tests.services.world import World


def _caller(world: World, key: str | None = None) -> Caller:
    who = {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.invalid"}
    who |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in who.items()}
    request = RequestKey(key, "orch/session/apply", "digest") if key is not None else None
    return replace(world.caller, environment={**world.caller.environment, **who}, request_key=request)


async def _told(world: World, session_id: str) -> list[tuple[str, dict[str, Any]]]:
    events = await world.context.store.events(0, session_id=session_id, types=["worktree.committed", "checkout.*"])
    return [(event.type, orjson.loads(event.json)["data"]) for event in events]


async def test_commit_apply_and_undo_are_told(world: World) -> None:
    session = await world.work("[[write a.txt one]] [[write b.txt two]]")
    made = await home.commit(world.context, _caller(world), session.id, "Add them")
    assert (await home.commit(world.context, _caller(world), session.id, None)).files == []
    await home.apply(world.context, _caller(world), session.id, Strategy.SQUASH, preview=True)
    await home.apply(world.context, _caller(world), session.id, Strategy.SQUASH, preview=False)
    head = world.scratch.head
    await home.take_back(world.context, _caller(world), session.id, preview=True)
    await home.take_back(world.context, _caller(world), session.id, preview=False)
    (first, committed), (second, applied), (third, undone) = await _told(world, session.id)
    assert (first, second, third) == ("worktree.committed", "checkout.applied", "checkout.undone")
    assert (committed["commit"], committed["branch"]) == (made.commit, session.branch)
    assert (applied["commit"], applied["strategy"]) == (head, "squash")
    assert committed["paths"] == applied["paths"] == undone["paths"] == ["a.txt", "b.txt"]
    assert committed["files"] == applied["files"] == undone["files"] == 2
    assert applied["record"] == undone["record"] == f"refs/orch/undo/{session.id}/1"


async def test_what_is_refused_is_not_told(world: World) -> None:
    session = await world.work("[[write README.md changed]]")
    (world.scratch.path / "README.md").write_text("mine\n")
    with pytest.raises(OrchError):
        await home.apply(world.context, _caller(world), session.id, Strategy.PATCH, preview=False)
    assert await _told(world, session.id) == []
    assert world.context.store.intents() == []


@pytest.mark.parametrize("verb", ["commit", "apply", "undo"])
async def test_a_hub_that_dies_after_the_deed_tells_it_and_answers_the_same_request_with_it(
    verb: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await world.work("[[write a.txt one]]")
    caller = _caller(world, "key")

    async def ask() -> Any:
        match verb:
            case "commit":
                return await home.commit(world.context, caller, session.id, None)
            case "apply":
                return await home.apply(world.context, caller, session.id, Strategy.PATCH, preview=False)
            case _:
                return await home.take_back(world.context, caller, session.id, preview=False)

    if verb == "undo":
        for _ in range(2):  # the first is there to be taken back by mistake
            (Path(session.worktree_path or "") / "more.txt").write_text(os.urandom(4).hex())
            await home.apply(world.context, _caller(world), session.id, Strategy.MERGE, preview=False)
    before = len(await _told(world, session.id))
    with monkeypatch.context() as patch:
        patch.setattr(homecoming, "settle", _dies_after_the_first(homecoming.settle))
        with pytest.raises(KilledError):
            await ask()
    assert len(await _told(world, session.id)) == before
    await world.close()
    await world.open()
    await home.recover(world.context)
    told = await _told(world, session.id)
    assert len(told) == before + 1
    again = await ask()
    assert (again.commit == told[-1][1]["commit"]) if verb == "commit" else again.applied
    assert len(await _told(world, session.id)) == before + 1
    assert world.context.store.intents() == []


class KilledError(Exception):
    """The hub dies here."""


def _dies_after_the_first(settle: Any) -> Any:
    """Return a settle that works before the deed, and dies after it."""
    first = iter([settle])

    async def settle_or_die(*arguments: Any) -> None:
        real = next(first, None)
        if real is None:
            raise KilledError
        await real(*arguments)

    return settle_or_die


async def test_a_purge_leaves_no_ref_and_says_that_it_happened(world: World) -> None:
    session = await world.work("[[write a.txt one]]")
    other = await world.work("[[write b.txt two]]")
    for name in (session.id, other.id):
        await home.apply(world.context, _caller(world), name, Strategy.PATCH, preview=False)
    await home.take_back(world.context, _caller(world), session.id, preview=False)
    await cleanup.archive(world.context, world.caller, session.id)
    token = (await cleanup.preview(world.context, session.id)).token
    await cleanup.delete(world.context, session.id, token=token, purge=True)
    refs = world.scratch.git("for-each-ref", "--format=%(refname)", "refs/orch").splitlines()
    assert not [ref for ref in refs if session.id in ref]
    assert [ref for ref in refs if other.id in ref]
    purged = world.session(session.id)
    assert purged.purged_at is not None
    assert (purged.state, purged.state_before) == (State.DELETED, State.COMPLETED)
    for refused in (
        home.commit(world.context, _caller(world), session.id, None),
        changes.diff(world.context, purged, Against.BASE, ()),
        sessions.resume(world.context, world.caller, session.id, None),
        cleanup.restore(world.context, world.caller, session.id),
    ):
        with pytest.raises(OrchError, match="purged") as caught:
            await refused
        assert caught.value.kind is ErrorKind.ILLEGAL_TRANSITION
