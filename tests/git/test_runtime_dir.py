"""The directory in a project that is ours."""

import os
import shutil
from pathlib import Path

import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git.runtime_dir import ensure_runtime_dir
from tests.git.conftest import Room


async def test_it_is_made_once_and_ignored(room: Room) -> None:
    made = Path(await ensure_runtime_dir(room.git, room.repository))
    assert made == room.scratch.path / ".orchestrator"
    assert {part.name for part in made.iterdir()} == {".gitignore", "worktrees", "artifacts", "logs", "trash"}
    assert (made / "logs").stat().st_mode & 0o777 == 0o700
    (made / ".gitignore").write_text("*\n# mine\n")
    assert await ensure_runtime_dir(room.git, room.repository) == str(made)
    assert (made / ".gitignore").read_text() == "*\n# mine\n"
    assert room.scratch.git("status", "--porcelain", "--untracked-files=all") == ""


async def test_it_may_have_another_name(room: Room) -> None:
    made = await ensure_runtime_dir(room.git, room.repository, ".örch [x]")
    assert made == str(room.scratch.path / ".örch [x]")


async def test_a_name_that_is_none_is_refused(room: Room) -> None:
    for name in ("", ".", "..", ".git", "a/b", "a\0b"):
        with pytest.raises(OrchError) as caught:
            await ensure_runtime_dir(room.git, room.repository, name)
        assert caught.value.kind is ErrorKind.INVALID_PARAMS


@pytest.mark.parametrize("kind", ["link", "dangling link", "file"])
async def test_what_is_no_directory_is_refused(room: Room, tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for part in ("worktrees", "artifacts", "logs", "trash", ""):
        place = room.scratch.path / ".orchestrator" / part
        if not part:
            shutil.rmtree(place)
        place.parent.mkdir(exist_ok=True)
        if kind == "file":
            place.write_text("")
        else:
            place.symlink_to(outside if kind == "link" else tmp_path / "nowhere")
        with pytest.raises(OrchError, match="so orch does not use it") as caught:
            await ensure_runtime_dir(room.git, room.repository)
        assert caught.value.kind is ErrorKind.CONFLICT
        with pytest.raises(OrchError):
            await room.create()
        assert not list(outside.iterdir())
        assert not (tmp_path / "nowhere").exists()
        place.unlink()


async def test_a_link_in_place_of_the_ignore_file_is_not_written_through(room: Room, tmp_path: Path) -> None:
    (room.scratch.path / ".orchestrator").mkdir()
    (room.scratch.path / ".orchestrator/.gitignore").symlink_to(tmp_path / "sentinel")
    await ensure_runtime_dir(room.git, room.repository)
    assert not (tmp_path / "sentinel").exists()


async def test_a_tracked_one_is_refused(room: Room) -> None:
    room.scratch.commit("oops", {".orchestrator/logs/x.log": "tracked\n"})
    with pytest.raises(OrchError, match="is tracked by git") as caught:
        await ensure_runtime_dir(room.git, room.repository)
    assert "git rm -r --cached" in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("part", ["", "worktrees"])
async def test_another_users_is_refused(room: Room, part: str) -> None:
    place = room.scratch.path / ".orchestrator" / part
    place.mkdir(parents=True)
    os.chown(place, 65534, 65534)
    with pytest.raises(OrchError, match="another user"):
        await ensure_runtime_dir(room.git, room.repository)
