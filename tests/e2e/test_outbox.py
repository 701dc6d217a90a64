"""What a hub promised an agent before it died reaches it once; what a dead runner leaves is explained."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.home import OrchHome, is_gone
from tests.lsp import Client, Failed
from tests.marks import NIGHTLY
from tests.waiting import wait_until, wait_until_async

Connect = Callable[..., Awaitable[Client]]
PATIENCE = 60.0
HELD_UP_SECONDS = 3.0
BUSY = -32016


@pytest.mark.parametrize("runner_wakes", ["before the next hub", "after the next hub"])
async def test_an_answer_that_was_committed_and_not_sent_is_sent_once(
    home: OrchHome, connect: Connect, runner_wakes: str
) -> None:
    session_id = home.send("demo", "implement", "shop", "[[approve run the build]] [[hang]]")
    session = home.wait(session_id)
    assert session["state"] == "waiting_for_user"
    bundle = home.bundle(session_id)
    request = session["inputRequests"][0]["id"]
    client = await connect()
    answer = {"session": session_id, "inputRequestId": request, "optionId": "allow", "requestKey": "answer"}
    with _stopped(_runner_of(bundle)):
        replied = await client.call("orch/session/respond", answer)
        assert (replied["state"], replied["inputRequests"]) == ("running", [])
        assert home.query("SELECT count(*) FROM outbox") == [(1,)]
        assert _answers(bundle) == 0
        home.kill_hub()
        assert await client.gone() == 75
        if runner_wakes == "after the next hub":
            client = await connect()
            assert home.query("SELECT count(*) FROM outbox") == [(1,)]
    client = await connect()
    await client.call("orch/event/subscribe", {"after": 0})
    await client.until(lambda _: "allow" in _said(client, session_id), timeout=PATIENCE)
    again = await client.call("orch/session/respond", answer)
    assert again["id"] == session_id
    await wait_until_async(lambda: home.query("SELECT count(*) FROM outbox") == [(0,)], PATIENCE)
    assert _answers(bundle) == 1
    assert _said(client, session_id).count("allow") == 1
    answered = [event for event in client.events() if event["type"] == "input.answered"]
    assert [event["data"]["inputRequestId"] for event in answered] == [request]


async def test_a_follow_up_that_was_committed_and_not_sent_is_sent_once(home: OrchHome, connect: Connect) -> None:
    session_id = home.send("demo", "implement", "shop", "[[say first]]")
    assert home.wait(session_id)["state"] == "completed"
    bundle = home.bundle(session_id)
    client = await connect()
    with _stopped(_runner_of(bundle)):
        await client.call("orch/session/followUp", {"session": session_id, "text": "[[recall]]", "requestKey": "once"})
        home.kill_hub()
        assert await client.gone() == 75
    client = await connect()
    await client.call("orch/session/followUp", {"session": session_id, "text": "[[recall]]", "requestKey": "once"})
    await client.call("orch/event/subscribe", {"after": 0})
    await client.until(lambda _: "[[recall]]" in _said(client, session_id), timeout=PATIENCE)
    assert home.wait(session_id)["turns"] == 2
    assert _said(client, session_id).count('["[[say first]]", "[[recall]]"]') == 1
    assert [event["data"]["text"] for event in client.events() if event["type"] == "followup.delivered"] == [
        "[[recall]]"
    ]


@pytest.mark.parametrize("hub", [pytest.param("lives", marks=NIGHTLY), "is dead"])
def test_a_dead_runner_is_explained_while_its_agent_lives(home: OrchHome, hub: str) -> None:
    session_id = home.send("demo", "implement", "shop", "[[ignore-signals]] [[say begun]] [[hang]]")
    _wait_for_words(home, session_id, "begun")
    bundle = home.bundle(session_id)
    agent = home.session(session_id)["pid"]
    _kill_runner(home, bundle, hub)
    session = _until(home, session_id, lambda found: "unadopted" in found["attention"])
    assert session["state"] == "running"
    assert not is_gone(agent)
    os.kill(agent, signal.SIGKILL)
    session = _until(home, session_id, lambda found: found["state"] != "running")
    assert (session["state"], session["reason"], session["pid"]) == ("failed", "lost", None)
    assert session["attention"] == []
    assert [event["data"]["reason"] for event in _of_type(home, session_id, "run.lost")] == ["lost"]
    home.cli("resume", session_id, "[[recall]]")
    assert home.wait(session_id)["state"] == "completed"


def test_an_agent_without_its_runner_can_be_stopped(home: OrchHome) -> None:
    session_id = home.send("demo", "implement", "shop", "[[ignore-signals]] [[say begun]] [[hang]]")
    _wait_for_words(home, session_id, "begun")
    agent = home.session(session_id)["pid"]
    _kill_runner(home, home.bundle(session_id), "lives")
    wait_until(lambda: "unadopted" in home.session(session_id)["attention"], PATIENCE)
    home.cli("stop", session_id)
    session = home.session(session_id)
    assert (session["state"], session["reason"], session["attention"]) == ("stopped", "user_stopped", [])
    assert is_gone(agent)


@pytest.mark.parametrize("hub", [pytest.param("lives", marks=NIGHTLY), "is dead"])
def test_an_agent_that_outlives_its_runner_has_its_final_word(home: OrchHome, hub: str) -> None:
    session_id = home.send("demo", "implement", "shop", "[[say begun]] [[count 60 20]] [[say the end]]")
    _wait_for_words(home, session_id, "begun")
    bundle = home.bundle(session_id)
    _kill_runner(home, bundle, hub)
    agent = json.loads((bundle / "run.json").read_text())["agentPid"]
    wait_until(lambda: is_gone(agent), PATIENCE)
    session = _until(home, session_id, lambda found: found["pid"] is None)
    assert (session["state"], session["reason"], session["attention"]) == ("completed", "turn_ended", [])
    said = _words(home, session_id)
    assert said.endswith("the end")
    assert said.count("line 60\n") == 1
    assert len(_of_type(home, session_id, "run.lost")) == 1


@pytest.mark.parametrize("hub", [pytest.param("lives", marks=NIGHTLY), "is dead"])
def test_a_question_of_an_agent_without_its_runner_is_withdrawn(home: OrchHome, hub: str) -> None:
    session_id = home.send("demo", "implement", "shop", "[[ask Which colour? | Red | Blue]]")
    asked = home.wait(session_id)["inputRequests"][0]["id"]
    _kill_runner(home, home.bundle(session_id), hub)
    session = _until(home, session_id, lambda found: found["pid"] is None)
    assert (session["state"], session["reason"], session["inputRequests"]) == ("failed", "lost", [])
    withdrawn = _of_type(home, session_id, "input.withdrawn")
    assert [event["data"]["inputRequestId"] for event in withdrawn] == [asked]
    assert withdrawn[0]["data"]["reason"]


async def test_a_stopped_runner_holds_up_neither_the_hub_nor_the_others(home: OrchHome, connect: Connect) -> None:
    counting = home.send("demo", "implement", "shop", "[[count 0 20]]")
    hanging = [home.send("demo", "implement", "shop", "[[say begun]] [[hang]]") for _ in range(3)]
    for session_id in hanging:
        _wait_for_words(home, session_id, "begun")
    runners = [_runner_of(home.bundle(session_id)) for session_id in hanging]
    without = await _restart_seconds(home, connect)
    with contextlib.ExitStack() as stack:
        for runner in runners:
            stack.enter_context(_stopped(runner))
        held_up = await _restart_seconds(home, connect)
        client = await connect()
        await client.call("orch/event/subscribe", {"session": counting})
        await client.until(lambda _: len(client.events()) > 20, timeout=PATIENCE)
        await client.call("orch/session/stop", {"session": counting})
    print(f"the hub starts in {without:.2f} s, and in {held_up:.2f} s beside three stopped runners")
    assert held_up < without * 2 + HELD_UP_SECONDS
    await client.call("orch/event/subscribe", {"after": 0, "types": ["run.adopted"]})
    for session_id in hanging:
        await wait_until_async(partial(_adopted_twice, client, session_id), PATIENCE)
        assert (await client.call("orch/session/stop", {"session": session_id}))["state"] == "stopped"
    expected = {home.hub_pid(), client.process.pid}  # git may still look at what the turn left
    await wait_until_async(lambda: {process.pid for process in home.processes()} == expected, PATIENCE)


async def test_an_agent_whose_runner_does_not_answer_is_ended_by_stop_and_never_doubled(
    home: OrchHome, connect: Connect
) -> None:
    hanging = home.send("demo", "implement", "shop", "[[say begun]] [[hang]]")
    idle = home.send("demo", "implement", "shop", "[[say begun]]")
    for session_id in (hanging, idle):
        _wait_for_words(home, session_id, "begun")
    assert home.wait(idle)["state"] == "completed"
    pids = {session_id: home.session(session_id)["pid"] for session_id in (hanging, idle)}
    with contextlib.ExitStack() as stack:
        for session_id in (hanging, idle):
            stack.enter_context(_stopped(_runner_of(home.bundle(session_id))))
        home.kill_hub()
        client = await connect()
        with pytest.raises(Failed) as raised:
            await client.call("orch/session/followUp", {"session": idle, "text": "[[recall]]"})
        assert raised.value.code == BUSY
        stopped = await client.call("orch/session/stop", {"session": hanging})
        assert (stopped["state"], stopped["reason"], stopped["pid"]) == ("stopped", "user_stopped", None)
        assert is_gone(pids[hanging])
        assert (await client.call("orch/session/stop", {"session": idle}))["state"] == "completed"
        assert is_gone(pids[idle])
    await client.call("orch/session/followUp", {"session": idle, "text": "[[recall]]"})
    assert home.wait(idle)["turns"] == 2
    assert '["[[say begun]]", "[[recall]]"]' in _words(home, idle)


async def _restart_seconds(home: OrchHome, connect: Connect) -> float:
    home.kill_hub()
    began = time.monotonic()
    client = await connect()
    seconds = time.monotonic() - began
    await client.exit()
    return seconds


@contextlib.contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _kill_runner(home: OrchHome, bundle: Path, hub: str) -> None:
    runner = _runner_of(bundle)
    if hub == "is dead":
        home.kill_hub()
    os.kill(runner, signal.SIGKILL)
    wait_until(lambda: is_gone(runner))


def _runner_of(bundle: Path) -> int:
    pid: int = json.loads((bundle / "run.json").read_text())["pid"]
    return pid


def _answers(bundle: Path) -> int:
    """Count the answers to a request for leave that the runner wrote to its agent."""
    journal = (bundle / "in.jsonl").read_text().splitlines()
    written = [json.loads(json.loads(line)["line"]) for line in journal if "line" in json.loads(line)]
    return sum("outcome" in (message.get("result") or {}) for message in written)


def _adopted_twice(client: Client, session_id: str) -> bool:
    adoptions = [
        event for event in client.events() if (event["type"], event["sessionId"]) == ("run.adopted", session_id)
    ]
    return len(adoptions) == 2


def _said(client: Client, session_id: str) -> str:
    return "".join(
        event["data"]["text"]
        for event in client.events()
        if event["type"] == "agent.message" and event["sessionId"] == session_id
    )


def _words(home: OrchHome, session_id: str) -> str:
    return "".join(event["data"]["text"] for event in _of_type(home, session_id, "agent.message"))


def _wait_for_words(home: OrchHome, session_id: str, words: str) -> None:
    wait_until(lambda: words in _words(home, session_id), PATIENCE)


def _of_type(home: OrchHome, session_id: str, type_: str) -> list[dict[str, Any]]:
    return home.events(type_, session=session_id)


def _until(home: OrchHome, session_id: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until a session is as it should be, and return it."""
    wait_until(lambda: condition(home.session(session_id)), PATIENCE)
    return home.session(session_id)
