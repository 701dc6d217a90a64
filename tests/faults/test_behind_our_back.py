"""What somebody does to worktrees, branches and repositories by hand is shown, and nothing is deleted for it (C.8)."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.driver import Driver, Json, Zygote
from tests.faults.figures import record
from tests.faults.scenario import complete, new_home, start
from tests.lsp import Failed
from tests.marks import FULL
from tests.repositories import make_repository
from tests.waiting import wait_until
from tests.world import tree_of

pytestmark = pytest.mark.timeout(600)


def git(where: Path, *arguments: str, check: bool = True) -> str:
    done = subprocess.run(["git", "-C", str(where), *arguments], capture_output=True, text=True, check=check)
    return done.stdout.strip()


def branch_of(tree: Path, shop: Path) -> str:
    """Return the branch of a session; the worktree of a deleted one is detached from it."""
    return git(shop, "for-each-ref", "--format=%(refname:short)", f"refs/heads/orch/*/*/{tree.name}")


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
    git(shop, "update-ref", "-d", f"refs/heads/{branch_of(tree, shop)}")


def branch_moved(tree: Path, shop: Path) -> None:
    orphan = git(shop, "commit-tree", "-m", "elsewhere", git(shop, "rev-parse", "HEAD^{tree}"))
    git(shop, "update-ref", f"refs/heads/{branch_of(tree, shop)}", orphan)


def branch_renamed(tree: Path, shop: Path) -> None:
    git(shop, "branch", "-m", branch_of(tree, shop), f"renamed-{tree.name}")


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


STATES = ("completed", "running", "waiting_for_user", "archived", "deleted")
PROMPTS = {
    "running": "[[write made.txt hello]] [[hang]]",
    "waiting_for_user": "[[write made.txt hello]] [[ask Which?]]",
}
LOCKS = ("config.lock", "packed-refs.lock")
TREES = Path(".orchestrator")
Broken = tuple[Driver, str, dict[str, str]]


@pytest.fixture(
    scope="module",
    params=[pytest.param(state, marks=() if state == "completed" else pytest.mark.nightly) for state in STATES],
)
def broken(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, zygote: Zygote
) -> Iterator[Broken]:
    """A hub that was started after each of its sessions, all in one state, was broken in another way."""
    state: str = request.param
    home = new_home(tmp_path_factory.mktemp("behind"))
    with Driver(home, zygote) as driver:
        shop = home.root / "shop"
        driver.call("orch/project/add", path=str(shop))
        sessions = {case: start(driver, PROMPTS.get(state, "[[write made.txt hello]]")) for case in CASES}
        for session in sessions.values():
            if state in PROMPTS:
                driver.until(session, state)
                wait_until((shop / TREES / "worktrees" / session / "made.txt").exists, 60)
                continue
            complete(driver, session)
            if state != "completed":
                driver.call(f"orch/session/{'archive' if state == 'archived' else 'delete'}", session=session)
        driver.kill()
        for case, (do, _) in CASES.items():
            do(place_of(shop, state) / sessions[case], shop)
        for lock in LOCKS if state != "deleted" else ():  # a restore would go on when they are gone
            (shop / ".git" / lock).write_text("")
        yield driver, state, sessions


@pytest.mark.parametrize("case", CASES)
def test_it_is_shown_and_nothing_is_deleted(case: str, broken: Broken) -> None:
    driver, state, sessions = broken
    shop = driver.home.root / "shop"
    session, (_, expected) = sessions[case], CASES[case]
    tree = place_of(shop, state) / session
    before = content_of(tree)
    if state != "deleted":
        found = wait_until(lambda: shown(driver, session, expected), 60)
        assert found["state"] == state, found
        for method in ("orch/session/diff", "orch/session/cleanupPreview", "orch/session/transcript"):
            allowed(driver, method, session)
    assert content_of(tree) == before
    if state in PROMPTS:
        with pytest.raises(Failed):
            driver.call("orch/session/delete", session=session)
        assert driver.call("orch/session/stop", session=session)["state"] == "stopped"
        assert content_of(tree) == before
    if not allowed(driver, f"orch/session/{'restore' if state == 'deleted' else 'delete'}", session):
        assert content_of(tree) == before
        return
    goes_to = shop / TREES / ("worktrees" if state == "deleted" else "trash") / session
    if before is not None and expected != {"worktree_moved"}:
        # A restore makes a removed worktree anew, and leaves in the trash what somebody put there.
        assert before in (content_of(goes_to), content_of(tree))
    assert state == "deleted" or all((shop / ".git" / lock).exists() for lock in LOCKS)


def test_how_many_there_were() -> None:
    record("behind our back", cases=len(CASES), states=len(STATES) if FULL else 1, deleted=0)


def place_of(shop: Path, state: str) -> Path:
    """Return where the trees of sessions in this state are."""
    return shop / TREES / ("trash" if state == "deleted" else "worktrees")


def content_of(tree: Path) -> object:
    """Return what there is at a path, None for nothing."""
    return tree_of(tree) if os.path.lexists(tree) else None


def allowed(driver: Driver, method: str, session: str) -> bool:
    """Send a request; tell whether it was done, and see that a refusal says what is wrong and what to do."""
    try:
        driver.call(method, session=session)
    except Failed as refusal:
        kind, hint = refusal.data["kind"], refusal.data["hint"]
        assert (kind in {"conflict", "gitFailed"}, bool(hint)) == (True, True), (refusal, refusal.data)
        return False
    return True


def shown(driver: Driver, session: str, expected: set[str]) -> Json:
    """Return the session once the hub has looked around and shows what is expected."""
    found: Json = driver.call("orch/session/get", session=session)
    return found if expected <= set(found["attention"]) else {}
