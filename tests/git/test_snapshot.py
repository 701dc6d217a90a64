"""Snapshots: equal to what `git add --all` would commit, and without a trace in the project."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from orch_server.domain.errors import OrchError
from orch_server.git.command import Git, Output, Target, run
from orch_server.git.diff import list_files
from orch_server.git.snapshot import (
    Fidelity,
    WorkingTree,
    overlay,
    pin,
    project_files,
    snapshot,
    worktree_files,
)
from tests.git.conftest import Room, open_room
from tests.repositories import ScratchRepository, make_repository, write_files


def added_tree(scratch: ScratchRepository, tree: Path, files: WorkingTree) -> str:
    """Return the tree that plain git would commit after `git add --all`, made with a copy of the index."""
    index = Path(files.git_dir, "index")
    kept = index.read_bytes() if index.exists() else None
    try:
        scratch.git("add", "--all", cwd=tree)
        return scratch.git("write-tree", cwd=tree).strip()
    finally:
        if kept is not None:
            index.write_bytes(kept)


def edit(tree: Path) -> None:
    write_files(tree, {"README.md": "changed\n", "new/deep/file.txt": "new\n"})


def delete(tree: Path) -> None:
    (tree / "README.md").unlink()


def rename(tree: Path) -> None:
    (tree / "src").rename(tree / "source")


def file_to_directory(tree: Path) -> None:
    (tree / "README.md").unlink()
    write_files(tree, {"README.md/inside.txt": "x\n"})


def directory_to_file(tree: Path) -> None:
    (tree / "src/main.py").unlink()
    (tree / "src").rmdir()
    (tree / "src").write_text("now a file\n")


def directory_to_link(tree: Path) -> None:
    (tree / "src").rename(tree / "moved")
    (tree / "src").symlink_to("moved")


def file_to_link(tree: Path) -> None:
    (tree / "README.md").unlink()
    (tree / "README.md").symlink_to("src/main.py")


def mode(tree: Path) -> None:
    (tree / "src/main.py").chmod(0o755)


def ignored(tree: Path) -> None:
    write_files(tree, {".gitignore": "*.log\nbuild/\n", "a.log": "x", "build/out": "x", "kept.txt": "x"})


def odd_names(tree: Path) -> None:
    for name in (b"new\nline", b"-rf", b"bad\xff", b"esc\x1b[31m", b"quote\"'", b"back\\slash", b" space "):
        Path(os.fsdecode(os.fsencode(tree) + b"/" + name)).write_bytes(name)


def empty_directories(tree: Path) -> None:
    (tree / "empty/deeper").mkdir(parents=True)


def fifo(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    (tree / "README.md").unlink()
    os.mkfifo(tree / "README.md")


CHANGES = [
    edit,
    delete,
    rename,
    file_to_directory,
    directory_to_file,
    directory_to_link,
    file_to_link,
    mode,
    ignored,
    odd_names,
    empty_directories,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change.__name__))
async def test_equal_to_what_git_would_commit(room: Room, change: Callable[[Path], None]) -> None:
    made = await room.create()
    files = worktree_files(made)
    await snapshot(room.git, room.shadow, files)
    await snapshot(room.git, room.shadow, files, fidelity=Fidelity.EXACT)
    change(Path(made.path))
    taken = await snapshot(room.git, room.shadow, files)
    exact = await snapshot(room.git, room.shadow, files, fidelity=Fidelity.EXACT)
    expected = added_tree(room.scratch, Path(made.path), files)
    assert (taken.tree, exact.tree) == (expected, expected)
    assert (await snapshot(room.git, room.shadow, files)).tree == expected


async def test_the_first_snapshot_is_as_good(room: Room) -> None:
    made = await room.create()
    for change in (edit, ignored, odd_names, mode, file_to_directory, directory_to_link):
        change(Path(made.path))
    files = worktree_files(made)
    expected = added_tree(room.scratch, Path(made.path), files)
    assert (await snapshot(room.git, room.shadow, files)).tree == expected
    assert (await snapshot(room.git, room.shadow, files, fidelity=Fidelity.EXACT)).tree == expected


async def test_what_git_cannot_hold_is_left_out(room: Room) -> None:
    made = await room.create()
    fifo(Path(made.path))
    taken = await snapshot(room.git, room.shadow, worktree_files(made))
    names = room.scratch.git("--git-dir", room.shadow.directory, "ls-tree", "-r", "--name-only", taken.tree)
    assert "README.md" not in names
    assert "pipe" not in names
    assert "src/main.py" in names


async def test_staged_forced_and_marked_files(room: Room) -> None:
    made = await room.create()
    tree, files = Path(made.path), worktree_files(made)
    await snapshot(room.git, room.shadow, files)
    write_files(tree, {".gitignore": "*.env\n", "forced.env": "x\n", "hidden.env": "x\n", "intent.txt": "x\n"})
    room.scratch.git("add", "--force", "forced.env", cwd=tree)
    room.scratch.git("add", "--intent-to-add", "intent.txt", cwd=tree)
    (tree / "README.md").write_text("staged\n")
    room.scratch.git("add", "README.md", cwd=tree)
    (tree / "README.md").write_text("and changed again\n")
    expected = added_tree(room.scratch, tree, files)
    assert (await snapshot(room.git, room.shadow, files)).tree == expected
    assert (await snapshot(room.git, room.shadow, files, fidelity=Fidelity.EXACT)).tree == expected
    room.scratch.git("rm", "--quiet", "--cached", "forced.env", cwd=tree)
    expected = added_tree(room.scratch, tree, files)
    assert (await snapshot(room.git, room.shadow, files)).tree == expected


@pytest.mark.parametrize("mark", ["--assume-unchanged", "--skip-worktree"])
async def test_changes_that_git_was_told_not_to_see_are_seen(room: Room, mark: str) -> None:
    made = await room.create()
    tree, files = Path(made.path), worktree_files(made)
    room.scratch.git("update-index", mark, "README.md", cwd=tree)
    (tree / "README.md").write_text("hidden work\n")
    taken = await snapshot(room.git, room.shadow, files)
    shown = room.scratch.git("--git-dir", room.shadow.directory, "show", f"{taken.tree}:README.md")
    assert shown == "hidden work\n"


async def test_a_sparse_checkout_deletes_nothing(room: Room) -> None:
    made = await room.create()
    tree, files = Path(made.path), worktree_files(made)
    whole = await snapshot(room.git, room.shadow, files)
    for options in ([], ["--sparse-index"]):
        room.scratch.git("sparse-checkout", "set", *options, "src", cwd=tree)
        assert not (tree / "data").exists()
        assert (await snapshot(room.git, room.shadow, files)).tree == whole.tree


async def test_in_the_middle_of_a_merge(room: Room) -> None:
    room.scratch.git("branch", "other")
    room.scratch.commit("ours", {"README.md": "ours\n", "gone.txt": "x\n"})
    made = await room.create()
    tree, files = Path(made.path), worktree_files(made)
    room.scratch.git("checkout", "--quiet", "other")
    room.scratch.commit("theirs", {"README.md": "theirs\n"})
    room.scratch.git("merge", "other", cwd=tree, check=False)
    assert "UU README.md" in room.scratch.git("status", "--porcelain", cwd=tree)
    taken = await snapshot(room.git, room.shadow, files)
    assert taken.tree == added_tree(room.scratch, tree, files)


@pytest.mark.parametrize("damage", ["split", "garbage", "missing"])
async def test_an_index_that_cannot_be_copied(room: Room, damage: str) -> None:
    made = await room.create()
    tree, files = Path(made.path), worktree_files(made)
    edit(tree)
    expected = added_tree(room.scratch, tree, files)
    index = Path(made.admin_dir, "index")
    match damage:
        case "split":
            room.scratch.git("update-index", "--split-index", cwd=tree)
        case "garbage":
            index.write_bytes(b"garbage")
        case "missing":
            index.unlink()
    if damage == "garbage":
        with pytest.raises(OrchError, match="git ls-files failed"):
            await snapshot(room.git, room.shadow, files)
    else:
        assert (await snapshot(room.git, room.shadow, files)).tree == expected


async def test_an_empty_repository(git: Git, tmp_path: Path) -> None:
    room = await open_room(git, make_repository(tmp_path / "empty", {}, commit=False))
    files = project_files(room.repository)
    assert (await snapshot(git, room.shadow, files)).tree == room.repository.empty_tree
    room.scratch.write({"first.txt": "x\n"})
    assert (await snapshot(git, room.shadow, files)).tree == added_tree(room.scratch, room.scratch.path, files)


async def test_the_projects_own_checkout_without_our_directory(room: Room) -> None:
    files = project_files(room.repository)
    before = await snapshot(room.git, room.shadow, files)
    assert before.tree == room.scratch.git("rev-parse", "HEAD^{tree}").strip()
    await room.create()
    (room.scratch.path / ".orchestrator/.gitignore").unlink()
    assert await snapshot(room.git, room.shadow, files) == before


async def test_what_the_user_ignores_is_ignored(room: Room) -> None:
    config = room.scratch.home / ".config/git"
    write_files(config, {"ignore": "*.swp\n"})
    room.scratch.git("config", "--global", "core.excludesFile", "~/.gitignore")
    write_files(room.scratch.home, {".gitignore": "*.tmp\n"})
    write_files(room.scratch.path / ".git/info", {"exclude": "/notes.txt\n"})
    room = await open_room(room.git, room.scratch)
    made = await room.create()
    files = worktree_files(made)
    before = await snapshot(room.git, room.shadow, files)
    write_files(Path(made.path), {"x.tmp": "x", "notes.txt": "x"})
    assert await snapshot(room.git, room.shadow, files) == before
    assert await snapshot(room.git, room.shadow, files, fidelity=Fidelity.EXACT) == before


async def test_nested_repositories_are_named(room: Room) -> None:
    made = await room.create()
    make_repository(Path(made.path) / "nested", home=room.scratch.home)
    taken = await snapshot(room.git, room.shadow, worktree_files(made))
    assert taken.nested == ("nested/",)


async def test_exact_keeps_the_bytes(room: Room) -> None:
    attributes = "*.bat text eol=crlf\n*.txt text\n*.id ident\n*.enc working-tree-encoding=UTF-16LE\n"
    room.scratch.commit("attributes", {".gitattributes": attributes, "run.bat": "one\ntwo\n"})
    made = await room.create()
    tree, files = Path(made.path), worktree_files(made)
    contents = {"a.txt": b"a\r\nb\r\n", "b.id": b"$Id: something $\n", "c.enc": "hé\n".encode("utf-16le")}
    write_files(tree, contents)
    exact = await snapshot(room.git, room.shadow, files, fidelity=Fidelity.EXACT)
    assert stored(room, exact.tree, "run.bat") == b"one\r\ntwo\r\n"
    for name, content in contents.items():
        assert stored(room, exact.tree, name) == content
    taken = await snapshot(room.git, room.shadow, files)
    assert taken.tree == added_tree(room.scratch, tree, files)
    assert stored(room, taken.tree, "run.bat") == b"one\ntwo\n"


def stored(room: Room, tree: str, name: str) -> bytes:
    shown = room.scratch.git("--git-dir", room.shadow.directory, "cat-file", "blob", f"{tree}:{name}")
    return os.fsencode(shown)


async def test_a_change_of_the_same_size_in_the_same_moment_is_seen(room: Room) -> None:
    made = await room.create()
    file = Path(made.path, "README.md")
    room.scratch.git("status", cwd=Path(made.path))
    trees = set()
    for number in range(15):
        file.write_text(f"{number:09}\n")
        trees.add((await snapshot(room.git, room.shadow, worktree_files(made))).tree)
    assert len(trees) == 15


async def test_a_change_that_only_the_time_of_the_index_betrays_is_seen(room: Room) -> None:
    room.scratch.git("config", "core.trustctime", "false")
    room = await open_room(room.git, room.scratch)
    made = await room.create()
    file, index = Path(made.path, "README.md"), Path(made.admin_dir, "index")
    when = file.stat().st_mtime_ns - 10**12  # long ago: git compares whole seconds
    file.write_text("one\n")
    os.utime(file, ns=(when, when))
    room.scratch.git("add", "README.md", cwd=Path(made.path))
    file.write_text("two\n")
    os.utime(file, ns=(when, when))
    os.utime(index, ns=(when, when))
    taken = await snapshot(room.git, room.shadow, worktree_files(made))
    assert stored(room, taken.tree, "README.md") == b"two\n"


async def test_snapshots_while_an_agent_is_at_work(room: Room) -> None:
    made = await room.create()
    tree, files = Path(made.path), worktree_files(made)
    done = False

    def work() -> None:
        number = 0
        while not done:
            number += 1
            write_files(tree, {f"gen/{number % 7}.txt": f"{number}\n" * 50})
            (tree / f"gen/{(number + 3) % 7}.txt").unlink(missing_ok=True)
            if number % 50 == 0:
                room.scratch.git("add", "--all", cwd=tree)
                room.scratch.git("commit", "--quiet", "--allow-empty", "-m", "x", cwd=tree)

    agent = asyncio.create_task(asyncio.to_thread(work))
    try:
        for _ in range(10):
            await asyncio.gather(*(snapshot(room.git, room.shadow, files) for _ in range(2)))
    finally:
        done = True
        await agent
    expected = added_tree(room.scratch, tree, files)
    assert (await snapshot(room.git, room.shadow, files)).tree == expected


async def test_a_lock_left_by_an_earlier_hub_is_taken_away(room: Room) -> None:
    files = project_files(room.repository)
    before = await snapshot(room.git, room.shadow, files)
    (index,) = [name for name in os.listdir(room.shadow.directory + "/indexes") if "." not in name]
    Path(room.shadow.directory, "indexes", index + ".lock").write_text("")
    assert await snapshot(room.git, room.shadow, files) == before


async def test_a_replaced_worktree_is_not_read(room: Room) -> None:
    made = await room.create()
    Path(made.path, ".git").unlink()
    room.scratch.git("init", "--quiet", cwd=Path(made.path))
    with pytest.raises(OrchError, match="not as orch made it"):
        await snapshot(room.git, room.shadow, worktree_files(made))


async def test_pin(room: Room) -> None:
    made = await room.create()
    tree, files = Path(made.path), worktree_files(made)
    write_files(tree, {"work.txt": "precious\n"})
    taken = await snapshot(room.git, room.shadow, files)
    ref = "refs/orch/wip/x"
    commit = await pin(room.git, room.repository, room.shadow, taken, ref, message="wip", parents=[made.base])
    assert room.scratch.git("rev-parse", ref).strip() == commit
    room.scratch.git("gc", "--quiet", "--prune=now")
    assert room.scratch.git("show", f"{ref}:work.txt") == "precious\n"
    assert room.scratch.git("rev-parse", f"{ref}^{{tree}}", f"{ref}~1").split() == [taken.tree, made.base]
    room.scratch.git("fsck", "--strict")
    with pytest.raises(OrchError):
        await pin(room.git, room.repository, room.shadow, taken, ref, message="again")


async def test_pin_what_the_project_has_already(room: Room) -> None:
    taken = await snapshot(room.git, room.shadow, project_files(room.repository))
    await pin(room.git, room.repository, room.shadow, taken, "refs/orch/wip/same", message="wip")
    room.scratch.git("fsck", "--strict")


async def test_sha256(git: Git, tmp_path: Path) -> None:
    room = await open_room(git, make_repository(tmp_path / "project", options=("--object-format=sha256",)))
    made = await room.create()
    edit(Path(made.path))
    files = worktree_files(made)
    assert (await snapshot(git, room.shadow, files)).tree == added_tree(room.scratch, Path(made.path), files)


@pytest.mark.parametrize("name", ['quo"te', "back\\slash", "new\nline", "# hash", "co:lon", "é"])
async def test_the_projects_objects_are_found_at_any_path(git: Git, tmp_path: Path, name: str) -> None:
    room = await open_room(git, make_repository(tmp_path / name))
    taken = await snapshot(git, room.shadow, project_files(room.repository))
    assert taken.tree == room.scratch.git("rev-parse", "HEAD^{tree}").strip()


@pytest.mark.ordinary
async def test_an_unreadable_file_is_an_error(room: Room) -> None:
    made = await room.create()
    Path(made.path, "README.md").write_text("secret\n")
    Path(made.path, "README.md").chmod(0)
    with pytest.raises(OrchError, match=r"Permission denied|README"):
        await snapshot(room.git, room.shadow, worktree_files(made))


async def test_the_second_snapshot_reads_little(git: Git, tmp_path: Path) -> None:
    files = {f"d{number % 40}/f{number}.txt": f"{number}\n" * 50 for number in range(1000)}
    room = await open_room(git, make_repository(tmp_path / "large", files))
    made = await room.create()
    working = worktree_files(made)
    spent = []
    for number in range(4):
        write_files(Path(made.path), {"changed.txt": f"{number}\n"})
        begun = time.perf_counter()
        await snapshot(git, room.shadow, working)
        spent.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    await snapshot(git, room.shadow, working, fidelity=Fidelity.EXACT)
    everything = time.perf_counter() - begun
    assert min(spent[1:]) < everything
    assert min(spent[1:]) < 0.5


async def test_only_named_paths_are_looked_at(room: Room) -> None:
    files = project_files(room.repository)
    first = await snapshot(room.git, room.shadow, files)
    room.scratch.write({"README.md": "one\n", "src/main.py": "two\n", "new/deep/file": "three\n"})
    named = await snapshot(room.git, room.shadow, files, paths=[b"README.md", b"new", b"gone"])
    assert await names_changed(room, first.tree, named.tree) == ["README.md", "new/deep/file"]
    whole = await snapshot(room.git, room.shadow, files)
    assert await names_changed(room, first.tree, whole.tree) == ["README.md", "new/deep/file", "src/main.py"]
    (room.scratch.path / "src" / "main.py").unlink()
    gone = await snapshot(room.git, room.shadow, files, paths=[b"src/main.py"])
    assert await names_changed(room, whole.tree, gone.tree) == ["src/main.py"]


def note_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the name of each call of git is added from now on."""
    asked: list[str] = []

    async def noted(git: Git, target: Target, arguments: Sequence[str], **settings: Any) -> Output:
        asked.append(arguments[0])
        return await run(git, target, arguments, **settings)

    monkeypatch.setattr("orch_server.git.snapshot.run", noted)
    return asked


async def test_git_is_only_asked_once_while_nothing_changes(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    files = project_files(room.repository)
    room.scratch.write({"README.md": "one\n", "new.txt": "one\n"})
    asked = note_calls(monkeypatch)
    before = await snapshot(room.git, room.shadow, files)
    asked.clear()
    assert await snapshot(room.git, room.shadow, files) == before
    assert asked == ["ls-files"]

    room.scratch.write({"README.md": "two\n"})
    changed = await snapshot(room.git, room.shadow, files)
    assert await names_changed(room, before.tree, changed.tree) == ["README.md"]
    room.scratch.write({"README.md": "one\n"})
    assert await snapshot(room.git, room.shadow, files) == before
    room.scratch.commit("two", {"new.txt": "two\n"})  # another index to begin with
    committed = await snapshot(room.git, room.shadow, files)
    assert await names_changed(room, before.tree, committed.tree) == ["new.txt"]
    for index in Path(room.shadow.directory, "indexes").iterdir():
        index.unlink()
    assert await snapshot(room.git, room.shadow, files) == committed


async def test_git_is_not_asked_for_files_that_are_known(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.scratch.commit("ignore", {".gitignore": "*.log\n"})
    asked = note_calls(monkeypatch)
    files = project_files(room.repository)
    known: set[bytes] = set()
    before = (await snapshot(room.git, room.shadow, files, known=known)).tree
    room.scratch.write({"README.md": "one\n", "new.txt": "one\n", "a.log": "one\n"})
    named = [b"README.md", b"new.txt", b"a.log"]
    tree = (await snapshot(room.git, room.shadow, files, paths=named, known=known)).tree
    assert await names_changed(room, before, tree) == ["README.md", "new.txt"]
    assert known == {b"README.md", b"new.txt"}

    asked.clear()
    room.scratch.write({"README.md": "two\n"})
    (room.scratch.path / "new.txt").unlink()
    named = [b"README.md", b"new.txt", b"gone.tmp"]
    second = (await snapshot(room.git, room.shadow, files, paths=named, known=known)).tree
    assert await names_changed(room, before, second) == ["README.md"]
    assert second != tree
    assert known == {b"README.md"}
    assert asked == ["update-index", "update-index", "write-tree"]


async def test_a_buffer_stands_in_for_its_file(room: Room) -> None:
    room.scratch.commit("attributes", {".gitattributes": "*.txt text\n", "run.sh": "#!/bin/sh\n"})
    (room.scratch.path / "run.sh").chmod(0o755)
    files = project_files(room.repository)
    tree = (await snapshot(room.git, room.shadow, files)).tree
    buffers = {b"new.txt": b"one\r\ntwo\r\n", b"run.sh": b"#!/bin/bash\n"}
    laid = await overlay(room.git, room.shadow, files, tree, buffers)
    assert await names_changed(room, tree, laid) == ["new.txt", "run.sh"]
    shown = await run(room.git, room.shadow.target(), ["cat-file", "blob", f"{laid}:new.txt"])
    assert shown.stdout == b"one\ntwo\n"
    listed = await run(room.git, room.shadow.target(), ["ls-tree", laid, "run.sh"])
    assert listed.stdout.startswith(b"100755 ")
    assert not (room.scratch.path / "new.txt").exists()


async def names_changed(room: Room, old: str, new: str) -> list[str]:
    """Return the paths in which two trees differ."""
    return [file.path for file in await list_files(room.git, room.shadow, old, new)]
