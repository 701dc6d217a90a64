"""Every event reads as a line for a person; nothing in it can move a cursor."""

import json

import pytest

from orch_server.domain.events import EVENT_TYPES
from orch_server.domain.readable import event_line, harmless, is_empty
from tests.domain.test_events import GOLDEN

FRAME = {"seq": 7, "at": "2026-01-02T03:04:05.678Z", "sessionId": "u4jvngcvinm6"}
NOT_FOR_PEOPLE = {"collision.detected", "collision.cleared"}


@pytest.mark.parametrize("name", sorted(set(EVENT_TYPES) - NOT_FOR_PEOPLE))
def test_an_event_reads_as_a_line_and_not_as_json(name: str) -> None:
    data = json.loads((GOLDEN / f"{name}.json").read_text())
    line = event_line({**FRAME, "type": name, "data": data})
    assert line.startswith("     7  03:04:05  u4jvngcvinm6  ")
    assert "{" not in line
    assert "\n" not in line


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_an_event_of_a_purged_session_reads_as_a_line(name: str) -> None:
    event = {**FRAME, "type": name, "data": {}}
    assert name in event_line(event)
    assert is_empty(event) == (name in {"agent.message", "agent.thought"})


def test_what_an_agent_wrote_is_shown_harmlessly() -> None:
    assert harmless("a\x1b[2Jb\u202ec\x85\n") == "a␛[2Jb<202E>c<0085>␊"
    assert harmless("a\tb\n", keep="\t\n") == "a\tb\n"
