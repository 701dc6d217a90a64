"""The real programs through their adapters alone, for what the matrix through a hub (matrix.py) does not show.

A scenario runs in a sandbox of its own, as `python -m tests.agents_real.test_adapters PROGRAM SCENARIO DIRECTORY`.
"""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from orch_server.agents.adapter import Answer, Asked, ConversationLost, TurnEnded, UsageSeen, Withdrawn
from orch_server.domain.events import AgentLog, AgentMessage, AgentThought, AgentToolFinished, AgentToolStarted
from orch_server.domain.session import Action, Policy, Reason
from tests.agents_real import programs
from tests.agents_real.driver import Place
from tests.agents_real.surroundings import REALS
from tests.fakes import hermetic
from tests.fakes.scripted_model import ScriptedModel

Scenario = Callable[[Place], Awaitable[None]]


# What every program must do.


async def plan_cannot_write(place: Place) -> None:
    """Ask in every way for a file to be written, with a policy that allows whatever may be allowed."""
    async with place.run(action=Action.PLAN, policy=Policy.AUTO_ALL) as run:
        for text in (
            f"[[write {place.directory}/hello.txt hello]]",
            "[[bash touch hello.txt]]",
            "[[bash echo hello > hello.txt]]",
        ):
            await run.turn(text)
        assert (await run.turn("[[say done]]")).reason is None
    assert not list(place.directory.iterdir())


async def an_interrupt_ends_the_turn_not_the_program(place: Place) -> None:
    async with place.run() as run:
        run.prompt("[[hang]]")
        await run.until(lambda: any(one["step"].startswith("Hang") for one in place.model.requests))
        run.interrupt()
        assert (await run.wait_for(TurnEnded)).reason == Reason.USER_STOPPED
        run.prompt(f"[[write {place.directory}/hello.txt hello]]")
        asked = await run.wait_for(Asked)
        run.interrupt()
        assert (await run.wait_for(Withdrawn)).request_id == asked.request.id
        assert (await run.wait_for(TurnEnded)).reason == Reason.USER_STOPPED
        assert (await run.turn("[[say still here]]")).text.endswith("still here")
    assert not (place.directory / "hello.txt").exists()


async def a_conversation_that_is_not_there_is_told(place: Place) -> None:
    async with place.run(conversation_id=str(uuid.UUID("01a00000-ad70-4373-a6ae-5859219dd3ad"))) as run:
        ended = await run.turn("[[recall]]")
    assert ended.reason == Reason.AGENT_ERROR
    assert ended.text
    assert run.one(ConversationLost)


# What Claude Code does beside.


async def leave_for_always_is_asked_for_once(place: Place) -> None:
    async with place.run() as run:
        run.prompt("[[write one.txt 1]] [[write two.txt 2]] [[bash touch three.txt]]")
        run.answer(await run.wait_for(Asked), Answer(option_id="allow_always"))
        ended = await run.wait_for(TurnEnded)
    assert ended.reason is None
    assert len(run.all_of(Asked)) == 1
    # "Always" is kept by the run alone: no settings appear beside the files.
    assert {path.name for path in place.directory.iterdir()} == {"one.txt", "two.txt", "three.txt"}


async def a_denial_is_told_with_its_words(place: Place) -> None:
    async with place.run() as run:
        run.prompt("[[write hello.txt hello]]")
        run.answer(await run.wait_for(Asked), Answer(option_id="reject_once", text="not that file"))
        assert (await run.wait_for(TurnEnded)).reason is None
    assert "not that file" in run.one(AgentToolFinished).output


async def a_question_takes_another_text(place: Place) -> None:
    async with place.run() as run:
        run.prompt("[[ask]]")
        run.answer(await run.wait_for(Asked), Answer(text="Green, please"))
        ended = await run.wait_for(TurnEnded)
    assert '"Which colour?"="Green, please"' in ended.text


async def usage_is_counted_over_the_run(place: Place) -> None:
    async with place.run() as run:
        for text in ("first", "second"):
            assert (await run.turn(f"[[say {text}]]")).text == text
    assert [seen.usage.input_tokens for seen in run.all_of(UsageSeen)] == [100, 200]


async def analyze_has_only_tools_that_look(place: Place) -> None:
    async with place.run(action=Action.ANALYZE, policy=Policy.AUTO_ALL) as run:
        offered = (await run.turn("[[tools]]")).text.removeprefix("TOOLS ")
    # The placeholder stands for tools that are looked up, and there is no tool to look them up.
    assert set(json.loads(offered)) - {"DeferredToolPlaceholder"} == {"Glob", "Grep", "Read"}


async def plan_ends_with_its_text(place: Place) -> None:
    plan = "# The plan\n\n1. Read\n2. Write"
    async with place.run(action=Action.PLAN, policy=Policy.DENY) as run:
        assert await run.turn(f"[[tool ExitPlanMode {json.dumps({'plan': plan})}]]") == TurnEnded(text=plan)
        assert await run.turn("[[say # Another plan]]") == TurnEnded(text="# Another plan")
    assert plan in [message.text for message in run.all_of(AgentMessage)]


async def a_long_answer_is_told_while_it_comes(place: Place) -> None:
    async with place.run() as run:
        run.prompt("[[slow 12]]")
        first = await run.wait_for(AgentMessage)
        assert not run.all_of(TurnEnded)
        ended = await run.wait_for(TurnEnded)
    assert first.text.startswith("word1")
    assert not first.final
    assert "".join(message.text for message in run.all_of(AgentMessage)) == ended.text
    assert len({message.message_id for message in run.all_of(AgentMessage)}) == 1


async def thoughts_are_told(place: Place) -> None:
    async with place.run() as run:
        ended = await run.turn("[[think about colours]]")
    assert "".join(thought.text for thought in run.all_of(AgentThought)) == "about colours"
    assert ended.text == "Thought about it."


async def a_turn_lasts_until_its_subagents_are_done(place: Place) -> None:
    agent = {"description": "Look around", "prompt": "[[bash echo found]]", "subagent_type": "general-purpose"}
    async with place.run() as run:
        run.prompt(f"[[tool Agent {json.dumps(agent)}]]")
        ended = await run.wait_for(TurnEnded)
        assert not run.dialogue.busy
    assert ended.reason is None
    assert len(run.all_of(TurnEnded)) == 1
    assert [tool.title for tool in run.all_of(AgentToolStarted)] == [
        "Agent Look around",
        "[Look around] Bash echo found",
    ]
    told = [thought.text for thought in run.all_of(AgentThought)]
    assert told == ["[Look around] Done: bash finished. Tool said: found"]


async def an_interrupt_ends_a_turn_of_subagents(place: Place) -> None:
    agent = {"description": "Wait", "prompt": "[[hang]]", "subagent_type": "general-purpose"}
    async with place.run() as run:
        run.prompt(f"[[tool Agent {json.dumps(agent)}]]")
        await run.wait_for(UsageSeen)
        assert run.dialogue.busy
        run.interrupt()
        assert (await run.wait_for(TurnEnded)).reason == Reason.USER_STOPPED
        assert (await run.turn("[[say still here]]")).text == "still here"


async def errors_of_the_api_are_told_apart(place: Place) -> None:
    async with place.run() as run:
        for status, reason in ((400, Reason.API_ERROR), (429, Reason.USAGE_LIMIT)):
            ended = await run.turn(f"[[error {status}]]")
            assert ended.reason == reason, (status, ended)
            assert str(status) in ended.text
    assert not run.all_of(AgentMessage)


async def a_retry_is_told(place: Place) -> None:
    async with place.run(environment={"CLAUDE_CODE_MAX_RETRIES": "1"}) as run:
        run.prompt("[[error 500]]")
        thought = await run.wait_for(AgentThought)
        assert "retrying, attempt 1 of 1" in thought.text
        assert (await run.wait_for(TurnEnded)).reason == Reason.API_ERROR


async def a_missing_login_is_told(place: Place) -> None:
    async with place.run(environment={"ANTHROPIC_API_KEY": ""}) as run:
        assert (await run.turn("[[say hello]]")).reason == Reason.NOT_LOGGED_IN


async def a_usage_limit_is_told(place: Place) -> None:
    async with place.run() as run:
        ended = await run.turn("[[error 429]]")
    assert ended.reason == Reason.USAGE_LIMIT
    assert ended.text


FOR_ALL: tuple[Scenario, ...] = (
    plan_cannot_write,
    an_interrupt_ends_the_turn_not_the_program,
    a_conversation_that_is_not_there_is_told,
)
BESIDE: dict[str, tuple[Scenario, ...]] = {
    "claude": (
        leave_for_always_is_asked_for_once,
        a_denial_is_told_with_its_words,
        a_question_takes_another_text,
        usage_is_counted_over_the_run,
        analyze_has_only_tools_that_look,
        plan_ends_with_its_text,
        a_long_answer_is_told_while_it_comes,
        thoughts_are_told,
        a_turn_lasts_until_its_subagents_are_done,
        an_interrupt_ends_a_turn_of_subagents,
        errors_of_the_api_are_told_apart,
        a_retry_is_told,
        a_missing_login_is_told,
    ),
    "codex": (a_usage_limit_is_told,),
    "copilot": (a_usage_limit_is_told,),
}
SCENARIOS = {
    (program, scenario.__name__): scenario for program in REALS for scenario in (*FOR_ALL, *BESIDE.get(program, ()))
}


@pytest.mark.agents
@pytest.mark.timeout(300)
@pytest.mark.skipif(hermetic.why_not() is not None, reason=str(hermetic.why_not()))
@pytest.mark.parametrize(("program", "scenario"), SCENARIOS)
def test_adapter(program: str, scenario: str, tmp_path: Path) -> None:
    if why_not := programs.why_not(program):
        pytest.skip(why_not)
    command = [sys.executable, "-m", "tests.agents_real.test_adapters", program, scenario, str(tmp_path / "project")]
    python_path = os.pathsep.join([programs.ROOT, os.path.join(programs.ROOT, "server")])
    hermetic.run_in_sandbox(
        command, tmp=tmp_path, env={"PYTHONPATH": python_path}, cwd=programs.ROOT, timeout=280
    ).check()


async def play(program: str, scenario: str, place: Place) -> None:
    """Run a scenario, and see that the program said nothing that its adapter does not know."""
    await asyncio.wait_for(SCENARIOS[program, scenario](place), 270)
    unknown = [log for run in place.runs for log in run.all_of(AgentLog) if log.stream in {"unknown", "raw"}]
    assert not unknown


def main() -> None:
    """Run a scenario; inside the sandbox."""
    program, scenario, directory = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    directory.mkdir()
    with ScriptedModel() as model:
        asyncio.run(play(program, scenario, Place(REALS[program], directory, model)))


if __name__ == "__main__":
    main()
