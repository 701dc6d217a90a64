"""What somebody does to worktrees, branches and repositories by hand is shown, and nothing is deleted for it (C.8)."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.driver import Driver, Json, Zygote
from tests.faults.figures import record
from tests.faults.scenario import complete, new_home
from tests.lsp import Failed
from tests.repositories import make_repository
from tests.waiting import wait_until
from tests.world import tree_of

pytestmark = pytest.mark.timeout(600)


def git(where: Path, *arguments: str, check: bool = True) -> str:
    done = subprocess.run(["git", "-C", str(where), *arguments], capture_output=True, text=True, check=check)
    return done.stdout.strip()


def removed(tree: Path, shop: Path) -> None:
    shutil.rmtree(tree)


def moved_away(tree: Path, shop: Path) -> None:
    tree.rename(shop.parent / f"away-{tree.name}")


def moved_with_git(tree: Path, shop: Path) -> None:
    git(shop, "worktree", "unlock", str(tree))
    git(shop, "worktree", "move", str(tree), str(shop.parent / f"moved-{tree.name}"))


def replaced_by_a_file(tree: Path, shop: Path) -> None:
    moved_away(tree, shop)
    tree.write_text("a file\n")


def replaced_by_a_link(tree: Path, shop: Path) -> None:
    moved_away(tree, shop)
    tree.symlink_to(shop.parent / f"away-{tree.name}")


def replaced_by_a_repository(tree: Path, shop: Path) -> None:
    moved_away(tree, shop)
    make_repository(tree, {"other.txt": "x\n"}, home=shop.parent / "home")


def git_file_edited(tree: Path, shop: Path) -> None:
    (tree / ".git").write_text("gitdir: /nowhere\n")


def git_file_removed(tree: Path, shop: Path) -> None:
    (tree / ".git").unlink()


def git_file_a_directory(tree: Path, shop: Path) -> None:
    (tree / ".git").unlink()
    (tree / ".git").mkdir()


def branch_deleted(tree: Path, shop: Path) -> None:
    git(shop, "update-ref", "-d", f"refs/heads/{git(tree, 'branch', '--show-current')}")


def branch_moved(tree: Path, shop: Path) -> None:
    branch = git(tree, "branch", "--show-current")
    orphan = git(shop, "commit-tree", "-m", "elsewhere", git(shop, "rev-parse", "HEAD^{tree}"))
    git(shop, "update-ref", f"refs/heads/{branch}", orphan)


def branch_renamed(tree: Path, shop: Path) -> None:
    git(tree, "branch", "-m", f"renamed-{tree.name}")


def detached(tree: Path, shop: Path) -> None:
    git(tree, "checkout", "--quiet", "--detach")


def pruned(tree: Path, shop: Path) -> None:
    moved_away(tree, shop)
    git(shop, "worktree", "prune")


def removed_with_force(tree: Path, shop: Path) -> None:
    git(shop, "worktree", "remove", "-f", "-f", str(tree))


def entry_removed(tree: Path, shop: Path) -> None:
    shutil.rmtree(shop / ".git" / "worktrees" / tree.name)


def index_locked(tree: Path, shop: Path) -> None:
    (shop / ".git" / "worktrees" / tree.name / "index.lock").write_text("")


def files_unreadable_to_git(tree: Path, shop: Path) -> None:
    (tree / ".gitattributes").mkdir()


CASES: dict[str, tuple[Callable[[Path, Path], None], set[str]]] = {
    "removed": (removed, {"worktree_missing"}),
    "moved away": (moved_away, {"worktree_missing"}),
    "moved with git": (moved_with_git, {"worktree_moved"}),
    "a file in its place": (replaced_by_a_file, {"worktree_replaced"}),
    "a link in its place": (replaced_by_a_link, {"worktree_replaced"}),
    "a repository in its place": (replaced_by_a_repository, {"worktree_replaced"}),
    "its .git file edited": (git_file_edited, {"worktree_replaced"}),
    "its .git file removed": (git_file_removed, {"worktree_replaced"}),
    "its .git file a directory": (git_file_a_directory, {"worktree_replaced"}),
    "its branch deleted": (branch_deleted, {"branch_missing"}),
    "its branch moved": (branch_moved, {"branch_moved"}),
    "its branch renamed": (branch_renamed, {"branch_missing"}),
    "HEAD detached": (detached, {"branch_moved"}),
    "pruned": (pruned, {"worktree_missing"}),
    "removed with force": (removed_with_force, {"worktree_missing"}),
    "git's entry removed": (entry_removed, {"worktree_replaced"}),
    "a lock left behind": (index_locked, set()),
    "attributes a directory": (files_unreadable_to_git, set()),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Iterator[tuple[Driver, dict[str, str]]]:
    """A hub that was started after each of its sessions was broken in another way."""
    with Driver(new_home(tmp_path_factory.mktemp("behind")), zygote) as driver:
        shop = driver.home.root / "shop"
        driver.call("orch/project/add", path=str(shop))
        what = {"agent": "demo", "action": "implement", "project": "shop", "prompt": "[[write made.txt hello]]"}
        sessions = {case: driver.call("orch/session/start", **what)["id"] for case in CASES}
        for session in sessions.values():
            complete(driver, session)
        driver.leave()
        for case, (do, _) in CASES.items():
            do(shop / ".orchestrator" / "worktrees" / sessions[case], shop)
        (shop / ".git" / "config.lock").write_text("")
        (shop / ".git" / "packed-refs.lock").write_text("")
        yield driver, sessions


@pytest.mark.parametrize("case", CASES)
def test_it_is_shown_and_nothing_is_deleted(case: str, broken: tuple[Driver, dict[str, str]]) -> None:
    driver, sessions = broken
    shop = driver.home.root / "shop"
    session, (_, expected) = sessions[case], CASES[case]
    tree = shop / ".orchestrator" / "worktrees" / session
    before = tree_of(tree) if os.path.lexists(tree) else None
    found = _settled(driver, session, expected)
    assert expected <= set(found["attention"]), found
    assert (tree_of(tree) if os.path.lexists(tree) else None) == before
    for method in ("orch/session/diff", "orch/session/cleanupPreview", "orch/session/transcript"):
        try:
            driver.call(method, session=session)
        except Failed as refusal:
            kind, hint = refusal.data["kind"], refusal.data["hint"]
            assert (kind in {"conflict", "gitFailed"}, bool(hint)) == (True, True), refusal
    try:
        driver.call("orch/session/delete", session=session)
    except Failed as refusal:
        assert refusal.data["kind"] in {"conflict", "gitFailed"}, refusal
        assert (tree_of(tree) if os.path.lexists(tree) else None) == before
        return
    trashed = shop / ".orchestrator" / "trash" / session
    if before is not None and expected != {"worktree_moved"}:
        assert tree_of(trashed) == before
    assert (shop / ".git" / "config.lock").exists()
    assert (shop / ".git" / "packed-refs.lock").exists()


def test_how_many_there_were() -> None:
    record("behind our back", cases=len(CASES), deleted=0)


def _settled(driver: Driver, session: str, expected: set[str]) -> Json:
    """Return the session once the hub has looked around."""

    def looked() -> Json:
        found: Json = driver.call("orch/session/get", session=session)
        return found if expected <= set(found["attention"]) else {}

    return wait_until(looked, 60)
