"""Any program as an agent: what it is started with, and what its output and exit mean."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from orch_server.agents.adapter import (
    Adapter,
    Answer,
    Exit,
    Launch,
    Line,
    Output,
    Prompt,
    PromptAccepted,
    Task,
    TurnEnded,
)
from orch_server.agents.command import CommandAdapter, fill_model
from orch_server.domain.events import AgentMessage
from orch_server.domain.session import Action, Policy, Reason
from tests.agents.driver import Driver, ended, said

TASK = Task("s1", "r1", Action.IMPLEMENT, Policy.ASK, "/project", model="big")


def command(*arguments: str) -> CommandAdapter:
    """An adapter for a program with these arguments."""

    class Configured(CommandAdapter):
        name = "mine"

    Configured.arguments = arguments
    return Configured()


def message(text: str, *, final: bool = False) -> AgentMessage:
    """A part of the one message."""
    return AgentMessage(message_id="r1-m1", text=text, final=final)


@pytest.mark.parametrize(
    ("arguments", "model", "expected"),
    [
        (["--model", "{model}", "x"], "big", ["--model", "big", "x"]),
        (["--model", "{model}", "x"], None, ["x"]),
        (["--model={model}", "x"], "big", ["--model=big", "x"]),
        (["--model={model}", "x"], None, ["x"]),
        (["run", "{model}"], None, ["run"]),
        (["-q"], "big", ["-q"]),
    ],
)
def test_the_model_in_the_arguments(arguments: Sequence[str], model: str | None, expected: list[str]) -> None:
    assert fill_model(arguments, model) == expected


def test_a_prompt_as_an_argument() -> None:
    adapter = command("--do", "{prompt}", "--model", "{model}")
    launch = adapter.launch(replace(TASK, prompt="{model}; rm -r"))
    assert launch == Launch(["--do", "{model}; rm -r", "--model", "big"], {}, close_input=True)
    dialogue = adapter.dialogue(TASK)
    assert dialogue.begin() == Output()
    assert dialogue.prompt(Prompt("p1", "Hello")) == Output()
    assert dialogue.busy


@pytest.mark.parametrize("prompt_first", [True, False])
def test_a_prompt_on_standard_input(prompt_first: bool) -> None:
    dialogue = command("-").dialogue(TASK)
    lines = []
    steps = [lambda: dialogue.prompt(Prompt("p1", "Hello\nthere")), dialogue.begin]
    for step in steps if prompt_first else reversed(steps):
        lines += step().lines
    assert lines == [Line("Hello"), Line("there", prompt_id="p1")]


def test_output_is_one_message_and_the_exit_code_is_the_verdict() -> None:
    adapter = command("-")
    dialogue = adapter.dialogue(TASK)
    dialogue.begin()
    dialogue.prompt(Prompt("p1", "Hello"))
    assert dialogue.receive("one").facts == [PromptAccepted("p1"), message("one\n")]
    dialogue = adapter.dialogue(TASK, dialogue.state)
    assert dialogue.receive("two").facts == [message("two\n")]
    assert dialogue.answer("r", Answer()) == dialogue.interrupt() == Output()
    assert dialogue.ended(Exit(code=0)).facts == [message("", final=True), TurnEnded(text="one\ntwo")]
    assert not dialogue.busy
    assert dialogue.ended(Exit(code=0)) == Output()
    refused = dialogue.prompt(Prompt("p2", "More")).facts[0]
    assert isinstance(refused, TurnEnded)
    assert refused.reason is Reason.AGENT_ERROR


@pytest.mark.parametrize(
    ("end", "reason", "text"),
    [
        (Exit(code=0), None, ""),
        (Exit(code=3, stderr_tail="bad luck\n"), Reason.AGENT_ERROR, "exit code 3.\nbad luck"),
        (Exit(signal=15), Reason.KILLED, "signal 15."),
        (Exit(), Reason.LOST, "not known."),
    ],
)
def test_how_it_ends(end: Exit, reason: Reason | None, text: str) -> None:
    dialogue = command().dialogue(TASK)
    dialogue.prompt(Prompt("p1", "Hello"))
    accepted, told = dialogue.ended(end).facts
    assert accepted == PromptAccepted("p1")
    assert isinstance(told, TurnEnded)
    assert told.reason is reason
    assert told.text.endswith(text)


def test_of_a_long_answer_the_beginning_is_kept() -> None:
    dialogue = command().dialogue(TASK)
    dialogue.prompt(Prompt("p1", "Hello"))
    for _ in range(100):
        dialogue.receive("x" * 999)
    told = dialogue.ended(Exit(code=0)).facts[-1]
    assert isinstance(told, TurnEnded)
    assert len(told.text) == 64 * 1024


@pytest.mark.parametrize(("code", "reason"), [(0, None), (7, Reason.AGENT_ERROR)])
def test_a_real_program(tmp_path: Path, code: int, reason: Reason | None) -> None:
    program = f"import sys; print('You said ' + sys.stdin.read().strip()); sys.stderr.write('hm'); sys.exit({code})"
    adapter: Adapter = command("-I", "-S", "-c", program)
    driver = Driver(adapter, sys.executable, Task("s1", "r1", Action.IMPLEMENT, Policy.ASK, str(tmp_path)), {})
    try:
        driver.prompt("Hello\nthere")
        driver.close_input()
        assert driver.finish() == Exit(code, None, "hm")
    finally:
        driver.stop()
    assert said(driver.facts) == ["You said Hello\nthere\n"]
    assert ended(driver.facts).reason is reason
