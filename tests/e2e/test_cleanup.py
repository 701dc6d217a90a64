"""The end of a session's life over the wire and the command line, with a hub that may be killed meanwhile."""

import asyncio
import subprocess
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.home import OrchHome
from tests.lsp import Client, Failed, RawClient
from tests.world import tree_of

Connect = Callable[..., Awaitable[Client]]


def _finished(home: OrchHome, prompt: str = "[[write a.txt one]] [[commit a]] [[write b.txt open]]") -> dict[str, Any]:
    return home.wait(home.send("demo", "implement", "shop", prompt))


def test_the_command_line_deletes_and_restores(home: OrchHome) -> None:
    session = _finished(home)
    session_id, tree = session["id"], Path(session["worktreePath"])
    before = tree_of(tree)
    shown = home.cli("preview", session_id)
    assert "1 untracked" in shown
    assert session["branch"] in shown
    assert "Nobody can be asked" in _refused(home, 2, "delete", session_id)
    assert home.session(session_id)["state"] == "completed"
    said = home.cli("delete", session_id, "--delete-branch", "--yes")
    assert "orch restore" in said
    assert not tree.exists()
    assert home.session(session_id)["state"] == "deleted"
    assert session_id not in home.cli("sessions", "list")
    assert session_id in home.cli("sessions", "list", "--deleted")
    assert home.json("delete", session_id, "--yes")["keptUntil"]
    restored = home.json("restore", session_id)
    assert (restored["state"], restored["worktreePath"]) == ("completed", str(tree))
    assert tree_of(tree) == before
    home.cli("restore", session_id, expect=4)
    home.cli("delete", "nothing", "--yes", expect=3)


def test_the_command_line_archives_and_purges(home: OrchHome) -> None:
    session_id = _finished(home)["id"]
    assert home.json("archive", session_id)["state"] == "archived"
    assert session_id not in home.cli("sessions", "list")
    home.cli("resume", session_id, expect=4)
    assert home.json("unarchive", session_id)["state"] == "completed"
    home.cli("unarchive", session_id, expect=4)
    home.cli("delete", session_id, "--yes")
    assert "purged" in home.cli("delete", session_id, "--purge", "--yes")
    assert session_id not in home.cli("sessions", "list", "--deleted")
    home.cli("restore", session_id, expect=4)
    home.cli("transcript", session_id)
    assert home.events(session=session_id)[-1]["type"] == "session.purged"
    home.cli("events", "--session", session_id)
    home.cli("projects", "remove", "shop")


async def test_delete_over_the_wire(home: OrchHome, connect: Connect) -> None:
    client = await connect()
    await client.call("orch/event/subscribe", {"types": ["session.*", "worktree.*", "cleanup.*"]})
    running = await asyncio.to_thread(home.send, "demo", "implement", "shop", "[[write a.txt one]] [[hang]]")
    await client.until(lambda _: _state(client, running) == "running")
    with pytest.raises(Failed) as caught:
        await client.call("orch/session/delete", {"session": running})
    assert caught.value.code == -32011
    await client.call("orch/session/stop", {"session": running})
    preview = await client.call("orch/session/cleanupPreview", {"session": running})
    tree = Path(preview["worktree"]["path"])
    (tree / "more.txt").write_text("since the preview\n")
    with pytest.raises(Failed) as caught:
        await client.call("orch/session/delete", {"session": running, "token": preview["token"]})
    assert caught.value.code == -32014
    with pytest.raises(Failed) as refused:
        await client.call("orch/session/delete", {"session": running, "purge": True})
    assert refused.value.code == -32602
    token = caught.value.data["preview"]["token"]
    replies = await asyncio.to_thread(_delete_from_twenty_clients, home, running, token)
    assert all(reply == replies[0] for reply in replies)
    assert replies[0]["session"]["state"] == "deleted"
    back = await client.call("orch/session/restore", {"session": running, "requestKey": "back"})
    assert back == await client.call("orch/session/restore", {"session": running, "requestKey": "back"})
    types = [event["type"] for event in client.events()]
    for once in ("session.deleted", "worktree.removed", "session.restored", "worktree.restored"):
        assert types.count(once) == 1
    assert "cleanup.previewed" in types
    assert (tree / "more.txt").exists()


async def test_a_hub_killed_during_a_delete_finishes_or_undoes_it(home: OrchHome, connect: Connect) -> None:
    session = await asyncio.to_thread(_finished, home)
    tree, session_id = Path(session["worktreePath"]), session["id"]
    before = tree_of(tree)
    for number in range(4):
        client = await connect()
        params = {"session": session_id, "deleteBranch": True, "requestKey": f"delete-{number}"}
        abandoned = asyncio.ensure_future(client.call("orch/session/delete", params))
        await asyncio.wait([abandoned], timeout=0.03 * number)
        home.kill_hub()
        await asyncio.gather(abandoned, return_exceptions=True)
        client = await connect()
        found = await client.call("orch/session/get", {"session": session_id})
        assert tree.exists() == (found["state"] == "completed")
        assert (await client.call("orch/session/delete", params))["session"]["state"] == "deleted"
        assert not tree.exists()
        restored = await client.call("orch/session/restore", {"session": session_id})
        assert restored["state"] == "completed"
        assert not restored["attention"]
        assert tree_of(tree) == before


async def test_what_a_disk_kept_from_being_undone_is_undone_by_the_next_request(
    home: OrchHome, connect: Connect
) -> None:
    session = await asyncio.to_thread(_finished, home)
    tree, session_id = Path(session["worktreePath"]), session["id"]
    before = tree_of(tree)
    client = await connect()
    manifests = home.path / "trash"
    manifests.write_text("no directory")
    with pytest.raises(Failed):
        await client.call("orch/session/delete", {"session": session_id})
    assert home.query("SELECT kind FROM intents") == [("delete",)]
    manifests.unlink()
    await client.call("orch/session/update", {"session": session_id, "title": "kept"})
    assert home.query("SELECT kind FROM intents") == []
    assert tree_of(tree) == before


def test_git_clean_in_the_checkout_while_a_session_works(home: OrchHome) -> None:
    session = _finished(home)
    session_id, tree = session["id"], Path(session["worktreePath"])
    home.cli("followup", session_id, "[[hang]]")
    subprocess.run(["git", "-C", str(home.root / "shop"), "clean", "-ffdxq"], check=True)
    assert not tree.exists()
    home.cli("restore", session_id, expect=4)
    home.cli("stop", session_id)
    restored = home.json("restore", session_id)
    assert restored["attention"] == []
    assert (tree / "a.txt").read_text() == "one\n"
    assert (tree / "b.txt").read_text() == "open\n"


def _delete_from_twenty_clients(home: OrchHome, session_id: str, token: str) -> list[Any]:
    """Delete one session over twenty connections at once, each with a request of its own."""
    params = {"session": session_id, "token": token, "deleteBranch": True}
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(home)) for _ in range(20)]
        together = threading.Barrier(len(clients))

        def delete(number: int) -> Any:
            together.wait()
            return clients[number].request("orch/session/delete", {**params, "requestKey": f"key-{number}"})

        with ThreadPoolExecutor(len(clients)) as pool:
            return list(pool.map(delete, range(len(clients))))


def _state(client: Client, session_id: str) -> str | None:
    told = [event for event in client.events() if event["type"] == "session.state_changed"]
    return next((event["data"]["to"] for event in reversed(told) if event["sessionId"] == session_id), None)


def _refused(home: OrchHome, code: int, *arguments: str) -> str:
    done = subprocess.run(
        ["orch", *arguments], env=home.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done.stderr
    return done.stderr
