"""A conversation, put together from its events."""

from typing import Any

import orjson

from orch_server.domain.events import AgentMessage
from orch_server.services import transcript
from orch_server.services.transcript import _Assembler
from orch_server.store.records import StoredEvent
from orch_server.store.transaction import Transaction
from tests.services.world import World


def event(seq: int, type_: str, **data: Any) -> StoredEvent:
    whole = {"seq": seq, "type": type_, "turn": 1, "at": "2026-01-02T03:04:05.678Z", "data": data}
    return StoredEvent(seq, type_, "project", "session", orjson.dumps(whole))


def message(seq: int, text: str, *, of: str = "m", final: bool = False) -> StoredEvent:
    return event(seq, "agent.message", messageId=of, text=text, final=final)


def told(*events: StoredEvent) -> list[str]:
    assembler = _Assembler()
    assembler.take(events)
    return [entry.text for entry in assembler.finish()]


def test_pieces_that_interleave_are_joined() -> None:
    pieces = [message(1, "on"), message(2, "x", of="n"), message(3, "e"), message(4, "", final=True)]
    assert told(*pieces) == ["one", "x"]


def test_a_tool_has_its_result() -> None:
    started = event(1, "agent.tool_started", toolId="t", title="Run", name="bash")
    ended = event(2, "agent.tool_finished", toolId="t", ok=False, output="no such file\n")
    assert told(started, ended) == ["Run\nfailed: no such file"]
    assert told(event(3, "agent.tool_finished", toolId="u", ok=True, output="done")) == ["done"]


def test_what_is_open_at_the_end_is_told() -> None:
    assert told(message(1, "cut o")) == ["cut o"]


def test_a_flood_costs_what_it_weighs() -> None:
    """Thirty megabytes in pieces. Joined one after the other they took minutes, on the loop that serves everyone."""
    (text,) = told(*(message(seq, "x" * 300) for seq in range(100_000)))
    assert len(text) == 30_000_000


async def test_what_is_longer_than_memory_is_told_in_pieces_and_whole(world: World) -> None:
    session = await world.work()
    after = world.context.store.last_seq
    said = [f"{number:09}\n" * 10_000 for number in range(100)]

    def work(transaction: Transaction) -> None:
        draft = transaction.session(session.id)
        for text in said:
            transaction.emit(AgentMessage(message_id="m", text=text, final=False), session=draft)

    await world.context.store.write(work)
    until = world.context.store.last_seq
    found = [piece async for piece in transcript.pieces(world.context, session.id, after=after, until=until)]
    assert max(len(entry.text) for piece in found for entry in piece.entries) < transcript.LARGEST + len(said[0])
    assert [piece.seq for piece in found][-1] == until
    assert "".join(entry.text for piece in found for entry in piece.entries) == "".join(said)


async def test_a_piece_ends_where_nothing_is_half_told(world: World) -> None:
    session = await world.work()
    after = world.context.store.last_seq
    text = "x" * (transcript.LARGE // 4)

    def work(transaction: Transaction) -> None:
        draft = transaction.session(session.id)
        for name in map(str, range(6)):
            transaction.emit(AgentMessage(message_id=name, text=text, final=False), session=draft)
            transaction.emit(AgentMessage(message_id=name, text=text, final=True), session=draft)

    await world.context.store.write(work)
    until = world.context.store.last_seq
    found = [piece async for piece in transcript.pieces(world.context, session.id, after=after, until=until)]
    assert len(found) > 1
    assert [entry.text for piece in found for entry in piece.entries] == [text * 2] * 6
