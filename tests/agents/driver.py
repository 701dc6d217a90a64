"""A real agent process and its adapter's dialogue, with this test as the hub: no runner, no store."""

import os
import select
import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

from orch_server.agents.adapter import Adapter, Answer, Asked, Exit, Fact, Output, Prompt, Task, TurnEnded
from orch_server.domain.events import AgentMessage, AgentToolFinished, EventData

Kind = TypeVar("Kind", bound=EventData)
Answerer = Callable[[Asked], Answer | None]


class Driver:
    """One run of an agent: prompts in, facts out, everything with a deadline."""

    def __init__(self, adapter: Adapter, program: str, task: Task, environment: dict[str, str], timeout: float = 20):
        self.adapter = adapter
        self.task = task
        self.deadline = time.monotonic() + timeout
        self.dialogue = adapter.dialogue(task)
        self.facts: list[Fact] = []
        self.sent = 0
        self.lines: list[bytes] = []
        self.rest = b""
        self.output_ended = False
        launch = adapter.launch(task)
        self.process = subprocess.Popen(
            [program, *launch.arguments],
            cwd=task.cwd,
            env={"PATH": os.environ["PATH"], **environment, **launch.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self.take(self.dialogue.begin())

    def stop(self) -> None:
        """Kill the process if it still runs."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def prompt(self, text: str) -> None:
        """Hand in a text."""
        self.sent += 1
        self.take(self.dialogue.prompt(Prompt(f"p{self.sent}", text)))

    def run(self, text: str, answer: Answerer | None = None) -> list[Fact]:
        """Hand in a text and return the facts of its turn."""
        first = len(self.facts)
        self.prompt(text)
        self.until(lambda fact: isinstance(fact, TurnEnded), answer)
        return self.facts[first:]

    def until(self, wanted: Callable[[Fact], bool], answer: Answerer | None = None) -> Fact:
        """Read until a fact is there that was not there before, answering what is asked; returns it."""
        seen = len(self.facts)
        while True:
            for fact in self.facts[seen:]:
                seen += 1
                if isinstance(fact, Asked) and answer is not None:
                    given = answer(fact)
                    if given is not None:
                        self.take(self.dialogue.answer(fact.request.id, given))
                if wanted(fact):
                    return fact
            assert not self.output_ended, f"the agent left: {self.finish()}"
            self.read()

    def read(self) -> None:
        """Wait for output and feed its complete lines to the dialogue."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, self.deadline - time.monotonic()))
        assert ready, f"no output in time; facts so far: {self.facts}"
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        self.output_ended = not data
        *lines, self.rest = (self.rest + data).split(b"\n")
        self.lines += lines
        for line in lines:
            self.take(self.dialogue.receive(line.decode("utf-8", "replace")))

    def take(self, output: Output) -> None:
        """Keep the facts and write the lines."""
        self.facts += output.facts
        assert self.process.stdin is not None
        for line in output.lines:
            self.process.stdin.write(line.text.encode() + b"\n")

    def close_input(self) -> None:
        """Let the agent see the end of its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def finish(self) -> Exit:
        """Read everything until the agent is gone, tell the dialogue, and return how it ended."""
        while not self.output_ended:
            self.read()
        code = self.process.wait(timeout=max(0.1, self.deadline - time.monotonic()))
        assert self.process.stderr is not None
        tail = self.process.stderr.read().decode("utf-8", "replace")
        end = Exit(code, None, tail) if code >= 0 else Exit(None, -code, tail)
        self.facts += self.dialogue.ended(end).facts
        return end


def said(facts: list[Fact]) -> list[str]:
    """The messages, whole, in their order."""
    messages: dict[str, str] = {}
    for fact in facts:
        if isinstance(fact, AgentMessage):
            messages[fact.message_id] = messages.get(fact.message_id, "") + fact.text
    return list(messages.values())


def ended(facts: list[Fact]) -> TurnEnded:
    """The end of the one turn in `facts`."""
    (end,) = [fact for fact in facts if isinstance(fact, TurnEnded)]
    return end


def tools(facts: list[Fact]) -> list[AgentToolFinished]:
    """The tools that came to their end."""
    return events(facts, AgentToolFinished)


def events(facts: list[Fact], kind: type[Kind]) -> list[Kind]:
    """The facts that are events of a kind."""
    return [fact for fact in facts if isinstance(fact, kind)]


def choose(option_kind: str) -> Answerer:
    """Answer every approval with its option of a kind."""

    def answer(asked: Asked) -> Answer:
        return Answer(option_id=next(option.id for option in asked.request.options if option.kind == option_kind))

    return answer
