"""What the tests of this room share: a scratch project, the git that orch runs, and a look at what is left running."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from orch_server.git.command import Git, find_git
from orch_server.git.repository import Repository, inspect, resolve_commit
from orch_server.git.shadow import Shadow, open_shadow
from orch_server.git.worktree import Worktree, WorktreePlan, create, plan
from tests.repositories import ScratchRepository, hermetic_environment, make_repository


@dataclass
class Room:
    """A project with its shadow, and short ways to what most tests do first."""

    git: Git
    scratch: ScratchRepository
    repository: Repository
    shadow: Shadow
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def plan(self, ref: str = "HEAD", **changes: str) -> WorktreePlan:
        base = await resolve_commit(self.git, self.repository, ref)
        names = {"session_id": f"session{next(self.numbers):05}", "agent": "demo", "project_slug": "project", **changes}
        return plan(self.repository, base=base, **names)

    async def create(self, planned: WorktreePlan | None = None, *, trusted: bool = False) -> Worktree:
        planned = planned or await self.plan()
        return await create(
            self.git, self.repository, self.shadow, planned, trusted=trusted, progress=lambda _percent: None
        )

    def put_before_git(self, script: str) -> None:
        """Have orch run a shell script, in a directory of its own, and then git, which the script knows as `$git`."""
        place = self.scratch.path.parent / "before-git"
        place.mkdir()
        program = place / "git"
        program.write_text(f"#!/bin/sh\ngit={self.git.executable}\ncd '{place}'\n{script}\nexec $git \"$@\"\n")
        program.chmod(0o700)
        self.git.close()
        self.git = find_git({**self.git.environment, "PATH": f"{place}:{self.git.environment['PATH']}"})


async def open_room(git: Git, scratch: ScratchRepository) -> Room:
    """Return the room of a scratch repository."""
    repository = await inspect(git, str(scratch.path))
    shadow = await open_shadow(git, repository, str(scratch.path.parent / "orch-home" / scratch.path.name))
    return Room(git, scratch, repository, shadow)


@pytest.fixture
def git(tmp_path: Path) -> Iterator[Git]:
    """The git of a user without configuration."""
    home = tmp_path / "home"
    home.mkdir()
    program = find_git(hermetic_environment(home))
    yield program
    program.close()


@pytest.fixture
async def room(git: Git, tmp_path: Path) -> Room:
    """A project with a few files, one commit and a path that needs care."""
    files = {"README.md": "# Project\n", "src/main.py": "print('hello')\n" * 20, "data/é.txt": "unicode\n"}
    return await open_room(git, make_repository(tmp_path / "my prøject (1)", files))


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Every test leaves as many children as it found."""
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    yield
    left = [process for process in psutil.Process().children(recursive=True) if process.pid not in before]
    assert not left
