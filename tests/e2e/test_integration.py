"""Everything at once: three projects, four agents, four clients, 24 sessions, all verbs, a hub killed in the middle;
then the invariants, checked from git, the file system, the processes and the database."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import orch_server.agents.demo_agent
from orch_server.protocol.methods import METHODS
from tests.e2e.verbs import KNOWN, use_every_verb
from tests.home import OrchHome
from tests.lsp import Client
from tests.repositories import make_repository
from tests.world import Known, check_world, digest_of, tree_of

AGENTS = ["demo", "anna", "bert", "carl"]
PROMPTS = [
    "[[write notes.txt hello]] [[say written]]",
    "[[think a little]] [[append README.md more]] [[say appended]]",
    "[[approve run the build]] [[say built]]",
    "[[ask Which colour? | Red | Blue]] [[say painted]]",
    "[[fail it broke]]",
    "[[say begun]] [[hang]]",
]
ENDED = {"completed", "failed", "stopped"}

Connect = Callable[..., Awaitable[Client]]


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_the_whole_control_plane(home: OrchHome, connect: Connect, tmp_path: Path) -> None:
    _configure(home, tmp_path)
    projects = ["shop", "bank", "farm"]
    for name in projects[1:]:
        make_repository(tmp_path / name, files={"README.md": f"# {name}\n", "src/main.py": "x = 1\n"})
    checkouts = {tmp_path / name: digest_of(tmp_path / name) for name in projects}
    clients = [await connect() for _ in range(4)]
    for name in projects:
        await clients[0].call("orch/project/add", {"path": str(tmp_path / name)})
    agents = await clients[1].call("orch/agent/list")
    assert set(AGENTS) <= {agent["name"] for agent in agents["items"] if agent["available"]}

    started = await asyncio.gather(*(_start(clients[n % 4], n, projects[n % 3]) for n in range(24)))
    ids = [session["id"] for session in started]
    assert len(set(ids)) == 24
    home.kill_hub()
    clients = [await connect() for _ in range(4)]
    sessions = await asyncio.gather(*(_see_through(clients[n % 4], name) for n, name in enumerate(ids)))
    wanted = [["completed", "completed", "completed", "completed", "failed", "stopped"][n % 6] for n in range(24)]
    told_otherwise = [
        {name: session[name] for name in ("id", "state", "reason", "message", "prompt")}
        for session, state in zip(sessions, wanted, strict=True)
        if session["state"] != state
    ]
    assert told_otherwise == []

    await _follow_up_and_read(clients, ids)
    witness = await connect()
    await witness.call("orch/event/subscribe", {"after": 0})
    trees = {name: tree_of(Path(session["worktreePath"])) for name, session in zip(ids, sessions, strict=True)}
    archived, trashed, purged = ids[1], ids[2], ids[3]
    used = await asyncio.to_thread(use_every_verb, home, archived, trashed, purged)
    assert used == set(KNOWN) - {"orch demo"}  # which has a home, and tests, of its own
    told = {event["seq"]: event for event in witness.events()}
    assert len(told) > 500
    del trees[purged], trees[ids[0]], trees[ids[5]]  # gone for good; and those that worked on since
    known = Known(untouched=checkouts, told=told, contents=trees, hub=home.hub_pid())
    counts = await asyncio.to_thread(check_world, home, known=known)
    print(f"{counts['sessions']} sessions, {counts['runs']} runs, {counts['events']} events: every invariant holds")
    folded = await _fold(await connect())
    params = {"limit": 100, "includeArchived": True, "includeDeleted": True}
    listed = (await (await connect()).call("orch/session/list", params))["items"]
    present = {name: _steady(item) for name, item in folded.items() if not item["purgedAt"]}
    assert present == {item["id"]: _steady(item) for item in listed}
    assert set(folded) - set(present) == {purged}


async def test_every_method_answers_a_request_without_params_with_a_result_or_a_clear_error(connect: Connect) -> None:
    client = await connect()
    for name in sorted(set(METHODS) - {"orch/hub/shutdown"}):
        reply = client.expect(name)
        client.send({"jsonrpc": "2.0", "id": name, "method": name})
        answer = await asyncio.wait_for(reply, 30)
        if "error" in answer:
            assert answer["error"]["code"] == -32602, f"{name}: {answer}"
            assert answer["error"]["data"]["hint"], name


def _configure(home: OrchHome, tmp_path: Path) -> None:
    program = orch_server.agents.demo_agent.__file__
    tables = [
        f'[agents.{name}]\nprotocol = "acp"\n'
        f'command = ["{sys.executable}", "-I", "-S", "{program}", "--state", "{tmp_path / "state" / name}"]\n'
        for name in AGENTS[1:]
    ]
    home.configure("\n".join(tables) + "\n[limits]\nidle_seconds = 1\n")
    home.cli("hub", "stop")


async def _start(client: Client, number: int, project: str) -> dict[str, Any]:
    params = {
        "agent": AGENTS[number % 4],
        "action": "implement",
        "project": project,
        "prompt": PROMPTS[number % 6],
        "requestKey": f"start-{number}",
    }
    session: dict[str, Any] = await client.call("orch/session/start", params)
    return session


async def _see_through(client: Client, name: str, *, stop_hanging: bool = True) -> dict[str, Any]:
    """Answer what a session asks, stop it where it hangs, and return it at its end."""
    subscribed = await client.call("orch/event/subscribe", {"session": name, "types": ["session.*", "agent.message"]})
    while True:
        heard = len(client.events())  # before the look: what happens after it is then not missed
        session: dict[str, Any] = await client.call("orch/session/get", {"session": name})
        if session["state"] in ENDED:
            await client.call("orch/event/unsubscribe", {"subscription": subscribed["subscription"]})
            return session
        if session["state"] == "waiting_for_user":
            await _respond(client, session)
        elif stop_hanging and "[[hang]]" in session["prompt"] and session["turns"] == 1:
            await client.call("orch/session/stop", {"session": name})
        else:
            await client.until(lambda client, heard=heard: len(client.events()) > heard)  # type: ignore[misc]


async def _respond(client: Client, session: dict[str, Any]) -> None:
    request = session["inputRequests"][0]
    answer = {"session": session["id"], "inputRequestId": request["id"]}
    if request["kind"] == "approval":
        allow = next(option["id"] for option in request["options"] if option["kind"] == "allow_once")
        await client.call("orch/session/respond", {**answer, "optionId": allow})
    else:
        await client.call("orch/session/respond", {**answer, "text": "Green"})


async def _follow_up_and_read(clients: list[Client], ids: list[str]) -> None:
    """Use the other verbs on what the sessions left."""
    client = clients[2]
    first, hanging = ids[0], ids[5]
    await client.call("orch/session/followUp", {"session": first, "text": "[[recall]]"})
    await client.call("orch/session/resume", {"session": hanging, "text": "[[write second.txt again]]"})
    for name in (first, hanging):
        assert (await _see_through(client, name, stop_hanging=False))["state"] == "completed"
    diff = await client.call("orch/session/diff", {"session": first})
    assert [file["path"] for file in diff["files"]] == ["notes.txt"]
    before = await client.call("orch/session/fileBefore", {"session": first, "path": "README.md"})
    assert before["present"]
    assert before["text"].startswith("# ")
    absent = await client.call("orch/session/fileBefore", {"session": first, "path": "notes.txt"})
    assert absent == {"present": False, "text": None, "base64": None}
    transcript = await client.call("orch/session/transcript", {"session": first})
    assert "[[write notes.txt hello]]" in transcript["items"][0]["text"]
    await client.call("orch/session/logTail", {"session": first})
    await client.call("orch/session/update", {"session": first, "title": "The first"})
    dashboard = await client.call("orch/dashboard/get")
    assert len(dashboard["failures"]) == 4
    await client.call("orch/event/subscribe", {"after": 0, "types": ["artifact.*"]})
    await client.until(
        lambda client: (
            {event["sessionId"] for event in client.events() if event["type"].startswith("artifact.")} >= set(ids)
        ),
        timeout=60,
    )
    kinds = {item["kind"] for item in (await client.call("orch/artifact/list", {"session": first}))["items"]}
    assert kinds == {"transcript", "diff"}
    found = await client.call("orch/search", {"query": "painted"})
    assert len({hit["sessionId"] for hit in found["items"]}) == 4
    assert (await client.call("orch/event/list", {"session": first, "types": ["turn.*"]}))["items"]


async def _fold(client: Client) -> dict[str, dict[str, Any]]:
    """Fold all events into sessions, as a client does that was there from the beginning."""
    sessions: dict[str, dict[str, Any]] = {}
    after = 0
    while True:
        page = await client.call("orch/event/list", {"after": after, "limit": 1000})
        if not page["items"]:
            return sessions
        after = page["lastSeq"]
        for event in page["items"]:
            if event["type"].startswith("session.") and event["data"]:  # of a purged session it is empty
                data = event["data"]
                folded = sessions.setdefault(event["sessionId"], {})
                folded |= data.get("session") or data["changed"]


def _steady(session: dict[str, Any]) -> dict[str, Any]:
    """Leave out what may be told up to half a second later."""
    return {
        name: session[name] for name in ("id", "state", "reason", "title", "turns", "branch", "worktreePath", "queued")
    }
