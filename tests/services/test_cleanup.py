"""Archive, delete, restore, purge: nothing is lost on any way, however the world and the hub behave meanwhile."""

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.session import Action, Attention, State
from orch_server.services import artifacts, cleanup, projects, reconcile, sessions, transcript, wip
from orch_server.services.context import Caller, RequestKey
from orch_server.settings import crashpoint
from tests.marks import NIGHTLY
from tests.services.deletions import ENDINGS, FOR_ORDINARY_USERS, KINDS, SHOWN, run_cell
from tests.services.world import World
from tests.waiting import wait_until_async
from tests.world import tree_of

SAMPLE = {
    ("clean", "stopped", "none"),
    ("staged", "stopped", "fresh"),
    ("unstaged", "long_dead", "none"),
    ("untracked", "stopped", "stale"),
    ("ignored", "long_dead", "fresh"),
    ("skip_worktree", "stopped", "none"),
    ("detached_commits", "stopped", "fresh"),
    ("mid_rebase", "stopped", "none"),
    ("nested_repository", "long_dead", "fresh"),
    ("submodule", "stopped", "none"),
    ("strange_names", "stopped", "stale"),
    ("links_out", "stopped", "fresh"),
    ("read_only", "stopped", "fresh"),
    ("special_files", "stopped", "none"),
}


CELLS = [
    pytest.param(*cell, id="-".join(cell), marks=() if cell in SAMPLE else pytest.mark.slow)
    for cell in itertools.product(KINDS, ENDINGS, SHOWN)
]


@pytest.mark.parametrize(("kind", "ending", "shown"), CELLS)
async def test_what_is_deleted_comes_back_byte_for_byte(kind: str, ending: str, shown: str, tmp_path: Path) -> None:
    if kind not in FOR_ORDINARY_USERS:
        await run_cell(kind, ending, shown, tmp_path)
        return
    # pytest's own directory cannot be entered by another user.
    with tempfile.TemporaryDirectory(prefix="orch-cell-") as place:
        os.chmod(place, 0o755)
        await run_cell(kind, ending, shown, Path(place))


# -- archive ----------------------------------------------------------------------------------------------------


async def test_an_archived_session_goes_back_to_the_state_it_was_in(world: World) -> None:
    session = await world.work("[[fail no]]")
    archived = await cleanup.archive(world.context, world.caller, session.id)
    assert archived.state == State.ARCHIVED
    assert (await cleanup.archive(world.context, world.caller, session.id)).version == archived.version
    for refused in (
        sessions.follow_up(world.context, world.caller, session.id, "more"),
        sessions.resume(world.context, world.caller, session.id, None),
    ):
        with pytest.raises(OrchError) as caught:
            await refused
        assert caught.value.kind is ErrorKind.ILLEGAL_TRANSITION
    back = await cleanup.unarchive(world.context, world.caller, session.id)
    assert (back.state, back.reason) == (session.state, session.reason)
    with pytest.raises(OrchError, match="not archived"):
        await cleanup.unarchive(world.context, world.caller, session.id)
    assert _types(world, session.id)[-4:] == [
        "session.state_changed",
        "session.archived",
        "session.state_changed",
        "session.unarchived",
    ]


async def test_a_deleted_archived_session_is_restored_into_the_archive(world: World) -> None:
    session = await world.work()
    await cleanup.archive(world.context, world.caller, session.id)
    await cleanup.delete(world.context, session.id)
    assert (await cleanup.restore(world.context, world.caller, session.id)).state == State.ARCHIVED
    assert (await cleanup.unarchive(world.context, world.caller, session.id)).state == State.COMPLETED


async def test_a_session_at_work_is_not_taken_away(world: World) -> None:
    session = await world.work("[[hang]]")
    for refused in (
        cleanup.archive(world.context, world.caller, session.id),
        cleanup.delete(world.context, session.id),
    ):
        with pytest.raises(OrchError) as caught:
            await refused
        assert caught.value.kind is ErrorKind.ILLEGAL_TRANSITION
        assert caught.value.data["state"] == "running"
    assert world.session(session.id).state == State.RUNNING
    assert (await cleanup.preview(world.context, session.id)).blockers


# -- preview ----------------------------------------------------------------------------------------------------


async def test_a_preview_tells_what_git_does_not(world: World) -> None:
    session = await world.work("[[write a.txt by the agent]]")
    tree = Path(session.worktree_path or "")
    for kind in ("ignored", "skip_worktree", "nested_repository", "links_out", "special_files"):
        if kind == "nested_repository":
            shutil.rmtree(tree / "ignored")
        KINDS[kind](world, tree)
    (tree / "b.txt").write_text("x" * 1000)
    world.scratch.git("add", "b.txt", cwd=tree)
    world.scratch.git("commit", "--quiet", "--message", "lonely", cwd=tree)
    (tree / "README.md").write_text("changed\n")
    world.scratch.git("add", "README.md", cwd=tree)
    found = await cleanup.preview(world.context, session.id)
    contents = found.worktree
    assert contents is not None
    assert (contents.modified, contents.staged, contents.hidden) == (1, 1, 1)
    assert contents.untracked >= 5
    assert contents.ignored >= 2
    assert contents.nested == ["ignored/lib", "vendor/lib"]
    assert [commit.subject for commit in found.commits_only_here] == ["lonely"]
    assert found.branch == session.branch
    assert found.artifacts > 0
    assert found.logs > 0
    assert {file.path for file in contents.largest} >= {"debug.log", "src/main.py", "a.txt"}
    assert any("no regular files" in text for text in found.unknown)
    assert _types(world, session.id)[-1] == "cleanup.previewed"
    assert (await cleanup.preview(world.context, session.id)).token == found.token


async def test_what_cannot_be_looked_at_is_unknown_and_not_nothing(world: World) -> None:
    session = await world.work()
    assert session.worktree is not None
    Path(session.worktree["admin_dir"], "index").write_bytes(b"no index\n")
    found = await cleanup.preview(world.context, session.id)
    assert found.unknown
    tree, before = Path(session.worktree_path or ""), tree_of(Path(session.worktree_path or ""))
    await cleanup.delete(world.context, session.id, token=found.token)
    await cleanup.restore(world.context, world.caller, session.id)
    assert tree_of(tree) == before


async def test_a_process_in_the_worktree_is_shown(world: World) -> None:
    session = await world.work()
    with subprocess.Popen(["cat"], cwd=session.worktree_path, stdin=subprocess.PIPE) as process:
        found = await cleanup.preview(world.context, session.id)
        assert [item.pid for item in found.processes] == [process.pid]
        assert process.stdin is not None
        process.stdin.close()


# -- delete and restore -----------------------------------------------------------------------------------------


async def test_twenty_clients_delete_one_session(world: World) -> None:
    session = await world.work("[[write a.txt one]]")
    token = (await cleanup.preview(world.context, session.id)).token
    replies = await asyncio.gather(*(cleanup.delete(world.context, session.id, token=token) for _ in range(20)))
    assert len({(reply.session.model_dump_json(), reply.kept_until) for reply in replies}) == 1
    assert _types(world, session.id).count("session.deleted") == 1
    assert _types(world, session.id).count("worktree.removed") == 1


async def test_the_branch_is_dropped_only_if_asked_and_never_from_under_anyone(world: World) -> None:
    kept, dropped, used = [await world.work("[[write a.txt x]] [[commit work]]") for _ in range(3)]
    git = world.scratch.git
    tip = git("rev-parse", dropped.branch or "")
    await cleanup.delete(world.context, kept.id)
    await cleanup.delete(world.context, dropped.id, drop_branch=True)
    assert git("branch", "--list", kept.branch or "").strip() == kept.branch
    assert not git("branch", "--list", dropped.branch or "")
    git("checkout", "--quiet", "--ignore-other-worktrees", used.branch or "")
    await cleanup.delete(world.context, used.id, drop_branch=True)
    assert git("rev-parse", "--abbrev-ref", "HEAD").strip() == used.branch
    git("checkout", "--quiet", kept.branch or "")  # HEAD in the trash is detached, so that this is possible
    git("commit", "--quiet", "--allow-empty", "--message", "the user went on")
    gone_on = git("rev-parse", "HEAD")
    await cleanup.restore(world.context, world.caller, dropped.id)
    assert git("rev-parse", dropped.branch or "") == tip
    restored = await cleanup.restore(world.context, world.caller, kept.id)
    assert restored.branch == f"{kept.branch}-restored"
    assert git("rev-parse", "HEAD") == gone_on
    assert git("status", "--porcelain", cwd=Path(restored.worktree_path or "")) == ""
    assert not restored.attention


async def test_a_removed_directory_can_be_deleted_and_what_replaced_it_is_left_alone(world: World) -> None:
    session = await world.work("[[write a.txt kept]]")
    tree = Path(session.worktree_path or "")
    tree.rename(world.root / "old")
    tree.mkdir()
    shutil.rmtree(world.root / "old")
    (tree / "precious.txt").write_text("not orch's\n")
    await reconcile.look(world.context, session.id)
    assert Attention.WORKTREE_REPLACED in world.session(session.id).attention
    with pytest.raises(OrchError, match="not the directory") as caught:
        await cleanup.delete(world.context, session.id)
    assert caught.value.kind is ErrorKind.CONFLICT
    assert world.session(session.id).state == State.COMPLETED
    assert not world.context.store.intents()
    tree.rename(tree.parent / "elsewhere")
    await cleanup.delete(world.context, session.id)
    assert (tree.parent / "elsewhere" / "precious.txt").exists()
    await cleanup.restore(world.context, world.caller, session.id)
    assert world.session(session.id).attention == [Attention.WORKTREE_MISSING]
    await cleanup.restore(world.context, world.caller, session.id)
    assert (tree / "a.txt").read_text() == "kept\n"
    assert not world.session(session.id).attention


async def test_a_tampered_git_file_loses_nothing(world: World) -> None:
    session = await world.work("[[write a.txt kept]]")
    tree = Path(session.worktree_path or "")
    (tree / ".git").unlink()
    world.scratch.git("init", "--quiet", cwd=tree)
    before = tree_of(tree)
    await cleanup.delete(world.context, session.id)
    await cleanup.restore(world.context, world.caller, session.id)
    assert tree_of(tree) == before
    assert world.session(session.id).attention == [Attention.WORKTREE_REPLACED]


async def test_a_session_outlives_its_project(world: World) -> None:
    session = await world.work("[[write a.txt x]]")
    world.scratch.path.rename(world.root / "moved away")
    await reconcile.look(world.context, session.id)
    assert world.session(session.id).attention == [Attention.PROJECT_MISSING]
    await cleanup.delete(world.context, session.id)
    (world.root / "moved away").rename(world.scratch.path)
    await cleanup.restore(world.context, world.caller, session.id)
    assert not world.session(session.id).attention
    assert Path(session.worktree_path or "", "a.txt").exists()


async def test_a_session_without_a_worktree_is_deleted_and_restored(world: World) -> None:
    session = await world.work("[[say report]]", Action.ANALYZE)
    deleted = await cleanup.delete(world.context, session.id, drop_branch=True)
    assert deleted.kept_until is not None
    assert (await cleanup.restore(world.context, world.caller, session.id)).state == State.COMPLETED
    with pytest.raises(OrchError, match="not deleted"):
        await cleanup.restore(world.context, world.caller, session.id)


async def test_a_restored_session_goes_on(world: World) -> None:
    session = await world.work("[[write a.txt one]]")
    await cleanup.delete(world.context, session.id, drop_branch=True)
    await cleanup.restore(world.context, world.caller, session.id)
    await sessions.resume(world.context, world.caller, session.id, "[[append a.txt two]]")
    live = world.context.live[session.id]
    await asyncio.shield(live.finished)
    await world.settle()
    assert Path(session.worktree_path or "", "a.txt").read_text() == "one\ntwo\n"


# -- when the user or git does the unexpected -----------------------------------------------------------------


async def test_git_clean_ffdx_while_a_session_works_costs_nothing(world: World) -> None:
    prompt = (
        "[[write src/new.py print()]] [[write notes/deep/a.txt text]] [[commit so far]] [[write b.txt open]] [[hang]]"
    )
    session = await world.work(prompt)
    tree = Path(session.worktree_path or "")
    world.scratch.git("add", "b.txt", cwd=tree)
    (tree / "README.md").write_bytes(b"two\r\nline ends\n")
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    os.symlink("README.md", tree / "link")
    await wip.take_all(world.context)
    before, status = tree_of(tree), world.scratch.git("status", "--porcelain", cwd=tree)
    world.scratch.git("clean", "-ffdxq")
    assert not tree.exists()
    with pytest.raises(OrchError, match="orch stop"):
        await _hint(cleanup.restore(world.context, world.caller, session.id))
    await sessions.stop(world.context, session.id)
    await world.settle()
    assert Attention.WORKTREE_MISSING in world.session(session.id).attention
    restored = await cleanup.restore(world.context, world.caller, session.id)
    assert not restored.attention
    assert _contents(tree_of(tree)) == _contents(before)
    assert world.scratch.git("status", "--porcelain", cwd=tree) == status
    await cleanup.delete(world.context, session.id)
    await cleanup.restore(world.context, world.caller, session.id)
    assert _contents(tree_of(tree)) == _contents(before)


async def test_git_clean_ffdx_on_the_trash_costs_what_is_ignored_alone(world: World) -> None:
    session = await world.work("[[write a.txt one]] [[commit one]] [[write b.txt open]]")
    tree = Path(session.worktree_path or "")
    before = tree_of(tree)
    await cleanup.delete(world.context, session.id, drop_branch=True)
    world.scratch.git("clean", "-ffdxq")
    world.scratch.git("-c", "gc.pruneExpire=now", "gc", "--quiet", "--prune=now")
    world.scratch.git("worktree", "prune", "--expire=now")
    restored = await cleanup.restore(world.context, world.caller, session.id)
    assert not restored.attention
    assert _contents(tree_of(tree)) == _contents(before)
    assert world.scratch.git("status", "--porcelain", cwd=tree) == "?? b.txt\n"


async def test_the_chain_of_snapshots_has_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orch_server.git.wip.LENGTH", 3)
    session = await world.work("[[hang]]")
    tree = Path(session.worktree_path or "")
    for number in range(9):
        (tree / "n.txt").write_text(f"{number}\n")
        await wip.take(world.context, session.id)
        await wip.take(world.context, session.id)
    ref = f"refs/orch/wip/{session.id}"
    chain = world.scratch.git("log", "--first-parent", "--format=%s", ref).splitlines()
    assert [subject for subject in chain if subject.startswith("orch:")] == [
        f"orch: work in progress {number}" for number in (6, 5, 4, 3, 2, 1)
    ]
    contents = [world.scratch.git("show", f"{ref}{'~' * back}:n.txt").strip() for back in range(6)]
    assert contents == ["8", "7", "6", "5", "4", "3"]


async def test_flags_are_set_and_cleared_by_looking_around(world: World) -> None:
    session = await world.work("[[write a.txt x]] [[commit x]]")
    tree, seen = Path(session.worktree_path or ""), dict[str, reconcile.Signature]()

    async def flags() -> list[Attention]:
        await reconcile.look_around(world.context, seen)
        return world.session(session.id).attention

    assert await flags() == []
    tree.rename(world.root / "away")
    assert await flags() == [Attention.WORKTREE_MISSING]
    (world.root / "away").rename(tree)
    assert await flags() == []
    tip = world.scratch.git("rev-parse", session.branch or "").strip()
    world.scratch.git("update-ref", "-d", f"refs/heads/{session.branch}")
    assert await flags() == [Attention.BRANCH_MISSING]
    world.scratch.git("update-ref", f"refs/heads/{session.branch}", tip)
    world.scratch.git("checkout", "--quiet", "--detach", cwd=tree)
    assert await flags() == [Attention.BRANCH_MOVED]
    world.scratch.git("checkout", "--quiet", session.branch or "", cwd=tree)
    assert await flags() == []
    version = world.session(session.id).version
    assert await flags() == []
    assert world.session(session.id).version == version


# -- purge ------------------------------------------------------------------------------------------------------


async def test_a_purge_leaves_numbers_and_ids(world: World) -> None:
    other = await world.work("[[say other words]]")
    session = await world.work("[[write a.txt secretword]] [[say secretword]]")
    await world.settle()
    around = tree_of(world.scratch.path / "src")
    before = await world.context.store.events(0)
    assert world.session(session.id).worktree_path
    with pytest.raises(OrchError, match="token"):
        await cleanup.delete(world.context, session.id, purge=True)
    token = (await cleanup.preview(world.context, session.id)).token
    deleted = await cleanup.delete(world.context, session.id, token=token, drop_branch=True, purge=True)
    assert deleted.kept_until is None
    assert (await cleanup.delete(world.context, session.id)).kept_until is None
    with pytest.raises(OrchError, match="purged"):
        await cleanup.restore(world.context, world.caller, session.id)

    after = await world.context.store.events(0)
    numbers = [(event.seq, event.type, event.session_id) for event in before]
    assert [(event.seq, event.type, event.session_id) for event in after][: len(numbers)] == numbers
    emptied = [orjson.loads(event.json) for event in after if event.session_id == session.id]
    assert all(event["data"] == {} for event in emptied[:-1])
    assert emptied[-1]["type"] == "session.purged"
    assert await transcript.read(world.context, session.id) == []
    assert await transcript.read(world.context, other.id)
    assert session.id not in {found.id for found in world.context.store.sessions()[0]}
    hits, _ = await world.context.store.search(
        "secretword", project_id=None, agent=None, kinds=None, before=None, limit=10
    )
    assert hits == []
    runtime_dir = world.scratch.path / ".orchestrator"
    assert not [path for path in runtime_dir.rglob("*") if session.id in path.name]
    assert list((world.home / "runs").iterdir()) == [
        world.home / "runs" / run.id for run in world.context.store.runs_of(other.id)
    ]
    assert not world.scratch.git("for-each-ref", "refs/orch").count(session.id)
    assert session.id not in world.scratch.git("worktree", "list")
    assert other.worktree_path is not None
    assert other.worktree_path in world.scratch.git("worktree", "list")
    assert tree_of(world.scratch.path / "src") == around


async def test_a_purge_follows_no_link_and_leaves_read_only_and_deep_folders_no_hiding_place(world: World) -> None:
    session = await world.work("[[say done]]")
    tree = Path(session.worktree_path or "")
    for kind in ("links_out", "read_only", "nested_repository", "strange_names"):
        tree.chmod(0o755)
        KINDS[kind](world, tree)
    deep = tree
    tree.chmod(0o755)
    descriptor = os.open(deep, os.O_RDONLY)
    for _ in range(450):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    outside = tree_of(world.root / "outside")
    token = (await cleanup.preview(world.context, session.id)).token
    await cleanup.delete(world.context, session.id, token=token, purge=True)
    assert os.listdir(world.scratch.path / ".orchestrator" / "trash") == []
    assert tree_of(world.root / "outside") == outside


async def test_retention_needs_the_time_and_two_hub_starts(world: World) -> None:
    session = await world.work()
    await cleanup.delete(world.context, session.id)
    kept = await world.work()
    await cleanup.purge_expired(world.context)

    def age(transaction: Any) -> None:
        draft = transaction.session(session.id)
        long_ago = datetime.now(UTC) - timedelta(days=1)
        draft.trash = {**draft.trash, "keptUntil": long_ago.isoformat(timespec="milliseconds")}

    await world.context.store.write(age)
    for starts in range(2):
        await cleanup.purge_expired(world.context)
        assert world.session(session.id).purged_at is None, starts
        await world.close()
        await world.open()
    await cleanup.purge_expired(world.context)
    assert world.session(session.id).purged_at is not None
    assert world.session(kept.id).state == State.COMPLETED


async def test_a_project_whose_sessions_are_purged_can_be_removed(world: World) -> None:
    session = await world.work()
    await cleanup.delete(world.context, session.id)
    with pytest.raises(OrchError, match="still has 1 session"):
        await projects.remove(world.context, "project")
    token = (await cleanup.preview(world.context, session.id)).token
    await cleanup.delete(world.context, session.id, token=token, purge=True)
    await projects.remove(world.context, "project")
    assert world.context.store.projects() == []


# -- killed in between ------------------------------------------------------------------------------------------

STEPS = {
    "delete": ["cleanup.begun", "delete.pinned", "delete.prepared", "delete.moved", "delete.settled", "delete.done"],
    "restore": ["cleanup.begun", "restore.moved", "restore.recorded", "restore.done"],
    "rebuild": ["cleanup.begun", "rebuild.made"],
    "purge": ["delete.done", "purge.destroyed", "purge.emptied", "purge.removed"],
}


class Killed(BaseException):
    """The hub is gone: nothing catches it, nothing is cleaned up."""


DEATHS = [
    pytest.param(verb, step, id=f"{verb}-{step}", marks=NIGHTLY if number % 2 else ())
    for number, (verb, step) in enumerate((verb, step) for verb, steps in STEPS.items() for step in steps)
]


@pytest.mark.parametrize(("verb", "step"), DEATHS)
async def test_a_hub_that_dies_between_two_steps_loses_nothing(
    world: World, verb: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await world.work("[[write a.txt kept]] [[commit a]] [[write b.txt open]]")
    tree = Path(session.worktree_path or "")
    (tree / "debug.log").write_text("ignored\n")
    if verb == "rebuild":
        (tree / "debug.log").unlink()
    before, status = tree_of(tree), world.scratch.git("status", "--porcelain", cwd=tree)
    tip = world.scratch.git("rev-parse", session.branch or "")
    if verb == "restore":
        await cleanup.delete(world.context, session.id, drop_branch=True)
    if verb == "rebuild":
        shutil.rmtree(tree)
    token = (await cleanup.preview(world.context, session.id)).token
    await world.settle()

    def die(reached: str) -> None:
        if reached == step:
            raise Killed(step)

    key = RequestKey("k1", "orch/session/restore", "digest")
    with monkeypatch.context() as patched:
        patched.setattr(crashpoint, "_reached", die)
        patched.setattr(cleanup, "_to_the_end", _directly)
        with pytest.raises(Killed):
            await _do(world, verb, session.id, token, key)
    await world.leave()
    await world.open()

    assert world.context.store.intents() == []
    found = world.session(session.id)
    if verb == "purge":
        assert found.purged_at is not None
        assert not world.scratch.git("for-each-ref", "refs/orch").count(session.id)
        return
    if found.state == State.DELETED:
        assert verb == "delete"
        assert step not in {"cleanup.begun", "delete.pinned", "delete.prepared"}
        assert not tree.exists()
        await cleanup.restore(world.context, world.caller, session.id)
    assert world.session(session.id).state == session.state
    await reconcile.look(world.context, session.id)
    assert not world.session(session.id).attention
    assert _contents(tree_of(tree)) == _contents(before)
    assert world.scratch.git("status", "--porcelain", cwd=tree) == status
    assert world.scratch.git("rev-parse", session.branch or "") == tip
    assert not world.scratch.git("for-each-ref", "refs/orch/trash")
    assert os.listdir(world.scratch.path / ".orchestrator" / "trash") == []
    assert not list(world.home.glob("trash/*"))
    # And everything still works.
    await cleanup.delete(world.context, session.id, drop_branch=True)
    await cleanup.restore(world.context, world.caller, session.id)
    assert _contents(tree_of(tree)) == _contents(before)


async def test_what_fails_before_the_rename_is_undone_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    session = await world.work("[[write a.txt kept]]")
    tree = Path(session.worktree_path or "")
    before = tree_of(tree)
    (world.scratch.path / ".orchestrator" / "trash" / session.id).mkdir()
    with pytest.raises(OrchError) as caught:
        await cleanup.delete(world.context, session.id)
    assert caught.value.kind is ErrorKind.CONFLICT
    assert world.session(session.id).state == State.COMPLETED
    assert tree_of(tree) == before
    assert not world.context.store.intents()
    assert not world.scratch.git("for-each-ref", "refs/orch/trash")
    (world.scratch.path / ".orchestrator" / "trash" / session.id).rmdir()
    await cleanup.delete(world.context, session.id)


async def test_what_can_neither_be_done_nor_undone_is_settled_once_it_can_be(world: World) -> None:
    session = await world.work("[[write a.txt kept]]")
    before = tree_of(Path(session.worktree_path or ""))
    manifests = world.home / "trash"
    manifests.write_text("no directory")
    with pytest.raises(OSError, match="Not a directory"):
        await cleanup.delete(world.context, session.id)
    assert world.context.store.intents()
    manifests.unlink()
    await wait_until_async(lambda: not world.context.store.intents())
    assert not world.scratch.git("for-each-ref", "refs/orch/trash")
    assert tree_of(Path(session.worktree_path or "")) == before
    await cleanup.delete(world.context, session.id)


async def test_a_manifest_outside_of_the_project_says_where_everything_is(world: World) -> None:
    session = await world.work("[[write a.txt kept]]")
    await cleanup.delete(world.context, session.id)
    manifest = json.loads((world.home / "trash" / f"{session.id}.json").read_text())
    assert manifest["worktree"]["path"] == session.worktree_path
    assert world.scratch.git("show", f"{manifest['wip']}:a.txt") == "kept\n"
    await cleanup.restore(world.context, world.caller, session.id)
    assert list((world.home / "trash").iterdir()) == []


async def test_artifacts_of_a_deleted_session_can_be_read(world: World) -> None:
    session = await world.work("[[write a.txt kept]]")
    await cleanup.delete(world.context, session.id)
    kept, _ = world.context.store.artifacts(project_id=None, session_id=session.id, kinds=None, before=None, limit=9)
    assert kept
    assert (await artifacts.read(world.context, kept[0].id))[0] == kept[0]


async def _do(world: World, verb: str, session_id: str, token: str, key: RequestKey) -> None:
    if verb in {"restore", "rebuild"}:
        await cleanup.restore(world.context, Caller(world.caller.environment, key), session_id)
    else:
        await cleanup.delete(world.context, session_id, drop_branch=True, token=token, purge=verb == "purge")


async def _directly(_context: object, work: Any) -> Any:
    return await work


async def _hint(work: Any) -> None:
    try:
        await work
    except OrchError as error:
        raise OrchError(error.kind, f"{error.message} {error.hint}") from error


def _contents(tree: dict[bytes, tuple[object, ...]]) -> dict[bytes, tuple[object, ...]]:
    """Return what git can keep of a tree: names, contents, links and the right to execute."""
    kept: dict[bytes, tuple[object, ...]] = {}
    for path, what in tree.items():
        if what[0] == "file":
            assert isinstance(what[1], int)
            kept[path] = ("file", bool(what[1] & 0o100), what[2])
        elif what[0] == "link":
            kept[path] = what
    return kept


def _types(world: World, session_id: str) -> list[str]:
    rows = world.context.store._reader.exec_driver_sql(
        "SELECT type FROM events WHERE session_id = ? ORDER BY seq", (session_id,)
    )
    return [row[0] for row in rows if row[0] != "session.updated"]
