"""Whatever a program writes, its adapter goes on: recordings with values taken out and others put in, and with lines
of other programs, never raise, and the program's end ends its turn.
"""

import json
import random
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orch_server.agents.adapter import Exit, Prompt
from orch_server.agents.replay import TASK, Step, read_recording
from orch_server.domain.events import EVENT_TYPES
from orch_server.domain.session import ENDED
from orch_server.services.replay import Recording, replay_session
from tests.agents.test_recordings import ADAPTERS, cases

OTHERS: tuple[Any, ...] = (None, 0, -1, 1e300, True, "", "x", "\ud800", [], [1], {}, {"a": 1})
OF_OTHERS = 40
"""Lines of other programs that are mixed into each recording."""
TIMES = (0, 1, 1, 1, 1, 1, 1, 2)
"""How often a line may come."""


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


@pytest.mark.parametrize("folder", ADAPTERS)
def test_what_is_told_of_any_message_can_be_stored_and_read(folder: str) -> None:
    dice = random.Random(folder)
    for path in (path for path in cases() if path.parent.name == folder):
        steps = [
            replace(step, line=_damaged(step.line, dice)) for step in _steps(path) for _ in range(dice.choice(TIMES))
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # pydantic's word for a value of another type than the field's
            replayed = replay_session(ADAPTERS[folder], Recording(steps, Exit(code=1)))
            for event in replayed.events:
                told = json.loads(event.model_dump_json(by_alias=True))
                EVENT_TYPES[event.type].model_validate(told["data"])
        assert replayed.session.state in ENDED
