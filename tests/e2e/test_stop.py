"""Stop: nothing of the agent is left, whenever it comes, however often, whoever asks."""

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import psutil
import pytest

from tests.home import OrchHome, is_gone
from tests.lsp import Client
from tests.marks import NIGHTLY
from tests.waiting import wait_until, wait_until_async

Connect = Callable[..., Awaitable[Client]]
PATIENCE = 60.0
STOP_SECONDS = 10.0
CANCELLED = -32800


def test_nothing_is_left_of_an_agent_that_defends_itself(home: OrchHome) -> None:
    prompt = "[[ignore-signals]] [[spawn]] [[spawn-detached]] [[say ready]] [[hang]]"
    session_id = home.send("demo", "implement", "shop", prompt)
    wait_until(lambda: "ready" in _words(home, session_id), PATIENCE)
    said = _words(home, session_id)
    agent = psutil.Process(home.session(session_id)["pid"])
    runner = agent.parent()
    assert runner is not None
    children = [psutil.Process(int(pid)) for pid in re.findall(r"spawned (\d+)", said)]
    assert len(children) == 2
    assert os.getsid(children[1].pid) not in {os.getsid(agent.pid), os.getsid(runner.pid)}
    began = time.monotonic()
    home.cli("stop", session_id)
    seconds = time.monotonic() - began
    assert all(is_gone(process.pid) for process in [agent, *children])
    session = home.session(session_id)
    assert (session["state"], session["reason"], session["pid"]) == ("stopped", "user_stopped", None)
    wait_until(lambda: is_gone(runner.pid))
    wait_until(lambda: [process.pid for process in home.processes()] == [home.hub_pid()])
    print(f"an agent that ignores signals and its two children were gone in {seconds:.1f} s")
    assert seconds < STOP_SECONDS


MOMENTS = [
    "reply",
    pytest.param("worktree.creating", marks=NIGHTLY),
    "worktree.created",
    pytest.param("run.started", marks=NIGHTLY),
]


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_session_can_be_stopped_at_every_step_of_its_creation(
    home: OrchHome, connect: Connect, moment: str
) -> None:
    client = await connect()
    await client.call("orch/event/subscribe", {})
    sessions = []
    for _ in range(4):
        params = {"agent": "demo", "action": "implement", "project": "shop", "prompt": "[[say never mind]] [[hang]]"}
        session_id = (await client.call("orch/session/start", params))["id"]
        sessions.append(session_id)
        if moment != "reply":
            await wait_until_async(partial(_seen, client, session_id, moment), PATIENCE)
        stopped = await client.call("orch/session/stop", {"session": session_id})
        assert (stopped["state"], stopped["reason"], stopped["pid"]) == ("stopped", "user_stopped", None)
    await _only_the_hub_is_left(home, client)
    assert (await client.call("orch/hub/status"))["runs"] == 0
    for session_id in sessions:
        found = await client.call("orch/session/get", {"session": session_id})
        assert (found["state"], found["pid"]) == ("stopped", None)
        await client.call("orch/session/resume", {"session": session_id, "text": "[[say here I am]]"})
        await wait_until_async(partial(_has_said, client, session_id, "here I am"), PATIENCE)


@pytest.mark.parametrize("milliseconds", [0, 3, 8])
async def test_a_start_that_is_cancelled_is_stopped_or_never_was(
    home: OrchHome, connect: Connect, milliseconds: int
) -> None:
    client = await connect()
    start = {"agent": "demo", "action": "implement", "project": "shop", "prompt": "[[hang]]"}
    cancelled, answered = 0, []
    for number in range(4):
        id_ = f"start {number}"
        reply = client.expect(id_)
        client.send({"jsonrpc": "2.0", "id": id_, "method": "orch/session/start", "params": start})
        await asyncio.sleep(milliseconds / 1000)
        client.notify("$/cancelRequest", {"id": id_})
        answer = await asyncio.wait_for(reply, PATIENCE)
        if "error" in answer:
            assert answer["error"]["code"] == CANCELLED
            cancelled += 1
        else:
            answered.append(answer["result"]["id"])
    for session_id in answered:
        await client.call("orch/session/stop", {"session": session_id})

    async def all_stopped() -> bool:
        items = (await client.call("orch/session/list"))["items"]
        return {item["state"] for item in items} <= {"stopped"}

    async def wait() -> None:
        while not await all_stopped():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), PATIENCE)
    await _only_the_hub_is_left(home, client)
    print(f"cancelled after {milliseconds} ms: {cancelled} cancelled, {len(answered)} answered before")


async def test_stopping_again_changes_nothing(home: OrchHome, connect: Connect) -> None:
    client = await connect()
    session_id = await _hanging(client)
    await client.call("orch/session/stop", {"session": session_id})
    stopped = _ending(await client.call("orch/session/get", {"session": session_id}))
    assert _ending(await client.call("orch/session/stop", {"session": session_id})) == stopped
    assert _ending(await client.call("orch/session/stop", {"session": session_id})) == stopped
    assert _stops(client, session_id) == 1


async def test_stopping_what_has_ended_changes_nothing(home: OrchHome, connect: Connect) -> None:
    client = await connect()
    completed = home.send("demo", "implement", "shop", "[[say done]]")
    failed = home.send("demo", "implement", "shop", "[[exit 3]]")
    assert home.wait(completed)["state"] == "completed"
    assert home.wait(failed)["reason"] == "exited_without_result"
    await client.call("orch/event/subscribe", {})
    for session_id, state, reason in (
        (completed, "completed", "turn_ended"),
        (failed, "failed", "exited_without_result"),
    ):
        stopped = await client.call("orch/session/stop", {"session": session_id})
        assert (stopped["state"], stopped["reason"], stopped["pid"]) == (state, reason, None)
        assert _ending(await client.call("orch/session/stop", {"session": session_id})) == _ending(stopped)
        assert not _seen(client, session_id, "session.state_changed")
    await _only_the_hub_is_left(home, client)


async def test_two_clients_stop_one_session_at_once(home: OrchHome, connect: Connect) -> None:
    first, second = await connect(), await connect()
    session_id = await _hanging(first)
    replies = await asyncio.gather(
        *(client.call("orch/session/stop", {"session": session_id}) for client in (first, second, first, second))
    )
    assert {(reply["state"], reply["reason"], reply["pid"]) for reply in replies} == {("stopped", "user_stopped", None)}
    assert _stops(first, session_id) == 1


async def _hanging(client: Client) -> str:
    await client.call("orch/event/subscribe", {})
    params = {"agent": "demo", "action": "implement", "project": "shop", "prompt": "[[say begun]] [[hang]]"}
    session_id: str = (await client.call("orch/session/start", params))["id"]
    await client.until(lambda _: "begun" in _said(client, session_id), timeout=PATIENCE)
    return session_id


async def _only_the_hub_is_left(home: OrchHome, client: Client) -> None:
    expected = {home.hub_pid(), client.process.pid}
    await wait_until_async(lambda: {process.pid for process in home.processes()} == expected, PATIENCE)


def _ending(session: dict[str, Any]) -> list[Any]:
    """Return how a session ended; what it changed may be kept a moment later."""
    return [session[name] for name in ("state", "reason", "message", "pid", "exitCode", "turns", "endedAt")]


def _stops(client: Client, session_id: str) -> int:
    return sum(
        event["type"] == "session.state_changed"
        and event["sessionId"] == session_id
        and event["data"]["to"] == "stopped"
        for event in client.events()
    )


def _seen(client: Client, session_id: str, type_: str) -> bool:
    return any(event["type"] == type_ and event["sessionId"] == session_id for event in client.events())


def _has_said(client: Client, session_id: str, words: str) -> bool:
    return words in _said(client, session_id)


def _said(client: Client, session_id: str) -> str:
    return "".join(
        event["data"]["text"]
        for event in client.events()
        if event["type"] == "agent.message" and event["sessionId"] == session_id
    )


def _words(home: OrchHome, session_id: str) -> str:
    events: list[dict[str, Any]] = home.events("agent.message", session=session_id)
    return "".join(event["data"]["text"] for event in events)
