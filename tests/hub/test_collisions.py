"""Collisions in an editor: diagnostics on the lines, what they lead to, and what can be done about them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from orch_server.hub.language.documents import uri_of
from orch_server.store.records import SessionRecord
from tests.hub.peer import Peer
from tests.services.world import World
from tests.waiting import wait_until_async

Connect = Callable[..., Awaitable[Peer]]
SHOWS = {
    "textDocument": {
        "publishDiagnostics": {"relatedInformation": True},
        "hover": {"contentFormat": ["plaintext"]},
        "codeAction": {"codeActionLiteralSupport": {"codeActionKind": {"valueSet": []}}},
    }
}
NUMBERS = "".join(f"line {number}\n" for number in range(1, 21))
WARNING, INFORMATION = 2, 3


def changed(**lines: str) -> str:
    """Return the numbers with other lines: `changed(l5="five")`."""
    parts = NUMBERS.splitlines()
    for name, text in lines.items():
        parts[int(name[1:]) - 1] = text
    return "\n".join(parts) + "\n"


@pytest.fixture
async def session(world: World) -> SessionRecord:
    """A session with the numbers in its worktree, and a hub that looks for collisions."""
    world.scratch.commit("numbers", {"numbers.txt": NUMBERS})
    world.context.collisions.begin()
    return await world.work("[[say one]]")


def worktree(session: SessionRecord) -> Path:
    assert session.worktree_path is not None
    return Path(session.worktree_path)


def diagnostics(peer: Peer, uri: str) -> list[dict[str, Any]]:
    """Return the diagnostics that a document has now."""
    said = [params for params in peer.heard_of("textDocument/publishDiagnostics") if params["uri"] == uri]
    return said[-1]["diagnostics"] if said else []


def lines(items: list[dict[str, Any]]) -> list[tuple[int, int, int]]:
    """Return severity and lines, counted from 1, of diagnostics."""
    return [(item["severity"], item["range"]["start"]["line"] + 1, item["range"]["end"]["line"] + 1) for item in items]


async def test_what_a_session_changes_is_noted_and_what_collides_is_warned_of(
    world: World, connect: Connect, session: SessionRecord
) -> None:
    peer = await connect(SHOWS)
    file = world.scratch.path / "numbers.txt"
    uri = peer.open(str(file), NUMBERS)
    (worktree(session) / "numbers.txt").write_text("top\n" + changed(l12="twelve"))
    await wait_until_async(lambda: len(diagnostics(peer, uri)) == 2, 60)
    assert lines(diagnostics(peer, uri)) == [(INFORMATION, 1, 1), (INFORMATION, 12, 12)]
    assert "changes these lines" in diagnostics(peer, uri)[1]["message"]
    file.write_text(changed(l12="TWELVE"))
    peer.notify(
        "textDocument/didChange",
        {"textDocument": {"uri": uri, "version": 2}, "contentChanges": [{"text": changed(l12="TWELVE")}]},
    )
    await wait_until_async(lambda: (WARNING, 12, 12) in lines(diagnostics(peer, uri)), 60)
    [warning] = [item for item in diagnostics(peer, uri) if item["severity"] == WARNING]
    assert session.id in warning["message"]
    [related] = warning["relatedInformation"]
    assert related["location"]["uri"] == uri_of(str(worktree(session) / "numbers.txt"))
    assert related["location"]["range"]["start"]["line"] == 12
    (worktree(session) / "numbers.txt").write_text(NUMBERS)
    await wait_until_async(lambda: diagnostics(peer, uri) == [], 60)


async def test_an_unsaved_buffer_counts_and_no_longer_when_it_is_closed(
    world: World, connect: Connect, session: SessionRecord
) -> None:
    peer = await connect(SHOWS)
    (worktree(session) / "numbers.txt").write_text(changed(l3="three"))
    uri = peer.open(str(world.scratch.path / "numbers.txt"), NUMBERS)
    edit = {"range": {"start": {"line": 2, "character": 0}, "end": {"line": 2, "character": 6}}, "text": "typed"}
    peer.notify("textDocument/didChange", {"textDocument": {"uri": uri, "version": 2}, "contentChanges": [edit]})
    await wait_until_async(lambda: (WARNING, 3, 3) in lines(diagnostics(peer, uri)), 60)
    assert world.context.store.collisions()[0].against == "checkout"
    peer.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
    await wait_until_async(lambda: diagnostics(peer, uri) == [] and not world.context.store.collisions(), 60)


async def test_both_worktrees_of_two_sessions_show_it(world: World, connect: Connect, session: SessionRecord) -> None:
    other = await world.work("[[say other]]")
    peer = await connect(SHOWS)
    uris = []
    for number, each in enumerate((session, other)):
        text = "first\n" * number + changed(l5=f"five {number}")
        (worktree(each) / "numbers.txt").write_text(text)
        uris.append(peer.open(str(worktree(each) / "numbers.txt"), text))
    await wait_until_async(lambda: (WARNING, 5, 5) in lines(diagnostics(peer, uris[0])), 60)
    await wait_until_async(lambda: (WARNING, 6, 6) in lines(diagnostics(peer, uris[1])), 60)
    assert (INFORMATION, 1, 1) in lines(diagnostics(peer, uris[0]))


async def test_what_the_user_changes_is_noted_in_a_worktree_and_leads_to_the_checkout(
    world: World, connect: Connect, session: SessionRecord
) -> None:
    peer = await connect(SHOWS)
    uri = peer.open(str(worktree(session) / "numbers.txt"), NUMBERS)
    (world.scratch.path / "numbers.txt").write_text("top\n" + changed(l5="mine"))
    await wait_until_async(lambda: (INFORMATION, 5, 5) in lines(diagnostics(peer, uri)), 60)
    [related] = diagnostics(peer, uri)[1]["relatedInformation"]
    assert related["location"]["uri"] == uri_of(str(world.scratch.path / "numbers.txt"))
    assert related["location"]["range"]["start"]["line"] == 5


async def test_a_hover_counts_the_lines_as_they_are_in_the_editor(
    world: World, connect: Connect, session: SessionRecord
) -> None:
    peer = await connect(SHOWS)
    shifted = "top\n" * 3 + NUMBERS
    (world.scratch.path / "numbers.txt").write_text(shifted)
    uri = peer.open(str(world.scratch.path / "numbers.txt"), shifted)
    text = changed(l12="twelve").replace("\n", "\\n").removesuffix("\\n")
    other = await world.work(f"[[write numbers.txt {text}]]")
    await wait_until_async(lambda: lines(diagnostics(peer, uri)) == [(INFORMATION, 15, 15)], 60)

    async def hover(line: int) -> str:
        asked = {"textDocument": {"uri": uri}, "position": {"line": line - 1, "character": 0}}
        found = await peer.call("textDocument/hover", asked)
        return str(found["contents"]["value"]) if found is not None else ""

    while other.id not in await hover(15):
        await asyncio.sleep(0.003)
    assert await hover(12) == ""


async def test_hover_and_actions_say_who_and_offer_what_can_be_done(
    world: World, connect: Connect, session: SessionRecord
) -> None:
    peer = await connect(SHOWS)
    text = changed(l5="mine")
    (world.scratch.path / "numbers.txt").write_text(text)
    (worktree(session) / "numbers.txt").write_text(changed(l5="theirs"))
    uri = peer.open(str(world.scratch.path / "numbers.txt"), text)
    await wait_until_async(lambda: (WARNING, 5, 5) in lines(diagnostics(peer, uri)), 60)
    position = {"line": 4, "character": 1}
    hover = await peer.call("textDocument/hover", {"textDocument": {"uri": uri}, "position": position})
    assert "Would not merge with demo" in hover["contents"]["value"]
    assert "[[say one]]" in hover["contents"]["value"]
    [collision] = world.context.store.collisions()
    asked = {
        "textDocument": {"uri": uri},
        "range": {"start": position, "end": position},
        "context": {"diagnostics": diagnostics(peer, uri)},
    }
    actions = {action["title"]: action["command"] for action in await peer.call("textDocument/codeAction", asked)}
    tell = next(command for title, command in actions.items() if title.startswith("Tell demo"))
    assert tell["arguments"] == [{"collision": collision.id, "session": session.id}]
    compared = await peer.call("workspace/executeCommand", actions["Compare with demo: [[say one]]"])
    assert compared["files"] == [
        {
            "path": "numbers.txt",
            "left": str(worktree(session) / "numbers.txt"),
            "right": str(world.scratch.path / "numbers.txt"),
        }
    ]
    await peer.call("workspace/executeCommand", tell)
    await wait_until_async(lambda: world.session(session.id).turns == 2, 60)
    await wait_until_async(lambda: session.id not in world.context.live, 60)


async def test_a_client_that_shows_no_diagnostics_gets_none(
    world: World, connect: Connect, session: SessionRecord
) -> None:
    plain, shows = await connect({}), await connect(SHOWS)
    text = changed(l5="mine")
    (world.scratch.path / "numbers.txt").write_text(text)
    (worktree(session) / "numbers.txt").write_text(changed(l5="theirs"))
    uris = [peer.open(str(world.scratch.path / "numbers.txt"), text) for peer in (plain, shows)]
    await wait_until_async(lambda: diagnostics(shows, uris[1]) != [], 60)
    assert plain.heard_of("textDocument/publishDiagnostics") == []
