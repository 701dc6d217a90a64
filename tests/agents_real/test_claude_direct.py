"""The real Claude Code, driven through its adapter alone: what it does is what the adapter says that it does.

Each test runs one of the scenarios below in a sandbox of its own, as `python -m tests.agents_real.test_claude_direct
NAME`; the model is scripted by the prompts. The dialogue is saved and loaded again after every line, so that a memory
outside its state would be noticed.
"""

import asyncio
import json
import os
import signal
import sys
import uuid
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from orch_server.agents.adapter import (
    Answer,
    Asked,
    ConversationNamed,
    Exit,
    Fact,
    Output,
    Prompt,
    PromptAccepted,
    Subject,
    Task,
    TurnEnded,
    UsageSeen,
    Withdrawn,
)
from orch_server.agents.claude import ClaudeAdapter
from orch_server.domain.events import AgentLog, AgentMessage, AgentThought, AgentToolFinished, AgentToolStarted
from orch_server.domain.session import Action, InputRequestKind, Policy, QuestionAnswer, Reason
from tests.agents_real import programs
from tests.fakes import hermetic
from tests.fakes.scripted_model import ScriptedModel

Found = TypeVar("Found")

ENVIRONMENT = {
    "ANTHROPIC_API_KEY": "sk-test",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_MAX_RETRIES": "0",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
}


async def an_allowed_write_is_done(place: "Place") -> None:
    async with place.run() as run:
        prompt_id = run.prompt("[[write hello.txt hello world]]")
        asked = await run.wait_for(Asked)
        assert asked.request.kind == InputRequestKind.APPROVAL
        assert asked.request.title == "Write hello.txt"
        assert "hello world" in asked.request.detail
        assert [option.id for option in asked.request.options] == ["allow_once", "allow_always", "reject_once"]
        assert asked.subject == Subject("edit", (str(place.directory / "hello.txt"),))
        assert not (place.directory / "hello.txt").exists()
        run.answer(asked, Answer(option_id="allow_once"))
        ended = await run.wait_for(TurnEnded)
    assert ended.reason is None
    assert ended.text.startswith("Done: write finished")
    assert (place.directory / "hello.txt").read_text() == "hello world\n"
    assert run.all_of(PromptAccepted) == [PromptAccepted(prompt_id, begins_turn=True)]
    assert run.all_of(ConversationNamed) == [ConversationNamed(run.task.new_conversation_id)]
    assert run.all_of(UsageSeen)[-1].usage.input_tokens == 200
    started, finished = run.one(AgentToolStarted), run.one(AgentToolFinished)
    assert (started.kind, started.paths) == ("edit", [str(place.directory / "hello.txt")])
    assert (finished.tool_id, finished.ok) == (started.tool_id, True)
    messages = run.all_of(AgentMessage)
    assert "".join(message.text for message in messages) == ended.text
    assert [message.final for message in messages] == [False, False, True]
    assert run.exit == Exit(code=0, stderr_tail=run.exit.stderr_tail)
    assert not run.all_of(AgentLog)


async def a_denied_write_is_not_done(place: "Place") -> None:
    async with place.run() as run:
        run.prompt("[[write hello.txt hello]]")
        run.answer(await run.wait_for(Asked), Answer(option_id="reject_once", text="not that file"))
        ended = await run.wait_for(TurnEnded)
    assert ended.reason is None
    assert not (place.directory / "hello.txt").exists()
    finished = run.one(AgentToolFinished)
    assert not finished.ok
    assert "not that file" in finished.output


async def leave_for_always_is_asked_for_once(place: "Place") -> None:
    async with place.run() as run:
        run.prompt("[[write one.txt 1]] [[write two.txt 2]] [[bash touch three.txt]]")
        run.answer(await run.wait_for(Asked), Answer(option_id="allow_always"))
        ended = await run.wait_for(TurnEnded)
    assert ended.reason is None
    assert len(run.all_of(Asked)) == 1
    assert {path.name for path in place.directory.iterdir()} == {"one.txt", "two.txt", "three.txt"}


async def a_command_is_asked_for(place: "Place") -> None:
    async with place.run() as run:
        run.prompt("[[bash python3 -c 'print(6 * 7)']]")
        asked = await run.wait_for(Asked)
        assert asked.subject == Subject("execute")
        assert "print(6 * 7)" in asked.request.detail
        run.answer(asked, Answer(option_id="allow_always"))
        await run.wait_for(TurnEnded)
    assert run.one(AgentToolFinished).output == "42"
    # "Always" is kept by the run alone: no settings appear in the worktree.
    assert not list(place.directory.iterdir())


async def a_question_is_answered(place: "Place") -> None:
    async with place.run() as run:
        run.prompt("[[ask]]")
        asked = await run.wait_for(Asked)
        assert asked.request.kind == InputRequestKind.QUESTION
        question = asked.request.questions[0]
        assert (question.header, question.text, question.multi_select) == ("Colour", "Which colour?", False)
        assert [option.id for option in question.options] == ["Red", "Blue"]
        chosen = QuestionAnswer(question_id=question.id, option_ids=["Blue"])
        run.answer(asked, Answer(answers=[chosen]))
        ended = await run.wait_for(TurnEnded)
    assert '"Which colour?"="Blue"' in ended.text


async def a_question_takes_another_text(place: "Place") -> None:
    async with place.run() as run:
        run.prompt("[[ask]]")
        run.answer(await run.wait_for(Asked), Answer(text="Green, please"))
        ended = await run.wait_for(TurnEnded)
    assert '"Which colour?"="Green, please"' in ended.text


async def a_text_reaches_the_running_turn(place: "Place") -> None:
    async with place.run() as run:
        first = run.prompt("[[write one.txt 1]]")
        asked = await run.wait_for(Asked)
        second = run.prompt("[[write two.txt 2]]")
        run.answer(asked, Answer(option_id="allow_once"))
        run.answer(await run.wait_for(Asked), Answer(option_id="allow_once"))
        ended = await run.wait_for(TurnEnded)
        assert not run.dialogue.busy
    assert ended.reason is None
    assert (place.directory / "two.txt").exists()
    accepted = [PromptAccepted(first, begins_turn=True), PromptAccepted(second, begins_turn=False)]
    assert run.all_of(PromptAccepted) == accepted
    assert len(run.all_of(TurnEnded)) == 1


async def texts_one_after_the_other_are_turns(place: "Place") -> None:
    async with place.run() as run:
        for text in ("first", "second"):
            prompt_id = run.prompt(f"[[say {text}]]")
            assert (await run.wait_for(PromptAccepted)) == PromptAccepted(prompt_id, begins_turn=True)
            assert (await run.wait_for(TurnEnded)).text == text
    assert [seen.usage.input_tokens for seen in run.all_of(UsageSeen)] == [100, 200]


async def an_interrupt_ends_the_turn_not_the_program(place: "Place") -> None:
    async with place.run() as run:
        run.prompt("[[write hello.txt hello]]")
        asked = await run.wait_for(Asked)
        run.interrupt()
        assert (await run.wait_for(Withdrawn)).request_id == asked.request.id
        assert (await run.wait_for(TurnEnded)).reason == Reason.USER_STOPPED
        run.prompt("[[say still here]]")
        assert (await run.wait_for(TurnEnded)).text == "still here"


async def an_interrupt_reaches_a_silent_model(place: "Place") -> None:
    async with place.run() as run:
        run.prompt("[[hang]]")
        await run.wait_for(PromptAccepted)
        run.interrupt()
        assert (await run.wait_for(TurnEnded)).reason == Reason.USER_STOPPED


async def a_conversation_goes_on_in_another_run(place: "Place") -> None:
    async with place.run() as run:
        run.prompt("[[say remember me]]")
        await run.wait_for(TurnEnded)
    async with place.run(conversation_id=run.task.new_conversation_id) as resumed:
        resumed.prompt("[[recall]]")
        ended = await resumed.wait_for(TurnEnded)
    assert "say remember me" in ended.text
    assert resumed.all_of(ConversationNamed) == [ConversationNamed(run.task.new_conversation_id)]


async def a_conversation_survives_a_kill(place: "Place") -> None:
    async with place.run() as run:
        run.prompt("[[say remember me]]")
        await run.wait_for(TurnEnded)
        run.prompt("[[hang]]")
        await run.wait_for(PromptAccepted)
        run.process.kill()
        await run.gone()
    assert run.all_of(TurnEnded)[-1].reason == Reason.KILLED
    async with place.run(conversation_id=run.task.new_conversation_id) as resumed:
        resumed.prompt("[[recall]]")
        assert "say remember me" in (await resumed.wait_for(TurnEnded)).text


async def a_conversation_that_is_not_there_is_told(place: "Place") -> None:
    async with place.run(conversation_id=str(uuid.uuid4())) as run:
        run.prompt("[[recall]]")
        ended = await run.wait_for(TurnEnded)
    assert ended.reason == Reason.AGENT_ERROR
    assert "No conversation found" in ended.text
    assert len(run.all_of(TurnEnded)) == 1


async def a_termination_is_a_kill(place: "Place") -> None:
    async with place.run() as run:
        run.prompt("[[hang]]")
        await run.wait_for(PromptAccepted)
        run.process.terminate()
        await run.gone()
    assert run.one(TurnEnded).reason == Reason.KILLED


async def analyze_cannot_write(place: "Place") -> None:
    target = place.directory / "hello.txt"
    async with place.run(action=Action.ANALYZE, policy=Policy.AUTO_ALL) as run:
        run.prompt("[[tools]]")
        offered = (await run.wait_for(TurnEnded)).text.removeprefix("TOOLS ")
        # The placeholder stands for tools that are looked up, and there is no tool to look them up.
        assert set(json.loads(offered)) - {"DeferredToolPlaceholder"} == {"Glob", "Grep", "Read"}
        for tool, values in (
            ("Write", {"file_path": str(target), "content": "x"}),
            ("Bash", {"command": f"touch {target}", "description": "x"}),
        ):
            run.prompt(f"[[tool {tool} {json.dumps(values)}]]")
            assert (await run.wait_for(TurnEnded)).reason is None
    assert not target.exists()
    assert not run.all_of(Asked)
    assert [finished.ok for finished in run.all_of(AgentToolFinished)] == [False, False]


async def plan_cannot_write(place: "Place") -> None:
    target = place.directory / "hello.txt"
    async with place.run(action=Action.PLAN, policy=Policy.AUTO_ALL) as run:
        run.prompt("[[tools]]")
        assert "Write" not in (await run.wait_for(TurnEnded)).text
        run.prompt(f"[[tool Write {json.dumps({'file_path': str(target), 'content': 'x'})}]]")
        assert (await run.wait_for(TurnEnded)).reason is None
    assert not target.exists()
    assert not run.one(AgentToolFinished).ok


async def plan_ends_with_its_text(place: "Place") -> None:
    plan = "# The plan\n\n1. Read\n2. Write"
    async with place.run(action=Action.PLAN, policy=Policy.DENY) as run:
        run.prompt(f"[[tool ExitPlanMode {json.dumps({'plan': plan})}]]")
        assert await run.wait_for(TurnEnded) == TurnEnded(text=plan)
        run.prompt("[[say # Another plan]]")
        assert await run.wait_for(TurnEnded) == TurnEnded(text="# Another plan")
        run.prompt("[[ask]]")
        run.answer(await run.wait_for(Asked), Answer(text="Green"))
        assert "Green" in (await run.wait_for(TurnEnded)).text
    assert plan in [message.text for message in run.all_of(AgentMessage)]


async def a_long_answer_is_told_while_it_comes(place: "Place") -> None:
    async with place.run() as run:
        run.prompt("[[slow 12]]")
        first = await run.wait_for(AgentMessage)
        assert not run.all_of(TurnEnded)
        ended = await run.wait_for(TurnEnded)
    assert first.text.startswith("word1")
    assert not first.final
    assert "".join(message.text for message in run.all_of(AgentMessage)) == ended.text
    assert len({message.message_id for message in run.all_of(AgentMessage)}) == 1


async def thoughts_are_told(place: "Place") -> None:
    async with place.run() as run:
        run.prompt("[[think about colours]]")
        ended = await run.wait_for(TurnEnded)
    assert "".join(thought.text for thought in run.all_of(AgentThought)) == "about colours"
    assert ended.text == "Thought about it."


async def a_turn_lasts_until_its_subagents_are_done(place: "Place") -> None:
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


async def an_interrupt_ends_a_turn_of_subagents(place: "Place") -> None:
    agent = {"description": "Wait", "prompt": "[[hang]]", "subagent_type": "general-purpose"}
    async with place.run() as run:
        run.prompt(f"[[tool Agent {json.dumps(agent)}]]")
        await run.wait_for(UsageSeen)
        assert run.dialogue.busy
        run.interrupt()
        assert (await run.wait_for(TurnEnded)).reason == Reason.USER_STOPPED
        run.prompt("[[say still here]]")
        assert (await run.wait_for(TurnEnded)).text == "still here"


async def errors_of_the_api_are_told_apart(place: "Place") -> None:
    reasons = {500: Reason.API_ERROR, 400: Reason.API_ERROR, 429: Reason.USAGE_LIMIT, 401: Reason.NOT_LOGGED_IN}
    async with place.run() as run:
        for status, reason in reasons.items():
            run.prompt(f"[[error {status}]]")
            ended = await run.wait_for(TurnEnded)
            assert ended.reason == reason, (status, ended)
            assert str(status) in ended.text
    assert not run.all_of(AgentMessage)
    assert len(run.all_of(TurnEnded)) == len(reasons)


async def a_retry_is_told(place: "Place") -> None:
    async with place.run(environment={"CLAUDE_CODE_MAX_RETRIES": "1"}) as run:
        run.prompt("[[error 500]]")
        thought = await run.wait_for(AgentThought)
        assert "retrying, attempt 1 of 1" in thought.text
        assert (await run.wait_for(TurnEnded)).reason == Reason.API_ERROR


async def a_missing_login_is_told(place: "Place") -> None:
    async with place.run(environment={"ANTHROPIC_API_KEY": ""}) as run:
        run.prompt("[[say hello]]")
        assert (await run.wait_for(TurnEnded)).reason == Reason.NOT_LOGGED_IN


SCENARIOS: dict[str, Callable[["Place"], Awaitable[None]]] = {
    scenario.__name__: scenario
    for scenario in (
        an_allowed_write_is_done,
        a_denied_write_is_not_done,
        leave_for_always_is_asked_for_once,
        a_command_is_asked_for,
        a_question_is_answered,
        a_question_takes_another_text,
        a_text_reaches_the_running_turn,
        texts_one_after_the_other_are_turns,
        an_interrupt_ends_the_turn_not_the_program,
        an_interrupt_reaches_a_silent_model,
        a_conversation_goes_on_in_another_run,
        a_conversation_survives_a_kill,
        a_conversation_that_is_not_there_is_told,
        a_termination_is_a_kill,
        analyze_cannot_write,
        plan_cannot_write,
        plan_ends_with_its_text,
        a_long_answer_is_told_while_it_comes,
        thoughts_are_told,
        a_turn_lasts_until_its_subagents_are_done,
        an_interrupt_ends_a_turn_of_subagents,
        errors_of_the_api_are_told_apart,
        a_retry_is_told,
        a_missing_login_is_told,
    )
}


@pytest.mark.agents
@pytest.mark.skipif(hermetic.why_not() is not None, reason=str(hermetic.why_not()))
@pytest.mark.skipif(programs.why_not("claude") is not None, reason=str(programs.why_not("claude")))
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_claude(scenario: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.agents_real.test_claude_direct", scenario, str(tmp_path / "project")]
    python_path = os.pathsep.join([programs.ROOT, os.path.join(programs.ROOT, "server")])
    hermetic.run_in_sandbox(command, tmp=tmp_path, env={"PYTHONPATH": python_path}, cwd=programs.ROOT).check()


class Place:
    """A directory to work in, and the model to work with."""

    def __init__(self, directory: Path, model: ScriptedModel) -> None:
        self.directory = directory
        self.model = model

    @asynccontextmanager
    async def run(
        self,
        action: Action = Action.IMPLEMENT,
        policy: Policy = Policy.ASK,
        conversation_id: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> "AsyncIterator[Run]":
        """Start Claude Code; at the end its input is closed, and it must end by itself."""
        task = Task(
            session_id="session",
            run_id="run",
            action=action,
            policy=policy,
            cwd=str(self.directory),
            model="scripted-1",
            conversation_id=conversation_id,
            new_conversation_id=str(uuid.uuid4()),
            as_root=os.geteuid() == 0,
        )
        launch = ClaudeAdapter().launch(task)
        process = await asyncio.create_subprocess_exec(
            programs.PROGRAMS["claude"].path,
            *launch.arguments,
            cwd=self.directory,
            env={
                **os.environ,
                **ENVIRONMENT,
                **launch.environment,
                "ANTHROPIC_BASE_URL": self.model.url,
                **(environment or {}),
            },
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=1 << 26,
        )
        run = Run(task, process)
        yield run
        await run.gone()


class Run:
    """A process of Claude Code and its dialogue."""

    def __init__(self, task: Task, process: Process) -> None:
        self.task = task
        self.process = process
        self.dialogue = ClaudeAdapter().dialogue(task)
        self.facts: list[Fact] = []
        self.exit = Exit()
        self._read = 0
        self._errors = asyncio.ensure_future(self._reader(process.stderr).read())
        self._take(self.dialogue.begin())

    def prompt(self, text: str) -> str:
        """Hand in a text and return its id."""
        prompt = Prompt(str(uuid.uuid4()), text)
        self._take(self.dialogue.prompt(prompt))
        return prompt.id

    def answer(self, asked: Asked, answer: Answer) -> None:
        """Answer a request."""
        self._take(self.dialogue.answer(asked.request.id, answer))

    def interrupt(self) -> None:
        """Interrupt the turn."""
        self._take(self.dialogue.interrupt())

    async def wait_for(self, kind: type[Found]) -> Found:
        """Return the next fact of a kind that was not waited for yet."""
        while True:
            while self._read < len(self.facts):
                fact = self.facts[self._read]
                self._read += 1
                if isinstance(fact, kind):
                    return fact
            line = await asyncio.wait_for(self._reader(self.process.stdout).readline(), 20)
            if not line:
                await self.gone()
                raise AssertionError(f"no {kind.__name__}: {self.exit}, {self.facts}")
            self._take(self.dialogue.receive(line.decode()))

    def all_of(self, kind: type[Found]) -> list[Found]:
        """Return all facts of a kind."""
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def one(self, kind: type[Found]) -> Found:
        """Return the only fact of a kind."""
        [fact] = self.all_of(kind)
        return fact

    async def gone(self) -> None:
        """Close the program's input and take what it says until its end."""
        if self.exit != Exit():
            return
        assert self.process.stdin is not None
        self.process.stdin.close()
        while line := await asyncio.wait_for(self._reader(self.process.stdout).readline(), 20):
            self._take(self.dialogue.receive(line.decode()))
        code = await self.process.wait()
        tail = (await self._errors).decode()[-2000:]
        self.exit = Exit(code, None, tail) if code >= 0 else Exit(None, signal.Signals(-code), tail)
        self._take(self.dialogue.ended(self.exit))
        assert not self.dialogue.busy

    def _take(self, output: Output) -> None:
        assert self.process.stdin is not None
        self.facts += output.facts
        for line in output.lines:
            self.process.stdin.write(f"{line.text}\n".encode())
        self.dialogue = ClaudeAdapter().dialogue(self.task, json.loads(json.dumps(self.dialogue.state)))

    @staticmethod
    def _reader(stream: asyncio.StreamReader | None) -> asyncio.StreamReader:
        assert stream is not None
        return stream


def main() -> None:
    """Run a scenario; inside the sandbox."""
    name, directory = sys.argv[1], Path(sys.argv[2])
    directory.mkdir()
    with ScriptedModel() as model:
        asyncio.run(asyncio.wait_for(SCENARIOS[name](Place(directory, model)), 60))


if __name__ == "__main__":
    main()
