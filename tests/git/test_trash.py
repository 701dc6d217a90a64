"""The steps into the trash and back, each alone: idempotent, resumable, and only on what is orch's own."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git import inventory, trash, wip
from orch_server.git.trash import Trashed
from orch_server.git.worktree import Worktree, check
from tests.git.conftest import Room
from tests.repositories import write_files

FORBIDDEN = ("--force", "-f", "-D", "prune", "gc", "stash", "reset", "clean", "checkout", "rm")


async def prepared(room: Room, worktree: Worktree, *, drop_branch: bool = True) -> Trashed:
    return await trash.prepare(
        room.git,
        room.repository,
        room.shadow,
        worktree,
        runtime_dir=".orchestrator",
        manifests=str(room.scratch.path.parent / "manifests"),
        drop_branch=drop_branch,
    )


async def thrown_away(room: Room, worktree: Worktree, *, drop_branch: bool = True) -> Trashed:
    trashed = await prepared(room, worktree, drop_branch=drop_branch)
    await trash.move(trashed)
    await trash.settle(room.git, trashed)
    return trashed


def refs(room: Room, *patterns: str) -> dict[str, str]:
    listed = room.scratch.git("for-each-ref", "--format=%(refname) %(objectname)", *patterns)
    return dict(line.split(" ") for line in listed.splitlines())


@pytest.fixture
async def made(room: Room) -> Worktree:
    """A worktree with a commit, a staged, a changed, an untracked and an ignored file."""
    worktree = await room.create()
    tree = Path(worktree.path)
    write_files(tree, {"committed.txt": "1\n", ".gitignore": "*.log\n"})
    room.scratch.git("add", "--all", cwd=tree)
    room.scratch.git("commit", "--quiet", "--message", "by the agent", cwd=tree)
    write_files(tree, {"staged.txt": "2\n"})
    room.scratch.git("add", "--all", cwd=tree)
    write_files(tree, {"README.md": "crlf\r\n", "untracked.txt": "3\n", "debug.log": "4\n"})
    return worktree


async def test_everything_git_can_hold_is_pinned(room: Room, made: Worktree) -> None:
    index = Path(made.admin_dir, "index").read_bytes()
    trashed = await prepared(room, made)
    git = room.scratch.git
    assert refs(room, trashed.pins) == {
        f"{trashed.pins}{name}": oid
        for name, oid in {
            "head": git("rev-parse", made.branch).strip(),
            "branch": git("rev-parse", made.branch).strip(),
            "index": trashed.index,
            "wip": trashed.wip,
        }.items()
    }
    assert git("cat-file", "blob", trashed.index or "").encode("utf-8", "surrogateescape") == index
    assert git("show", f"{trashed.wip}:README.md") == "crlf\r\n"
    held = git("ls-tree", "-r", "--name-only", trashed.wip or "").splitlines()
    assert {"committed.txt", "staged.txt", "untracked.txt"} <= set(held)
    assert "debug.log" not in held  # what is ignored may be secret, and refs can be pushed (`push --mirror`)
    assert git("log", "-1", "--format=%P", trashed.wip or "").strip() == trashed.head
    await trash.undo(room.git, trashed)
    assert refs(room, "refs/orch") == {}
    assert await check(room.git, made) == []


async def test_every_step_may_be_repeated(room: Room, made: Worktree) -> None:
    await prepared(room, made)
    trashed = await prepared(room, made)
    for _ in range(2):
        await trash.move(trashed)
    for _ in range(2):
        await trash.settle(room.git, trashed)
    assert not os.path.lexists(made.path)
    assert os.path.isdir(trashed.place)
    for _ in range(2):
        back = await trash.bring_back(room.git, room.shadow, trashed)
    assert back == made
    for _ in range(2):
        await trash.forget(room.git, trashed)
    assert await check(room.git, made) == []
    again = await thrown_away(room, made)
    for _ in range(2):
        await trash.destroy(room.git, again)
    assert os.listdir(room.scratch.path / ".orchestrator" / "trash") == []
    assert not os.path.exists(made.admin_dir)
    assert refs(room, "refs/orch") == {}


async def test_in_the_trash_the_entry_stays_locked_and_follows(room: Room, made: Worktree) -> None:
    trashed = await thrown_away(room, made, drop_branch=False)
    git = room.scratch.git
    git("worktree", "prune", "--expire=now")
    git("gc", "--quiet", "--prune=now")
    listed = git("worktree", "list", "--porcelain")
    assert f"worktree {trashed.place}\nHEAD {trashed.head}\ndetached\nlocked orch:{made.session_id}" in listed
    assert git("status", "--porcelain", cwd=Path(trashed.place)) == " M README.md\nA  staged.txt\n?? untracked.txt\n"
    git("switch", "--quiet", made.branch)  # the branch is free to be looked at


async def test_the_branch_goes_only_while_it_is_as_it_was_pinned(room: Room, made: Worktree) -> None:
    trashed = await prepared(room, made)
    await trash.move(trashed)
    moved = room.scratch.git("rev-parse", "main").strip()
    room.scratch.git("update-ref", f"refs/heads/{made.branch}", moved)
    await trash.settle(room.git, trashed)
    assert refs(room, f"refs/heads/{made.branch}") == {f"refs/heads/{made.branch}": moved}
    back = await trash.bring_back(room.git, room.shadow, trashed)
    assert back.branch == f"{made.branch}-restored"
    assert refs(room, f"refs/heads/{made.branch}")[f"refs/heads/{made.branch}"] == moved


async def test_somebody_else_is_never_touched(room: Room, made: Worktree) -> None:
    for change in ("replaced", "moved", "occupied"):
        tree = Path(made.path)
        if change == "replaced":
            tree.rename(tree.parent / "aside")
            tree.mkdir()
        elif change == "moved":
            room.scratch.git("worktree", "unlock", made.path)
            room.scratch.git("worktree", "move", made.path, str(room.scratch.path.parent / "moved"))
        else:
            (room.scratch.path / ".orchestrator" / "trash" / made.session_id).mkdir()
        with pytest.raises(OrchError) as caught:
            await prepared(room, made)
        assert caught.value.kind is ErrorKind.CONFLICT, change
        assert refs(room, "refs/orch") == {}
        if change == "replaced":
            tree.rmdir()
            (tree.parent / "aside").rename(tree)
        elif change == "moved":
            room.scratch.git("worktree", "move", str(room.scratch.path.parent / "moved"), made.path)
        else:
            (room.scratch.path / ".orchestrator" / "trash" / made.session_id).rmdir()
    await prepared(room, made)


async def test_a_symbolic_link_in_the_place_of_the_trash_is_refused(room: Room, made: Worktree) -> None:
    outside = room.scratch.path.parent / "outside"
    outside.mkdir()
    place = room.scratch.path / ".orchestrator" / "trash"
    place.rmdir()
    place.symlink_to(outside)
    trashed = await prepared(room, made)
    with pytest.raises(OrchError):
        await trash.move(trashed)
    assert os.listdir(outside) == []
    assert os.path.isdir(made.path)


async def test_a_purge_leaves_an_entry_that_is_not_ours(room: Room, made: Worktree) -> None:
    trashed = await thrown_away(room, made)
    Path(made.admin_dir, "locked").write_text("mine\n")
    await trash.destroy(room.git, trashed)
    assert os.path.isdir(made.admin_dir)
    assert not os.path.lexists(trashed.place)


async def test_too_much_is_not_pinned_but_kept(room: Room, made: Worktree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wip, "LARGEST_BYTES", 5)
    trashed = await prepared(room, made)
    assert trashed.wip is None
    assert "too much" in trashed.warnings[0]
    await trash.move(trashed)
    await trash.settle(room.git, trashed)
    await trash.bring_back(room.git, room.shadow, trashed)
    assert Path(made.path, "debug.log").read_text() == "4\n"


async def test_a_rebuilt_directory_has_the_index_it_had(room: Room, made: Worktree) -> None:
    status = room.scratch.git("status", "--porcelain", cwd=Path(made.path))
    trashed = await thrown_away(room, made)
    shutil.rmtree(trashed.place)
    os.unlink(os.path.join(made.admin_dir, "index"))
    back = await trash.bring_back(room.git, room.shadow, trashed)
    assert back == replace(made, inode=back.inode, device=back.device)
    assert room.scratch.git("status", "--porcelain", cwd=Path(made.path)) == status
    assert await check(room.git, back) == []


async def test_an_inventory_sees_what_git_hides_and_changes_nothing(room: Room, made: Worktree) -> None:
    room.scratch.git("config", "status.showUntrackedFiles", "no")
    room.scratch.git("update-index", "--assume-unchanged", "committed.txt", cwd=Path(made.path))
    Path(made.path, "committed.txt").write_text("hidden\n")
    index = Path(made.admin_dir, "index").read_bytes()
    found = await inventory.take(room.git, room.shadow, made, made.path)
    assert (found.modified, found.staged, found.untracked, found.ignored, found.hidden) == (2, 1, 1, 1, 1)
    assert found.unknown == []
    assert [commit.subject for commit in found.commits] == ["by the agent"]
    assert Path(made.admin_dir, "index").read_bytes() == index
    await _tokens_differ(room, made)


async def _tokens_differ(room: Room, made: Worktree) -> None:
    git, tree = room.scratch.git, Path(made.path)
    tokens = {(await inventory.take(room.git, room.shadow, made, made.path)).token}
    changes: list[Callable[[], object]] = [
        lambda: os.utime(tree / "debug.log"),
        lambda: (tree / "committed.txt").chmod(0o755),
        (tree / "empty").mkdir,
        lambda: git("add", "untracked.txt", cwd=tree),
        lambda: git("update-index", "--no-assume-unchanged", "committed.txt", cwd=tree),
        lambda: git("update-ref", f"refs/heads/{made.branch}", "main"),
        lambda: git("checkout", "--quiet", "--detach", cwd=tree),
        lambda: Path(made.admin_dir, "MERGE_HEAD").write_text("x"),
    ]
    for number, change in enumerate(changes, 2):
        change()
        tokens.add((await inventory.take(room.git, room.shadow, made, made.path)).token)
        assert len(tokens) == number


def test_no_destructive_form_of_git_is_in_the_code() -> None:
    for module in (trash, wip, inventory):
        assert module.__file__ is not None
        text = Path(module.__file__).read_text()
        for word in FORBIDDEN:
            assert f'"{word}"' not in text, (module.__name__, word)
