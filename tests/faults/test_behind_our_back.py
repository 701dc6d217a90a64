"""What somebody does to worktrees, branches and repositories by hand is shown, and nothing is deleted for it (C.8)."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orch_server.services.reconcile import WATCHED
from tests.faults.driver import Driver, Json, Zygote
from tests.faults.figures import record
from tests.faults.meddling import PROJECTS, WORKTREES, Scene, away
from tests.faults.scenario import complete, new_home, start
from tests.lsp import Failed
from tests.marks import FULL
from tests.repositories import ScratchRepository
from tests.waiting import wait_until
from tests.world import tree_of

pytestmark = pytest.mark.timeout(600)


STATES = ("completed", "running", "waiting_for_user", "archived", "deleted")
PROMPTS = {
    "running": "[[write made.txt hello]] [[hang]]",
    "waiting_for_user": "[[write made.txt hello]] [[ask Which?]]",
}
LOCKS = ("config.lock", "packed-refs.lock")
TREES = Path(".orchestrator")
PARTS = ("worktrees", "trash")
LOOKS = ("orch/session/diff", "orch/session/cleanupPreview", "orch/session/transcript")
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
        sessions = {case: start(driver, prompt_of(state)) for case in WORKTREES}
        for session in sessions.values():
            bring_to(driver, session, state)
        driver.kill()
        repository = ScratchRepository(shop, home.root / "home")
        for case, (meddle, _) in WORKTREES.items():
            meddle(Scene(place_of(shop, state) / sessions[case], repository))
        for lock in LOCKS if state != "deleted" else ():  # a restore would go on when they are gone
            (shop / ".git" / lock).write_text("")
        yield driver, state, sessions


@pytest.mark.parametrize("case", WORKTREES)
def test_it_is_shown_and_nothing_is_deleted(case: str, broken: Broken) -> None:
    driver, state, sessions = broken
    shop = driver.home.root / "shop"
    session, (_, expected) = sessions[case], WORKTREES[case]
    tree = place_of(shop, state) / session
    before = content_of(tree)
    if state != "deleted":
        found = wait_until(lambda: shown(driver, session, expected), 60)
        assert found["state"] == state, found
        for method in LOOKS:
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


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case == "cleaned with git" else pytest.mark.nightly) for case in PROJECTS]
)
def test_what_is_done_to_a_project_takes_no_work_of_its_sessions(case: str, tmp_path: Path, zygote: Zygote) -> None:
    meddle, expected, mend = PROJECTS[case]
    home = new_home(tmp_path)
    repository = ScratchRepository(tmp_path / "shop", tmp_path / "home")
    with Driver(home, zygote) as driver:
        driver.call("orch/project/add", path=str(repository.path))
        sessions = {state: start(driver, prompt_of(state)) for state in STATES}
        for state, session in sessions.items():
            bring_to(driver, session, state)
        driver.kill()
        meddle(repository)
        left = {session: trees_of(repository, session) for session in sessions.values()}
        for state, session in sessions.items():
            if state == "deleted":
                continue
            assert wait_until(lambda: shown(driver, session, expected), 60)["state"] == state  # noqa: B023
            for method in LOOKS:
                allowed(driver, method, session)
            if state in PROMPTS:
                assert driver.call("orch/session/stop", session=session)["state"] == "stopped"
        assert {session: trees_of(repository, session) for session in sessions.values()} == left
        for state, session in sessions.items():
            allowed(driver, f"orch/session/{'restore' if state == 'deleted' else 'delete'}", session)
        assert all(tree in trees_of(repository, session) for session, trees in left.items() for tree in trees)
        if mend is None:
            return
        mend(repository)
        for state, session in sessions.items():
            made = repository.path / TREES / "worktrees" / session / "made.txt"
            if driver.call("orch/session/get", session=session)["state"] == "deleted":
                driver.call("orch/session/restore", session=session)
            if not made.exists():  # it was away already when the session was deleted
                driver.call("orch/session/restore", session=session)
            if state not in PROMPTS or left[session]:  # no snapshot was taken yet of one at work
                assert made.read_text() == "hello\n", f"what a session made that was {state} is lost"
            wait_until(lambda: shown(driver, session, frozenset()), 60)  # noqa: B023


def test_how_many_there_were() -> None:
    record("behind our back", cases=len(WORKTREES) + len(PROJECTS), states=len(STATES) if FULL else 1, deleted=0)


def prompt_of(state: str) -> str:
    """Return what an agent is to do whose session is to come to a state."""
    return PROMPTS.get(state, "[[write made.txt hello]]")


def bring_to(driver: Driver, session: str, state: str) -> None:
    """Wait until a session is in a state and has made its file, or bring it there."""
    if state in PROMPTS:
        driver.until(session, state)
        worktree = Path(driver.call("orch/session/get", session=session)["worktreePath"])
        wait_until((worktree / "made.txt").exists, 60)
        return
    complete(driver, session)
    if state != "completed":
        driver.call(f"orch/session/{'archive' if state == 'archived' else 'delete'}", session=session)


def trees_of(repository: ScratchRepository, session: str) -> list[object]:
    """Return what there is of a session's tree, wherever the project and the tree are now."""
    places = [root / TREES / part / session for root in (repository.path, away(repository)) for part in PARTS]
    return [content_of(place) for place in places if os.path.lexists(place)]


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


def shown(driver: Driver, session: str, expected: frozenset[str]) -> Json:
    """Return the session once the hub has looked around and shows what is expected, and nothing else."""
    found: Json = driver.call("orch/session/get", session=session)
    return found if expected == WATCHED.intersection(found["attention"]) else {}
