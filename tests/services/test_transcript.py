"""A conversation, put together from its events."""

from typing import Any

import orjson

from orch_server.services.transcript import _Assembler
from orch_server.store.records import StoredEvent


def event(seq: int, type_: str, **data: Any) -> StoredEvent:
    whole = {"seq": seq, "type": type_, "turn": 1, "at": "2026-01-02T03:04:05.678Z", "data": data}
    return StoredEvent(seq, type_, "project", "session", orjson.dumps(whole))


def message(seq: int, text: str, *, of: str = "m", final: bool = False) -> StoredEvent:
    return event(seq, "agent.message", messageId=of, text=text, final=final)


def test_pieces_that_interleave_are_joined() -> None:
    taken = _Assembler().take([message(1, "on"), message(2, "x", of="n"), message(3, "e"), message(4, "", final=True)])
    assert [(entry.seq, entry.text) for entry in taken] == [(1, "one")]


def test_a_tool_has_its_result() -> None:
    assembler = _Assembler()
    started = event(1, "agent.tool_started", toolId="t", title="Run", name="bash")
    ended = event(2, "agent.tool_finished", toolId="t", ok=False, output="no such file\n")
    assert [entry.text for entry in assembler.take([started, ended])] == ["Run\nfailed: no such file"]
    alone = event(3, "agent.tool_finished", toolId="u", ok=True, output="done")
    assert [entry.text for entry in assembler.take([alone])] == ["done"]


def test_what_is_open_at_the_end_is_told() -> None:
    assembler = _Assembler()
    assert list(assembler.take([message(1, "cut o")])) == []
    assert [entry.text for entry in assembler.rest()] == ["cut o"]


def test_a_flood_costs_what_it_weighs() -> None:
    """Thirty megabytes in pieces. Joined one after the other they took minutes, on the loop that serves everyone."""
    assembler = _Assembler()
    assert list(assembler.take(message(seq, "x" * 300) for seq in range(100_000))) == []
    (entry,) = assembler.rest()
    assert len(entry.text) == 30_000_000
