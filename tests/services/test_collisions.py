"""Collisions of sessions that are at work: seen, told, kept, and gone again."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orch_server.domain.collision import Collision, CollisionAgainst, CollisionKind
from orch_server.domain.session import State
from orch_server.git.apply import Strategy
from orch_server.git.snapshot import snapshot
from orch_server.services import advice, cleanup, collisions, home, sessions, sides
from orch_server.services.plans import order, settle_first
from orch_server.store.records import SessionRecord
from tests.services.world import World
from tests.waiting import wait_until_async

PATIENCE = 60.0
NUMBERS = "".join(f"line {number}\n" for number in range(1, 21))


def five(word: str) -> str:
    """Return the numbers with another fifth line."""
    return NUMBERS.replace("line 5\n", f"{word}\n")


@pytest.fixture
async def at_work(world: World) -> tuple[World, SessionRecord, SessionRecord]:
    """Two sessions whose worktrees hold the numbers, and the loop that looks at them."""
    world.scratch.commit("numbers", {"numbers.txt": NUMBERS, "deep/er/file.txt": NUMBERS})
    world.context.collisions.begin()
    return world, await world.work("[[say one]]"), await world.work("[[say other]]")


def found(world: World, **filters: Any) -> list[Collision]:
    return collisions.list_(world.context, **filters)


async def until_found(world: World, count: int) -> list[Collision]:
    await wait_until_async(lambda: len(found(world)) == count, timeout=PATIENCE)
    return found(world)


def write(session: SessionRecord, path: str, text: str) -> None:
    assert session.worktree_path is not None
    file = Path(session.worktree_path, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


async def test_two_sessions_that_change_a_line_collide_until_one_takes_it_back(
    at_work: tuple[World, SessionRecord, SessionRecord],
) -> None:
    world, one, other = at_work
    write(one, "numbers.txt", five("one"))
    write(other, "numbers.txt", "new\n" + five("other"))
    [collision] = await until_found(world, 1)
    assert collision.against is CollisionAgainst.SESSION
    assert collision.sessions == (one.id, other.id)
    [file] = collision.files
    assert (file.path, file.kind, file.side_paths) == ("numbers.txt", CollisionKind.CONTENT, ("numbers.txt",) * 2)
    assert [(side.start_line, side.end_line) for side in file.hunks[0].sides] == [(5, 5), (6, 6)]
    await wait_until_async(lambda: [world.session(each.id).collisions for each in (one, other)] == [1, 1])
    write(other, "numbers.txt", "new\n" + NUMBERS)
    await until_found(world, 0)
    await wait_until_async(lambda: [world.session(each.id).collisions for each in (one, other)] == [0, 0])
    told = await world.context.store.events(0, types=["collision.*"])
    assert [event.type for event in told] == ["collision.detected", "collision.cleared"]


async def test_the_checkout_counts_and_so_does_the_base_branch(
    at_work: tuple[World, SessionRecord, SessionRecord],
) -> None:
    world, one, _ = at_work
    write(one, "numbers.txt", five("one"))
    world.scratch.write({"numbers.txt": five("mine")})
    [collision] = await until_found(world, 1)
    assert (collision.against, collision.sessions) == (CollisionAgainst.CHECKOUT, (one.id, None))
    world.scratch.commit("mine", {})
    both = await until_found(world, 2)
    assert {each.against for each in both} == {CollisionAgainst.CHECKOUT, CollisionAgainst.BASE}
    assert both[0].id == collision.id


async def test_new_folders_are_watched_and_ignored_files_are_not_work(
    at_work: tuple[World, SessionRecord, SessionRecord],
) -> None:
    world, one, other = at_work
    for session in at_work[1:]:
        write(session, "ignored/cache.txt", session.id)
        write(session, "a/b/c/one.txt", "the same\n")
    write(one, "a/b/c/two.txt", "one\n")
    write(other, "a/b/c/two.txt", "other\n")
    [collision] = await until_found(world, 1)
    assert [(file.path, file.kind) for file in collision.files] == [("a/b/c/two.txt", CollisionKind.ADD_ADD)]
    write(other, "a/b/c/two.txt", "one\n")
    await until_found(world, 0)


async def test_commits_count_like_files(at_work: tuple[World, SessionRecord, SessionRecord]) -> None:
    world, one, other = at_work
    assert one.worktree_path is not None
    write(one, "numbers.txt", five("one"))
    world.scratch.git("commit", "--quiet", "--all", "--message", "work", cwd=Path(one.worktree_path))
    write(other, "numbers.txt", five("other"))
    await until_found(world, 1)
    world.scratch.git("reset", "--quiet", "--hard", "HEAD~1", cwd=Path(one.worktree_path))
    await until_found(world, 0)


async def test_what_came_home_collides_no_more(at_work: tuple[World, SessionRecord, SessionRecord]) -> None:
    world, one, other = at_work
    write(one, "numbers.txt", five("one"))
    write(other, "numbers.txt", five("other"))
    await until_found(world, 1)
    await home.apply(world.context, world.caller, one.id, Strategy.MERGE, preview=False)
    await wait_until_async(lambda: all(one.id not in each.sessions for each in found(world)), timeout=PATIENCE)
    assert {each.against for each in found(world, session_id=other.id)} <= {
        CollisionAgainst.CHECKOUT,
        CollisionAgainst.BASE,
    }
    await wait_until_async(lambda: len(found(world, session_id=other.id)) == 2, timeout=PATIENCE)


async def test_what_is_changed_further_after_it_came_home_collides_no_more(
    at_work: tuple[World, SessionRecord, SessionRecord],
) -> None:
    world, one, _ = at_work
    write(one, "numbers.txt", five("one"))
    project = world.context.collisions.project(one.project_id)
    await wait_until_async(lambda: project.brings(one.id), timeout=PATIENCE)
    await home.apply(world.context, world.caller, one.id, Strategy.SQUASH, preview=False)
    await wait_until_async(lambda: project.is_home(one.id), timeout=PATIENCE)
    world.scratch.commit("further", {"numbers.txt": five("one, and better")})
    await wait_until_async(lambda: project.commit_of("base") == world.scratch.head, timeout=PATIENCE)
    await project.settled()
    assert project.is_home(one.id)
    assert found(world) == []
    world.scratch.git("reset", "--quiet", "--hard", "HEAD~2")
    await wait_until_async(lambda: project.brings(one.id), timeout=PATIENCE)


async def test_a_deleted_session_collides_no_more_and_a_restored_one_again(
    at_work: tuple[World, SessionRecord, SessionRecord],
) -> None:
    world, one, other = at_work
    write(one, "numbers.txt", five("one"))
    write(other, "numbers.txt", five("other"))
    await until_found(world, 1)
    await cleanup.delete(world.context, one.id)
    await until_found(world, 0)
    assert world.session(one.id).state is State.DELETED
    await cleanup.restore(world.context, world.caller, one.id)
    await until_found(world, 1)


async def test_what_an_earlier_hub_saw_is_kept_and_set_right(
    at_work: tuple[World, SessionRecord, SessionRecord],
) -> None:
    world, one, other = at_work
    write(one, "numbers.txt", five("one"))
    write(other, "numbers.txt", five("other"))
    [before] = await until_found(world, 1)
    await world.leave()
    context = await world.open()
    assert found(world) == [before]
    context.collisions.begin()
    await context.collisions.project(before.project_id).settled()
    assert found(world) == [before]
    assert [event.type for event in await context.store.events(0, types=["collision.*"])] == ["collision.detected"]
    write(one, "numbers.txt", NUMBERS)
    await until_found(world, 0)


async def test_a_worktree_without_new_folders_is_looked_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.scratch.commit("numbers", {"numbers.txt": NUMBERS, "deep/er/file.txt": NUMBERS})
    session = await world.work("[[say one]]")
    looks: list[str] = []

    async def counted(git: Any, shadow: Any, files: Any, **settings: Any) -> Any:
        looks.append(files.path)
        return await snapshot(git, shadow, files, **settings)

    monkeypatch.setattr(sides, "snapshot", counted)
    world.context.collisions.begin()
    await world.context.collisions.project(session.project_id).settled()
    assert sorted(looks) == sorted([str(world.scratch.path), str(session.worktree_path)])


async def test_an_unsaved_buffer_is_the_users_side(at_work: tuple[World, SessionRecord, SessionRecord]) -> None:
    world, one, _ = at_work
    write(one, "numbers.txt", five("one"))
    project = world.context.collisions.project(one.project_id)
    await project.settled()
    project.sides.hold("checkout", b"numbers.txt", five("typed").encode())
    [collision] = await until_found(world, 1)
    assert collision.against is CollisionAgainst.CHECKOUT
    assert (world.scratch.path / "numbers.txt").read_text() == NUMBERS
    project.sides.hold("checkout", b"numbers.txt", None)
    await until_found(world, 0)


async def test_a_worktree_that_cannot_be_read_for_a_while_comes_back(
    at_work: tuple[World, SessionRecord, SessionRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sides, "_RETRY_SECONDS", 0.05)
    world, one, other = at_work
    write(one, "numbers.txt", five("one"))
    write(other, "numbers.txt", five("other"))
    await until_found(world, 1)
    assert one.worktree_path is not None
    away = Path(one.worktree_path).with_name("away")
    Path(one.worktree_path).rename(away)
    world.context.collisions.project(one.project_id).touch(one.id)
    await until_found(world, 0)
    away.rename(one.worktree_path)
    await until_found(world, 1)


async def test_what_was_kept_for_predictions_is_thrown_away_when_it_grows(
    at_work: tuple[World, SessionRecord, SessionRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, one, other = at_work
    project = world.context.collisions.project(one.project_id)
    await project.settled()
    assert project.sides.shadow is not None
    first = project.sides.shadow.directory
    monkeypatch.setattr(sides, "_MOST_OBJECTS", -1)
    write(one, "numbers.txt", five("one"))
    await wait_until_async(lambda: not Path(first).exists(), timeout=PATIENCE)
    monkeypatch.setattr(sides, "_MOST_OBJECTS", 1_000_000)
    write(other, "numbers.txt", five("other"))
    await until_found(world, 1)


async def test_nothing_of_the_users_is_touched(at_work: tuple[World, SessionRecord, SessionRecord]) -> None:
    world, one, other = at_work
    inside = world.scratch.path / ".git"

    def state() -> dict[str, bytes]:
        return {
            str(file): file.read_bytes()
            for file in sorted(inside.rglob("*"))
            if file.is_file() and "/refs/orch/" not in str(file) and "/objects/" not in str(file)
        }

    before = state()
    write(one, "numbers.txt", five("one"))
    write(other, "numbers.txt", five("other"))
    await until_found(world, 1)
    assert state() == before


async def test_the_plan_brings_home_what_goes_together_first(
    at_work: tuple[World, SessionRecord, SessionRecord],
) -> None:
    world, one, other = at_work
    third = await world.work("[[say third]]")
    write(one, "numbers.txt", five("one") + "end of one\n")
    write(other, "numbers.txt", five("other"))
    write(third, "numbers.txt", NUMBERS + "end of third\n")
    await until_found(world, 2)
    ordered, settle = await advice.plan(world.context, one.project_id)
    assert ordered == [other.id, third.id, one.id]
    assert {frozenset(pair) for pair in settle} == {frozenset((one.id, other.id)), frozenset((one.id, third.id))}


@pytest.mark.parametrize("side", [0, 1])
async def test_one_side_is_told_what_the_other_changed(
    at_work: tuple[World, SessionRecord, SessionRecord], side: int
) -> None:
    world, *both = at_work
    write(both[0], "numbers.txt", five("word 0"))
    write(both[1], "numbers.txt", five("word 1"))
    [collision] = await until_found(world, 1)
    told = both[side]
    await advice.tell(world.context, world.caller, collision.id, told.id)
    turns = world.context.store.events
    await wait_until_async(lambda: world.session(told.id).turns == 2, timeout=PATIENCE)
    prompt = (await turns(0, session_id=told.id, types=["turn.started"]))[-1].json.decode()
    assert f"+word {1 - side}" in prompt
    assert f"+word {side}" not in prompt
    assert "numbers.txt" in prompt
    await wait_until_async(lambda: told.id not in world.context.live, timeout=PATIENCE)
    assert sessions.find(world.context, told.id).state is State.COMPLETED


async def test_a_session_is_told_what_the_user_and_the_base_branch_changed(
    at_work: tuple[World, SessionRecord, SessionRecord],
) -> None:
    world, one, _ = at_work
    write(one, "numbers.txt", five("one"))
    world.scratch.commit("mine", {"numbers.txt": five("committed")})
    for collision in await until_found(world, 2):
        turns = world.session(one.id).turns
        await advice.tell(world.context, world.caller, collision.id, one.id)
        while world.session(one.id).turns == turns:
            await asyncio.sleep(0.003)
        started = await world.context.store.events(0, session_id=one.id, types=["turn.started"])
        assert "+committed" in started[-1].json.decode()
        await wait_until_async(lambda: one.id not in world.context.live, timeout=PATIENCE)


@pytest.mark.parametrize(
    ("count", "pairs", "blocked", "expected"),
    [
        (3, [], [], "abc"),
        (3, ["ab"], [], "acb"),
        (3, ["ab", "bc"], [], "acb"),
        (4, ["ab", "ac", "ad"], [], "bcda"),
        (3, [], ["a"], "bca"),
        (4, ["ab", "cd"], [], "acbd"),
    ],
)
def test_order(count: int, pairs: list[str], blocked: list[str], expected: str) -> None:
    assert "".join(order("abcdefgh"[:count], [(pair[0], pair[1]) for pair in pairs], blocked)) == expected


def test_the_pair_that_frees_most_is_settled_first() -> None:
    pairs = [("a", "b"), ("a", "c"), ("a", "d"), ("e", "f")]
    assert settle_first("abcdef", pairs, [])[0] == ("e", "f")


def test_many_sessions_are_ordered_quickly() -> None:
    names = [f"s{number}" for number in range(50)]
    pairs = [(one, other) for one in names for other in names if one < other and hash((one, other)) % 3 == 0]
    assert sorted(order(names, pairs, [])) == sorted(names)
