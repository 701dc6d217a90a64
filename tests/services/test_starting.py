"""How a session's worktree begins: uncommitted changes, ignored files, a set-up command, ports, spares."""

import asyncio
import json
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.session import Attention, Reason, State
from orch_server.git import spares as git_spares
from orch_server.services import furnishing, launching, ports, projects, readonly, sessions, spares
from orch_server.store.records import SessionRecord
from tests.home import is_gone
from tests.repositories import write_files
from tests.services.world import World, silent_runner
from tests.waiting import wait_until_async
from tests.world import tree_of

SLEEP = str(1_000_000 + os.getpid())  # how ours are told from those of others


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.open()
    yield world
    await world.close()


async def start(world: World, prompt: str = "[[say done]]", **more: Any) -> SessionRecord:
    """Start a session and wait until its turn is over."""
    started = await begin(world, prompt, **more)
    await wait_until_async(lambda: world.session(started.id).state in {State.COMPLETED, State.FAILED, State.STOPPED})
    await wait_until_async(lambda: started.id not in world.context.live)
    await world.settle()
    return world.session(started.id)


async def begin(world: World, prompt: str = "[[say done]]", **more: Any) -> SessionRecord:
    more = {"agent": "demo", "action": "implement", "project": "project", **more}
    return await sessions.start(world.context, world.caller, prompt=prompt, **more)


async def told(world: World, session_id: str) -> list[str]:
    """Return what was logged of the worktree's beginning."""
    events = await world.context.store.events(0, session_id=session_id, types=["agent.log"])
    data = [json.loads(event.json)["data"] for event in events]
    return [item["text"] for item in data if item["stream"] == furnishing.STREAM]


async def setup(world: World, command: str, seconds: int = 20, *, trusted: bool | None = True) -> None:
    given: dict[str, Any] = dict.fromkeys(("name", "default_branch", "policy"))
    await projects.update(
        world.context, "project", **given, trusted=trusted, setup=command, setup_seconds=seconds, spares=None
    )


async def keep_spares(world: World, number: int) -> None:
    given: dict[str, Any] = dict.fromkeys(("name", "default_branch", "policy", "trusted"))
    project = await projects.update(world.context, "project", **given, spares=number)
    await spares.look_after(world.context, project.id)


def status(world: World, tree: str) -> list[str]:
    return world.scratch.git(
        "-c", "core.quotePath=false", "status", "--porcelain", "-uall", cwd=Path(tree)
    ).splitlines()


def spare_directories(world: World) -> list[Path]:
    place = world.scratch.path / ".orchestrator/spares"
    return sorted(place.iterdir()) if place.exists() else []


# -- uncommitted changes ------------------------------------------------------------------------------------------


async def test_uncommitted_changes_come_along_uncommitted(world: World) -> None:
    scratch = world.scratch
    scratch.write({"README.md": "staged\n", "new/file.bin": b"\0\xff", "ignored/x": "ignored\n"})
    scratch.git("add", "README.md")
    scratch.write({"README.md": "and more\n", "data/é.txt": "mine\r\n"})
    (scratch.path / "src/main.py").unlink()
    before, index = tree_of(scratch.path / "data"), scratch.git("ls-files", "--stage")
    session = await start(world, from_dirty=True)
    assert session.worktree_path is not None
    assert (session.state, session.base_commit) == (State.COMPLETED, scratch.head)
    assert status(world, session.worktree_path) == [
        " M README.md",
        " M data/é.txt",
        " D src/main.py",
        "?? new/file.bin",
    ]
    tree = Path(session.worktree_path)
    assert (tree / "README.md").read_text() == "and more\n"
    assert (tree / "new/file.bin").read_bytes() == b"\0\xff"
    assert not (tree / "ignored").exists()
    assert (tree_of(scratch.path / "data"), scratch.git("ls-files", "--stage")) == (before, index)
    assert scratch.git("status", "--porcelain").splitlines()[0] == "MM README.md"
    assert scratch.git("for-each-ref", "refs/stash") == ""


async def test_uncommitted_changes_go_onto_another_base_or_are_refused(world: World) -> None:
    scratch = world.scratch
    first = scratch.head
    scratch.commit("second", {"README.md": "# Second\n"})
    scratch.write({"src/main.py": "mine\n"})
    session = await start(world, from_dirty=True, base_ref=first)
    assert session.worktree_path is not None
    assert status(world, session.worktree_path) == [" M src/main.py"]
    scratch.write({"README.md": "# Third\n"})
    refused = await start(world, from_dirty=True, base_ref=first)
    assert (refused.state, refused.reason) == (State.FAILED, Reason.WORKTREE_FAILED)
    assert "README.md" in refused.message


async def test_a_start_that_was_interrupted_is_finished_with_the_same_changes(world: World) -> None:
    world.scratch.write({"README.md": "mine\n", "other.txt": "x\n"})
    session = await start(world, from_dirty=True)
    assert session.worktree_path is not None
    tree = Path(session.worktree_path)
    (tree / "other.txt").unlink()
    world.scratch.write({"README.md": "changed since\n"})

    def unfinished(transaction: Any) -> None:
        transaction.session(session.id).furnished = False

    async def environment() -> dict[str, str]:
        return {}

    await world.context.store.write(unfinished)
    await furnishing.furnish(world.context, session.id, environment)
    assert (tree / "other.txt").read_text() == "x\n"
    assert (tree / "README.md").read_text() == "mine\n"
    assert world.session(session.id).furnished


# -- ignored files ------------------------------------------------------------------------------------------------


async def test_ignored_files_that_are_named_come_along(world: World, tmp_path: Path) -> None:
    scratch = world.scratch
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.env").write_text("secret\n")
    scratch.commit(
        "list",
        {
            ".gitignore": "*.env\nmodules\ncache/\nout\n",
            ".worktreeinclude": "# what is needed\n*.env\n!not.env\nREADME.md\nout/\nlink: modules\nlink: cache\n"
            "link: README.md\nlink: nowhere\nlink: ../outside\n",
        },
    )
    scratch.write(
        {
            "local.env": "A=1\n",
            "deep/er/x.env": "B=2\n",
            "not.env": "no\n",
            "untracked.txt": "not ignored\n",
            "modules/a/index.js": "x\n",
            "cache/x": "x\n",
        }
    )
    (scratch.path / "local.env").chmod(0o640)
    (scratch.path / "out").symlink_to(tmp_path / "outside")
    (scratch.path / "link.env").symlink_to("local.env")
    session = await start(world)
    assert session.worktree_path is not None
    tree = Path(session.worktree_path)
    assert (tree / "local.env").read_text() == "A=1\n"
    assert (tree / "local.env").stat().st_mode & 0o777 == 0o640
    assert (tree / "deep/er/x.env").read_text() == "B=2\n"
    assert os.readlink(tree / "link.env") == "local.env"
    assert os.readlink(tree / "modules") == str(scratch.path / "modules")
    assert not (tree / "out/secret.env").exists()
    assert not any((tree / name).exists() for name in ("not.env", "untracked.txt", "cache"))
    assert status(world, session.worktree_path) == []
    log = "\n".join(await told(world, session.id))
    assert "copied 3 ignored files" in log
    for line in ("cache is not linked: .gitignore has to", "README.md is not linked: git does not", "nowhere is not"):
        assert line in log
    assert "../outside is not linked: it is no plain path" in log


async def test_what_is_too_much_is_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.open(include_bytes=10)
    world.scratch.commit("list", {".gitignore": "*.env\n", ".worktreeinclude": "*.env\n"})
    world.scratch.write({"a.env": "small\n", "b.env": "x" * 100})
    session = await start(world)
    assert session.worktree_path is not None
    assert (Path(session.worktree_path) / "a.env").exists()
    assert not (Path(session.worktree_path) / "b.env").exists()
    assert any("1 files were not copied" in line for line in await told(world, session.id))
    await world.close()


async def test_a_list_that_is_a_link_is_not_read(world: World, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("*\n")
    (world.scratch.path / ".worktreeinclude").symlink_to(tmp_path / "list")
    world.scratch.write({"ignored/x": "x\n"})
    session = await start(world)
    assert await told(world, session.id) == []


# -- the set-up command -------------------------------------------------------------------------------------------


async def test_the_setup_command_runs_before_the_agent_with_its_environment(world: World) -> None:
    await setup(world, "echo to-stdout; echo to-stderr >&2; pwd > where; env | grep ^ORCH > orch; env > all; cat")
    session = await start(world, "[[env ORCH_PORT_BASE]] [[read where]]")
    assert session.worktree_path is not None
    tree = Path(session.worktree_path)
    assert (session.state, session.attention) == (State.COMPLETED, [])
    assert (tree / "where").read_text() == f"{session.worktree_path}\n"
    variables = (tree / "orch").read_text().splitlines()
    assert f"ORCH_PORT_BASE={session.port_base}" in variables
    assert not any(line.startswith(("ORCH_HOME", "ORCH_SOCKET")) for line in variables)
    assert "GIT_AUTHOR_NAME=Test" in (tree / "all").read_text()
    log = await told(world, session.id)
    assert log[0].startswith("$ echo to-stdout")
    assert {"to-stdout", "to-stderr"} <= set(log)
    await sessions.resume(world.context, world.caller, session.id, "[[say again]]")
    await wait_until_async(lambda: world.session(session.id).turns == 2)
    assert len(await told(world, session.id)) == len(log)  # once a worktree


@pytest.mark.parametrize(
    ("command", "seconds", "problem"),
    [
        ("echo no luck; exit 3", 20, "ended with code 3"),
        (f"sleep {SLEEP} & sleep {SLEEP}", 1, "more than 1 seconds"),
        ("kill -9 $$", 20, "killed"),
    ],
    ids=["exit code", "too long", "killed"],
)
async def test_a_setup_command_that_fails_is_a_warning(world: World, command: str, seconds: int, problem: str) -> None:
    await setup(world, command, seconds)
    session = await start(world)
    assert (session.state, session.attention) == (State.COMPLETED, [Attention.SETUP_FAILED])
    assert problem in (await told(world, session.id))[-1]
    assert not sleepers()


async def test_a_stop_ends_the_setup_command(world: World) -> None:
    await setup(world, f"echo begun; sleep {SLEEP} & setsid sleep {SLEEP} & wait")
    session = await begin(world)
    await wait_until_async(lambda: bool(sleepers()))
    assert world.session(session.id).reason == Reason.PROVISIONING
    stopped = await sessions.stop(world.context, session.id)
    assert stopped.state == State.STOPPED
    assert not sleepers()


async def test_a_stop_calls_off_a_start_that_looks_at_the_files(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looking = asyncio.Event()

    async def look(*_: object) -> None:
        looking.set()
        await asyncio.Event().wait()  # a git that hangs, say

    monkeypatch.setattr(readonly, "note_start", look)
    session = await begin(world, action="analyze")
    await asyncio.wait_for(looking.wait(), 30)
    stopped = await asyncio.wait_for(sessions.stop(world.context, session.id), 30)
    assert stopped.state == State.STOPPED
    (run,) = world.context.store.runs_of(session.id)
    assert (run.state, world.context.store.live_runs()) == ("ended", [])
    monkeypatch.undo()
    resumed = await sessions.resume(world.context, world.caller, session.id, None)
    await wait_until_async(lambda: world.session(resumed.id).state == State.COMPLETED)
    assert len(world.session(session.id).turn_trees) == 1


async def test_an_agent_whose_start_could_not_be_recorded_is_followed_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = 0

    def refuse(*_: Any) -> None:
        nonlocal refused
        refused += 1
        raise OrchError(ErrorKind.DISK_FULL, "The disk is full.")

    monkeypatch.setattr(launching, "note_started", refuse)
    session = await start(world, "[[write made.txt x]] [[say done]]")
    assert (session.state, session.reason, refused) == (State.COMPLETED, Reason.TURN_ENDED, 1)
    (run,) = world.context.store.runs_of(session.id)
    assert run.state == "ended"
    assert session.worktree_path is not None
    assert Path(session.worktree_path, "made.txt").read_text() == "x\n"


async def test_a_setup_command_whose_runner_does_not_answer_is_ended_and_a_warning(world: World) -> None:
    await setup(world, f"sleep {SLEEP}")
    with silent_runner(world) as runner:
        session = await start(world)
    assert (session.state, session.attention) == (State.COMPLETED, [Attention.SETUP_FAILED])
    assert is_gone(runner[0])


async def test_a_setup_command_that_a_hub_left_running_is_ended_and_begun_anew(world: World) -> None:
    await setup(world, f"[ -e slow ] || {{ touch slow; sleep {SLEEP}; }}; echo whole")
    session = await begin(world)
    await wait_until_async(lambda: bool(sleepers()))
    task = world.context.bring_ups[session.id].task
    with pytest.MonkeyPatch.context() as patch:  # a killed hub does nothing any more
        patch.setattr(furnishing, "_end", lambda *_: asyncio.sleep(0))
        intents = world.context.store.intents()
        patch.setattr(world.context.store, "write", lambda _work: asyncio.sleep(0))
        task.cancel()
        await asyncio.wait([task])
    await world.leave()
    await world.open()
    assert [intent.kind for intent in world.context.store.intents()] == [furnishing.INTENT] == [intents[-1].kind]
    assert sleepers()
    await furnishing.end_interrupted(world.context)
    assert not sleepers()
    launching.bring_up(world.context, session.id, world.caller.environment)
    await wait_until_async(lambda: world.session(session.id).state == State.COMPLETED)
    await wait_until_async(lambda: session.id not in world.context.live)
    assert (await told(world, session.id))[-1] == "whole"


async def test_a_setup_command_needs_trust(world: World) -> None:
    with pytest.raises(OrchError, match="trusted") as caught:
        await setup(world, "touch ran", trusted=None)
    assert caught.value.kind is ErrorKind.NOT_TRUSTED
    await setup(world, "touch ran")
    given: dict[str, Any] = dict.fromkeys(("name", "default_branch", "policy"))
    await projects.update(world.context, "project", **given, trusted=False)
    session = await start(world)
    assert session.worktree_path is not None
    assert not (Path(session.worktree_path) / "ran").exists()
    await setup(world, "")
    assert projects.get(world.context, "project").setup is None


def sleepers() -> list[psutil.Process]:
    """Return what is left of our set-up commands."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["cmdline"] == ["sleep", SLEEP] and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


# -- ports --------------------------------------------------------------------------------------------------------


async def test_every_live_session_has_ports_of_its_own(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.open(ports=[21_000, 21_029])  # type: ignore[arg-type]
    with socket.socket() as other:
        other.bind(("127.0.0.1", 21_013))
        other.listen()
        first, second, third = [await world.work("[[hang]]") for _ in range(3)]
    assert {first.port_base, second.port_base} == {21_000, 21_020}
    assert third.port_base is None
    await sessions.stop(world.context, first.id)
    assert await ports.block_of(world.context, third.id) in {21_010, first.port_base}
    await world.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who listens")
def test_every_listening_port_of_the_machine_is_seen() -> None:
    families = [*[socket.AF_INET] * 400, socket.AF_INET6]  # more than one answer holds
    listening = [socket.socket(family) for family in families]
    try:
        for each in listening:
            each.bind(("127.0.0.1" if each.family == socket.AF_INET else "::1", 0))
            each.listen()
        assert ports._in_use() >= {each.getsockname()[1] for each in listening}
    finally:
        for each in listening:
            each.close()


# -- spares -------------------------------------------------------------------------------------------------------


async def test_a_spare_becomes_the_worktree(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await keep_spares(world, 2)
    first = spare_directories(world)
    assert len(first) == 2
    assert world.context.store.sessions()[0] == []
    inode = {path.stat().st_ino for path in first}
    monkeypatch.setattr(spares, "look_after", lambda *_: None)
    session = await start(world, "[[write x.txt x]]")
    assert session.worktree_path is not None
    tree = Path(session.worktree_path)
    assert tree.stat().st_ino in inode
    assert tree.parent.name == "worktrees"
    assert len(spare_directories(world)) == 1
    git = world.scratch.git
    assert git("symbolic-ref", "HEAD", cwd=tree).strip() == f"refs/heads/{session.branch}"
    assert git("rev-parse", "HEAD", cwd=tree).strip() == session.base_commit
    assert status(world, session.worktree_path) == ["?? x.txt"]
    listed = git("worktree", "list", "--porcelain")
    assert f"worktree {tree}\n" in listed
    assert f"locked orch:{session.id}\n" in listed
    assert session.changes is not None
    assert session.changes.files == 1
    git("worktree", "prune", "--expire=now")
    assert tree.exists()


async def test_a_spare_follows_the_branch_and_is_claimed_at_the_base(world: World) -> None:
    await keep_spares(world, 1)
    head = world.scratch.commit("later", {"later.txt": "x\n"})
    session = await start(world)  # before the refresh
    assert session.worktree_path is not None
    assert session.base_commit == head
    assert (Path(session.worktree_path) / "later.txt").exists()
    assert status(world, session.worktree_path) == []
    await world.settle()
    head = world.scratch.commit("later still", {"later.txt": "y\n"})
    await keep_spares(world, 1)
    (spare,) = spare_directories(world)
    assert world.scratch.git("rev-parse", "HEAD", cwd=spare).strip() == head
    assert status(world, str(spare)) == []


@pytest.mark.parametrize("file", ["README.md", "mine.txt", "ignored/mine.txt"])
async def test_a_spare_that_somebody_changed_goes_to_the_trash(world: World, file: str) -> None:
    await keep_spares(world, 1)
    (spare,) = spare_directories(world)
    write_files(spare, {file: "somebody's\n"})
    session = await start(world)
    assert session.state == State.COMPLETED
    assert session.worktree_path is not None
    assert status(world, session.worktree_path) == []
    (kept,) = (world.scratch.path / ".orchestrator/trash").glob(f"spare-*/tree/{file}")
    assert kept.read_text() == "somebody's\n"


async def test_switched_off_they_are_removed(world: World) -> None:
    await keep_spares(world, 2)
    write_files(spare_directories(world)[0], {"mine.txt": "somebody's\n"})
    await keep_spares(world, 0)
    assert spare_directories(world) == []
    assert len(list((world.scratch.path / ".orchestrator/trash").iterdir())) == 1
    assert "spares" not in world.scratch.git("worktree", "list", "--porcelain")


async def test_half_made_spares_are_put_aside(world: World) -> None:
    await keep_spares(world, 3)
    first, second, third = spare_directories(world)
    shutil.rmtree(first / "src")
    (_admin_dir(second) / "index").unlink()
    (_admin_dir(third) / "index.lock").touch()  # of a git that was killed
    session = await start(world)
    assert session.state == State.COMPLETED
    await world.settle()
    assert not {first, second, third} & set(spare_directories(world))
    assert len(spare_directories(world)) == 3


@pytest.mark.parametrize("step", ["rename", "update_refs", "attach_head"])
async def test_a_claim_that_was_interrupted(world: World, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await keep_spares(world, 1)
    with monkeypatch.context() as patch:
        patch.setattr(os if step == "rename" else git_spares, step, _die)
        session = await start(world)
    assert session.state == State.COMPLETED
    assert session.worktree_path is not None
    assert status(world, session.worktree_path) == []
    assert world.scratch.git("rev-parse", str(session.branch)).strip() == session.base_commit
    await world.settle()
    assert len(spare_directories(world)) == 1


def _admin_dir(spare: Path) -> Path:
    return Path((spare / ".git").read_text().removeprefix("gitdir: ").strip())


def _die(*_arguments: object, **_more: object) -> None:
    raise OSError("interrupted")
