"""Whatever a program writes, its adapter goes on: recordings with values taken out and others put in, and with lines
of other programs, never raise, and the program's end ends its turn.
"""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from orch_server.agents.adapter import Exit, Prompt
from orch_server.agents.replay import TASK, Step, read_recording
from tests.agents.test_recordings import ADAPTERS, cases

OTHERS: tuple[Any, ...] = (None, 0, -1, 1e300, True, "", "x", "\ud800", [], [1], {}, {"a": 1})
OF_OTHERS = 40
"""Lines of other programs that are mixed into each recording."""


@pytest.mark.parametrize("folder", ADAPTERS)
def test_no_message_raises(folder: str) -> None:
    dice = random.Random(folder)
    adapter = ADAPTERS[folder]
    foreign = [step for path in cases() if path.parent.name != folder for step in _steps(path)]
    for path in (path for path in cases() if path.parent.name == folder):
        dialogue = adapter.dialogue(TASK)
        dialogue.begin()
        dialogue.prompt(Prompt("p1", "text"))
        steps = [*_steps(path), *dice.sample(foreign, OF_OTHERS)]
        dice.shuffle(steps)
        for step in steps:
            line = _damaged(step.line, dice)
            if step.written:
                dialogue.observe(line)
            else:
                dialogue.receive(line)
            dialogue = adapter.dialogue(TASK, json.loads(json.dumps(dialogue.state)))
        dialogue.ended(Exit(code=1))
        assert not dialogue.busy


def _steps(path: Path) -> list[Step]:
    return read_recording(path.read_bytes())[:100]


def _damaged(line: str, dice: random.Random) -> str:
    try:
        return json.dumps(_changed(json.loads(line), dice))
    except ValueError:
        return line


def _changed(value: Any, dice: random.Random) -> Any:
    if dice.random() < 0.08:
        return dice.choice(OTHERS)
    if isinstance(value, dict):
        return {name: _changed(part, dice) for name, part in value.items() if dice.random() > 0.05}
    if isinstance(value, list):
        return [_changed(part, dice) for part in value]
    return value
