"""What any LSP client gets of orch: commands, approvals, notices, progress, code actions, symbols and pages."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from orch_server.domain.session import Action, State
from orch_server.services import sessions
from orch_server.store.records import SessionRecord
from tests.hub.peer import Peer
from tests.lsp import Failed
from tests.services.world import FILES, World
from tests.waiting import wait_until_async

Connect = Callable[..., Awaitable[Peer]]
MAIN = str(FILES["src/main.py"])
EVERYTHING = {
    "window": {"showDocument": {"support": True}, "workDoneProgress": True, "showMessage": {}},
    "workspace": {
        "applyEdit": True,
        "workspaceEdit": {"documentChanges": True},
        "codeLens": {"refreshSupport": True},
        "textDocumentContent": {},
    },
    "textDocument": {
        "codeAction": {"codeActionLiteralSupport": {"codeActionKind": {"valueSet": ["quickfix"]}}},
        "hover": {"contentFormat": ["markdown"]},
    },
}
SHOWN = {"window/showDocument": lambda _: {"success": True}}


async def _execute(peer: Peer, command: str, *arguments: Any) -> Any:
    return await peer.call("workspace/executeCommand", {"command": command, "arguments": list(arguments)})


async def _until(world: World, session_id: str, *states: State) -> SessionRecord:
    await wait_until_async(lambda: world.session(session_id).state in states, 60)
    return world.session(session_id)


# -- what is announced --------------------------------------------------------------------------------------------


async def test_a_client_is_offered_what_it_can_use(connect: Connect) -> None:
    bare, full, made_for_orch = await connect(), await connect(EVERYTHING), await connect(protocolVersion=1)
    assert bare.capabilities["textDocumentSync"] == {"openClose": True, "change": 2}
    assert bare.capabilities["codeActionProvider"] is True
    assert "textDocumentContent" not in bare.capabilities.get("workspace", {})
    assert full.capabilities["workspace"]["textDocumentContent"] == {"schemes": ["orch"]}
    assert full.capabilities["codeActionProvider"]["codeActionKinds"] == ["quickfix", "orch"]
    assert {"orch.send", "orch.do", "orch.respond", "orch.stop"} <= set(
        full.capabilities["executeCommandProvider"]["commands"]
    )
    for feature in ("executeCommandProvider", "codeActionProvider", "codeLensProvider"):
        assert feature not in made_for_orch.capabilities


# -- commands -----------------------------------------------------------------------------------------------------


async def test_a_session_is_led_by_commands_alone(world: World, connect: Connect) -> None:
    peer = await connect()
    session = await _execute(peer, "orch.send", {"agent": "demo", "action": "implement", "prompt": "[[approve go]]"})
    assert session["projectSlug"] == "project"
    await _until(world, session["id"], State.WAITING_FOR_USER)
    assert (await _execute(peer, "orch.respond", session["id"], "allow"))["id"] == session["id"]
    await _until(world, session["id"], State.COMPLETED)
    await _execute(peer, "orch.followUp", session["id"], "[[write new.txt one]] [[hang]]")
    await wait_until_async(lambda: Path(str(world.session(session["id"]).worktree_path), "new.txt").exists(), 60)
    assert (await _execute(peer, "orch.stop", session["id"]))["state"] == "stopped"
    found = await _execute(peer, "orch.diff", session["id"])
    assert [file["path"] for file in found["files"]] == ["new.txt"]
    opened = await _execute(peer, "orch.open", session["id"])
    assert Path(opened["path"]).read_text() == "one\n"
    assert opened["shown"] is False
    assert [item["id"] for item in (await _execute(peer, "orch.sessions"))["items"]] == [session["id"]]
    assert (await _execute(peer, "orch.archive", session["id"]))["state"] == "archived"
    assert peer.heard == []


async def test_plain_words_start_a_session_with_progress_under_the_clients_token(
    world: World, connect: Connect
) -> None:
    peer = await connect()
    started = await peer.call(
        "workspace/executeCommand",
        {"command": "orch.do", "arguments": ["ask demo to implement [[say hi]]"], "workDoneToken": "mine"},
    )
    await _until(world, started["session"]["id"], State.COMPLETED)
    await wait_until_async(lambda: [note["value"]["kind"] for note in peer.heard_of("$/progress")][-1:] == ["end"], 60)
    assert {note["token"] for note in peer.heard_of("$/progress")} == {"mine"}


WRONG: list[tuple[str, list[Any], str]] = [
    ("orch.nothing", [], "There is no command 'orch.nothing'"),
    ("orch.stop", [], "session: Field required"),
    ("orch.stop", ["a", "b"], "orch.stop takes 1 plain arguments"),
    ("orch.stop", [{"session": "nobody"}], "There is no session 'nobody'"),
    ("orch.send", [{"agent": "demo", "action": "implement", "wrong": 1}], "wrong: Extra inputs are not permitted"),
    ("orch.open", ["nobody"], "There is no session 'nobody'"),
    ("orch.transcript", [{"session": ""}], "There is no session ''"),
    ("orch.take", ["nobody", "orch:///x"], "uri must name a file"),
]


async def test_a_wrong_command_says_what_to_do(connect: Connect) -> None:
    peer = await connect()
    for command, arguments, said in WRONG:
        with pytest.raises(Failed) as failure:
            await _execute(peer, command, *arguments)
        assert said in str(failure.value)
        assert failure.value.data["kind"] in {"invalidParams", "notFound"}, command


async def test_no_command_opens_what_lies_outside_of_a_worktree(world: World, connect: Connect) -> None:
    session = await world.work("[[write a.txt x]]")
    peer = await connect()
    Path(str(session.worktree_path), "out").symlink_to("/etc")
    for path in ("/etc/passwd", "../../../README.md", "out/passwd"):
        with pytest.raises(Failed, match="is no file below"):
            await _execute(peer, "orch.open", session.id, path)


# -- showing ------------------------------------------------------------------------------------------------------


async def test_files_and_pages_are_shown_in_the_editor(world: World, connect: Connect) -> None:
    session = await world.work("[[write src/new.py x = 1]] [[say hello there]]")
    peer = await connect(EVERYTHING)
    peer.answers.update(SHOWN)
    await _execute(peer, "orch.open", session.id, "src/new.py", 1)
    shown = await peer.hears("window/showDocument")
    assert shown["uri"] == Path(str(session.worktree_path), "src/new.py").as_uri()
    assert shown["selection"]["start"] == {"line": 0, "character": 0}
    assert (await _execute(peer, "orch.transcript", session.id))["shown"] is True
    shown = await peer.hears("window/showDocument", 2)
    assert shown["uri"] == f"orch:///sessions/{session.id}/transcript.md"
    text = (await peer.call("workspace/textDocumentContent", {"uri": shown["uri"]}))["text"]
    assert "hello there" in text

    await sessions.follow_up(world.context, world.caller, session.id, "[[say and more]]")
    await peer.hears("workspace/textDocumentContent/refresh")
    await _until(world, session.id, State.COMPLETED)
    text = (await peer.call("workspace/textDocumentContent", {"uri": shown["uri"]}))["text"]
    assert "and more" in text


async def test_what_a_session_left_is_shown_in_the_editor(world: World, connect: Connect) -> None:
    session = await world.work("[[plan look; mend]] [[say done]]", Action.PLAN)
    peer = await connect(EVERYTHING)
    peer.answers.update(SHOWN)
    for item in (await _execute(peer, "orch.artifacts", session.id))["items"]:
        kept = await _execute(peer, "orch.artifact", item["id"])
        uri = (await peer.hears("window/showDocument", len(peer.heard_of("window/showDocument"))))["uri"]
        assert uri == Path(kept["artifact"]["path"]).as_uri()
        assert Path(kept["artifact"]["path"]).read_text() == kept["text"]
    assert "mend" in kept["text"]


async def test_a_client_that_cannot_read_pages_is_shown_files_that_grow(world: World, connect: Connect) -> None:
    session = await world.work("[[say hello there]]")
    peer = await connect({"window": {"showDocument": {"support": True}}})
    peer.answers.update(SHOWN)
    uri = (await _execute(peer, "orch.transcript", session.id))["uri"]
    file = Path(uri.removeprefix("file://"))
    assert "hello there" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    await sessions.follow_up(world.context, world.caller, session.id, "[[say and more]]")
    await wait_until_async(lambda: "and more" in file.read_text(), 60)
    assert peer.heard_of("workspace/textDocumentContent/refresh") == []


async def test_every_page_of_a_session_can_be_read(world: World, connect: Connect) -> None:
    session = await world.work("[[write src/main.py new]] [[stderr a warning]] [[say done]]")
    peer = await connect(EVERYTHING)

    async def read(page: str) -> str:
        answer = await peer.call("workspace/textDocumentContent", {"uri": f"orch:///{page}"})
        return str(answer["text"])

    assert session.id in await read("sessions.md")
    assert "completed (turn_ended)" in await read(f"sessions/{session.id}/session.md")
    assert "+new" in await read(f"sessions/{session.id}/changes.patch")
    assert "a warning" in await read(f"sessions/{session.id}/stderr.log")
    assert await read(f"sessions/{session.id}/collisions.patch") == "# Nothing collides with this session.\n"
    assert await read(f"sessions/{session.id}/base/src/main.py") == MAIN
    assert await read(f"sessions/{session.id}/base/data/%C3%A9.txt") == FILES["data/é.txt"]
    for wrong in (
        "",
        "sessions/",
        f"sessions/{session.id}/x",
        f"sessions/{session.id}/base/no",
        "sessions/0/session.md",  # no name of a session begins with a nought
    ):
        with pytest.raises(Failed) as failure:
            await read(wrong)
        assert failure.value.data["kind"] == "notFound", wrong


# -- approvals ----------------------------------------------------------------------------------------------------


async def test_an_approval_is_asked_and_answered(world: World, connect: Connect) -> None:
    peer = await connect(approvals=True)
    peer.answers["window/showMessageRequest"] = lambda params: params["actions"][0]
    session = await world.work("[[approve deploy it]] [[say $]]")
    asked = await peer.hears("window/showMessageRequest")
    assert [action["title"] for action in asked["actions"]] == [
        "Allow once", "Always allow", "Reject", "Show the session",
    ]  # fmt: skip
    assert "deploy it" in asked["message"]
    assert session.state == State.COMPLETED
    assert [event.type for event in await world.context.store.events(0, types=["input.answered"])] == ["input.answered"]


async def test_the_first_answer_wins_and_the_other_editor_is_told(world: World, connect: Connect) -> None:
    slow, bystander = await connect(approvals=True), await connect()
    slow.answers["window/showMessageRequest"] = None
    peer = await connect()
    session = await _execute(peer, "orch.send", "demo", "implement", "project", "[[approve one]] [[approve two]]")
    await slow.hears("window/showMessageRequest")
    (first,) = [message for message in slow.heard if message["method"] == "window/showMessageRequest"]
    await _execute(peer, "orch.respond", session["id"], "allow")
    assert (await slow.hears("$/cancelRequest"))["id"] == first["id"]
    slow.reply(first["id"], first["params"]["actions"][2])  # too late
    await slow.hears("window/showMessageRequest", 2)
    second = [message for message in slow.heard if message["method"] == "window/showMessageRequest"][1]
    assert "two" in second["params"]["message"]
    slow.reply(second["id"], second["params"]["actions"][0])
    await _until(world, session["id"], State.COMPLETED)
    assert [method["method"] for method in bystander.heard] == []
    said = (await _execute(peer, "orch.transcript", {"session": session["id"], "show": False}))["page"]
    assert said == f"/sessions/{session['id']}/transcript.md"


async def test_a_question_with_options_is_asked_and_one_without_leads_to_the_session(
    world: World, connect: Connect
) -> None:
    peer = await connect({"window": {"showDocument": {"support": True}}}, approvals=True)
    peer.answers["window/showMessageRequest"] = lambda params: params["actions"][1]
    session = await world.work("[[ask Which colour? | Red | Blue]]")
    assert (await peer.hears("window/showMessageRequest"))["actions"][1]["title"] == "Blue"
    assert session.state == State.COMPLETED

    peer.answers["window/showMessageRequest"] = lambda params: params["actions"][0]
    started = await _execute(peer, "orch.send", "demo", "implement", "project", "[[ask Which name?]]")
    asked = await peer.hears("window/showMessageRequest", 2)
    assert [action["title"] for action in asked["actions"]] == ["Show the session"]
    assert "session.md" in (await peer.hears("window/showDocument"))["uri"]
    await _execute(peer, "orch.followUp", started["id"], "Ada")
    await _until(world, started["id"], State.COMPLETED)


async def test_a_client_that_cannot_be_asked_is_told(world: World, connect: Connect) -> None:
    peer, other = await connect(approvals=True), await connect()
    peer.refuses.add("window/showMessageRequest")
    session = await _execute(other, "orch.send", "demo", "implement", "project", "[[approve go]]")
    told = await peer.hears("window/showMessage")
    assert f"`orch respond {session['id']}` answers it" in told["message"]
    await sessions.stop(world.context, session["id"])


async def test_what_was_asked_before_a_client_came_is_asked_when_it_comes(world: World, connect: Connect) -> None:
    early = await connect()
    session = await _execute(early, "orch.send", "demo", "implement", "project", "[[approve go]]")
    await _until(world, session["id"], State.WAITING_FOR_USER)
    late = await connect(approvals=True)
    late.answers["window/showMessageRequest"] = lambda params: params["actions"][2]
    await _until(world, session["id"], State.COMPLETED)
    assert len(late.heard_of("window/showMessageRequest")) == 1


# -- notices and progress -----------------------------------------------------------------------------------------


async def test_notices_tell_what_became_of_sessions(world: World, connect: Connect) -> None:
    peer = await connect(notices=True)
    await world.work("[[say done]]")
    told = await peer.hears("window/showMessage")
    assert told["type"] == 3
    assert told["message"].startswith("orch: demo in project completed:")
    await world.work("[[fail it broke]]")
    told = await peer.hears("window/showMessage", 2)
    assert told["type"] == 1
    assert "it broke" in told["message"]


async def test_a_session_at_work_is_progress_and_cancelling_it_stops_the_session(
    world: World, connect: Connect
) -> None:
    peer = await connect({"window": {"workDoneProgress": True}})
    session = await world.work("[[tool sharpen]] [[hang]]")
    token = f"orch-session-{session.id}"
    assert (await peer.hears("window/workDoneProgress/create"))["token"] == token
    begun = await peer.hears("$/progress")
    assert begun["token"] == token
    assert begun["value"]["kind"] == "begin"
    assert begun["value"]["cancellable"] is True
    peer.notify("window/workDoneProgress/cancel", {"token": token})
    await _until(world, session.id, State.STOPPED)
    await wait_until_async(lambda: peer.heard_of("$/progress")[-1]["value"]["kind"] == "end", 60)
    assert peer.heard_of("$/progress")[-1]["value"]["message"] == "stopped"


async def test_a_client_that_comes_later_sees_what_is_at_work(world: World, connect: Connect) -> None:
    session = await world.work("[[hang]]")
    peer = await connect({"window": {"workDoneProgress": True}})
    silent = await connect({"window": {"workDoneProgress": True}}, progress=False)
    assert (await peer.hears("$/progress"))["token"] == f"orch-session-{session.id}"
    peer.notify("window/workDoneProgress/cancel", {"token": "orch-session-other"})
    await sessions.stop(world.context, session.id)
    await wait_until_async(lambda: peer.heard_of("$/progress")[-1]["value"]["kind"] == "end", 60)
    assert silent.heard == []


# -- code actions -------------------------------------------------------------------------------------------------


def _range(first: int, last: int) -> dict[str, Any]:
    return {"start": {"line": first, "character": 0}, "end": {"line": last, "character": 3}}


async def _actions(peer: Peer, uri: str, lines: dict[str, Any], *problems: dict[str, Any]) -> dict[str, Any]:
    found = await peer.call(
        "textDocument/codeAction",
        {"textDocument": {"uri": uri}, "range": lines, "context": {"diagnostics": list(problems)}},
    )
    return {action["title"]: action for action in found}


async def test_a_diagnostic_is_sent_to_an_agent_with_the_lines_as_they_are(world: World, connect: Connect) -> None:
    peer = await connect(EVERYTHING)
    uri = peer.open(f"{world.scratch.path}/src/main.py", "import ós\nprint(ós)\n")
    problem = {"range": _range(0, 0), "severity": 1, "source": "lint", "code": "E1", "message": "no module ós"}
    offered = await _actions(peer, uri, _range(0, 1), problem)
    fix = offered["Ask demo to fix this in a new session"]
    assert fix["kind"] == "quickfix"
    assert fix["diagnostics"] == [problem]
    started = await _execute(peer, fix["command"]["command"], *fix["command"]["arguments"])
    prompt = world.session(started["id"]).prompt
    for words in (
        "`src/main.py`, lines 1 to 2",
        "line 1, error (lint E1): no module ós",
        "```text\nimport ós\nprint(ós)",
    ):
        assert words in prompt
    await _until(world, started["id"], State.COMPLETED)
    assert world.session(started["id"]).action == Action.IMPLEMENT

    explain = (await _actions(peer, uri, _range(1, 1)))["Explain this (demo)"]
    started = await _execute(peer, explain["command"]["command"], *explain["command"]["arguments"])
    session = await _until(world, started["id"], State.COMPLETED)
    assert (session.action, session.scope_path) == (Action.ANALYZE, "src/main.py")


async def test_a_selection_goes_to_a_session_that_is_at_work(world: World, connect: Connect) -> None:
    session = await world.work("[[append src/main.py print('bye')]]")
    peer = await connect(EVERYTHING)
    uri = peer.open(f"{world.scratch.path}/src/main.py", MAIN)
    send = next(
        action for title, action in (await _actions(peer, uri, _range(0, 1))).items() if title.startswith("Send this")
    )
    await _execute(peer, send["command"]["command"], *send["command"]["arguments"])
    await wait_until_async(lambda: world.session(session.id).turns == 2, 60)
    told = await world.context.store.events(0, types=["turn.started"])
    assert b"Look at this: `src/main.py`, lines 1 to 2" in told[-1].json


async def test_no_action_where_there_is_no_project_and_bare_commands_for_a_bare_client(
    world: World, connect: Connect, tmp_path: Path
) -> None:
    peer = await connect()
    uri = peer.open(str(tmp_path / "elsewhere.txt"), "a\n")
    assert await _actions(peer, uri, _range(0, 0)) == {}
    uri = peer.open(f"{world.scratch.path}/src/main.py", MAIN)
    assert (await _actions(peer, uri, _range(0, 0)))["Explain this (demo)"]["command"] == "orch.send"


# -- taking changes into a buffer ---------------------------------------------------------------------------------


async def test_a_sessions_change_is_taken_into_the_users_own_buffer(world: World, connect: Connect) -> None:
    session = await world.work("[[append src/main.py print('bye')]]")
    place = {"line": 21, "character": 0}
    expected = [{"range": {"start": place, "end": place}, "newText": "print('bye')\n"}]
    for versioned in (False, True):
        edits = {"documentChanges": True} if versioned else {}
        peer = await connect({"workspace": {"applyEdit": True, "workspaceEdit": edits}})
        peer.answers["workspace/applyEdit"] = lambda _: {"applied": True}
        uri = peer.open(f"{world.scratch.path}/src/main.py", "# mine\n" + MAIN, version=7)
        assert await _execute(peer, "orch.take", session.id, uri) == {"applied": True, "edits": 1}
        edit = (await peer.hears("workspace/applyEdit"))["edit"]
        if versioned:
            assert edit["documentChanges"] == [{"textDocument": {"uri": uri, "version": 7}, "edits": expected}]
        else:
            assert edit["changes"] == {uri: expected}

    peer.notify(
        "textDocument/didChange",
        {
            "textDocument": {"uri": uri, "version": 8},
            "contentChanges": [{"range": {"start": place, "end": place}, "text": "print('later')\n"}],
        },
    )
    with pytest.raises(Failed, match=r"changed the same lines of src/main\.py"):
        await _execute(peer, "orch.take", session.id, uri)


# -- symbols ------------------------------------------------------------------------------------------------------


async def test_sessions_are_found_as_symbols(world: World, connect: Connect) -> None:
    first, second = await world.work("[[say apples]]"), await world.work("[[say pears]]")
    full, bare = await connect(EVERYTHING), await connect()
    found = await full.call("workspace/symbol", {"query": "DEMO apples"})
    assert [symbol["location"]["uri"] for symbol in found] == [f"orch:///sessions/{first.id}/session.md"]
    found = await bare.call("workspace/symbol", {"query": ""})
    assert [symbol["name"] for symbol in found] == [second.title, first.title]
    page = Path(found[0]["location"]["uri"].removeprefix("file://"))
    assert second.id in page.read_text()
