"""What an agent does that it should not, or fails to do: shown, and stopped where the user wants that."""

import asyncio
from pathlib import Path

import orjson
import pytest

from orch_server.domain.session import Action, Attention, Reason, State
from orch_server.services import sessions, vitals
from orch_server.services.named_files import name_of, paths_in
from tests.services.world import World
from tests.waiting import wait_until_async


async def _changed(world: World, session_id: str) -> list[tuple[list[str], bool]]:
    events = await world.context.store.events(0, session_id=session_id, types=["project.changed_read_only"])
    data = [orjson.loads(event.json)["data"] for event in events]
    return [(item["paths"], item["attributed"]) for item in data]


@pytest.mark.parametrize("action", [Action.REVIEW, Action.PLAN])
async def test_a_read_only_session_that_writes_is_found_out(action: Action, world: World) -> None:
    session = await world.work("[[write-anyway notes.txt mine]]", action)
    assert await _changed(world, session.id) == [(["notes.txt"], True)]
    assert session.attention == [Attention.READ_ONLY_CHANGED]


async def test_what_the_user_changes_meanwhile_is_not_laid_at_its_door(world: World) -> None:
    session = await world.work("[[read README.md]] [[hang]]", Action.ANALYZE)
    (world.scratch.path / "mine.txt").write_text("by the user\n")
    await sessions.stop(world.context, session.id)
    await world.settle()
    assert await _changed(world, session.id) == [(["mine.txt"], False)]
    assert world.session(session.id).attention == []
    quiet = await world.work("[[read README.md]]", Action.ANALYZE)
    assert await _changed(world, quiet.id) == []


async def test_silence_is_shown_and_ended_where_the_user_wants_that(world: World) -> None:
    await world.close()
    await world.open(silent_seconds=100, silent_stop_seconds=1000)
    session = await world.work("[[hang]]")
    clock = [0.0]
    heard = vitals.Heard(clock=lambda: clock[0])

    async def look(now: float) -> list[Attention]:
        clock[0] = now
        await vitals.look(world.context, heard)
        return world.session(session.id).attention

    assert await look(0) == []
    assert await look(99) == []
    assert await look(101) == [Attention.SILENT]
    with open(world.context.live[session.id].bundle.err_log, "a", encoding="utf-8") as log:
        log.write("still here\n")
    assert await look(150) == []
    assert await look(251) == [Attention.SILENT]
    await look(1151)
    await wait_until_async(lambda: world.session(session.id).state == State.FAILED)
    ended = world.session(session.id)
    assert (ended.reason, ended.attention) == (Reason.SILENT_LIMIT, [])
    assert "orch resume" in ended.message


async def test_who_waits_for_the_user_is_not_silent(world: World) -> None:
    await world.close()
    await world.open(silent_seconds=1)
    started = asyncio.ensure_future(world.work("[[ask Which?]]"))
    await wait_until_async(lambda: any(s.state == State.WAITING_FOR_USER for s in world.context.store.sessions()[0]))
    ((session,), _) = world.context.store.sessions()
    clock = iter([0.0, 100.0])
    heard = vitals.Heard(clock=lambda: next(clock))
    await vitals.look(world.context, heard)
    await vitals.look(world.context, heard)
    assert world.session(session.id).attention == []
    started.cancel()


async def test_a_disk_that_is_nearly_full_is_shown(world: World) -> None:
    session = await world.work("[[hang]]")
    world.context.limits = world.context.limits.model_copy(update={"start_free_bytes": 1 << 62})
    await vitals.look(world.context, vitals.Heard())
    assert world.session(session.id).attention == [Attention.DISK_FULL]
    world.context.limits = world.context.limits.model_copy(update={"start_free_bytes": 0})
    await vitals.look(world.context, vitals.Heard())
    assert world.session(session.id).attention == []


ANSWERS = {
    "in backquotes": ("See `out/report.html`.", ["out/report.html"]),
    "as a link": ("The [plan](docs/plan.md#L3) and ![shot](shot%201.png)", ["docs/plan.md", "shot 1.png"]),
    "with a line": ("`src/a.py:12` and `src/a.py:12-14`", ["src/a.py"]),
    "an absolute one": ("`/w/tree/x.txt`", ["x.txt"]),
    "outside": ("`/etc/passwd`, `../x` and [here](https://example.invalid/x)", []),
    "hidden": ("`.env`, `a/.git/config`", []),
    "code": ("`print(1)`", ["print(1)"]),
}


@pytest.mark.parametrize(("answer", "paths"), ANSWERS.values(), ids=ANSWERS)
def test_what_an_answer_names(answer: str, paths: list[str]) -> None:
    assert paths_in(answer, "/w/tree") == paths


def test_the_name_of_an_artifact_is_harmless_and_lasts() -> None:
    assert name_of("out/../a b\n.txt") == name_of("out/../a b\n.txt")
    assert "/" not in name_of("x/" + "y" * 300)
    assert name_of("a/r.md") != name_of("b/r.md")


async def test_the_files_that_an_answer_names_are_kept(world: World) -> None:
    prompt = (
        "[[write out/report.md # Figures]] [[write debug.log noise]] [[write README.md changed]]"
        " [[write-anyway .env K=1]]"
        " [[say Done: `out/report.md`, `debug.log`, `README.md`, `.env`, `link`, `gone.txt`.]]"
    )
    session = await world.work(prompt)
    found, _ = world.context.store.artifacts(
        project_id=None, session_id=session.id, kinds=["file"], before=None, limit=10
    )
    assert sorted(Path(item.path).read_text() for item in found) == ["# Figures\n", "noise\n"]
    assert {item.media_type for item in found} == {"text/markdown", "application/octet-stream"}
