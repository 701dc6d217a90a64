"""A hub that is killed again and again loses no line of any agent, repeats none, and no agent notices."""

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psutil
import pytest

from tests.home import OrchHome
from tests.lsp import Client
from tests.marks import NIGHTLY
from tests.waiting import wait_until_async

AGENTS = 5
INTERVAL_MS = 10
PATIENCE = 60.0
KILLED_WHILE_IT_STARTS = 0.25


@dataclass
class Follower:
    """A client as an editor is one: it starts its bridge again after each 75, and resumes after the last number."""

    home: OrchHome
    events: list[dict[str, Any]] = field(default_factory=list)
    client: Client | None = None
    exit_codes: Counter[int] = field(default_factory=Counter)

    @property
    def last_seq(self) -> int:
        """The last event that came."""
        return self.events[-1]["seq"] if self.events else 0

    async def connect(self) -> Client:
        """Start a bridge, and subscribe from where the last one ended."""
        self.client = client = await Client.start(self.home, initialize=False)
        client.on_event = self.events.append
        info: dict[str, Any] = {"processId": None, "rootUri": None, "capabilities": {}}
        await client.call("initialize", info, timeout=PATIENCE)
        await client.call("orch/event/subscribe", {"after": self.last_seq})
        return client

    async def disconnected(self) -> None:
        """Take what the bridge still had, until it ends."""
        assert self.client is not None
        self.exit_codes[await self.client.gone()] += 1
        await wait_until_async(lambda: self.client is None or self.client.ended)
        await self.client.close()


@pytest.mark.parametrize(
    ("kills", "seed"),
    [
        pytest.param(3, 1, id="3", marks=pytest.mark.timeout(300)),
        pytest.param(50, 2, id="50", marks=(*NIGHTLY, pytest.mark.timeout(600))),
    ],
)
async def test_no_line_is_lost_or_told_twice_and_no_agent_dies(home: OrchHome, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    follower = Follower(home)
    client = await follower.connect()
    start = {"agent": "demo", "action": "implement", "project": "shop"}
    counting = [
        (await client.call("orch/session/start", {**start, "prompt": f"[[count 0 {INTERVAL_MS}]]"}))["id"]
        for _ in range(AGENTS)
    ]
    echo = (await client.call("orch/session/start", {**start, "prompt": "[[say ready]]"}))["id"]
    await _all_run(client, [*counting, echo])
    pids = {session_id: (await _session(client, session_id))["pid"] for session_id in [*counting, echo]}
    born = {pid: psutil.Process(pid).create_time() for pid in pids.values()}

    began = time.monotonic()
    killed_early = 0
    for number in range(kills):
        follow_up = {"session": echo, "text": f"[[say echo {number}]]", "requestKey": f"follow-up-{number}"}
        abandoned = asyncio.ensure_future(client.call("orch/session/followUp", follow_up))
        await asyncio.sleep(chance.uniform(0, 0.3))
        pid = home.kill_hub()
        await follower.disconnected()
        await asyncio.gather(abandoned, return_exceptions=True)
        if chance.random() < KILLED_WHILE_IT_STARTS:
            bridge = asyncio.ensure_future(follower.connect())
            await wait_until_async(partial(_other_hub_or_end, home, pid, bridge), PATIENCE)
            await asyncio.sleep(chance.uniform(0, 0.1))
            home.kill_hub()
            killed_early += 1
            try:
                client = await bridge
            except ConnectionError:  # it was connected already: 75, and once more
                await follower.disconnected()
                client = await follower.connect()
        else:
            client = await follower.connect()
        await client.call("orch/session/followUp", follow_up)
    seconds = time.monotonic() - began

    for session_id, pid in pids.items():
        assert psutil.Process(pid).create_time() == born[pid]
        assert (await _session(client, session_id))["pid"] == pid
    for session_id in counting:
        assert (await client.call("orch/session/stop", {"session": session_id}))["state"] == "stopped"
    await client.call("orch/session/followUp", {"session": echo, "text": "[[recall]]"})
    remembered = await client.until(lambda _: _answer_to_recall(follower.events, echo))
    last = (await client.call("orch/event/list", {"limit": 1000, "after": follower.last_seq}))["lastSeq"]
    await client.until(lambda _: follower.last_seq >= last)

    events = list(follower.events)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert await _listed(client, events[-1]["seq"]) == events
    lines = 0
    for session_id in counting:
        said = [text for text in _said(events, session_id) if text]
        assert said == [f"line {number}\n" for number in range(1, len(said) + 1)]
        assert len(said) > kills
        lines += len(said)
    kinds = Counter((event["sessionId"], event["type"]) for event in events)
    assert all(kinds[session_id, "run.started"] == 1 for session_id in pids)
    assert not any(kinds[session_id, "run.lost"] for session_id in pids)
    assert kinds[echo, "run.exited"] == 0
    texts = [f"[[say echo {number}]]" for number in range(kills)]
    assert remembered == ["[[say ready]]", *texts, "[[recall]]"]
    assert [event["data"]["text"] for event in events if event["type"] == "followup.delivered"] == [
        *texts,
        "[[recall]]",
    ]
    assert set(follower.exit_codes) == {75}
    print(
        f"{kills + killed_early} kills ({killed_early} while the hub started) in {seconds:.1f} s: {len(events)} events,"
        f" {lines} lines of {AGENTS} agents and {kills} follow-ups, each once and in order"
    )
    assert await client.exit() == 0


async def _all_run(client: Client, session_ids: list[str]) -> None:
    def running(_: Client) -> bool:
        return all(
            any(event["type"] == "agent.message" and event["sessionId"] == session_id for event in client.events())
            for session_id in session_ids
        )

    await client.until(running, timeout=60)


async def _session(client: Client, session_id: str) -> dict[str, Any]:
    found: dict[str, Any] = await client.call("orch/session/get", {"session": session_id})
    return found


async def _listed(client: Client, last: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while not found or found[-1]["seq"] < last:
        page = await client.call("orch/event/list", {"after": found[-1]["seq"] if found else 0, "limit": 1000})
        assert page["items"], f"the list ends before {last}"
        found += page["items"]
    return found[:last]


def _other_hub_or_end(home: OrchHome, pid: int, bridge: "asyncio.Future[Client]") -> bool:
    written = (home.path / "hub.lock").read_text().strip()
    return bridge.done() or (written != "" and int(written) != pid)


def _said(events: list[dict[str, Any]], session_id: str) -> list[str]:
    return [
        event["data"]["text"]
        for event in events
        if event["type"] == "agent.message" and event["sessionId"] == session_id
    ]


def _answer_to_recall(events: list[dict[str, Any]], session_id: str) -> Any:
    said = [text for text in _said(events, session_id) if text.startswith("[")]
    return json.loads(said[-1]) if said else None
