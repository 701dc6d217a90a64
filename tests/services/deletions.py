"""The deletion matrix: what may lie in a worktree, how the agent ended, and what the user was shown before."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.session import State
from orch_server.services import cleanup, reconcile, sessions
from orch_server.store.records import SessionRecord
from tests.marks import FULL
from tests.repositories import make_repository
from tests.services.world import World
from tests.world import tree_of

ENDINGS = ("stopped", "long_dead")
SHOWN = ("fresh", "stale", "none")


def clean(world: World, tree: Path) -> None:
    """Nothing was done."""


def staged(world: World, tree: Path) -> None:
    (tree / "new.txt").write_text("staged\n")
    (tree / "README.md").write_text("staged\n")
    world.scratch.git("add", "--all", cwd=tree)
    (tree / "README.md").write_text("and changed again\n")


def unstaged(world: World, tree: Path) -> None:
    (tree / "README.md").write_text("changed\r\n")
    (tree / "src" / "main.py").unlink()
    (tree / "data").joinpath("é.txt").chmod(0o755)


def untracked(world: World, tree: Path) -> None:
    (tree / "notes").mkdir()
    (tree / "notes" / "idea.md").write_text("an idea\n")


def ignored(world: World, tree: Path) -> None:
    (tree / "ignored").mkdir()
    (tree / "ignored" / ".env").write_text("TOKEN=secret\n")
    (tree / "debug.log").write_text("log\n")


def assume_unchanged(world: World, tree: Path) -> None:
    world.scratch.git("update-index", "--assume-unchanged", "src/main.py", cwd=tree)
    (tree / "src" / "main.py").write_text("hidden change\n")


def skip_worktree(world: World, tree: Path) -> None:
    world.scratch.git("update-index", "--skip-worktree", "src/main.py", cwd=tree)
    (tree / "src" / "main.py").write_text("hidden change\n")


def untracked_unseen(world: World, tree: Path) -> None:
    world.scratch.git("config", "status.showUntrackedFiles", "no")
    (tree / "unseen.txt").write_text("unseen\n")


def detached_commits(world: World, tree: Path) -> None:
    world.scratch.git("checkout", "--quiet", "--detach", cwd=tree)
    for number in range(3):
        (tree / "work.txt").write_text(f"{number}\n")
        world.scratch.git("add", "--all", cwd=tree)
        world.scratch.git("commit", "--quiet", "--message", f"detached {number}", cwd=tree)


def _two_sides(world: World, tree: Path) -> None:
    git = world.scratch.git
    git("checkout", "--quiet", "-b", "side", cwd=tree)
    (tree / "README.md").write_text("one side\n")
    git("commit", "--quiet", "--all", "--message", "one side", cwd=tree)
    git("checkout", "--quiet", "-", cwd=tree)
    (tree / "README.md").write_text("other side\n")
    git("commit", "--quiet", "--all", "--message", "other side", cwd=tree)


def unmerged(world: World, tree: Path) -> None:
    _two_sides(world, tree)
    world.scratch.git("merge", "side", cwd=tree, check=False)


def mid_rebase(world: World, tree: Path) -> None:
    _two_sides(world, tree)
    world.scratch.git("rebase", "side", cwd=tree, check=False)


def nested_repository(world: World, tree: Path) -> None:
    for place in ("vendor/lib", "ignored/lib"):
        (tree / place).mkdir(parents=True)
        nested = make_repository(tree / place, {"lib.c": "int x;\n"}, home=world.root / "home")
        nested.commit("only here", {"more.c": "int y;\n"})


def submodule(world: World, tree: Path) -> None:
    other = make_repository(world.root / "other", {"o.txt": "o\n"}, home=world.root / "home")
    allow = ("-c", "protocol.file.allow=always")
    world.scratch.git(*allow, "submodule", "add", "--quiet", str(other.path), "sub", cwd=tree)
    (tree / "sub" / "changed.txt").write_text("in the submodule\n")


def strange_names(world: World, tree: Path) -> None:
    for name in (b"caf\xe9.txt", b"new\nline", b"-rf", b"\x1b[31mred", b"dir\xff/in\xfeside", b" space ", b'"quoted"'):
        path = os.path.join(os.fsencode(tree), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(name)


def read_only(world: World, tree: Path) -> None:
    folder = tree / "cache" / "module"
    folder.mkdir(parents=True)
    (folder / "locked.bin").write_bytes(b"\x00\x01")
    (folder / "locked.bin").chmod(0o444)
    folder.chmod(0o555)
    tree.chmod(0o555)


def links_out(world: World, tree: Path) -> None:
    outside = world.root / "outside"
    outside.mkdir()
    (outside / "precious.txt").write_text("not of this project\n")
    (tree / "folder").symlink_to(outside)
    (tree / "file").symlink_to(outside / "precious.txt")
    (tree / "nowhere").symlink_to("/does/not/exist")


def many_files(world: World, tree: Path) -> None:
    for number in range(10_000 if FULL else 2_000):
        folder = tree / "many" / f"{number % 100:02}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(f"{number}\n")


def special_files(world: World, tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    (tree / "empty" / "deeper").mkdir(parents=True)
    (tree / "private.key").write_text("x\n")
    (tree / "private.key").chmod(0o600)


KINDS: dict[str, Callable[[World, Path], None]] = {
    kind.__name__: kind
    for kind in (
        clean,
        staged,
        unstaged,
        untracked,
        ignored,
        assume_unchanged,
        skip_worktree,
        untracked_unseen,
        detached_commits,
        unmerged,
        mid_rebase,
        nested_repository,
        submodule,
        strange_names,
        read_only,
        links_out,
        many_files,
        special_files,
    )
}


# Permissions mean nothing to root.
FOR_ORDINARY_USERS = frozenset({"read_only"})
ORDINARY = 65534


async def run_cell(kind: str, ending: str, shown: str, root: Path) -> None:
    """Delete a session as one cell of the matrix says and restore it: every byte is where it was."""
    world = World(root)
    await world.open()
    try:
        session = await world.work("[[write made.txt by the agent]] [[hang]]" if ending == "stopped" else "[[say hi]]")
        tree = Path(session.worktree_path or "")
        KINDS[kind](world, tree)
        if ending == "stopped":
            await _refuse_at_work(world, session.id)
            await sessions.stop(world.context, session.id)
        else:
            await world.close()
            await world.open()
        await world.settle()
        if kind in FOR_ORDINARY_USERS and os.geteuid() == 0:
            with _ordinary_user(root):
                await _delete_and_restore(world, session.id, shown)
        else:
            await _delete_and_restore(world, session.id, shown)
    finally:
        await world.close()


async def _delete_and_restore(world: World, session_id: str, shown: str) -> None:
    await reconcile.look(world.context, session_id)
    session = world.session(session_id)
    tree = Path(session.worktree_path or "")
    before, around, index = tree_of(tree), _around(world, session), _index(session)

    token = None if shown == "none" else (await cleanup.preview(world.context, session.id)).token
    if shown == "stale":
        os.utime(os.path.join(tree, "README.md"))
        token = await _refused(world, session, token, before, around)
    deleted = await cleanup.delete(world.context, session.id, token=token, drop_branch=True)
    assert deleted.session.state == State.DELETED
    assert not os.path.lexists(tree)
    assert _checkout(world) == _checkout_of(around)

    restored = await cleanup.restore(world.context, world.caller, session.id)
    assert restored.state == session.state
    assert (restored.branch, restored.worktree_path) == (session.branch, session.worktree_path)
    assert restored.attention == session.attention
    assert tree_of(tree) == before
    assert _index(session) == index
    assert _around(world, session) == around


async def _refuse_at_work(world: World, session_id: str) -> None:
    """While its agent runs the session is not deleted, and nothing is touched."""
    session = world.session(session_id)
    tree = Path(session.worktree_path or "")
    before, around = tree_of(tree), _around(world, session)
    with pytest.raises(OrchError) as caught:
        await cleanup.delete(world.context, session_id, drop_branch=True)
    assert caught.value.kind is ErrorKind.ILLEGAL_TRANSITION
    assert caught.value.data["state"] == State.RUNNING
    assert (tree_of(tree), _around(world, session)) == (before, around)


@contextmanager
def _ordinary_user(root: Path) -> Iterator[None]:
    """Give everything below `root` to a user without privileges, and be that user."""
    for path in (root, *root.rglob("*")):
        os.chown(path, ORDINARY, ORDINARY, follow_symlinks=False)
    os.setresuid(ORDINARY, ORDINARY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


async def _refused(
    world: World,
    session: SessionRecord,
    token: str | None,
    before: Mapping[bytes, object],
    around: Mapping[str, object],
) -> str:
    """Delete with a stale token: nothing is touched. Returns the new token that the refusal gives."""
    with pytest.raises(OrchError) as caught:
        await cleanup.delete(world.context, session.id, token=token)
    assert caught.value.kind is ErrorKind.STALE_PREVIEW
    assert tree_of(Path(session.worktree_path or "")) == before
    assert _around(world, session) == around
    assert world.session(session.id).state == session.state
    assert not world.context.store.intents()
    return str(caught.value.data["preview"]["token"])


def _around(world: World, session: SessionRecord) -> dict[str, object]:
    """Return everything outside of the session that a user would miss."""
    scratch = world.scratch
    outside = [path for path in (world.root / "outside", world.root / "other") if path.exists()]
    return {
        "checkout": _checkout(world),
        "refs": scratch.git("for-each-ref", "refs/heads", "refs/tags", "refs/remotes", "refs/stash"),
        "worktrees": scratch.git("worktree", "list", "--porcelain"),
        "config": (scratch.path / ".git" / "config").read_bytes(),
        "status": scratch.git(
            "--no-optional-locks", "status", "--porcelain", "--ignored", cwd=Path(session.worktree_path or "")
        ),
        "trash pins": scratch.git("for-each-ref", "refs/orch/trash"),
        "outside": [tree_of(path) for path in outside],
        "trash": os.listdir(scratch.path / ".orchestrator" / "trash"),
    }


def _checkout(world: World) -> dict[bytes, tuple[object, ...]]:
    found = tree_of(world.scratch.path)
    return {path: what for path, what in found.items() if not path.startswith((b".git/", b".orchestrator/"))}


def _checkout_of(around: Mapping[str, object]) -> object:
    return around["checkout"]


def _index(session: SessionRecord) -> bytes:
    assert session.worktree is not None
    return Path(session.worktree["admin_dir"], "index").read_bytes()
