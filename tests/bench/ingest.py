"""Lines taken in a second: the log of a run becomes committed events at one subscriber.

The hub's own parts do the work, in this process: the loop of a live run, the store, the feed, a client's connection.
The reference is the very same loop over the same log, with a stand-in for the adapter that understands nothing.
"""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

from orch_server.agents.adapter import Adapter, Answer, Capabilities, Dialogue, Exit, Launch, Output, Prompt, Task
from orch_server.domain.events import AgentLog
from orch_server.domain.ids import random_id
from orch_server.domain.session import Action, Policy, State
from orch_server.endpoints.serve import tune
from orch_server.hub.connection import Connection
from orch_server.hub.hub import Hub
from orch_server.services.context import Context
from orch_server.services.conversation import Conversation
from orch_server.services.live import LiveRun, TransactionLedger
from orch_server.settings.places import find_places
from orch_server.store.records import RunRow, SessionRecord
from orch_server.store.transaction import Transaction
from tests.bench.measure import Line, Samples, Scale, at_least, compare
from tests.bench.scene import orch_home
from tests.bench.wire import INITIALIZE, frame
from tests.home import OrchHome


def run(scale: Scale) -> Iterator[Line]:
    """Measure the ACP adapter."""
    lines = 5_000 if scale.quick else 20_000
    with orch_home() as home:
        home.cli("hub", "stop")
        real, bare = asyncio.run(_measure(home, scale.rounds, lines))
    what = f"lines ingested a second, {lines:,} lines in the log"
    yield compare("ingest", what, "1/s", real, "the same loop, no adapter", bare, at_least(0.4))


async def _measure(home: OrchHome, rounds: int, lines: int) -> tuple[Samples, Samples]:
    real, bare = Samples(), Samples()
    async with hub_here(home) as (hub, context), subscriber(hub):
        context.adapters = {**context.adapters, "none": NoAdapter()}
        for number in range(-1, rounds):
            for agent, samples in (("demo", real), ("none", bare)):
                rate = await _take_in(context, agent, lines)
                if number >= 0:
                    samples.values.append(rate)
    return real, bare


@contextlib.asynccontextmanager
async def hub_here(home: OrchHome) -> AsyncIterator[tuple[Hub, Context]]:
    """Run the hub of `home` in this process, with no socket."""
    hub = Hub(find_places(home.environment), home.environment)
    await hub.start()
    tune()
    context = hub._context
    assert context is not None
    try:
        yield hub, context
    finally:
        hub.leave()
        await hub.until_left()


async def attach(hub: Hub) -> tuple[socket.socket, Connection]:
    """Attach a client that subscribes to everything; return its end, with nothing more to read but events, and ours."""
    ours, theirs = socket.socketpair()
    connection = hub.attach({})
    ours.setblocking(False)
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(lambda: connection, ours)
    theirs.sendall(frame({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}))
    theirs.sendall(frame({"jsonrpc": "2.0", "id": 2, "method": "orch/event/subscribe", "params": {}}))
    answers = b""
    while b'"lastSeq"' not in answers:
        answers += await loop.sock_recv(theirs, 1 << 16)
    return theirs, connection


@contextlib.asynccontextmanager
async def subscriber(hub: Hub) -> AsyncIterator[None]:
    """Attach a client that subscribes to everything and is read by another process."""
    theirs, connection = await attach(hub)
    theirs.setblocking(True)
    reader = subprocess.Popen(["cat"], stdin=theirs.fileno(), stdout=subprocess.DEVNULL)
    theirs.close()
    try:
        yield
        assert connection.subscriptions, "the reader fell behind, so the subscription was dropped"
    finally:
        connection.close()
        await asyncio.to_thread(reader.wait)


async def _take_in(context: Context, agent: str, lines: int) -> float:
    """Write a run's log, let the hub take it in to its end, and return the lines a second."""
    adapter = context.adapters[agent]
    project = context.store.projects()[0]
    session_id, run_id = random_id(), random_id(16)
    task = Task(session_id, run_id, Action.ANALYZE, Policy.DENY, project.path, new_conversation_id=str(uuid.uuid4()))

    def begin(transaction: Transaction) -> RunRow:
        record = SessionRecord(
            id=session_id,
            project_id=project.id,
            project_slug=project.slug,
            command_id=random_id(),
            agent=agent,
            action=Action.ANALYZE,
            title="ingest",
            prompt="ingest",
            policy=Policy.DENY,
            state=State.RUNNING,
            created_at=transaction.now,
            updated_at=transaction.now,
            prompt_id=str(uuid.uuid4()),
        )
        session = transaction.add_session(record)
        row = RunRow(run_id, session_id, "running", created_at=transaction.now)
        transaction.add_run(row)
        dialogue = adapter.dialogue(task)
        Conversation(
            session, dialogue, TransactionLedger(transaction, session, row, [], set()), root=project.path
        ).begin(Prompt(record.prompt_id, "ingest"))
        row.adapter_state = dialogue.state
        transaction.save_progress(row)
        return row

    row = await context.store.write(begin)
    live = LiveRun(context, row, task, adapter)
    live.bundle.create()
    with open(live.bundle.out_log, "wb") as log:
        log.write(_log(lines))
    open(live.bundle.err_log, "wb").close()
    last_seq = context.feed.last_seq
    began = time.perf_counter()
    live.follow(None)
    await live.finished
    took = time.perf_counter() - began
    assert context.feed.last_seq - last_seq >= lines, "a line gave no event"
    os.unlink(live.bundle.out_log)
    return lines / took


def _log(lines: int) -> bytes:
    """Return what an agent of the Agent Client Protocol writes while it says that many pieces of a message."""
    handshake: list[dict[str, Any]] = [
        {"id": 1, "result": {"protocolVersion": 1, "agentCapabilities": {}}},
        {"id": 2, "result": {"sessionId": "ingest"}},
    ]
    texts = (f"word {number} of what the agent has to say about the code it reads, " for number in range(lines))
    news = (
        {
            "method": "session/update",
            "params": {
                "sessionId": "ingest",
                "update": {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}},
            },
        }
        for text in texts
    )
    return b"".join(json.dumps({"jsonrpc": "2.0", **line}).encode() + b"\n" for line in (*handshake, *news))


class NoAdapter(Adapter):
    """An adapter that passes every line on as it is."""

    name = "none"
    display_name = "No adapter"
    programs = ("true",)
    protocol = "command"
    capabilities = Capabilities(
        resume=False, follow_up="none", approvals=False, questions=False, read_only=False, model=False
    )

    def launch(self, task: Task) -> Launch:
        """Start nothing."""
        return Launch([])

    def dialogue(self, task: Task, state: dict[str, Any] | None = None) -> Dialogue:
        """Return a dialogue without memory."""
        return NoDialogue(task, state or {})


class NoDialogue(Dialogue):
    """Says nothing and understands nothing."""

    busy = False

    def begin(self) -> Output:
        """Say nothing."""
        return Output()

    def receive(self, line: str) -> Output:
        """Pass a line on."""
        return Output([AgentLog.model_construct(stream="raw", text=line)])

    def prompt(self, prompt: Prompt) -> Output:
        """Say nothing."""
        return Output()

    def answer(self, request_id: str, answer: Answer) -> Output:
        """Say nothing."""
        return Output()

    def interrupt(self) -> Output:
        """Say nothing."""
        return Output()

    def observe(self, line: str) -> Output:
        """Say nothing."""
        return Output()

    def ended(self, end: Exit) -> Output:
        """Say nothing."""
        return Output()
