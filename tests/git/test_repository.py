"""Telling repositories apart."""

import os
from pathlib import Path

import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git.command import Git
from orch_server.git.repository import check_identity, default_branch, inspect, resolve_commit
from tests.git.conftest import Room
from tests.repositories import make_repository


async def test_a_repository_is_known_by_its_top_level(room: Room) -> None:
    found = await inspect(room.git, str(room.scratch.path / "src"))
    assert found == room.repository
    assert found.path == str(room.scratch.path)
    assert found.common_dir == str(room.scratch.path / ".git")
    assert found.inode == room.scratch.path.stat().st_ino
    assert found.object_format == "sha1"
    assert found.head_commit == room.scratch.head


async def test_a_link_to_it_is_the_same_repository(room: Room, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(room.scratch.path)
    assert await inspect(room.git, str(tmp_path / "link")) == room.repository


async def test_empty(git: Git, tmp_path: Path) -> None:
    scratch = make_repository(tmp_path / "empty", {}, commit=False)
    found = await inspect(git, str(scratch.path))
    assert not found.has_commits
    with pytest.raises(OrchError, match="no commit yet") as caught:
        await resolve_commit(git, found, "HEAD")
    assert caught.value.kind is ErrorKind.CONFLICT
    assert "git commit" in caught.value.hint


async def test_sha256(git: Git, tmp_path: Path) -> None:
    scratch = make_repository(tmp_path / "project", options=("--object-format=sha256",))
    found = await inspect(git, str(scratch.path))
    assert found.object_format == "sha256"
    assert len(await resolve_commit(git, found, "main")) == 64


@pytest.mark.parametrize(
    ("branches", "upstream", "expected"),
    [
        (["main", "trunk"], "trunk", "trunk"),
        (["main", "master"], "elsewhere", "main"),
        (["master", "work"], None, "master"),
        (["work"], None, None),
    ],
)
async def test_default_branch(
    git: Git, tmp_path: Path, branches: list[str], upstream: str | None, expected: str | None
) -> None:
    scratch = make_repository(tmp_path / "project")
    for branch in branches:
        scratch.git("branch", "--force", branch) if branch != "main" else None
    scratch.git("checkout", "--quiet", branches[-1])
    if "main" not in branches:
        scratch.git("branch", "-D", "main")
    if upstream is not None:
        scratch.git("update-ref", f"refs/remotes/origin/{upstream}", "HEAD")
        scratch.git("symbolic-ref", "refs/remotes/origin/HEAD", f"refs/remotes/origin/{upstream}")
    assert await default_branch(git, await inspect(git, str(scratch.path))) == expected


async def test_a_path_with_a_line_end(git: Git, tmp_path: Path) -> None:
    scratch = make_repository(tmp_path / "two\nlines")
    (scratch.path / "inner").mkdir()
    found = await inspect(git, str(scratch.path / "inner"))
    assert (found.path, found.common_dir) == (str(scratch.path), str(scratch.path / ".git"))


async def test_not_a_repository(git: Git, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "file").write_text("")
    for name, message, hint in (
        ("plain", "not in a git repository", "git init"),
        ("missing", "does not exist", ""),
        ("file", "not a directory", ""),
    ):
        with pytest.raises(OrchError, match=message) as caught:
            await inspect(git, str(tmp_path / name))
        assert caught.value.kind is ErrorKind.INVALID_PARAMS
        assert hint in caught.value.hint


async def test_bare_repositories_are_refused(git: Git, tmp_path: Path) -> None:
    scratch = make_repository(tmp_path / "project")
    scratch.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
    with pytest.raises(OrchError, match="bare repository"):
        await inspect(git, str(tmp_path / "bare.git"))
    scratch.git("worktree", "add", "--quiet", str(tmp_path / "linked"), cwd=tmp_path / "bare.git")
    with pytest.raises(OrchError, match="worktree of a bare repository"):
        await inspect(git, str(tmp_path / "linked"))
    with pytest.raises(OrchError, match="git directory"):
        await inspect(git, str(scratch.path / ".git"))


async def test_a_linked_worktree_means_the_main_one(room: Room, tmp_path: Path) -> None:
    room.scratch.git("worktree", "add", "--quiet", "-b", "linked", str(tmp_path / "linked tree"))
    found = await inspect(room.git, str(tmp_path / "linked tree" / "src"))
    assert found == room.repository


async def test_our_own_worktrees_are_refused(room: Room) -> None:
    made = await room.create()
    for path in (made.path, made.path + "/src"):
        with pytest.raises(OrchError, match="worktree that orch made"):
            await inspect(room.git, path)


async def test_a_repository_inside_our_worktree_is_refused(room: Room) -> None:
    made = await room.create()
    make_repository(Path(made.path) / "nested")
    with pytest.raises(OrchError, match="worktree that orch made"):
        await inspect(room.git, made.path + "/nested")


async def test_files_configured_to_be_elsewhere_are_refused(room: Room, tmp_path: Path) -> None:
    (tmp_path / "treasure").mkdir()
    room.scratch.git("config", "core.worktree", str(tmp_path / "treasure"))
    with pytest.raises(OrchError, match=r"elsewhere|not a working tree"):
        await inspect(room.git, str(room.scratch.path))


async def test_a_separate_git_directory_and_a_submodule_are_fine(room: Room, git: Git, tmp_path: Path) -> None:
    apart = make_repository(tmp_path / "apart", options=(f"--separate-git-dir={tmp_path / 'apart.git'}",))
    found = await inspect(git, str(apart.path))
    assert (found.path, found.common_dir) == (str(apart.path), str(tmp_path / "apart.git"))
    room.scratch.git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(apart.path), "sub")
    assert (await inspect(git, str(room.scratch.path / "sub"))).path == str(room.scratch.path / "sub")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_what_belongs_to_another_user_is_refused(room: Room) -> None:
    os.chown(room.scratch.path / ".git", 65534, 65534)
    with pytest.raises(OrchError, match="another user"):
        await inspect(room.git, str(room.scratch.path))
    os.chown(room.scratch.path, 65534, 65534)
    with pytest.raises(OrchError, match="another user"):
        await inspect(room.git, str(room.scratch.path))


async def test_resolve_what_a_user_may_write(room: Room) -> None:
    first = room.scratch.head
    second = room.scratch.commit("second", {"new.txt": "x\n"})
    room.scratch.git("tag", "-a", "v1", "-m", "one", first)
    room.scratch.git("branch", "feature/ünï")
    for ref, expected in (
        ("HEAD", second),
        ("main~1", first),
        ("v1", first),
        ("refs/heads/main", second),
        (first[:10], first),
        (first, first),
        ("feature/ünï", second),
    ):
        assert await resolve_commit(room.git, room.repository, ref) == expected


async def test_what_names_no_commit_is_refused(room: Room) -> None:
    wrong = ["--help", "--output=/tmp/x", "-n", "", "a b", "main..main", "$(id)", "x\0y", "^main", "HEAD:README.md"]
    for ref in (*wrong, "z" * 2000):
        with pytest.raises(OrchError) as caught:
            await resolve_commit(room.git, room.repository, ref)
        assert caught.value.kind is ErrorKind.INVALID_PARAMS
        assert caught.value.hint
    with pytest.raises(OrchError, match="'mian' is no commit") as caught:
        await resolve_commit(room.git, room.repository, "mian")
    assert caught.value.data["candidates"] == ["main"]


async def test_a_replaced_project_is_noticed(room: Room) -> None:
    check_identity(room.repository)
    room.scratch.path.rename(room.scratch.path.with_name("away"))
    with pytest.raises(OrchError, match="not the repository"):
        check_identity(room.repository)
    make_repository(room.scratch.path, home=room.scratch.home)
    with pytest.raises(OrchError, match="not the repository"):
        check_identity(room.repository)
