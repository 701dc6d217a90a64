"""The hub looks and snapshots while agents and the user are at git: nobody finds a lock of the hub's (C.16)."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orch_server.domain.session import State
from orch_server.services import changes, reconcile, sessions, wip
from orch_server.services.changes import Against
from tests.faults.figures import record
from tests.marks import FULL
from tests.services.world import World

pytestmark = pytest.mark.timeout(600)
AGENTS = 13 if FULL else 4
COMMITS = 40 if FULL else 12


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.open()
    yield world
    await world.close()


async def test_git_of_others_never_meets_a_lock_of_the_hub(world: World) -> None:
    hanging = [await world.work("[[hang]]") for _ in range(AGENTS)]
    trees = [Path(session.worktree_path or "") for session in hanging]
    at_work = [asyncio.create_task(asyncio.to_thread(_commit_often, world, tree)) for tree in trees]
    at_work.append(asyncio.create_task(asyncio.to_thread(_tidy_often, world)))
    rounds = 0
    while not all(task.done() for task in at_work):
        for session in hanging:
            await wip.take(world.context, session.id)
            await changes.diff(world.context, world.session(session.id), Against.BASE, ())
            await reconcile.look(world.context, session.id)
        rounds += 1
    failures = [failure for task in at_work for failure in task.result()]
    assert failures == []
    for session in hanging:
        assert world.session(session.id).attention == []
        assert (await sessions.stop(world.context, session.id)).state == State.STOPPED
    world.scratch.git("fsck", "--strict")
    record("git contention", agents=AGENTS, commits=AGENTS * COMMITS, rounds_of_the_hub=rounds, lock_failures=0)


def _commit_often(world: World, tree: Path) -> list[str]:
    failures = []
    for number in range(COMMITS):
        (tree / "work.txt").write_text(f"{number}\n")
        failures += _git(world, tree, "add", "--all") + _git(world, tree, "commit", "--quiet", "-m", f"{number}")
    return failures


def _tidy_often(world: World) -> list[str]:
    failures = []
    for number in range(COMMITS // 4):
        (world.scratch.path / "mine.txt").write_text(f"{number}\n")
        failures += _git(world, world.scratch.path, "add", "mine.txt")
        failures += _git(world, world.scratch.path, "commit", "--quiet", "-m", "mine")
        failures += _git(world, world.scratch.path, "rebase", "--quiet", "--force-rebase", "HEAD~1")
        failures += _git(world, world.scratch.path, "gc", "--quiet")
        failures += _git(world, world.scratch.path, "worktree", "prune")
    return failures


def _git(world: World, where: Path, *arguments: str) -> list[str]:
    command = ["git", "-c", "gc.auto=0", *arguments]
    done = subprocess.run(command, cwd=where, env=world.scratch.environment, capture_output=True, text=True)
    return [f"{arguments}: {done.stderr}"] if done.returncode else []
