"""Recorded conversations with agent programs, fed through the adapters again: a bug report is a test case.

A recording is a text file in one of two forms, or the bundle of a run:

* `<case>.jsonl`: what the program wrote on its standard output, a line each;
* `<case>.io.jsonl`: both directions, `> SECONDS LINE` (written to the program) and `< SECONDS LINE` (read from it);
* a bundle's `out.log` with the lines of its `in.jsonl` in their places.

What is written in a recording was decided by whoever recorded it, with numbers of its own. So the dialogue does not
drive; it is told of every written line with `observe` and listens. In a file of one direction nothing is told, and
the dialogue acts on its own: it begins, is given one prompt, and what it writes goes nowhere.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from orch_server.agents.adapter import Adapter, Exit, Fact, Prompt, Task
from orch_server.domain.session import Action, Policy

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


def read_recording(data: bytes) -> list[Step]:
    """Return the steps of a recording of either form."""
    lines = data.decode("utf-8", "replace").split("\n")
    if lines[-1] == "":
        lines.pop()
    matches = [_BOTH_WAYS.fullmatch(line) for line in lines]
    if 2 * sum(match is not None for match in matches) > len(lines):  # a line or two may be torn
        return [Step(match[3], match[1] == ">", float(match[2])) for match in matches if match]
    return [Step(line) for line in lines]


def read_journal(output: bytes, journal: bytes) -> list[Step]:
    """Return the steps of a run bundle: its out.log, and each line of its in.jsonl where its writer had read up to.

    A line that the agent never got is no step; nor is one that is torn, which was never acted upon.
    """
    written: list[tuple[int, str, Step]] = []
    failed: set[str] = set()
    for text in journal.splitlines():
        try:
            entry = orjson.loads(text)
            if "failed" in entry:
                failed.add(str(entry["failed"]))
            elif "line" in entry:
                step = Step(str(entry["line"]), True, float(entry.get("at") or 0))
                written.append((int(entry.get("seen") or 0), str(entry["id"]), step))
        except (KeyError, TypeError, ValueError):
            continue
    steps: list[Step] = []
    offset = 0
    due = [(seen, step) for seen, name, step in written if name not in failed]
    for line in output.split(b"\n"):
        while due and due[0][0] <= offset:
            steps.append(due.pop(0)[1])
        offset += len(line) + 1
        if line:
            steps.append(Step(line.decode("utf-8", "replace"), at=steps[-1].at if steps else 0.0))
    return steps + [step for _, step in due]


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
