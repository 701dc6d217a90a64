"""Refs updated by a git that is killed at any moment of it: nothing stays locked, and what others locked does."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git import command, refs
from orch_server.git import locks as locks_of_git
from orch_server.git.command import Target
from orch_server.git.refs import Update, attach_head, update_refs
from tests.git.conftest import Room
from tests.waiting import wait_until_async

DIES_WRITING = 'case "$*" in *" {verb} "*) [ -e died ] || {{ touch died; ulimit -f 0; }} ;; esac'
DIES_LEAVING = 'case "$*" in *" {verb} "*) [ -e died ] || {{ touch died; {leaving}; kill -KILL $$; }} ;; esac'
HEADS = "refs/heads"


@pytest.fixture(autouse=True)
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What happens while it is seen whether a lock changes; nobody really waits."""
    happenings: list[Callable[[], object]] = []

    def go_on(seconds: float) -> None:
        assert seconds == locks_of_git.PATIENCE
        for happening in happenings:
            happening()

    monkeypatch.setattr(locks_of_git, "time", SimpleNamespace(time_ns=time.time_ns, sleep=go_on))
    return happenings


@pytest.fixture
def commits(room: Room) -> tuple[str, str]:
    """The commits at which `main` stood before and stands now."""
    before = room.scratch.head
    return before, room.scratch.commit("more", {"more.txt": "more\n"})


def locks(room: Room) -> list[str]:
    top = room.scratch.path / ".git"
    return sorted(str(path.relative_to(top)) for path in (*top.rglob("*.lock"), *top.glob("packed-refs.new")))


async def dies(room: Room, *updates: Update, detach: bool = False) -> None:
    with pytest.raises(OrchError) as refused:
        await update_refs(room.git, room.repository.target(), updates, detach=detach)
    assert refused.value.kind is ErrorKind.GIT_FAILED
    assert refused.value.data["status"] < 0


async def test_made_moved_and_deleted(room: Room, commits: tuple[str, str]) -> None:
    before, now = commits
    target = room.repository.target()
    await update_refs(room.git, target, [Update("HEAD", before, now)], message="why")
    assert room.scratch.head == before
    assert room.scratch.git("reflog", "-1", "--format=%gs") == "why\n"
    assert room.scratch.git("symbolic-ref", "HEAD") == "refs/heads/main\n"
    await update_refs(room.git, target, [Update("refs/orch/wip/one", now, ""), Update("refs/orch/wip/two", now)])
    await update_refs(
        room.git, target, [Update("refs/orch/wip/one", before, now), Update("refs/orch/wip/two", "", now)]
    )
    assert room.scratch.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/orch") == (
        f"refs/orch/wip/one {before}\n"
    )
    await update_refs(room.git, target, [Update("HEAD", now, before)], detach=True)
    assert room.scratch.git("rev-parse", "HEAD", "main").split() == [now, before]
    await attach_head(room.git, target, "refs/heads/main", message="back")
    assert room.scratch.head == before
    await update_refs(room.git, target, [])


@pytest.mark.parametrize("must_be", ["nothing", "another"])
async def test_what_is_not_as_it_must_be_is_refused(room: Room, commits: tuple[str, str], must_be: str) -> None:
    before, now = commits
    update = Update(f"{HEADS}/main", before, "" if must_be == "nothing" else before)
    with pytest.raises(OrchError, match="cannot lock ref"):
        await update_refs(room.git, room.repository.target(), [update])
    assert room.scratch.head == now


async def test_killed_before_it_wrote(room: Room, commits: tuple[str, str]) -> None:
    before, now = commits
    room.put_before_git(DIES_WRITING.format(verb="update-ref"))
    await dies(room, Update("HEAD", before, now))
    assert (locks(room), room.scratch.head) == ([], now)
    await update_refs(room.git, room.repository.target(), [Update("HEAD", before, now)])
    assert room.scratch.head == before


@pytest.mark.parametrize("detached", [False, True])
async def test_killed_when_it_had_written(room: Room, commits: tuple[str, str], detached: bool) -> None:
    before, now = commits
    top = room.scratch.path / ".git"
    if detached:
        room.scratch.git("checkout", "--quiet", "--detach")
        leaving = f"echo {before} > '{top}/HEAD.lock'"
    else:
        leaving = f"touch '{top}/HEAD.lock'; echo {before} > '{top}/refs/heads/main.lock'"
    room.put_before_git(DIES_LEAVING.format(verb="update-ref", leaving=leaving))
    await dies(room, Update("HEAD", before, now), detach=detached)
    assert (locks(room), room.scratch.head) == ([], now)


async def test_killed_when_the_branch_had_moved(room: Room, commits: tuple[str, str]) -> None:
    before, now = commits
    leaving = f"$git \"$@\"; touch '{room.scratch.path}/.git/HEAD.lock'"
    room.put_before_git(DIES_LEAVING.format(verb="update-ref", leaving=leaving))
    await dies(room, Update("HEAD", before, now))
    assert (locks(room), room.scratch.head) == ([], before)


async def test_killed_as_it_deleted(room: Room, commits: tuple[str, str]) -> None:
    room.scratch.git("branch", "gone")
    room.scratch.git("pack-refs", "--all")
    top = room.scratch.path / ".git"
    leaving = (
        f"touch '{top}/packed-refs.lock' '{top}/{HEADS}/gone.lock'; cp '{top}/packed-refs' '{top}/packed-refs.new'"
    )
    room.put_before_git(DIES_LEAVING.format(verb="update-ref", leaving=leaving))
    gone = Update(f"{HEADS}/gone", "", commits[1])
    await dies(room, gone)
    assert locks(room) == []
    await update_refs(room.git, room.repository.target(), [gone])
    assert room.scratch.git("for-each-ref", "refs/heads/gone") == ""


async def test_killed_as_it_attached(room: Room, commits: tuple[str, str]) -> None:
    room.scratch.git("checkout", "--quiet", "--detach")
    lock = room.scratch.path / ".git/HEAD.lock"
    room.put_before_git(DIES_LEAVING.format(verb="symbolic-ref", leaving=f"echo 'ref: refs/heads/main' > '{lock}'"))
    with pytest.raises(OrchError):
        await attach_head(room.git, room.repository.target(), "refs/heads/main")
    assert not lock.exists()
    await attach_head(room.git, room.repository.target(), "refs/heads/main")
    assert room.scratch.git("symbolic-ref", "HEAD") == "refs/heads/main\n"


async def test_a_lock_that_was_there_before_stays(room: Room, commits: tuple[str, str]) -> None:
    before, now = commits
    lock = room.scratch.path / ".git/refs/heads/main.lock"
    lock.touch()
    until_the_clock_goes_on(lock)
    room.put_before_git(DIES_LEAVING.format(verb="update-ref", leaving=":"))
    await dies(room, Update("HEAD", before, now))
    assert locks(room) == ["refs/heads/main.lock"]
    with pytest.raises(OrchError) as refused:
        await update_refs(room.git, room.repository.target(), [Update("HEAD", before, now)])
    assert refused.value.hint.startswith("Another git is at work")
    assert locks(room) == ["refs/heads/main.lock"]


async def test_a_lock_that_another_git_takes_meanwhile_stays(
    room: Room, commits: tuple[str, str], meanwhile: list[Callable[[], object]]
) -> None:
    """It came while our git lived, too: but its git lets go of it, and takes it again, say."""
    lock = room.scratch.path / ".git/HEAD.lock"
    room.put_before_git(DIES_LEAVING.format(verb="update-ref", leaving=f"touch '{lock}'"))
    meanwhile.append(lambda: take_again(lock))
    await dies(room, Update("HEAD", *commits))
    assert lock.read_text() == "again\n"


@pytest.mark.parametrize("lets_go", [True, False])
async def test_others_lock_refs_of_ours_to_pack_them(
    room: Room, commits: tuple[str, str], meanwhile: list[Callable[[], object]], lets_go: bool
) -> None:
    ref = Update("refs/orch/wip/one", commits[1])
    lock = room.scratch.path / ".git" / f"{ref.name}.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    meanwhile.append(lock.unlink if lets_go else lambda: take_again(lock))
    if lets_go:
        await update_refs(room.git, room.repository.target(), [ref])
        assert room.scratch.git("rev-parse", ref.name).strip() == commits[1]
    else:
        with pytest.raises(OrchError, match="File exists"):
            await update_refs(room.git, room.repository.target(), [ref])
        assert lock.read_text() == "again\n"


async def test_a_name_that_is_not_utf_8(room: Room, commits: tuple[str, str]) -> None:
    name = os.fsdecode(b"refs/heads/caf\xe9")
    await update_refs(room.git, room.repository.target(), [Update(name, commits[0], "")])
    await attach_head(room.git, room.repository.target(), name)
    assert room.scratch.head == commits[0]


async def test_cancelled_with_a_git_that_does_not_end(
    room: Room, commits: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "GRACE", 0.1)
    lock = room.scratch.path / ".git/HEAD.lock"
    stubborn = f"trap '' TERM; touch '{lock}'; sleep 60"
    room.put_before_git(f'case "$*" in *" update-ref "*) {stubborn} ;; esac')
    update = asyncio.create_task(update_refs(room.git, room.repository.target(), [Update("HEAD", *commits)]))
    await wait_until_async(lock.exists)
    update.cancel()
    with pytest.raises(asyncio.CancelledError):
        await update
    assert not lock.exists()


async def test_a_lock_of_ours_that_an_earlier_hub_left(room: Room, commits: tuple[str, str]) -> None:
    lock = room.scratch.path / ".git/refs/orch/wip/one.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(f"{commits[0]}\n")
    await update_refs(room.git, room.repository.target(), [Update("refs/orch/wip/one", commits[1], "")])
    assert room.scratch.git("rev-parse", "refs/orch/wip/one").strip() == commits[1]
    assert locks(room) == []


async def test_head_of_a_worktree(room: Room, commits: tuple[str, str]) -> None:
    """Its HEAD is locked in its own directory, its branch in the project's."""
    made = await room.create()
    own = Target(git_dir=made.admin_dir, common_dir=made.common_dir)
    room.put_before_git(DIES_WRITING.format(verb="update-ref"))
    with pytest.raises(OrchError):
        await update_refs(room.git, own, [Update("HEAD", commits[0], commits[1])])
    assert locks(room) == []
    await update_refs(room.git, own, [Update("HEAD", commits[0], commits[1])])
    assert room.scratch.git("rev-parse", made.branch).strip() == commits[0]


def test_refs_are_updated_in_one_place() -> None:
    room = Path(refs.__file__).parent
    assert [path.name for path in room.glob("*.py") if '"update-ref"' in path.read_text()] == ["refs.py"]


def take_again(lock: Path) -> None:
    new = lock.with_name("new")
    new.write_text("again\n")
    new.replace(lock)


def until_the_clock_goes_on(path: Path) -> None:
    """Wait until what is written now is told from a file that was written before."""
    other = path.with_name("clock")
    while True:
        other.write_text("")
        if os.stat(other).st_ctime_ns > os.stat(path).st_ctime_ns + 50_000_000:
            other.unlink()
            return
