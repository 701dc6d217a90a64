"""An index changed by git on a copy and put in place by us: whole or not at all, and never left locked."""

import asyncio
import os
import shutil
import stat
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git import index
from orch_server.git.checkout import real_index
from orch_server.git.index import copy_index, release, set_index
from orch_server.git.shadow import open_shadow
from tests.git.conftest import Room
from tests.repositories import ScratchRepository


@dataclass
class Moved:
    """A checkout whose index stands at its second commit and is to go back to the first."""

    room: Room
    second: str
    first: str

    @property
    def scratch(self) -> ScratchRepository:
        return self.room.scratch

    @property
    def index(self) -> Path:
        return self.scratch.path / ".git/index"

    @property
    def entries(self) -> str:
        return self.scratch.git("ls-files", "--stage")

    async def go_back(self) -> None:
        target = real_index(self.room.repository, self.room.shadow)
        await set_index(self.room.git, target, [self.second, self.first])

    def assert_is_back(self) -> None:
        assert self.scratch.git("diff", "--cached", "--name-only", self.first) == "staged.txt\n"
        assert self.left == ["index"]

    @property
    def left(self) -> list[str]:
        private = [name for name in os.listdir(self.room.shadow.directory) if name.startswith("index-")]
        return sorted(name for name in os.listdir(self.index.parent) if name.startswith("index")) + private


@pytest.fixture
def moved(room: Room) -> Moved:
    room.scratch.commit("second", {"README.md": "# Second\n"})
    second, first = room.scratch.git("rev-list", "HEAD").split()[:2]
    room.scratch.write({"staged.txt": "staged\n"})
    room.scratch.git("add", "staged.txt")
    return Moved(room, second, first)


async def test_what_is_staged_besides_stays_and_the_mode_too(moved: Moved) -> None:
    moved.index.chmod(0o664)
    await moved.go_back()
    moved.assert_is_back()
    assert stat.S_IMODE(moved.index.stat().st_mode) == 0o664
    assert moved.scratch.git("status", "--porcelain", "README.md") == "MM README.md\n"


@pytest.mark.parametrize("verb", ["read-tree", "update-index"])
async def test_a_git_that_dies_as_it_writes_leaves_nothing_locked(moved: Moved, verb: str) -> None:
    moved.room.put_before_git(f'case "$*" in *" {verb} "*) [ -e died ] || {{ touch died; ulimit -f 0; }} ;; esac')
    before = moved.entries
    with pytest.raises(OrchError) as refused:
        await moved.go_back()
    assert refused.value.kind is ErrorKind.GIT_FAILED
    assert refused.value.data["status"] < 0
    assert moved.entries == before
    assert moved.left == ["index"]
    await moved.go_back()
    moved.assert_is_back()


async def test_an_index_that_changed_meanwhile_is_begun_with_again(moved: Moved) -> None:
    moved.scratch.write({"later.txt": "later\n"})
    adding = f"touch added; env -i $git -C '{moved.scratch.path}' add later.txt"
    moved.room.put_before_git(f'case "$*" in *" update-index "*) [ -e added ] || {{ {adding}; }} ;; esac')
    await moved.go_back()
    assert moved.scratch.git("diff", "--cached", "--name-only", moved.first) == "later.txt\nstaged.txt\n"


async def test_an_index_that_never_rests_is_left_alone(moved: Moved) -> None:
    touching = f"touch -d @$$ '{moved.index}'"
    moved.room.put_before_git(f'case "$*" in *" update-index "*) {touching} ;; esac')
    before = moved.entries
    with pytest.raises(OrchError, match="kept changing"):
        await moved.go_back()
    assert moved.entries == before
    assert moved.left == ["index"]


async def test_the_lock_of_another_git_is_respected(moved: Moved) -> None:
    lock = moved.index.with_name("index.lock")
    lock.write_bytes(b"half an index")
    before = moved.entries
    with pytest.raises(OrchError, match=r"index\.lock exists") as refused:
        await moved.go_back()
    assert (refused.value.kind, refused.value.hint[:11]) == (ErrorKind.GIT_FAILED, "Another git")
    assert (lock.read_bytes(), moved.entries) == (b"half an index", before)
    lock.unlink()
    await moved.go_back()
    moved.assert_is_back()


@pytest.mark.parametrize("by", ["recovery", "the next call"])
async def test_what_a_killed_hub_left_is_its_own(moved: Moved, by: str) -> None:
    """The kill itself is among the places of tests/faults; here, what it leaves."""
    new, lock = moved.index.with_name("index.orch"), moved.index.with_name("index.lock")
    shutil.copyfile(moved.index, new)
    os.link(new, lock)
    if by == "recovery":
        release(str(moved.index))
        assert moved.left == ["index"]
    await moved.go_back()
    moved.assert_is_back()
    os.link(moved.index, new)  # killed just after
    moved.second, moved.first = moved.first, moved.second
    await moved.go_back()
    moved.assert_is_back()


async def test_the_place_may_have_no_index_yet(moved: Moved) -> None:
    moved.index.unlink()
    target = real_index(moved.room.repository, moved.room.shadow)
    await set_index(moved.room.git, target, [moved.first])
    assert moved.scratch.git("diff", "--cached", "--name-only", moved.first) == ""
    assert moved.left == ["index"]


async def test_an_index_in_two_parts(moved: Moved) -> None:
    moved.scratch.git("update-index", "--split-index")
    await moved.go_back()
    assert moved.scratch.git("diff", "--cached", "--name-only", moved.first) == "staged.txt\n"
    moved.scratch.git("fsck")


async def test_the_index_is_as_old_as_git_made_it(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written since counts as younger, and is looked at."""
    written = []

    def copy(real: str, *more: str) -> str:
        written.append(os.stat(real).st_mtime_ns)
        return copy_index(real, *more)

    monkeypatch.setattr(index, "copy_index", copy)
    await moved.go_back()
    assert len(written) == 2
    assert moved.index.stat().st_mtime_ns == written[-1]


async def test_cancelled_it_is_whole_or_not_at_all(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread cannot be cancelled: who cancels waits until it has let go of the lock."""
    locked, go_on = threading.Event(), threading.Event()

    def crashpoint(name: str) -> None:
        locked.set()
        assert go_on.wait(60)

    monkeypatch.setattr(index, "crashpoint", crashpoint)
    task = asyncio.create_task(moved.go_back())
    await asyncio.to_thread(locked.wait, 60)
    task.cancel()
    asyncio.get_running_loop().call_soon(go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    moved.assert_is_back()


async def test_without_hard_links(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    await moved.go_back()
    moved.assert_is_back()


async def test_what_a_killed_hub_left_of_its_scratch_indexes_is_removed(moved: Moved) -> None:
    room = moved.room
    shadow = Path(room.shadow.directory)
    (shadow / "index-left").mkdir()
    (shadow / "index-left/index.lock").touch()
    await open_shadow(room.git, room.repository, str(shadow))
    assert (shadow / "index-left").exists()  # it may be in use: this hub has opened the shadow before
    room.git.shadows.clear()
    await open_shadow(room.git, room.repository, str(shadow))
    assert not (shadow / "index-left").exists()


async def test_a_git_that_dies_as_it_makes_the_shadow(room: Room) -> None:
    room.put_before_git('case "$*" in *" init "*) [ -e died ] || { touch died; ulimit -f 0; } ;; esac')
    place = room.scratch.path.parent / "another"
    with pytest.raises(OrchError):
        await open_shadow(room.git, room.repository, str(place))
    assert not place.exists()
    shadow = await open_shadow(room.git, room.repository, str(place))
    target = real_index(room.repository, shadow)
    await set_index(room.git, target, [room.scratch.head])
    assert not place.with_name("another.making").exists()
