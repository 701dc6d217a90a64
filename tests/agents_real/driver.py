"""A real agent program and its adapter, without a hub: what the program is given, and one run of it.

Everything here runs inside a sandbox (tests/fakes/hermetic.py), against a model that the prompts script. The dialogue
is saved and loaded again after every line, so that a memory outside its state would be noticed.
"""

import asyncio
import json
import os
import time
import uuid
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from orch_server.agents.adapter import (
    Adapter,
    Answer,
    Asked,
    ConversationNamed,
    Exit,
    Fact,
    Output,
    Prompt,
    Task,
    TurnEnded,
)
from orch_server.domain.session import Action, InputRequestKind, Policy
from orch_server.services.policy import decide
from tests.agents_real import programs
from tests.agents_real.surroundings import Real
from tests.fakes.scripted_model import ScriptedModel

Found = TypeVar("Found")
PATIENCE = 90.0
"""Seconds in which a program must say something."""


class Place:
    """A directory to work in, and a program with its model to work there."""

    def __init__(self, real: Real, directory: Path, model: ScriptedModel) -> None:
        self.real = real
        self.directory = directory
        self.model = model
        self.environment = real.prepare(Path(os.environ["HOME"]), model.url)
        self.runs: list[Run] = []

    @asynccontextmanager
    async def run(
        self,
        action: Action = Action.IMPLEMENT,
        policy: Policy = Policy.ASK,
        conversation_id: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> "AsyncIterator[Run]":
        """Start the program; at the end its input is closed, and what does not end by itself is killed."""
        task = Task(
            session_id="session",
            run_id="run",
            action=action,
            policy=policy,
            cwd=str(self.directory),
            model=self.real.model,
            conversation_id=conversation_id,
            new_conversation_id=str(uuid.uuid4()),
            as_root=os.geteuid() == 0,
        )
        adapter = self.real.adapter
        launch = adapter.launch(task)
        process = await asyncio.create_subprocess_exec(
            programs.PROGRAMS[adapter.name].path,
            *launch.arguments,
            cwd=self.directory,
            env={**os.environ, **self.environment, **launch.environment, **(environment or {})},
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=1 << 26,
            start_new_session=True,
        )
        run = Run(adapter, task, process)
        self.runs.append(run)
        try:
            yield run
            await run.gone()
        except BaseException:
            print("\n".join(run.lines))
            raise


class Run:
    """A process of a program and its dialogue."""

    def __init__(self, adapter: Adapter, task: Task, process: Process) -> None:
        self.adapter = adapter
        self.task = task
        self.process = process
        self.dialogue = adapter.dialogue(task)
        self.facts: list[Fact] = []
        self.lines: list[str] = []
        """Both directions, as a recording has them: printed when a test fails."""
        self.exit: Exit | None = None
        self._read = 0
        self._errors = asyncio.ensure_future(_reader(process.stderr).read())
        self._take(self.dialogue.begin())

    def prompt(self, text: str) -> str:
        """Hand in a text and return its id."""
        prompt = Prompt(str(uuid.uuid4()), text)
        self._take(self.dialogue.prompt(prompt))
        return prompt.id

    def answer(self, asked: Asked, answer: Answer) -> None:
        """Answer a request."""
        self._take(self.dialogue.answer(asked.request.id, answer))

    def choose(self, asked: Asked, kind: str) -> None:
        """Answer an approval with its first option of a kind."""
        self.answer(asked, Answer(option_id=next(o.id for o in asked.request.options if o.kind == kind)))

    def interrupt(self) -> None:
        """Interrupt the turn."""
        self._take(self.dialogue.interrupt())

    async def wait_for(self, kind: type[Found], patience: float = PATIENCE) -> Found:
        """Return the next fact of a kind that was not waited for yet."""
        while True:
            while self._read < len(self.facts):
                fact = self.facts[self._read]
                self._read += 1
                if isinstance(fact, kind):
                    return fact
            await self._listen(patience)

    async def end_of_turn(self) -> TurnEnded:
        """Return how the turn ends; approvals are decided as the task's policy does, where it does."""
        while True:
            while self._read < len(self.facts):
                fact = self.facts[self._read]
                self._read += 1
                if isinstance(fact, TurnEnded):
                    return fact
                if isinstance(fact, Asked) and fact.request.kind == InputRequestKind.APPROVAL:
                    task = self.task
                    option = decide(task.policy, task.action, task.cwd, fact.subject, fact.request.options)
                    assert option is not None, fact
                    self.answer(fact, Answer(option_id=option.id))
            await self._listen(PATIENCE)

    async def until(self, happened: Callable[[], object]) -> None:
        """Take what the program says until something happened elsewhere."""
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < deadline, "it did not happen in time"
            try:
                await self._listen(0.1)
            except TimeoutError:
                pass

    async def second_prompt(self, text: str) -> tuple[str, str]:
        """Send a prompt of the Agent Client Protocol while one is worked on; return with which reasons both stop."""
        [turn] = self.dialogue.state["turns"]
        params = {"sessionId": self.one(ConversationNamed).conversation_id, "prompt": [{"type": "text", "text": text}]}
        second = {"jsonrpc": "2.0", "id": 9001, "method": "session/prompt", "params": params}
        assert self.process.stdin is not None
        self.process.stdin.write(f"{json.dumps(second)}\n".encode())
        stops: dict[str, str] = {}
        while len(stops) < 2:
            await self._listen(PATIENCE)
            message = json.loads(self.lines[-1].removeprefix("< "))
            if "stopReason" in (message.get("result") or {}):
                stops[str(message["id"])] = message["result"]["stopReason"]
        return stops[turn["call"]], stops["9001"]

    async def turn(self, text: str) -> TurnEnded:
        """Hand in a text and return how its turn ends."""
        self.prompt(text)
        return await self.end_of_turn()

    def all_of(self, kind: type[Found]) -> list[Found]:
        """Return all facts of a kind."""
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def one(self, kind: type[Found]) -> Found:
        """Return the only fact of a kind."""
        [fact] = self.all_of(kind)
        return fact

    async def gone(self, patience: float = 30) -> None:
        """Close the program's input and take what it says until its end."""
        if self.exit is not None:
            return
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            while line := await asyncio.wait_for(_reader(self.process.stdout).readline(), patience):
                self._hear(line)
        except TimeoutError:
            self.process.kill()
        code = await self.process.wait()
        tail = (await self._errors).decode(errors="replace")[-2000:]
        self.exit = Exit(code, None, tail) if code >= 0 else Exit(None, -code, tail)
        self._take(self.dialogue.ended(self.exit))
        assert not self.dialogue.busy

    async def _listen(self, patience: float) -> None:
        line = await asyncio.wait_for(_reader(self.process.stdout).readline(), patience)
        if not line:
            await self.gone()
            raise AssertionError(f"the program left: {self.exit}")
        self._hear(line)

    def _hear(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\n")
        self.lines.append(f"< {text[:2000]}")
        self._take(self.dialogue.receive(text))

    def _take(self, output: Output) -> None:
        assert self.process.stdin is not None
        self.facts += output.facts
        for line in output.lines:
            self.lines.append(f"> {line.text}")
            self.process.stdin.write(f"{line.text}\n".encode())
        self.dialogue = self.adapter.dialogue(self.task, json.loads(json.dumps(self.dialogue.state)))


def _reader(stream: asyncio.StreamReader | None) -> asyncio.StreamReader:
    assert stream is not None
    return stream
