"""Several clients at once: all see the same, and one that does not read is nobody's problem but its own."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psutil
import pytest
import pytest_lsp
from lsprotocol import types

from tests.home import BIN, OrchHome
from tests.lsp import Client
from tests.waiting import wait_until_async

Connect = Callable[..., Awaitable[Client]]
PATIENCE = 90.0
FLOOD_BYTES = 10_000_000
MOST_GROWTH = 60 * 1024 * 1024
SLOWEST_SECONDS = 2.0
ALL_STATES = ["created", "running", "waiting_for_user", "running", "completed", "running", "completed"]


@pytest.fixture
async def editor(home: OrchHome) -> AsyncIterator[pytest_lsp.LanguageClient]:
    """A real LSP client, not initialized."""
    editor = pytest_lsp.LanguageClient()
    await editor.start_io(f"{BIN}/orch-server", env=home.environment)
    yield editor
    await editor.stop()  # type: ignore[no-untyped-call]


@pytest.fixture
async def terminal(home: OrchHome) -> AsyncIterator[asyncio.subprocess.Process]:
    """A terminal in which `orch events --follow` runs."""
    process = await asyncio.create_subprocess_exec(
        *(f"{BIN}/orch", "events", "--follow", "--after", "0", "--type", "session.state_changed", "--json"),
        env=home.environment,
        stdout=asyncio.subprocess.PIPE,
    )
    yield process
    process.kill()
    await process.wait()


async def test_an_editor_and_the_command_line_see_a_session_move_alike(
    home: OrchHome, editor: pytest_lsp.LanguageClient, terminal: asyncio.subprocess.Process
) -> None:
    in_editor: list[str] = []

    def on_event(params: Any) -> None:
        if params.event.type == "session.state_changed":
            in_editor.append(params.event.data.to)

    editor.feature("orch/event")(on_event)
    reply = await editor.initialize_session(
        types.InitializeParams(capabilities=types.ClientCapabilities(), process_id=os.getpid())
    )
    assert reply.server_info is not None
    assert reply.server_info.name == "orch-server"
    assert reply.capabilities.experimental is not None
    assert reply.capabilities.experimental["orch"]["protocolVersion"] == 1
    ask: Callable[[str, Any], Awaitable[Any]] = editor.protocol.send_request_async
    await ask("orch/event/subscribe", {"after": 0})
    assert terminal.stdout is not None

    params = {"agent": "demo", "action": "implement", "project": "shop", "prompt": "[[approve build]] [[say done]]"}
    session = await ask("orch/session/start", params)
    await wait_until_async(lambda: in_editor[-1:] == ["waiting_for_user"], PATIENCE)
    await asyncio.to_thread(home.cli, "respond", session.id, "allow")
    await wait_until_async(lambda: in_editor[-1:] == ["completed"], PATIENCE)
    await ask("orch/session/followUp", {"session": session.id, "text": "[[say more]]"})
    in_terminal = [
        json.loads(await asyncio.wait_for(terminal.stdout.readline(), PATIENCE))["data"]["to"] for _ in ALL_STATES
    ]
    await wait_until_async(lambda: len(in_editor) >= len(ALL_STATES), PATIENCE)
    assert in_editor == in_terminal == ALL_STATES
    assert home.session(session.id)["state"] == (await ask("orch/session/get", {"session": session.id})).state
    await editor.shutdown_session()


@pytest.mark.timeout(300)
async def test_one_that_does_not_read_neither_slows_the_other_nor_grows_the_hub(
    home: OrchHome, connect: Connect
) -> None:
    reader, sleeper = await connect(), await connect()
    for client in (reader, sleeper):
        await client.call("orch/event/subscribe", {"after": 0})
    await sleeper.until(lambda _: sleeper.events())
    sleeper.stop_reading()
    hub = psutil.Process(home.hub_pid())
    start = {"agent": "demo", "action": "implement", "project": "shop"}
    warm_up = await reader.call("orch/session/start", {**start, "prompt": "[[flood 100000]]"})
    await reader.until(lambda _: _is_over(reader, warm_up["id"]), timeout=PATIENCE)
    before = most = hub.memory_info().rss

    flood = await reader.call("orch/session/start", {**start, "prompt": f"[[flood {FLOOD_BYTES}]]"})
    seconds = []
    while not _is_over(reader, flood["id"]):
        asked = time.monotonic()
        await reader.call("orch/hub/status")
        seconds.append(time.monotonic() - asked)
        most = max(most, hub.memory_info().rss)
        await asyncio.sleep(0.002)
    p99 = sorted(seconds)[int(len(seconds) * 0.99)]
    grown = hub.memory_info().rss - before
    print(
        f"{len(seconds)} requests while {FLOOD_BYTES} bytes flood: p99 {p99 * 1000:.0f} ms;"
        f" the hub grew by {grown / 1024 / 1024:.0f} MiB, at most {(most - before) / 1024 / 1024:.0f}"
    )
    assert p99 < SLOWEST_SECONDS
    assert grown < MOST_GROWTH

    seen = len(sleeper.events())
    assert seen < len(reader.events()) / 2
    sleeper.read_on()
    lost = await sleeper.until(_loss, timeout=PATIENCE)
    assert lost["resumeAfter"] == sleeper.events()[-1]["seq"]
    assert not _is_over(sleeper, flood["id"])
    await sleeper.call("orch/event/subscribe", {"after": lost["resumeAfter"]})
    await sleeper.until(lambda _: _is_over(sleeper, flood["id"]), timeout=PATIENCE)
    last = (await sleeper.call("orch/hub/status"))["pid"], sleeper.events()[-1]["seq"]
    assert last[0] == hub.pid
    await reader.until(lambda _: reader.events()[-1]["seq"] >= last[1])
    heard, told = sleeper.events(), reader.events()
    assert [event["seq"] for event in heard] == list(range(1, len(heard) + 1))
    assert heard == told[: len(heard)]
    flooded = sum(
        len(event["data"]["text"])
        for event in heard
        if event["type"] == "agent.message" and event["sessionId"] == flood["id"]
    )
    assert flooded == FLOOD_BYTES
    print(f"{seen} events taken before it stopped reading, lost after {lost['resumeAfter']}, {len(heard)} in all")


def _is_over(client: Client, session_id: str) -> bool:
    return any(
        event["type"] == "session.state_changed"
        and event["sessionId"] == session_id
        and event["data"]["to"] == "completed"
        for event in client.events()[-50:]
    )


def _loss(client: Client) -> Any:
    return next((note["params"] for note in client.notifications if note["method"] == "orch/event/lost"), None)
