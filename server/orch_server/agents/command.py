"""Any program as an agent: one prompt in, its output is the answer, its exit code the verdict.

For programs of the user's config that speak no protocol. There is nothing to resume and nothing to ask; a follow-up
starts the program again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from orch_server.agents.adapter import (
    Adapter,
    Answer,
    Capabilities,
    Dialogue,
    Exit,
    Launch,
    Line,
    Output,
    Prompt,
    PromptAccepted,
    Task,
    TurnEnded,
)
from orch_server.domain.events import AgentMessage
from orch_server.domain.session import Reason

PROMPT = "{prompt}"
"""The argument in whose place the prompt goes."""
MODEL = "{model}"
"""Stands for the model inside an argument."""
ANSWER_LIMIT = 64 * 1024


class CommandAdapter(Adapter):
    """A program that is given one prompt and answers on its standard output."""

    protocol = "command"
    arguments: Sequence[str] = ()
    """After the program's name; may hold "{prompt}" and "{model}"."""
    environment: Mapping[str, str] = {}
    capabilities = Capabilities(
        resume=False, follow_up="none", approvals=False, questions=False, read_only=False, model=False
    )

    @property
    def takes_argument(self) -> bool:
        """Whether the prompt is an argument; else it is written to standard input."""
        return PROMPT in self.arguments

    def launch(self, task: Task) -> Launch:
        """Say how the program is started, with the prompt in place of "{prompt}"."""
        filled = fill_model(self.arguments, task.model)
        arguments = [task.prompt if argument == PROMPT else argument for argument in filled]
        return Launch(arguments, dict(self.environment), close_input=True)

    def dialogue(self, task: Task, state: dict[str, Any] | None = None) -> Dialogue:
        """Return a dialogue: a new one, or with `state` the one that was saved."""
        return CommandDialogue(task, state or {}, writes_prompt=not self.takes_argument)


class CommandDialogue(Dialogue):
    """One prompt, lines of output, an exit code."""

    def __init__(self, task: Task, state: dict[str, Any], *, writes_prompt: bool) -> None:
        super().__init__(task, state)
        self._writes_prompt = writes_prompt

    @property
    def busy(self) -> bool:
        """Whether the program has its prompt and runs."""
        return "prompt" in self.state and not self.state.get("ended")

    def begin(self) -> Output:
        """Return the prompt's line if it was handed in before; there is no handshake."""
        self.state["begun"] = True
        return Output(lines=self._unwritten())

    def receive(self, line: str) -> Output:
        """Take a line of output as the next part of the one message."""
        output = self._accepted()
        text = line + "\n"
        output.facts.append(self._message(text))
        kept = self.state.setdefault("text", [])
        room = ANSWER_LIMIT - self.state.get("length", 0)
        if room > 0:
            kept.append(text[:room])
            self.state["length"] = self.state.get("length", 0) + len(text)
        return output

    def prompt(self, prompt: Prompt) -> Output:
        """Hand in the one prompt of the run."""
        if "prompt" in self.state:
            return Output([TurnEnded(Reason.AGENT_ERROR, "This program takes one prompt a run.")])
        self.state["prompt"] = prompt.id
        if self._writes_prompt:
            self.state["unwritten"] = prompt.text
        return Output(lines=self._unwritten() if self.state.get("begun") else [])

    def answer(self, request_id: str, answer: Answer) -> Output:  # noqa: ARG002 (the contract's signature)
        """Do nothing: the program asks nothing."""
        return Output()

    def interrupt(self) -> Output:
        """Do nothing: the program knows no means but signals."""
        return Output()

    def observe(self, line: str) -> Output:
        """Take note of what another client wrote: the prompt."""
        self.state.setdefault("prompt", "observed-1")
        del line
        return Output()

    def ended(self, end: Exit) -> Output:
        """Give the verdict: exit code 0 is success."""
        if not self.busy:
            return Output()
        output = self._accepted()
        self.state["ended"] = True
        text = "".join(self.state.get("text", []))
        if text:
            output.facts.append(self._message("", final=True))
        output.facts.append(_verdict(end, text.strip()))
        return output

    def _unwritten(self) -> list[Line]:
        text = self.state.pop("unwritten", None)
        if text is None:
            return []
        *lines, last = text.split("\n")
        return [*(Line(line) for line in lines), Line(last, prompt_id=self.state["prompt"])]

    def _accepted(self) -> Output:
        if self.state.get("accepted") or "prompt" not in self.state:
            return Output()
        self.state["accepted"] = True
        return Output([PromptAccepted(self.state["prompt"])])

    def _message(self, text: str, *, final: bool = False) -> AgentMessage:
        return AgentMessage(message_id=f"{self.task.run_id}-m1", text=text, final=final)


def fill_model(arguments: Sequence[str], model: str | None) -> list[str]:
    """Return `arguments` with the model in place of "{model}".

    Without a model an argument that holds "{model}" is left out, and if it is nothing else, the option before it too.
    """
    filled: list[str] = []
    for argument in arguments:
        if MODEL not in argument:
            filled.append(argument)
        elif model:
            filled.append(argument.replace(MODEL, model))
        elif argument == MODEL and filled and filled[-1].startswith("-"):
            filled.pop()
    return filled


def _verdict(end: Exit, text: str) -> TurnEnded:
    tail = end.stderr_tail.strip()
    if end.code == 0:
        return TurnEnded(text=text)
    if end.code is not None:
        return TurnEnded(Reason.AGENT_ERROR, f"The program ended with exit code {end.code}." + _after(tail))
    if end.signal is not None:
        return TurnEnded(Reason.KILLED, f"The program was ended by signal {end.signal}." + _after(tail))
    return TurnEnded(Reason.LOST, "How the program ended is not known." + _after(tail))


def _after(tail: str) -> str:
    return f"\n{tail}" if tail else ""
