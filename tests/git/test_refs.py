"""Refs updated by a git that is killed at any moment of it: nothing stays locked, and what others locked does."""

import os
from pathlib import Path

import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git.command import Target
from orch_server.git.refs import Update, attach_head, update_refs
from tests.git.conftest import Room

DIES_WRITING = 'case "$*" in *" {verb} "*) [ -e died ] || {{ touch died; ulimit -f 0; }} ;; esac'
DIES_LEAVING = 'case "$*" in *" {verb} "*) [ -e died ] || {{ touch died; {leaving}; kill -KILL $$; }} ;; esac'
HEADS = "refs/heads"


@pytest.fixture
def commits(room: Room) -> tuple[str, str]:
    """The commits at which `main` stood before and stands now."""
    before = room.scratch.head
    return before, room.scratch.commit("more", {"more.txt": "more\n"})


def locks(room: Room) -> list[str]:
    top = room.scratch.path / ".git"
    return sorted(str(path.relative_to(top)) for path in (*top.rglob("*.lock"), *top.glob("packed-refs.new")))


async def dies(room: Room, *updates: Update, verb: str = "update-ref", detach: bool = False) -> None:
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
    await update_refs(room.git, target, [Update("refs/orch/one", now, ""), Update("refs/orch/two", now)])
    await update_refs(room.git, target, [Update("refs/orch/one", before, now), Update("refs/orch/two", "", now)])
    assert room.scratch.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/orch") == (
        f"refs/orch/one {before}\n"
    )
    await update_refs(room.git, target, [Update("HEAD", now, before)], detach=True)
    assert room.scratch.git("rev-parse", "HEAD", "main").split() == [now, before]
    await attach_head(room.git, target, "refs/heads/main", message="back")
    assert room.scratch.head == before
    await update_refs(room.git, target, [])


@pytest.mark.parametrize("old", ["", "other"])
async def test_what_is_not_as_it_must_be_is_refused(room: Room, commits: tuple[str, str], old: str) -> None:
    before, now = commits
    with pytest.raises(OrchError, match="cannot lock ref"):
        await update_refs(room.git, room.repository.target(), [Update(f"{HEADS}/main", before, before if old else old)])
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


@pytest.mark.parametrize("since", ["long ago", "just now"])
async def test_the_locks_of_others_stay(room: Room, commits: tuple[str, str], since: str) -> None:
    """A lock that was there before, and one that came meanwhile and says something else."""
    before, now = commits
    lock = room.scratch.path / ".git/refs/heads/main.lock"
    leaving = ":"
    if since == "long ago":
        lock.write_text("")
        until_the_clock_goes_on(lock)
    else:
        leaving = f"echo {now} > '{lock}'"
    room.put_before_git(DIES_LEAVING.format(verb="update-ref", leaving=leaving))
    await dies(room, Update("HEAD", before, now))
    assert locks(room) == ["refs/heads/main.lock"]
    with pytest.raises(OrchError) as refused:
        await update_refs(room.git, room.repository.target(), [Update("HEAD", before, now)])
    assert refused.value.hint.startswith("Another git is at work")
    assert locks(room) == ["refs/heads/main.lock"]


async def test_a_lock_of_ours_that_an_earlier_hub_left(room: Room, commits: tuple[str, str]) -> None:
    lock = room.scratch.path / ".git/refs/orch/wip/one.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(f"{commits[0]}\n")
    until_the_clock_goes_on(lock)
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


def until_the_clock_goes_on(path: Path) -> None:
    """Wait until what is written now is told from a file that was written before."""
    other = path.with_name("clock")
    while True:
        other.write_text("")
        if os.stat(other).st_ctime_ns > os.stat(path).st_ctime_ns + 50_000_000:
            other.unlink()
            return
