"""The matrix: what every agent must do, through a hub, with the real programs.

Its rows are the functions below; a cell is one of them with one program, in a sandbox of its own:
`python -m tests.agents_real.matrix PROGRAM ROW DIRECTORY`. Where a program cannot do what a row asks, its cell is
another function, in which the program itself shows that; what it returns says how, for docs/agents.md. A remark that a
passing cell returns goes there as well. Both are the same in every run.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.agents_real.driver import Place
from tests.agents_real.scene import MARK, Scene
from tests.agents_real.surroundings import REALS
from tests.fakes.scripted_model import ScriptedModel
from tests.world import digest_of

Row = Callable[[Scene], Awaitable[str | None]]


async def implement(scene: Scene) -> None:
    """It works in a worktree of its own: the edit is there, the checkout as before, and its usage is told."""
    before = digest_of(scene.project.path)
    session_id = await scene.start("[[write hello.txt hello world]]")
    session = await scene.completed(session_id)
    worktree = Path(session["worktreePath"])
    assert (worktree / "hello.txt").read_text() == "hello world\n"
    assert digest_of(scene.project.path) == before
    assert (session["turns"], session["queued"], session["inputRequests"]) == (1, [], [])
    assert session["usage"]["inputTokens"] == session["usage"]["outputTokens"] * 5 > 0
    assert "write finished" in await scene.said(session_id)
    tools = await scene.events(session_id, "agent.tool_started")
    assert [tool["data"]["kind"] for tool in tools] == ["edit"]
    models = {request["model"] for request in scene.model.requests if request["tools"]}
    assert models == {scene.real.model.rpartition("/")[2]}
    changed = await scene.until(session_id, lambda session: session["changes"])
    assert changed["changes"] == {"files": 1, "insertions": 1, "deletions": 0}


async def analyze(scene: Scene) -> None:
    """Told to write in every way, with a policy that allows all, it changes nothing in the project."""
    before = digest_of(scene.project.path)
    session_id = await scene.start(
        f"[[write {scene.project.path}/hello.txt hello]]", action="analyze", policy="auto_all"
    )
    await scene.ended(session_id)
    for text in ("[[bash touch hello.txt]]", "[[bash echo more >> README.md]]"):
        await scene.follow_up(session_id, text)
        await scene.ended(session_id)
    await scene.follow_up(session_id, "[[say nothing was changed]]")
    session = await scene.completed(session_id)
    assert (await scene.said(session_id)).endswith("nothing was changed")
    assert digest_of(scene.project.path) == before
    assert session["attention"] == []
    assert await scene.events(session_id, "project.changed_read_only") == []


async def approval_allowed(scene: Scene) -> None:
    """It asks before it runs a command, and runs it once that is allowed."""
    command = "python3 -c 'print(6 * 7)' | tee answer.txt"
    session_id = await scene.start(f"[[bash {command}]]", policy="ask")
    asked = await scene.asked(session_id)
    assert asked["kind"] == "approval"
    assert command in f"{asked['title']}\n{asked['detail']}"
    worktree = Path((await scene.session(session_id))["worktreePath"])
    assert not (worktree / "answer.txt").exists()
    await scene.choose(session_id, "allow_once")
    await scene.completed(session_id)
    assert (worktree / "answer.txt").read_text() == "42\n"


async def approval_denied(scene: Scene) -> None:
    """It asks, is denied, does not do it, and takes the next text."""
    session_id = await scene.start("[[bash touch denied.txt]]", policy="ask")
    await scene.choose(session_id, "reject_once")
    session = await scene.ended(session_id)
    assert session["reason"] in {"turn_ended", "refused"}
    assert not (Path(session["worktreePath"]) / "denied.txt").exists()
    [finished] = await scene.events(session_id, "agent.tool_finished")
    assert not finished["data"]["ok"]
    await scene.follow_up(session_id, "[[say still here]]")
    await scene.completed(session_id)
    assert (await scene.said(session_id)).endswith("still here")


async def question_answered(scene: Scene) -> None:
    """It asks the user a question and gets the answer."""
    await _question(scene, "implement")


async def question_while_planning(scene: Scene) -> str:
    """Ask the user in the only mode in which it may; elsewhere its own tool refuses."""
    refused = await scene.start("[[ask]]")
    await scene.completed(refused)
    evidence = (await scene.said(refused)).partition("Tool said: ")[2]
    await _question(scene, "plan")
    return f"while planning; elsewhere its tool says: {evidence}"


async def _question(scene: Scene, action: str) -> None:
    session_id = await scene.start("[[ask]]", action=action)
    asked = await scene.asked(session_id)
    assert asked["kind"] == "question"
    [question] = asked["questions"]
    assert "Which colour?" in {question["text"], asked["title"]}
    assert [option["label"] for option in question["options"]] == ["Red", "Blue"]
    chosen = {"questionId": question["id"], "optionIds": [question["options"][1]["id"]]}
    await scene.call("orch/session/respond", session=session_id, inputRequestId=asked["id"], answers=[chosen])
    await scene.completed(session_id)
    assert "Blue" in await scene.said(session_id)


async def question_without_a_tool(scene: Scene) -> str:
    """Show that it has no tool with which it could ask the user."""
    assert not scene.real.adapter.capabilities.questions
    for action in ("implement", "plan"):
        session_id = await scene.start("[[ask]]", action=action)
        await scene.completed(session_id)
        assert "NO TOOL FOR ask." in await scene.said(session_id)
    print("offered:", sorted({tool for request in scene.model.requests for tool in request["tools"]}))
    return "told to ask the user, the model finds no tool for that among those that it is offered"


async def follow_up_queued(scene: Scene) -> None:
    """A text that comes while it works is kept, shown, and is the next turn."""
    session_id, go = await _waiting_command(scene)
    session = await scene.follow_up(session_id, "[[say and now the second]]")
    assert [(item["text"], item["status"]) for item in session["queued"]] == [("[[say and now the second]]", "queued")]
    go.touch()
    session = await scene.until(session_id, lambda session: session["turns"] == 2 and session["state"] == "completed")
    assert session["queued"] == []
    turns = [event["data"]["prompt"] for event in await scene.events(session_id, "turn.started")]
    assert turns[1] == "[[say and now the second]]"
    assert (await scene.said(session_id)).endswith("and now the second")


async def follow_up_steered(scene: Scene) -> None:
    """A text that comes while it works reaches the running turn."""
    session_id, go = await _waiting_command(scene)
    session = await scene.follow_up(session_id, "[[write steered.txt yes]]", mode="steer")
    assert session["queued"][0]["status"] == "sent"
    go.touch()
    session = await scene.completed(session_id)
    assert (session["turns"], session["queued"]) == (1, [])
    assert (Path(session["worktreePath"]) / "steered.txt").read_text() == "yes\n"
    assert len(await scene.events(session_id, "followup.delivered")) == 1


async def follow_up_cancels(scene: Scene) -> str:
    """Show what a second prompt does to the first, and that orch holds it back."""
    await _held_back(scene)
    first, second = await _two_prompts(scene)
    assert (first, second) == ("cancelled", "end_turn")
    return f"a second `session/prompt` ends the first with the stop reason `{first}`"


async def _held_back(scene: Scene) -> None:
    assert scene.real.adapter.capabilities.follow_up == "queue"
    session_id, go = await _waiting_command(scene)
    session = await scene.follow_up(session_id, "[[say and now the second]]", mode="steer")
    assert session["queued"][0]["status"] == "queued"
    go.touch()
    session = await scene.until(session_id, lambda session: session["turns"] == 2 and session["state"] == "completed")
    assert (await scene.said(session_id)).endswith("and now the second")


async def stop_while_a_command_runs(scene: Scene) -> None:
    """Stopped in the middle of a shell command, it is gone with all that it started when the reply comes."""
    session_id, _ = await _waiting_command(scene)
    session = await scene.stop(session_id)
    assert (session["state"], session["reason"]) == ("stopped", "user_stopped")
    await scene.nothing_runs(session_id)


async def resume_after_stop(scene: Scene) -> None:
    """Stopped and resumed in another process, it recalls the conversation."""
    await _resumed(scene)


async def resume_once(scene: Scene) -> str:
    """Resume it, and show that it can do so only once; then orch offers to begin anew."""
    session_id = await _resumed(scene)
    await scene.stop(session_id)
    scene.some_minutes_pass()
    await scene.resume(session_id, "[[recall]]")
    session = await scene.ended(session_id)
    assert (session["state"], session["reason"]) == ("failed", "agent_error")
    assert "Gemini CLI could not resume its conversation" in session["message"]
    assert f"orch resume {session_id} --anew" in session["message"]
    return "once in a conversation, and not within the minute in which it began; then orch offers to begin anew"


async def _resumed(scene: Scene) -> str:
    session_id = await scene.start("[[say remember me]]")
    await scene.completed(session_id)
    await scene.follow_up(session_id, "[[hang]]")
    await scene.model_was_asked("Hang")
    session = await scene.stop(session_id)
    assert (session["state"], session["reason"]) == ("stopped", "user_stopped")
    await scene.nothing_runs(session_id)
    scene.some_minutes_pass()
    await scene.resume(session_id, "[[recall]]")
    resumed = await scene.completed(session_id)
    said = await scene.said(session_id)
    assert said.startswith("remember me")
    assert "say remember me" in said
    assert said.count("RECALL") == 1
    assert resumed["usage"]["inputTokens"] == 200  # of two answers; what earlier runs used is counted once
    assert resumed["agentSessionId"] == session["agentSessionId"] is not None
    assert len(await scene.events(session_id, "run.started")) == 2
    return session_id


async def adopted(scene: Scene) -> None:
    """The hub is killed in the middle of a turn, and the turn ends as if nothing had happened."""
    session_id, go = await _waiting_command(scene)
    before = await scene.session(session_id)
    await scene.kill_hub()
    go.touch()
    await scene.appears(Path(before["worktreePath"]) / "finished")
    await scene.open()
    session = await scene.completed(session_id)
    assert session["turns"] == 1
    assert (await scene.said(session_id)).count("bash finished") == 1
    assert len(await scene.events(session_id, "turn.completed")) == 1
    assert await scene.events(session_id, "run.adopted")
    await scene.follow_up(session_id, "[[say still here]]")
    await scene.completed(session_id)


async def api_error_401(scene: Scene) -> None:
    """The model answers 401: it failed, for want of a login."""
    await _fails(scene, 401, "not_logged_in")


async def api_error_500(scene: Scene) -> None:
    """The model answers 500: it failed, by an error of the API."""
    await _fails(scene, 500, "api_error")


async def _fails(scene: Scene, status: int, reason: str) -> None:
    session_id = await scene.start(f"[[error {status}]]")
    session = await scene.ended(session_id)
    assert (session["state"], session["reason"]) == ("failed", reason), session
    assert session["message"]
    [failed] = await scene.events(session_id, "turn.failed")
    assert failed["data"]["reason"] == reason
    assert "orch resume" in session["message"]


async def api_error_500_without_end(scene: Scene) -> str:
    """Show that it asks the model again and again without a word; a stop ends it."""
    session_id = await scene.start("[[error 500]]")
    await scene.model_was_asked("Fail(status=500", times=3)
    session = await scene.session(session_id)
    assert session["state"] == "running"
    words = [*await scene.events(session_id, "agent.message"), *await scene.events(session_id, "turn.failed")]
    assert words == []
    session = await scene.stop(session_id)
    assert (session["state"], session["reason"]) == ("stopped", "user_stopped")
    return "after three answers 500 it is still asking the model again, and has not said a word"


async def killed(scene: Scene) -> None:
    """Its process is SIGKILLed: it failed, that is told, nothing of it is left, and it recalls all when resumed."""
    session_id = await scene.start("[[say remember me]]")
    await scene.completed(session_id)
    await scene.follow_up(session_id, "[[hang]]")
    await scene.model_was_asked("Hang")
    session = await scene.session(session_id)
    os.kill(session["pid"], signal.SIGKILL)
    session = await scene.ended(session_id)
    assert (session["state"], session["reason"]) == ("failed", "killed"), session
    assert "orch resume" in session["message"]
    await scene.until(session_id, lambda session: session["pid"] is None)
    await scene.nothing_runs(session_id)
    scene.some_minutes_pass()
    await scene.resume(session_id, "[[recall]]")
    await scene.completed(session_id)
    assert "say remember me" in await scene.said(session_id)


async def silence(scene: Scene) -> None:
    """It says nothing for a while: that is shown, and ends the run only where the user set a limit."""
    session_id = await scene.start("[[say ready]]")
    await scene.completed(session_id)
    await _limit(scene, "silent_seconds = 1")
    await scene.follow_up(session_id, "[[hang]]")
    session = await scene.until(session_id, lambda session: session["attention"])
    assert (session["state"], session["attention"]) == ("running", ["silent"])
    await _limit(scene, "silent_stop_seconds = 2")
    session = await scene.ended(session_id)
    assert (session["state"], session["reason"], session["attention"]) == ("failed", "silent_limit", [])
    await scene.nothing_runs(session_id)


async def _limit(scene: Scene, setting: str) -> None:
    """Have another hub take over, with a limit that the user set."""
    scene.home.configure(f"[limits]\n{setting}\n")
    await scene.kill_hub()
    await scene.open()


# Parts of rows.

_UNTIL_GO = """import os, time
open("started", "w").close()
while not os.path.exists("go"): time.sleep(0.05)
open("finished", "w").close()"""


async def _waiting_command(scene: Scene) -> tuple[str, Path]:
    """Start a session whose shell command runs until a file is there; return the session and that file."""
    session_id = await scene.start(f"[[bash python3 -c '{_UNTIL_GO}' {MARK}]]", policy="auto_all")
    session = await scene.until(session_id, lambda session: session["worktreePath"])
    worktree = Path(session["worktreePath"])
    await scene.appears(worktree / "started")
    return session_id, worktree / "go"


async def _two_prompts(scene: Scene) -> tuple[str, str]:
    """Without a hub, send a second prompt while the first is worked on; return with which reasons they stop."""
    directory = scene.home.root / "alone"
    directory.mkdir()
    place = Place(scene.real, directory, scene.model)
    asked = len(scene.model.requests)
    async with place.run() as run:
        run.prompt("[[hang]]")
        await run.until(lambda: any(one["step"].startswith("Hang") for one in scene.model.requests[asked:]))
        return await run.second_prompt("[[say the second]]")


ROWS: tuple[Row, ...] = (
    implement,
    analyze,
    approval_allowed,
    approval_denied,
    question_answered,
    follow_up_queued,
    follow_up_steered,
    stop_while_a_command_runs,
    resume_after_stop,
    adopted,
    api_error_401,
    api_error_500,
    killed,
    silence,
)
OTHERWISE: dict[tuple[str, Row], Row] = {
    ("codex", question_answered): question_while_planning,
    ("gemini", resume_after_stop): resume_once,
}
"""Cells in which a program does what the row asks in a way of its own."""
CANNOT: dict[tuple[str, Row], Row] = {
    ("copilot", question_answered): question_without_a_tool,
    ("gemini", question_answered): question_without_a_tool,
    ("opencode", question_answered): question_without_a_tool,
    ("copilot", follow_up_steered): follow_up_cancels,
    ("gemini", follow_up_steered): follow_up_cancels,
    ("gemini", api_error_500): api_error_500_without_end,
    ("opencode", api_error_500): api_error_500_without_end,
}
"""Cells in which a program shows that it cannot do what the row asks."""
CELLS = [(program, row.__name__) for row in ROWS for program in REALS]


async def play(program: str, row_name: str, directory: Path) -> dict[str, Any]:
    """Run a cell; return whether it passed, and what is to be said about it."""
    row = next(row for row in ROWS if row.__name__ == row_name)
    cannot = CANNOT.get((program, row))
    with ScriptedModel() as model:
        scene = Scene(program, directory, model)
        try:
            await scene.open()
            remark = await (cannot or OTHERWISE.get((program, row)) or row)(scene)
            for session in (await scene.call("orch/session/list"))["items"]:
                await scene.check_record(session["id"])
        except BaseException:
            scene.tell()
            raise
        finally:
            await scene.close()
    return {"passed": cannot is None, "remark": remark}


def main() -> None:
    """Run a cell; inside the sandbox. Prints what came of it as JSON, in the last line."""
    program, row, directory = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    directory.mkdir()
    print(json.dumps(asyncio.run(play(program, row, directory))))


if __name__ == "__main__":
    main()
