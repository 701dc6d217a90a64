"""Every method of the register is called on a real hub and answers as it is declared; every refusal has its code."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from orch_server.protocol.methods import METHODS
from tests.home import OrchHome
from tests.lsp import Client, Failed
from tests.repositories import make_repository

Connect = Callable[..., Awaitable[Client]]
IDENTITY = "[user]\n\tname = Ada\n\temail = ada@example.invalid\n"


def check_shape(model: type[BaseModel], value: Any) -> None:
    """Assert that a value on the wire is exactly what the model declares: no field less, and none more."""
    assert model.model_validate(value).model_dump(mode="json", by_alias=True) == value


class Walk:
    """A client that remembers which methods it called, and checks each result."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.called: set[str] = set()

    async def __call__(self, name: str, /, **params: Any) -> Any:
        """Call `orch/<name>`."""
        method = METHODS[f"orch/{name}"]
        result = await self.client.call(method.name, params or None)
        self.called.add(method.name)
        check_shape(method.result, result)
        return result

    async def until(self, session_id: str, *states: str) -> dict[str, Any]:
        """Return the session once it is in one of the states."""
        while True:
            heard = len(self.client.events())
            session: dict[str, Any] = await self("session/get", session=session_id)
            if session["state"] in states:
                return session
            await self.client.until(lambda client: len(client.events()) > heard)  # noqa: B023 - awaited at once


async def test_every_method_answers_as_declared(home: OrchHome, connect: Connect) -> None:
    (home.root / "home/.gitconfig").write_text(IDENTITY)
    make_repository(home.root / "farm")
    walk = Walk(await connect())
    await walk("hub/status")
    await walk("event/subscribe", types=["session.*"])
    await walk("project/add", path=str(home.root / "farm"), name="Farm", requestKey="farm")
    assert [item["slug"] for item in (await walk("project/list", limit=1))["items"]] == ["farm"]
    await walk("project/update", project="farm", trusted=True, policy="ask")
    assert (await walk("project/get", project="farm"))["policy"] == "ask"
    assert {item["name"] for item in (await walk("agent/list"))["items"]} >= {"demo", "claude", "codex"}

    parsed = await walk("command/parse", text="ask demo to review src in shop")
    assert (parsed["agent"], parsed["action"], parsed["scopePath"], parsed["problems"]) == ("demo", "review", "src", [])
    review = (await walk("command/submit", text="ask demo to review src in shop"))["session"]["id"]
    assert (await walk("command/list", project="shop"))["items"][0]["sessionId"] == review

    prompt = "[[stderr careful]] [[approve make]] [[write a.txt one]] [[ask Which? | Red | Blue]] [[say done]]"
    start = {"agent": "demo", "action": "implement", "project": "shop", "prompt": prompt, "policy": "ask"}
    session = await walk("session/start", **start, workDoneToken="token")
    name = session["id"]
    assert session["state"] == "created"
    waiting = await walk.until(name, "waiting_for_user")
    queued = await walk("session/followUp", session=name, text="[[write b.txt two]]")
    await walk("session/unqueue", session=name, followUpId=queued["queued"][0]["id"])
    request = waiting["inputRequests"][0]
    await walk("session/respond", session=name, inputRequestId=request["id"], optionId=request["options"][0]["id"])
    while (asked := await walk.until(name, "waiting_for_user"))["inputRequests"][0]["id"] == request["id"]:
        pass
    question = asked["inputRequests"][0]
    answers = [{"questionId": question["questions"][0]["id"], "optionIds": [], "text": "Green"}]
    await walk("session/respond", session=name, inputRequestId=question["id"], answers=answers)
    await walk.until(name, "completed")
    await walk("session/resume", session=name, text="[[say more]] [[hang]]")
    assert (await walk("session/stop", session=name))["state"] == "stopped"
    assert (await walk("session/update", session=name, title="Renamed", policy="auto_edit"))["title"] == "Renamed"
    assert name in {item["id"] for item in (await walk("session/list", states=["stopped"]))["items"]}
    assert "careful" in (await walk("session/logTail", session=name, lines=5))["lines"]
    assert (await walk("session/transcript", session=name, limit=2))["nextCursor"]
    assert [item["path"] for item in (await walk("session/diff", session=name))["files"]] == ["a.txt"]
    assert not (await walk("session/fileBefore", session=name, path="a.txt"))["present"]
    await _collide(walk, name)
    assert (await walk("session/commit", session=name, message="One"))["files"]
    assert (await walk("session/apply", session=name, strategy="squash"))["applied"]
    await walk.client.call("orch/event/subscribe", {"after": 0, "types": ["artifact.*"]})
    await walk.client.until(lambda client: any(e["type"] == "artifact.created" for e in client.events()))
    artifact = (await walk("artifact/list", session=name))["items"][0]
    assert (await walk("artifact/read", artifact=artifact["id"]))["artifact"] == artifact
    assert (await walk("search", query="Green OR done", project="shop")) is not None
    assert (await walk("event/list", session=name, types=["checkout.*"]))["items"]
    assert (await walk("dashboard/get"))["projects"]

    assert (await walk("session/archive", session=name))["stateBefore"] == "stopped"
    assert (await walk("session/unarchive", session=name))["stateBefore"] is None
    preview = await walk("session/cleanupPreview", session=name)
    deleted = await walk("session/delete", session=name, token=preview["token"], deleteBranch=True)
    assert (deleted["session"]["state"], deleted["session"]["stateBefore"]) == ("deleted", "stopped")
    assert (await walk("session/restore", session=name))["state"] == "stopped"
    token = (await walk("session/cleanupPreview", session=name))["token"]
    purged = await walk("session/delete", session=name, token=token, purge=True)
    assert purged["keptUntil"] is None
    gone = await walk("session/get", session=name)
    assert (gone["prompt"], gone["state"], bool(gone["purgedAt"])) == ("", "deleted", True)
    await walk("project/remove", project="farm")
    subscription = (await walk("event/subscribe"))["subscription"]
    await walk("event/unsubscribe", subscription=subscription)
    await walk("hub/shutdown", requestKey="leave")
    assert walk.called == set(METHODS)


async def _collide(walk: Walk, name: str) -> None:
    """Have another session write the same file, and see to it."""
    rival = {"agent": "demo", "action": "implement", "project": "shop", "prompt": "[[write a.txt other]]"}
    other = (await walk("session/start", **rival))["id"]
    await walk.client.call("orch/event/subscribe", {"after": 0, "types": ["collision.detected"]})
    await walk.client.until(lambda client: any(e["type"] == "collision.detected" for e in client.events()))
    (found,) = (await walk("collision/list", project="shop"))["items"]
    assert set(found["sessions"]) == {name, other}
    assert {name, other} <= set((await walk("collision/plan", project="shop"))["order"])
    await walk.until(other, "completed")
    await walk("collision/tell", collision=found["id"], session=other)
    await walk.until(other, "completed")
    lease = (await walk("lease/claim", project="shop", paths=["src"]))["items"][0]
    assert (await walk("lease/list"))["items"] == [lease]
    await walk("lease/release", lease=lease["id"])


async def test_every_refusal_has_its_code(home: OrchHome, connect: Connect) -> None:
    client = await connect()
    start = {"agent": "demo", "action": "implement", "project": "shop", "prompt": "[[write a.txt one]] [[say on]]"}
    running = (await client.call("orch/session/start", {**start, "prompt": "[[write x.txt 1]] [[hang]]"}))["id"]
    done = (await client.call("orch/session/start", {**start, "requestKey": "start"}))["id"]
    await asyncio.to_thread(home.wait, done)
    token = (await client.call("orch/session/cleanupPreview", {"session": done}))["token"]
    worktree = Path((await client.call("orch/session/get", {"session": done}))["worktreePath"])
    (worktree / "README.md").write_text("changed since\n")
    (home.root / "shop" / "README.md").write_text("mine, and not committed\n")
    cases: list[tuple[str, dict[str, Any], int, str]] = [
        ("session/start", {**start, "prompt": " "}, -32602, "invalidParams"),
        ("project/get", {"project": "nothing"}, -32010, "notFound"),
        ("session/delete", {"session": running}, -32011, "illegalTransition"),
        ("session/archive", {"session": running}, -32011, "illegalTransition"),
        ("session/unarchive", {"session": done}, -32011, "illegalTransition"),
        ("session/restore", {"session": done}, -32011, "illegalTransition"),
        ("session/start", {**start, "agent": "nobody"}, -32012, "agentUnavailable"),
        ("session/commit", {"session": done}, -32013, "gitFailed"),
        ("session/delete", {"session": done, "token": token}, -32014, "stalePreview"),
        ("session/respond", {"session": done, "inputRequestId": "x", "optionId": "y"}, -32015, "alreadyAnswered"),
        ("project/update", {"project": "shop", "setup": "make"}, -32017, "notTrusted"),
        ("session/start", {**start, "title": "other", "requestKey": "start"}, -32022, "requestKeyReused"),
        ("session/apply", {"session": done, "strategy": "patch"}, -32023, "conflict"),
    ]
    for name, params, code, kind in cases:
        with pytest.raises(Failed) as caught:
            await client.call(f"orch/{name}", params)
        assert (caught.value.code, caught.value.data["kind"]) == (code, kind), name
        assert caught.value.data["hint"], name
    assert (home.root / "shop" / "README.md").read_text() == "mine, and not committed\n"
    assert (worktree / "README.md").read_text() == "changed since\n"


def test_nothing_is_begun_on_a_full_disk(home: OrchHome) -> None:
    home.configure(f"[limits]\nstart_free_bytes = {1 << 60}\n")
    home.cli("hub", "restart")
    home.cli("send", "demo", "implement", "shop", "--prompt", "[[say x]]", expect=1)
    assert home.json("sessions", "list")["items"] == []
    assert shutil.disk_usage(home.root).free < 1 << 60
