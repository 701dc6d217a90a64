"""Code lens and hover: an editor sees which sessions changed the file it has open, and on which lines."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from orch_server.git.apply import Strategy
from orch_server.services import home, sessions
from orch_server.services.touches import lines_of
from orch_server.services.whereabouts import place_of
from tests.hub.peer import Peer
from tests.services.world import FILES, World

Connect = Callable[..., Awaitable[Peer]]
MAIN = str(FILES["src/main.py"])
SHOWS = {
    "workspace": {"codeLens": {"refreshSupport": True}},
    "textDocument": {"hover": {"contentFormat": ["markdown", "plaintext"]}},
}


async def test_a_lens_says_who_changed_the_file_and_a_hover_why(world: World, connect: Connect) -> None:
    editor = await connect(SHOWS)
    uri = editor.open(f"{world.scratch.path}/src/main.py", MAIN)
    assert await _lenses(editor, uri) == []
    first = await world.work("[[append src/main.py print('bye')]]")
    await _until(editor, uri, 1)
    task = "[[append src/main.py print('bye')]]"
    assert await _lenses(editor, uri) == ["1 session here", f"{first.id}: demo, completed, +1 -0: {task}"]
    assert await _hover(editor, uri, 3) is None
    text = (await _hover(editor, uri, 19))["contents"]["value"]
    assert first.id in text
    assert "completed" in text
    assert "\\[\\[append src/main\\.py" in text

    second = await world.work("[[write src/main.py all new]] [[hang]]")
    await _until(editor, uri, 2)
    summary, newer, older = await _lenses(editor, uri)
    assert summary == "2 sessions here"
    assert newer.startswith(f"{second.id}: demo, running, +1 -20")
    assert older.startswith(first.id)
    text = (await _hover(editor, uri, 3))["contents"]["value"]
    assert second.id in text
    assert first.id not in text

    own = editor.open(f"{second.worktree_path}/src/main.py", "all new\n")
    assert [lens[:12] for lens in await _lenses(editor, own)] == ["2 sessions here"[:12], second.id, first.id]
    await sessions.stop(world.context, second.id)


async def test_a_lens_goes_when_the_work_came_home_and_comes_back_with_more(world: World, connect: Connect) -> None:
    world.context.collisions.begin()
    editor = await connect(SHOWS)
    uri = editor.open(f"{world.scratch.path}/src/main.py", MAIN)
    assert await _lenses(editor, uri) == []
    session = await world.work("[[append src/main.py print('bye')]]")
    await _until(editor, uri, 1)
    await home.apply(world.context, world.caller, session.id, Strategy.SQUASH, preview=False)
    await _until(editor, uri, 0)
    assert await _hover(editor, uri, 19) is None
    Path(session.worktree_path or "", "src/main.py").write_text("more\n")
    await _until(editor, uri, 1)


async def _until(editor: Peer, uri: str, sessions: int) -> None:
    """Wait until so many sessions are known in a document, asking only when the server says that something changed."""
    refresh = "workspace/codeLens/refresh"
    told = len(editor.heard_of(refresh))
    while len(await _lenses(editor, uri)) != (sessions + 1 if sessions else 0):
        await editor.hears(refresh, told + 1)
        told = len(editor.heard_of(refresh))


async def _lenses(editor: Peer, uri: str) -> list[str]:
    found = await editor.call("textDocument/codeLens", {"textDocument": {"uri": uri}})
    commands = [(lens["command"]["arguments"][0], lens["command"]["title"]) for lens in found]
    return [f"{about['session']}: {title}" if "session" in about else title for about, title in commands]


async def _hover(editor: Peer, uri: str, line: int) -> Any:
    return await editor.call(
        "textDocument/hover", {"textDocument": {"uri": uri}, "position": {"line": line, "character": 0}}
    )


async def test_a_file_is_placed_in_its_project_or_worktree(world: World) -> None:
    session = await world.work("[[write a.txt x]]")
    top = str(world.scratch.path)
    inside = place_of(world.context, f"{top}/src/main.py")
    assert inside is not None
    assert (inside.path, inside.session_id) == ("src/main.py", None)
    own = place_of(world.context, f"{session.worktree_path}/a.txt")
    assert own is not None
    assert (own.path, own.session_id) == ("a.txt", session.id)
    for elsewhere in (top, f"{top}x/a", "/", f"{top}/.orchestrator/worktrees/nobody/a", f"{top}/.orchestrator/x"):
        assert place_of(world.context, elsewhere) is None, elsewhere


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ("@@ -1,3 +1,4 @@\n a\n+b\n c\n d\n", [((2, 1), (2, 2))]),
        ("@@ -1,3 +1,2 @@\n a\n-b\n c\n", [((2, 2), (2, 1))]),
        ("@@ -5,3 +7,3 @@\n a\n-b\n+B\n c\n", [((6, 6), (8, 8))]),
        ("@@ -1,4 +1,4 @@\n-a\n+A\n b\n c\n-d\n+D\n", [((1, 1), (1, 1)), ((4, 4), (4, 4))]),
        ("@@ -0,0 +1,2 @@\n+a\n+b\n\\ No newline at end of file\n", [((1, 0), (1, 2))]),
        ("@@ -1,2 +0,0 @@\n-a\n-b\n", [((1, 2), (1, 0))]),
        ("@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n@@ -9,2 +9,3 @@\n x\n+y\n z\n",
         [((1, 1), (1, 1)), ((10, 9), (10, 10))]),
        ("diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n--- x\n+++ y\n", [((1, 1), (1, 1))]),
        ("", []),
    ],
)  # fmt: skip
def test_a_patch_tells_the_lines_of_both_sides(patch: str, expected: list[Any]) -> None:
    found = [
        ((item.base.start_line, item.base.end_line), (item.session.start_line, item.session.end_line))
        for item in lines_of(patch)
    ]
    assert found == expected
