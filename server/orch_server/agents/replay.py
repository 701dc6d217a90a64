"""Recorded conversations with agent programs, fed through the adapters again: a bug report is a test case.

A recording is a text file in one of two forms:

* `<case>.jsonl`: what the program wrote on its standard output, a line each;
* `<case>.io.jsonl`: both directions, `> SECONDS LINE` (written to the program) and `< SECONDS LINE` (read from it).

What is written in a recording was decided by whoever recorded it, with numbers of its own. So the dialogue does not
drive; it is told of every written line with `observe` and listens. In a file of one direction nothing is told, and
the dialogue acts on its own: it begins, is given one prompt, and what it writes goes nowhere.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from orch_server.agents.adapter import (
    Adapter,
    Asked,
    ConversationNamed,
    Exit,
    Fact,
    Prompt,
    Task,
    TurnEnded,
    UsageSeen,
    Withdrawn,
)
from orch_server.domain.events import EventData, InputAnswered
from orch_server.domain.session import Action, InputRequest, Policy, Reason, State, Usage

TASK = Task("replay", "replay", Action.IMPLEMENT, Policy.ASK, cwd="/")
"""What a recording is said to be for, where its real task is not known."""

_BOTH_WAYS = re.compile(r"([<>]) ([0-9.]+) (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a recording."""

    line: str
    written: bool = False
    """Whether it went to the program; else it came from it."""
    at: float = 0.0
    """Seconds after the start, where the recording tells."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Where a recorded conversation ended, as a session would show it."""

    state: State
    reason: Reason | None
    message: str
    agent_session_id: str | None
    turns: int
    usage: Usage
    input_requests: list[InputRequest] = field(default_factory=list)
    """Every one that was asked, answered or not."""
    events: list[EventData] = field(default_factory=list)


def read_recording(data: bytes) -> list[Step]:
    """Return the steps of a recording of either form."""
    lines = data.decode("utf-8", "replace").split("\n")
    if lines[-1] == "":
        lines.pop()
    matches = [_BOTH_WAYS.fullmatch(line) for line in lines]
    if lines and matches[0]:
        return [Step(match[3], match[1] == ">", float(match[2])) for match in matches if match]
    return [Step(line) for line in lines]


def replay(adapter: Adapter, steps: Sequence[Step], end: Exit | None = None, task: Task = TASK) -> list[Fact]:
    """Return the facts that `adapter` finds in a recording; with `end` also those of the program's end."""
    dialogue = adapter.dialogue(task)
    facts: list[Fact] = []
    if not any(step.written for step in steps):
        facts += dialogue.begin().facts
        facts += dialogue.prompt(Prompt("replayed-1", "(not recorded)")).facts
    for step in steps:
        facts += (dialogue.observe(step.line) if step.written else dialogue.receive(step.line)).facts
    if end is not None:
        facts += dialogue.ended(end).facts
    return facts


def summarize(facts: Sequence[Fact]) -> Summary:
    """Return what a session would show after `facts`."""
    state, reason, message = State.RUNNING, None, ""
    conversation: str | None = None
    turns = 0
    usage = Usage()
    requests: list[InputRequest] = []
    waiting: set[str] = set()
    events: list[EventData] = []
    for fact in facts:
        match fact:
            case ConversationNamed():
                conversation = fact.conversation_id
            case UsageSeen():
                usage = fact.usage
            case Asked():
                requests.append(fact.request)
                waiting.add(fact.request.id)
            case Withdrawn():
                waiting.discard(fact.request_id)
            case InputAnswered():
                waiting.discard(fact.input_request_id)
                events.append(fact)
            case TurnEnded():
                turns += 1
                state, reason, message = _state_after(fact), fact.reason or Reason.TURN_ENDED, fact.text
            case EventData():
                events.append(fact)
    if waiting:
        state, reason, message = State.WAITING_FOR_USER, None, ""
    return Summary(state, reason, message, conversation, turns, usage, requests, events)


def _state_after(ended: TurnEnded) -> State:
    match ended.reason:
        case None:
            return State.COMPLETED
        case Reason.USER_STOPPED:
            return State.STOPPED
        case _:
            return State.FAILED
