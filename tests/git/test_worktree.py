"""Worktrees: made, found again, and recovered from whatever a kill leaves."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.session import Attention
from orch_server.git import command
from orch_server.git.command import Git, kill_survivors
from orch_server.git.runtime_dir import ensure_runtime_dir
from orch_server.git.worktree import Worktree, WorktreePlan, check, check_recorded, create, recover
from tests.git.conftest import Room, open_room
from tests.repositories import make_repository


async def test_create(room: Room) -> None:
    planned = await room.plan(session_id="abcdefghijkl", agent="claude", project_slug="my-project")
    shown: list[int] = []
    made = await create(room.git, room.repository, room.shadow, planned, trusted=False, progress=shown.append)
    assert made.path == str(room.scratch.path / ".orchestrator/worktrees/abcdefghijkl")
    assert made.branch == "orch/claude/my-project/abcdefghijkl"
    assert made.dot_git == Path(made.path, ".git").read_text()
    found = os.stat(made.path)
    assert (made.device, made.inode) == (found.st_dev, found.st_ino)
    tree = Path(made.path)
    assert (tree / "data/é.txt").read_text() == "unicode\n"
    assert room.scratch.git("status", "--porcelain", cwd=tree) == ""
    assert room.scratch.git("rev-parse", "HEAD", cwd=tree).strip() == made.base
    assert "locked orch:abcdefghijkl" in room.scratch.git("worktree", "list", "--porcelain")
    assert room.scratch.git("status", "--porcelain", "--untracked-files=all") == ""
    assert "branch." not in room.scratch.git("config", "--local", "--list")
    assert shown == sorted(set(shown))
    assert (shown[0], shown[-1]) == (0, 100)
    assert await check(room.git, made) == []
    check_recorded(made)


async def test_the_plan_is_plain_values(room: Room) -> None:
    planned = await room.plan()
    assert WorktreePlan(**json.loads(json.dumps(asdict(planned)))) == planned
    made = await room.create(planned)
    assert Worktree(**json.loads(json.dumps(asdict(made)))) == made


async def test_prune_spares_it(room: Room) -> None:
    made = await room.create()
    Path(made.path).rename(room.scratch.path / "elsewhere")
    room.scratch.git("worktree", "prune", "--expire=now")
    assert os.path.isdir(made.admin_dir)


async def test_from_an_older_commit_and_a_detached_head(room: Room) -> None:
    first = room.scratch.head
    room.scratch.commit("second", {"later.txt": "x\n"})
    room.scratch.git("checkout", "--quiet", "--detach")
    made = await room.create(await room.plan("main~1"))
    assert made.base == first
    assert not os.path.exists(made.path + "/later.txt")


async def test_sha256(git: Git, tmp_path: Path) -> None:
    room = await open_room(git, make_repository(tmp_path / "project", options=("--object-format=sha256",)))
    made = await room.create()
    assert len(made.base) == 64
    assert room.scratch.git("status", "--porcelain", cwd=Path(made.path)) == ""


async def test_a_failing_post_checkout_hook_is_no_failure(room: Room) -> None:
    hook = room.scratch.path / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch hook-ran\nexit 1\n")
    hook.chmod(0o755)
    for trusted in (False, True):
        made = await room.create(trusted=trusted)
        assert not os.path.exists(made.path + "/hook-ran")


async def test_filters_run_in_trusted_projects_alone(room: Room) -> None:
    room.scratch.commit("attributes", {".gitattributes": "*.up filter=up\n", "word.up": "word\n"})
    room.scratch.git("config", "filter.up.smudge", "tr a-z A-Z")
    room.scratch.git("config", "filter.up.clean", "tr A-Z a-z")
    room.scratch.git("config", "filter.up.required", "true")
    assert Path((await room.create()).path, "word.up").read_text() == "word\n"
    trusted = Path((await room.create(trusted=True)).path)
    assert (trusted / "word.up").read_text() == "WORD\n"
    assert room.scratch.git("status", "--porcelain", cwd=trusted) == ""


async def test_line_ends_are_as_git_makes_them(room: Room) -> None:
    room.scratch.commit("attributes", {".gitattributes": "*.bat text eol=crlf\n", "run.bat": "one\ntwo\n"})
    made = await room.create()
    assert Path(made.path, "run.bat").read_bytes() == b"one\r\ntwo\r\n"
    assert room.scratch.git("status", "--porcelain", cwd=Path(made.path)) == ""


async def test_a_sparse_checkout_stays_sparse(room: Room) -> None:
    room.scratch.git("sparse-checkout", "set", "src")
    room = await open_room(room.git, room.scratch)
    made = await room.create()
    assert os.path.exists(made.path + "/src/main.py")
    assert not os.path.exists(made.path + "/data")
    assert room.scratch.git("status", "--porcelain", cwd=Path(made.path)) == ""


@pytest.mark.parametrize("branch", ["orch", "orch/demo", "orch/demo/project"])
async def test_a_branch_in_the_way_is_named(room: Room, branch: str) -> None:
    room.scratch.git("branch", branch)
    planned = await room.plan()
    with pytest.raises(OrchError, match=f"The branch '{branch}' is in the way") as caught:
        await room.create(planned)
    assert caught.value.kind is ErrorKind.CONFLICT
    assert f"git branch -m {branch} " in caught.value.hint
    assert await recover(room.git, planned) is None
    assert not os.path.exists(planned.path)


@pytest.mark.parametrize("suffix", ["", "/below"])
async def test_a_branch_of_that_name_is_left_alone(room: Room, suffix: str) -> None:
    planned = await room.plan()
    other = room.scratch.commit("other")
    room.scratch.git("branch", planned.branch + suffix, other)
    with pytest.raises(OrchError, match="exists already"):
        await room.create(planned)
    assert await recover(room.git, planned) is None
    assert room.scratch.git("rev-parse", planned.branch + suffix).strip() == other


async def test_a_directory_in_the_way_is_not_touched(room: Room) -> None:
    planned = await room.plan()
    await ensure_runtime_dir(room.git, room.repository)
    Path(planned.path).mkdir()
    Path(planned.path, "precious").write_text("x")
    with pytest.raises(OrchError, match="exists already"):
        await room.create(planned)
    assert Path(planned.path, "precious").exists()


async def test_eight_at_once(room: Room) -> None:
    plans = [await room.plan() for _ in range(8)]
    made = await asyncio.gather(*(room.create(planned) for planned in plans))
    assert len({worktree.inode for worktree in made}) == 8
    assert room.scratch.git("worktree", "list").count("locked") == 8
    assert [await check(room.git, worktree) for worktree in made] == [[]] * 8
    room.scratch.git("fsck", "--strict")


async def test_a_replaced_project_is_refused(room: Room) -> None:
    planned = await room.plan()
    room.scratch.path.rename(room.scratch.path.with_name("away"))
    make_repository(room.scratch.path, home=room.scratch.home)
    with pytest.raises(OrchError, match="not the repository"):
        await room.create(planned)


async def test_check_sees_what_happened(room: Room) -> None:
    made = await room.create()
    tree, aside = Path(made.path), Path(made.path + "-aside")
    tree.rename(aside)
    assert await check(room.git, made) == [Attention.WORKTREE_MISSING]
    shutil.copytree(aside, tree)
    assert await check(room.git, made) == [Attention.WORKTREE_REPLACED]
    shutil.rmtree(tree)
    aside.rename(tree)
    assert await check(room.git, made) == []
    (tree / ".git").unlink()
    room.scratch.git("init", "--quiet", cwd=tree)
    assert await check(room.git, made) == [Attention.WORKTREE_REPLACED]
    with pytest.raises(OrchError, match="not as orch made it"):
        check_recorded(made)


async def test_check_sees_a_moved_worktree_and_a_missing_project(room: Room) -> None:
    made = await room.create()
    room.scratch.git("worktree", "unlock", made.path)
    room.scratch.git("worktree", "move", made.path, str(room.scratch.path.parent / "moved"))
    assert await check(room.git, made) == [Attention.WORKTREE_MOVED]
    room.scratch.path.rename(room.scratch.path.with_name("away"))
    assert await check(room.git, made) == [Attention.PROJECT_MISSING]


async def test_check_sees_the_branch(room: Room) -> None:
    second = room.scratch.commit("second")
    made = await room.create()
    tree = Path(made.path)
    room.scratch.git("commit", "--quiet", "--allow-empty", "-m", "the agent's work", cwd=tree)
    assert await check(room.git, made) == []
    room.scratch.git("checkout", "--quiet", "--detach", cwd=tree)
    assert await check(room.git, made) == [Attention.BRANCH_MOVED]
    room.scratch.git("checkout", "--quiet", made.branch, cwd=tree)
    room.scratch.git("reset", "--quiet", "--hard", second + "~1", cwd=tree)
    assert await check(room.git, made) == [Attention.BRANCH_MOVED]
    room.scratch.git("update-ref", "-d", f"refs/heads/{made.branch}")
    assert await check(room.git, made) == [Attention.BRANCH_MISSING]


async def test_a_rebase_or_a_bisect_under_way_leaves_no_branch(room: Room) -> None:
    made = await room.create()
    tree = Path(made.path)

    def commit(content: str) -> str:
        (tree / "README.md").write_text(content)
        room.scratch.git("commit", "--quiet", "-a", "-m", content, cwd=tree)
        return room.scratch.git("rev-parse", "HEAD", cwd=tree).strip()

    theirs = commit("theirs\n")
    room.scratch.git("reset", "--quiet", "--hard", made.base, cwd=tree)
    commit("mine\n")
    for backend in ("--merge", "--apply"):
        room.scratch.git("rebase", "--quiet", backend, theirs, cwd=tree, check=False)
        assert room.scratch.git("branch", "--show-current", cwd=tree) == ""
        assert await check(room.git, made) == []
        room.scratch.git("rebase", "--abort", cwd=tree)
    bad = [commit(f"{number}\n") for number in range(3)][-1]
    room.scratch.git("bisect", "start", bad, made.base, cwd=tree)
    assert await check(room.git, made) == []
    Path(made.admin_dir, "HEAD").unlink()
    assert await check(room.git, made) == [Attention.WORKTREE_REPLACED]


async def test_recover_finds_a_complete_worktree(room: Room) -> None:
    planned = await room.plan()
    made = await room.create(planned)
    Path(made.path, "work.txt").write_text("work")
    Path(made.admin_dir, "index.lock").write_text("")  # an editor's git looking at it
    assert await recover(room.git, planned) == made
    room.scratch.git("update-ref", f"refs/heads/{made.branch}", room.scratch.commit("x"))
    assert await recover(room.git, planned) == made


WRECKS = {
    "nothing": [],
    "branch": ["branch"],
    "branch lock": ["branch lock"],
    "empty entry": ["branch", "entry"],
    "entry without HEAD": ["branch", "entry", "gitdir"],
    "entry named otherwise": ["branch", "other entry", "gitdir"],
    "entry without files": ["branch", "registered"],
    "some files": ["branch", "registered", "files", "index.lock"],
    "files without the .git file": ["branch", "registered", "files", "no .git"],
    "files alone": ["files"],
}


@pytest.mark.parametrize("wreck", WRECKS)
async def test_recover_clears_the_way(room: Room, wreck: str) -> None:
    planned = await room.plan()
    other = await room.create()
    await lay_wreck(room, planned, WRECKS[wreck])
    assert await recover(room.git, planned) is None
    trash = list((room.scratch.path / ".orchestrator/trash").glob("*/tree/half.txt"))
    assert len(trash) == ("files" in WRECKS[wreck])
    made = await room.create(planned)
    assert await check(room.git, made) == []
    assert await check(room.git, other) == []
    assert room.scratch.git("worktree", "list").count("locked") == 2


async def lay_wreck(room: Room, planned: WorktreePlan, parts: list[str]) -> None:
    """Make what a kill at one moment or another leaves."""
    git_dir = room.scratch.path / ".git"
    ref = git_dir / "refs/heads" / planned.branch
    entry = git_dir / "worktrees" / (planned.session_id + ("1" if "other entry" in parts else ""))
    tree = Path(planned.path)
    if "registered" in parts:
        arguments = ["worktree", "add", "--quiet", "--no-checkout", "--lock", "--reason", planned.lock_reason]
        room.scratch.git(*arguments, "-b", planned.branch, planned.path, planned.base)
    elif "branch" in parts:
        room.scratch.git("branch", "--no-track", planned.branch, planned.base)
    if "branch lock" in parts:
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.with_name(ref.name + ".lock").write_text("")
    if "entry" in parts or "other entry" in parts:
        entry.mkdir(parents=True)
        (entry / "locked").write_text(planned.lock_reason + "\n")
    if "gitdir" in parts:
        (entry / "gitdir").write_text(f"{planned.path}/.git\n")
    if "files" in parts:
        tree.mkdir(exist_ok=True)
        (tree / "half.txt").write_text("half")
    if "no .git" in parts:
        (tree / ".git").unlink()
    if "index.lock" in parts:
        (entry / "index.lock").write_text("")


async def test_recover_after_the_user_cleaned_everything_away(room: Room) -> None:
    planned = await room.plan()
    await room.create(planned)
    shutil.rmtree(room.scratch.path / ".orchestrator")
    assert await recover(room.git, planned) is None
    assert await check(room.git, await room.create(planned)) == []


async def test_recover_leaves_a_branch_that_went_on(room: Room) -> None:
    planned = await room.plan()
    await lay_wreck(room, planned, ["branch"])
    moved = room.scratch.commit("x")
    room.scratch.git("update-ref", f"refs/heads/{planned.branch}", moved)
    assert await recover(room.git, planned) is None
    assert room.scratch.git("rev-parse", planned.branch).strip() == moved


@pytest.fixture
async def large_room(git: Git, tmp_path: Path) -> Room:
    """A project that takes a noticeable while to check out."""
    files = {f"d{number % 40}/f{number}.txt": f"{number}\n" * 200 for number in range(1200)}
    return await open_room(git, make_repository(tmp_path / "large", files))


async def test_git_killed_half_way_then_recovered(large_room: Room) -> None:
    room = large_room
    for moment in (0, 1, 50, 98):
        planned = await room.plan()
        killed = asyncio.Event()

        def progress(
            percent: int, planned: WorktreePlan = planned, killed: asyncio.Event = killed, moment: int = moment
        ) -> None:
            if percent >= moment and not killed.is_set():
                killed.set()
                for pid in command._carriers(planned.intent):
                    os.kill(pid, signal.SIGKILL)

        try:
            made = await create(room.git, room.repository, room.shadow, planned, trusted=False, progress=progress)
        except OrchError:
            recovered = await recover(room.git, planned)
            made = recovered or await room.create(planned)
        assert killed.is_set()
        await assert_whole(room, made)
    assert not list((room.scratch.path / ".git/worktrees").glob("*/index.lock"))


HUB = """
import asyncio, json, os, sys
from orch_server.git.command import find_git
from orch_server.git.repository import inspect
from orch_server.git.shadow import open_shadow
from orch_server.git.worktree import WorktreePlan, create

async def main():
    git = find_git(os.environ)
    repository = await inspect(git, sys.argv[1])
    shadow = await open_shadow(git, repository, sys.argv[2])
    plan = WorktreePlan(**json.loads(sys.argv[3]))
    print("go", flush=True)
    await create(git, repository, shadow, plan, trusted=False, progress=lambda p: print(p, flush=True))

asyncio.run(main())
"""


async def test_hub_killed_half_way_then_recovered(large_room: Room) -> None:
    room = large_room
    for line, delay in (("go", 0.0), ("go", 0.008), ("0", 0.0), ("40", 0.0)):
        planned = await room.plan()
        hub = subprocess.Popen(
            [sys.executable, "-c", HUB, str(room.scratch.path), room.shadow.directory, json.dumps(asdict(planned))],
            env={**room.scratch.environment, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert hub.stdout is not None
        for seen in hub.stdout:
            if seen.strip() == line or (seen.strip().isdigit() and line.isdigit() and int(seen) >= int(line)):
                break
        await asyncio.sleep(delay)
        hub.kill()
        hub.wait()
        hub.stdout.close()
        made = await recover(room.git, planned) or await room.create(planned)
        assert await kill_survivors(room.git, planned.intent) == 0
        await assert_whole(room, made)


async def test_cancelled_half_way_then_recovered(large_room: Room) -> None:
    room = large_room
    planned = await room.plan()
    half = asyncio.Event()
    task = asyncio.create_task(
        create(
            room.git,
            room.repository,
            room.shadow,
            planned,
            trusted=False,
            progress=lambda percent: half.set() if percent >= 30 else None,
        )
    )
    await half.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await recover(room.git, planned) is None
    assert not command._carriers(planned.intent)
    await assert_whole(room, await room.create(planned))


async def assert_whole(room: Room, made: Worktree) -> None:
    assert await check(room.git, made) == []
    assert room.scratch.git("status", "--porcelain", cwd=Path(made.path)) == ""
    assert f"locked orch:{made.session_id}" in room.scratch.git("worktree", "list", "--porcelain")
