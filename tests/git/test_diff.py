"""What people are shown of an agent's work."""

import json
import os
import tracemalloc
from pathlib import Path

import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git.command import Git
from orch_server.git.diff import Diff, DiffFile, FileStatus, diff, diff_trees, read_file, stat
from orch_server.git.snapshot import project_files, snapshot, worktree_files
from orch_server.git.worktree import Worktree
from tests.git.conftest import Room, open_room
from tests.repositories import make_repository, write_files


@pytest.fixture
async def made(room: Room) -> Worktree:
    """A worktree to change."""
    return await room.create()


async def read(room: Room, made: Worktree) -> dict[str, DiffFile]:
    """Return the difference by path, with what must hold for every one of them."""
    found = await diff(room.git, room.shadow, made.base, worktree_files(made))
    assert Diff.model_validate_json(found.json_bytes()) == found
    json.dumps(json.loads(found.json_bytes())).encode("ascii")
    counted = await stat(room.git, room.shadow, made.base, worktree_files(made))
    assert (counted.files, counted.insertions, counted.deletions) == (
        len(found.files),
        found.insertions,
        found.deletions,
    )
    for file in found.files:
        assert (file.patch is None) == file.truncated
    return {file.path: file for file in found.files}


async def test_nothing(room: Room, made: Worktree) -> None:
    assert await read(room, made) == {}


async def test_a_file_as_it_was(room: Room, made: Worktree) -> None:
    (Path(made.path) / "data/é.txt").unlink()
    write_files(Path(made.path), {"README.md": "other\n", "new.txt": "new\n"})
    assert await read_file(room.git, room.shadow, made.base, "README.md") == b"# Project\n"
    assert await read_file(room.git, room.shadow, made.base, "data/é.txt") == b"unicode\n"
    for absent in ("new.txt", "data", "../README.md", "/README.md"):
        assert await read_file(room.git, room.shadow, made.base, absent) is None


async def test_committed_staged_unstaged_and_untracked(room: Room, made: Worktree) -> None:
    tree = Path(made.path)
    write_files(tree, {"committed.txt": "1\n"})
    room.scratch.git("add", "--all", cwd=tree)
    room.scratch.git("commit", "--quiet", "-m", "x", cwd=tree)
    write_files(tree, {"staged.txt": "1\n2\n"})
    room.scratch.git("add", "--all", cwd=tree)
    write_files(tree, {"README.md": "# Project\nmore\n", "untracked.txt": "1\n2\n3\n"})
    (tree / "data/é.txt").unlink()
    found = await read(room, made)
    assert {path: (file.status, file.insertions, file.deletions) for path, file in found.items()} == {
        "README.md": (FileStatus.MODIFIED, 1, 0),
        "committed.txt": (FileStatus.ADDED, 1, 0),
        "data/é.txt": (FileStatus.DELETED, 0, 1),
        "staged.txt": (FileStatus.ADDED, 2, 0),
        "untracked.txt": (FileStatus.ADDED, 3, 0),
    }
    assert found["README.md"].patch is not None
    assert found["README.md"].patch.startswith("diff --git a/README.md b/README.md\n")
    assert found["README.md"].patch.endswith("@@ -1 +1,2 @@\n # Project\n+more\n")
    assert "data/é.txt" in (found["data/é.txt"].patch or "")


async def test_the_patches_apply(room: Room, made: Worktree) -> None:
    tree = Path(made.path)
    write_files(tree, {"README.md": "# Project\nmore", "new/file.txt": "x\n" * 500, "no-end.txt": "no line end"})
    (tree / "src/main.py").rename(tree / "renamed.py")
    found = await read(room, made)
    patch = tree.parent / "all.patch"
    patch.write_text("".join(file.patch or "" for file in found.values()))
    room.scratch.git("apply", "--index", str(patch))
    assert room.scratch.git("write-tree").strip() == (await snapshot(room.git, room.shadow, worktree_files(made))).tree


async def test_renamed(room: Room, made: Worktree) -> None:
    tree = Path(made.path)
    (tree / "src/main.py").rename(tree / "tool.py")
    with open(tree / "tool.py", "a") as file:
        file.write("more\n")
    found = await read(room, made)
    assert list(found) == ["tool.py"]
    assert (found["tool.py"].status, found["tool.py"].old_path) == (FileStatus.RENAMED, "src/main.py")
    assert found["tool.py"].insertions == 1


async def test_binary_mode_and_kind(room: Room, made: Worktree) -> None:
    tree = Path(made.path)
    write_files(tree, {"image.png": b"\x89PNG\0\1\2", "empty.txt": ""})
    (tree / "src/main.py").chmod(0o755)
    (tree / "README.md").unlink()
    (tree / "README.md").symlink_to("src/main.py")
    (tree / "zzz.txt").write_text("last\n")
    found = await read(room, made)
    assert found["image.png"].binary
    assert found["image.png"].insertions == 0
    assert "Binary files" in (found["image.png"].patch or "")
    assert found["empty.txt"].status is FileStatus.ADDED
    assert found["src/main.py"].patch == "diff --git a/src/main.py b/src/main.py\nold mode 100644\nnew mode 100755\n"
    assert found["README.md"].status is FileStatus.TYPE_CHANGED
    assert (found["README.md"].patch or "").count("diff --git") == 2
    assert "+last" in (found["zzz.txt"].patch or "")


async def test_line_ends(room: Room) -> None:
    attributes: dict[str, str | bytes] = {
        ".gitattributes": "*.bat text eol=crlf\n",
        "run.bat": "1\n2\n",
        "plain.txt": b"1\r\n2\r\n",
    }
    room.scratch.commit("attributes", attributes)
    made = await room.create()
    tree = Path(made.path)
    os.utime(tree / "run.bat")
    assert await read(room, made) == {}
    write_files(tree, {"run.bat": b"1\r\n2\r\n3\r\n", "plain.txt": b"1\r\n2\r\n3\r\n"})
    found = await read(room, made)
    assert {path: (file.insertions, file.deletions) for path, file in found.items()} == {
        "run.bat": (1, 0),
        "plain.txt": (1, 0),
    }
    assert "+3\r\n" in (found["plain.txt"].patch or "")


async def test_names_that_need_care(room: Room, made: Worktree) -> None:
    names = [b"bad\xff.txt", b"new\nline", b"-rf", b"esc\x1b[31m", b"a\ndiff --git b", b"tab\there", "é".encode()]
    for name in names:
        with open(os.fsencode(made.path) + b"/" + name, "wb") as file:
            file.write(b"one\ndiff --git a/README.md b/README.md\n")
    found = await read(room, made)
    assert "bad\\xff.txt" in found
    assert {"new\nline", "-rf", "esc\x1b[31m", "a\ndiff --git b", "tab\there", "é"} <= set(found)
    assert {file.insertions for file in found.values()} == {2}
    assert all((file.patch or "").count("\n+") == 3 for file in found.values())


async def test_text_that_is_not_utf8(room: Room, made: Worktree) -> None:
    write_files(Path(made.path), {"latin.txt": "é\n".encode("latin-1")})
    assert "+\ufffd\n" in ((await read(room, made))["latin.txt"].patch or "")


async def test_a_huge_patch_is_left_out_and_the_others_are_not(room: Room, made: Worktree) -> None:
    write_files(
        Path(made.path),
        {"a.txt": "first\n", "huge.txt": "line\n" * 300_000, "one-line.txt": "x" * 3_000_000, "z.txt": "last\n"},
    )
    found = await read(room, made)
    assert (found["huge.txt"].truncated, found["huge.txt"].insertions) == (True, 300_000)
    assert found["one-line.txt"].truncated
    assert "+first" in (found["a.txt"].patch or "")
    assert "+last" in (found["z.txt"].patch or "")


async def test_a_small_change_of_a_huge_file_is_shown(room: Room) -> None:
    lines = [f"line {number}\n" for number in range(200_000)]
    room.scratch.commit("huge", {"huge.txt": "".join(lines)})
    made = await room.create()
    lines[100_000] = "changed\n"
    write_files(Path(made.path), {"huge.txt": "".join(lines)})
    found = await read(room, made)
    assert "+changed\n" in (found["huge.txt"].patch or "")


async def test_no_more_than_16_mib_in_all(room: Room, made: Worktree) -> None:
    content = ("y" * 1023 + "\n") * 900
    write_files(Path(made.path), {f"{number:02}.txt": f"{number}\n{content}" for number in range(30)})
    tracemalloc.start()
    found = await read(room, made)
    assert tracemalloc.get_traced_memory()[1] < 150 * 1024 * 1024
    tracemalloc.stop()
    sizes = [len(file.patch or "") for file in found.values()]
    assert sum(sizes) <= 16 * 1024 * 1024
    assert sum(not file.truncated for file in found.values()) == 18
    assert found["29.txt"].truncated
    assert all(file.insertions == 901 for file in found.values())


async def test_attributes_hide_nothing(room: Room, made: Worktree) -> None:
    write_files(Path(made.path), {".gitattributes": "* -diff\n*.md binary\n", "README.md": "# Other\n"})
    found = await read(room, made)
    assert not found["README.md"].binary
    assert "+# Other" in (found["README.md"].patch or "")


async def test_paths(room: Room, made: Worktree) -> None:
    write_files(Path(made.path), {"src/a.py": "x\n", "src/*.py": "x\n", "b.py": "x\n", "-x/c.py": "x\n"})

    async def paths(*wanted: str) -> list[str]:
        found = await diff(room.git, room.shadow, made.base, worktree_files(made), paths=wanted)
        return [file.path for file in found.files]

    assert await paths("src") == ["src/*.py", "src/a.py"]
    assert await paths("src/*.py") == ["src/*.py"]
    assert await paths("b.py", "-x") == ["-x/c.py", "b.py"]
    assert await paths(":(exclude)src") == []
    assert await paths("nothing") == []
    for wrong in ("", "/etc", "../x", "a\0b"):
        with pytest.raises(OrchError) as caught:
            await paths(wrong)
        assert caught.value.kind is ErrorKind.INVALID_PARAMS


async def test_two_trees(room: Room, made: Worktree) -> None:
    write_files(Path(made.path), {"a.txt": "1\n"})
    before = await snapshot(room.git, room.shadow, worktree_files(made))
    write_files(Path(made.path), {"a.txt": "2\n"})
    after = await snapshot(room.git, room.shadow, worktree_files(made))
    found = await diff_trees(room.git, room.shadow, before.tree, after.tree)
    assert [(file.path, file.status) for file in found.files] == [("a.txt", FileStatus.MODIFIED)]
    assert (found.insertions, found.deletions) == (1, 1)


async def test_an_empty_repository(git: Git, tmp_path: Path) -> None:
    room = await open_room(git, make_repository(tmp_path / "empty", {"a.txt": "1\n"}, commit=False))
    found = await diff(git, room.shadow, room.repository.empty_tree, project_files(room.repository))
    assert [file.path for file in found.files] == ["a.txt"]


async def test_a_submodule_is_one_line(room: Room) -> None:
    other = make_repository(room.scratch.path.parent / "other", home=room.scratch.home)
    room.scratch.git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(other.path), "sub")
    room.scratch.commit("submodule")
    files = project_files(room.repository)
    base = room.scratch.head
    assert (await diff(room.git, room.shadow, base, files)).files == []
    (room.scratch.path / "sub/README.md").write_text("changed")
    room.scratch.git("commit", "--quiet", "-am", "x", cwd=room.scratch.path / "sub")
    (found,) = (await diff(room.git, room.shadow, base, files)).files
    assert found.path == "sub"
    assert "+Subproject commit" in (found.patch or "")
