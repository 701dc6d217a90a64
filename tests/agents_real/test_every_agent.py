"""The real agent programs through their adapters: a table of programs and of what each must do.

A cell runs in a sandbox of its own, as `python -m tests.agents_real.test_every_agent PROGRAM ROW DIRECTORY`.
Where a program cannot do what a row says, its cell is another scenario, in which the program itself shows that.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from orch_server.agents.adapter import Answer, Asked, PromptAccepted, Subject, TurnEnded, UsageSeen
from orch_server.agents.codex import CodexAdapter
from orch_server.agents.copilot import CopilotAdapter
from orch_server.agents.gemini import GeminiAdapter
from orch_server.agents.opencode import OpenCodeAdapter
from orch_server.domain.events import AgentLog, AgentToolFinished, AgentToolStarted
from orch_server.domain.session import Action, InputRequestKind, Policy, QuestionAnswer, Reason
from tests.agents_real import programs
from tests.agents_real.driver import Place, Real, Run
from tests.fakes import hermetic
from tests.fakes.scripted_model import ScriptedModel

Scenario = Callable[[Place], Awaitable[None]]


# What the programs want to find.


def codex_at_home(home: Path, url: str) -> dict[str, str]:
    """Name the scripted model in a config of Codex."""
    directory = home / ".codex"
    directory.mkdir(parents=True, exist_ok=True)
    config = [
        'model_provider = "local"',
        "check_for_update_on_startup = false",
        "[analytics]",
        "enabled = false",
        "[model_providers.local]",
        'name = "local"',
        f'base_url = "{url}/v1"',
        'wire_api = "responses"',
        'env_key = "LOCAL_KEY"',
        "request_max_retries = 0",
        "stream_max_retries = 0",
    ]
    (directory / "config.toml").write_text("\n".join(config) + "\n")
    return {"CODEX_HOME": str(directory), "LOCAL_KEY": "sk-test"}


def copilot_at_home(home: Path, url: str) -> dict[str, str]:
    """Name the scripted model in variables of Copilot."""
    return {
        "COPILOT_OFFLINE": "true",
        "COPILOT_PROVIDER_BASE_URL": f"{url}/v1",
        "COPILOT_PROVIDER_API_KEY": "sk-test",
        "COPILOT_HOME": str(home / ".copilot"),
    }


def gemini_at_home(home: Path, url: str) -> dict[str, str]:
    """Choose the login by key in the settings of Gemini."""
    directory = home / ".gemini"
    directory.mkdir(parents=True, exist_ok=True)
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "telemetry": {"enabled": False},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"disableAutoUpdate": True, "enableAutoUpdate": False},
    }
    (directory / "settings.json").write_text(json.dumps(settings))
    return {"GEMINI_API_KEY": "sk-test", "GOOGLE_GEMINI_BASE_URL": url}


def gemini_minutes_later(home: Path) -> None:
    """Let the saved conversations carry another minute in their names.

    Within the minute in which it began, a conversation that is resumed is lost: Gemini begins to save it under the
    same name before it reads it.
    """
    for day, path in enumerate(sorted(home.glob(".gemini/tmp/*/chats/session-*")), 1):
        path.rename(path.with_name(f"session-2020-01-{day:02d}T00-00-{path.name.rpartition('-')[2]}"))


def opencode_at_home(home: Path, url: str) -> dict[str, str]:
    """Name the scripted model in a config of OpenCode."""
    model = {"name": "scripted-1", "limit": {"context": 100_000, "output": 10_000}}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "local",
        "options": {"baseURL": f"{url}/v1", "apiKey": "sk-test"},
        "models": {"scripted-1": model},
    }
    config = {
        "provider": {"local": provider},
        "model": "local/scripted-1",
        "autoupdate": False,
        "share": "disabled",
    }
    return {
        "OPENCODE_CONFIG_CONTENT": json.dumps(config),
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    }


REALS = {
    "codex": Real(CodexAdapter(), "gpt-5.5", codex_at_home),
    "copilot": Real(CopilotAdapter(), "scripted-1", copilot_at_home),
    "gemini": Real(GeminiAdapter(), "gemini-2.5-flash", gemini_at_home, gemini_minutes_later),
    "opencode": Real(OpenCodeAdapter(), "local/scripted-1", opencode_at_home),
}


# What every program must do.


async def edits_and_commands_are_asked_for(place: Place) -> None:
    async with place.run() as run:
        await an_allowed_edit_is_done(place, run)
        await a_denied_edit_is_not_done(place, run)
        await an_allowed_command_is_run(place, run)
        await a_denied_command_is_not_run(place, run)
    assert not [log for log in run.all_of(AgentLog) if log.stream != "stderr"]


async def an_allowed_edit_is_done(place: Place, run: Run) -> None:
    target = place.directory / "hello.txt"
    prompt_id = run.prompt(f"[[write {target} hello world]]")
    asked = await run.wait_for(Asked)
    assert asked.request.kind == InputRequestKind.APPROVAL
    assert asked.subject == Subject("edit", (str(target),))
    assert "hello world" in asked.request.detail
    assert not target.exists()
    run.choose(asked, "allow_once")
    ended = await run.wait_for(TurnEnded)
    assert ended.reason is None
    assert "write finished" in ended.text
    assert target.read_text() == "hello world\n"
    assert run.all_of(PromptAccepted) == [PromptAccepted(prompt_id)]
    assert [(tool.kind, tool.paths) for tool in run.all_of(AgentToolStarted)] == [("edit", [str(target)])]
    assert [tool.ok for tool in run.all_of(AgentToolFinished)] == [True]
    assert run.said.endswith(ended.text)


async def a_denied_edit_is_not_done(place: Place, run: Run) -> None:
    run.prompt(f"[[write {place.directory}/denied.txt hello]]")
    run.choose(await run.wait_for(Asked), "reject_once")
    assert (await run.wait_for(TurnEnded)).reason in {None, Reason.REFUSED}
    assert not (place.directory / "denied.txt").exists()
    assert not run.all_of(AgentToolFinished)[-1].ok


async def an_allowed_command_is_run(place: Place, run: Run) -> None:
    command = f"python3 -c 'print(6 * 7)' | tee {place.directory}/answer.txt"
    run.prompt(f"[[bash {command}]]")
    asked = await run.wait_for(Asked)
    assert asked.subject.effect == "execute"
    assert command in f"{asked.request.title}\n{asked.request.detail}"
    run.choose(asked, "allow_once")
    assert (await run.wait_for(TurnEnded)).reason is None
    assert (place.directory / "answer.txt").read_text() == "42\n"


async def a_denied_command_is_not_run(place: Place, run: Run) -> None:
    run.prompt("[[bash touch denied.txt]]")
    run.choose(await run.wait_for(Asked), "reject_once")
    assert (await run.wait_for(TurnEnded)).reason in {None, Reason.REFUSED}
    assert not (place.directory / "denied.txt").exists()


async def a_question_is_answered(place: Place) -> None:
    async with place.run(action=Action.PLAN, policy=Policy.DENY) as run:
        run.prompt("[[ask]]")
        asked = await run.wait_for(Asked)
        [question] = asked.request.questions
        assert "Which colour?" in {question.text, asked.request.title}
        assert [option.label for option in question.options] == ["Red", "Blue"]
        run.answer(
            asked, Answer(answers=[QuestionAnswer(question_id=question.id, option_ids=[question.options[1].id])])
        )
        ended = await run.wait_for(TurnEnded)
    assert ended.reason is None
    assert "Blue" in ended.text


async def a_second_text_is_not_lost(place: Place) -> None:
    async with place.run(policy=Policy.AUTO_ALL) as run:
        first = run.prompt("[[slow 10]]")
        await run.wait_for(PromptAccepted)
        second = run.prompt("[[say and now the second]]")
        while place_of(run.all_of(PromptAccepted), second) is None:
            await run.wait_for(PromptAccepted)
        while run.dialogue.busy:
            ended = await run.end_of_turn()
            assert ended.reason is None
    assert [accepted.prompt_id for accepted in run.all_of(PromptAccepted)] == [first, second]
    assert ended.text.endswith("and now the second")


async def an_interrupt_ends_the_turn(place: Place) -> None:
    async with place.run() as run:
        run.prompt("[[hang]]")
        await run.until(lambda: requests(place, "Hang"))
        run.interrupt()
        assert (await run.wait_for(TurnEnded)).reason == Reason.USER_STOPPED
        run.prompt(f"[[write {place.directory}/hello.txt hello]]")
        await run.wait_for(Asked)
        run.interrupt()
        assert (await run.wait_for(TurnEnded)).reason == Reason.USER_STOPPED
        assert (await run.turn("[[say still here]]")).text.endswith("still here")
    assert not (place.directory / "hello.txt").exists()


async def a_conversation_goes_on_in_other_runs(place: Place) -> None:
    conversation = await a_conversation_in_two_runs(place)
    async with place.run(conversation_id=conversation) as run:
        assert "say remember me" in (await run.turn("[[recall]]")).text


async def a_conversation_in_two_runs(place: Place) -> str:
    """Begin a conversation, go on with it in another run, kill that one, and return the conversation's name."""
    async with place.run() as run:
        await run.turn("[[say remember me]]")
    place.wait_some_minutes()
    async with place.run(conversation_id=run.conversation) as resumed:
        ended = await resumed.turn("[[recall]]")
        assert "say remember me" in ended.text
        assert resumed.conversation == run.conversation
        assert resumed.said == ended.text  # the past is not told again
        assert resumed.all_of(UsageSeen)[-1].usage.input_tokens <= 100
        resumed.prompt("[[hang]]")
        await resumed.until(lambda: requests(place, "Hang"))
        os.killpg(resumed.process.pid, signal.SIGKILL)
        await resumed.gone()
    assert resumed.all_of(TurnEnded)[-1].reason == Reason.KILLED
    place.wait_some_minutes()
    return run.conversation


async def a_conversation_that_is_not_there_is_told(place: Place) -> None:
    async with place.run(conversation_id="01a00000-ad70-7373-a6ae-5859219dd3ad") as run:
        ended = await run.turn("[[recall]]")
    assert ended.reason == Reason.AGENT_ERROR
    assert "resume" in ended.text


async def analyze_cannot_write(place: Place) -> None:
    await cannot_write(place, Action.ANALYZE)


async def plan_cannot_write(place: Place) -> None:
    await cannot_write(place, Action.PLAN)


async def errors_of_the_model_are_told_apart(place: Place) -> None:
    async with place.run() as run:
        for status, reason in ((401, Reason.NOT_LOGGED_IN), (500, Reason.API_ERROR)):
            ended = await run.turn(f"[[error {status}]]")
            assert ended.reason == reason
            assert ended.text


# What some cannot do, and how they show it.


async def it_has_no_tool_to_ask(place: Place) -> None:
    assert not place.real.adapter.capabilities.questions
    for action in (Action.IMPLEMENT, Action.PLAN):
        async with place.run(action=action, policy=Policy.DENY) as run:
            assert (await run.turn("[[ask]]")).text.startswith("NO TOOL FOR ask.")


async def it_goes_on_once(place: Place) -> None:
    conversation = await a_conversation_in_two_runs(place)
    async with place.run(conversation_id=conversation) as run:
        ended = await run.turn("[[recall]]")
    assert ended.reason == Reason.AGENT_ERROR
    assert "could not resume" in ended.text


async def it_tries_again_without_a_word(place: Place) -> None:
    async with place.run() as run:
        assert (await run.turn("[[error 401]]")).reason == Reason.NOT_LOGGED_IN
        run.prompt("[[error 500]]")
        await run.until(lambda: len(requests(place, "Fail(status=500")) > 1)
        assert len(run.all_of(TurnEnded)) == 1
        run.interrupt()
        assert (await run.wait_for(TurnEnded)).reason == Reason.USER_STOPPED


async def cannot_write(place: Place, action: Action) -> None:
    """Ask in every way for a file to be written, with a policy that allows whatever may be allowed."""
    async with place.run(action=action, policy=Policy.AUTO_ALL) as run:
        for text in (
            f"[[write {place.directory}/hello.txt hello]]",
            "[[bash touch hello.txt]]",
            "[[bash echo hello > hello.txt]]",
        ):
            await run.turn(text)
        assert (await run.turn("[[say done]]")).reason is None
    assert not list(place.directory.iterdir())


def requests(place: Place, step: str) -> list[dict[str, Any]]:
    """What was asked of the model and answered so."""
    return [request for request in place.model.requests if request["step"].startswith(step)]


def place_of(accepted: list[PromptAccepted], prompt_id: str) -> int | None:
    """Where a text is among those that were accepted."""
    return next((index for index, one in enumerate(accepted) if one.prompt_id == prompt_id), None)


ROWS: tuple[Scenario, ...] = (
    edits_and_commands_are_asked_for,
    a_question_is_answered,
    a_second_text_is_not_lost,
    an_interrupt_ends_the_turn,
    a_conversation_goes_on_in_other_runs,
    a_conversation_that_is_not_there_is_told,
    analyze_cannot_write,
    plan_cannot_write,
    errors_of_the_model_are_told_apart,
)
INSTEAD: dict[tuple[str, str], Scenario] = {
    ("copilot", a_question_is_answered.__name__): it_has_no_tool_to_ask,
    ("gemini", a_question_is_answered.__name__): it_has_no_tool_to_ask,
    ("opencode", a_question_is_answered.__name__): it_has_no_tool_to_ask,
    ("gemini", a_conversation_goes_on_in_other_runs.__name__): it_goes_on_once,
    ("gemini", errors_of_the_model_are_told_apart.__name__): it_tries_again_without_a_word,
    ("opencode", errors_of_the_model_are_told_apart.__name__): it_tries_again_without_a_word,
}
"""Cells in which a program shows that it cannot do what the row says."""
CELLS = [(program, row.__name__) for program in REALS for row in ROWS]


@pytest.mark.agents
@pytest.mark.skipif(hermetic.why_not() is not None, reason=str(hermetic.why_not()))
@pytest.mark.parametrize(("program", "row"), CELLS)
def test_every_agent(program: str, row: str, tmp_path: Path) -> None:
    if why_not := programs.why_not(program):
        pytest.skip(why_not)
    command = [sys.executable, "-m", "tests.agents_real.test_every_agent", program, row, str(tmp_path / "project")]
    python_path = os.pathsep.join([programs.ROOT, os.path.join(programs.ROOT, "server")])
    hermetic.run_in_sandbox(command, tmp=tmp_path, env={"PYTHONPATH": python_path}, cwd=programs.ROOT).check()


def main() -> None:
    """Run a cell; inside the sandbox."""
    program, row, directory = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    directory.mkdir()
    scenario = INSTEAD.get((program, row)) or next(one for one in ROWS if one.__name__ == row)
    with ScriptedModel() as model:
        asyncio.run(asyncio.wait_for(scenario(Place(REALS[program], directory, model)), 80))


if __name__ == "__main__":
    main()
