"""What a user does with orch, in chapters: each begins with an empty home and goes on whatever ends its hub.

A chapter is played by a `Driver` that repeats every request until a hub has answered it. At its end the world is as
the user wanted it, however often the hub died.
"""

import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from tests.faults.driver import Driver, Json
from tests.home import OrchHome
from tests.lsp import Failed
from tests.repositories import make_repository
from tests.world import Known, digest_of, tree_of

Chapter = Callable[[Driver], Known]
GONE = frozenset({"alreadyAnswered", "illegalTransition", "conflict"})
"""How a late answer is refused."""
BIG = 200_000  # more than a pipe holds, so that a runner is in the middle of it
IDENTITY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Test"), ("EMAIL", "test@example.invalid"))
}
SECRET = "hunter2-the-secret-answer"


def new_home(root: Path) -> OrchHome:
    """Return a fresh home beside a project `shop`."""
    home = OrchHome(root)
    home.environment.update(IDENTITY)
    home.configure("[limits]\nidle_seconds = 0.2\nhub_idle_seconds = 600\nstart_free_bytes = 0\n")
    make_repository(
        root / "shop", files={"README.md": "# Shop\n", "src/cart.py": "total = 0\n", ".gitignore": "*.log\n"}
    )
    return home


def working(driver: Driver) -> Known:
    """Start, stream, questions, a follow-up, stop, resume, archive."""
    known = _begin(driver)
    first = start(driver, "[[write made.txt hello]] [[say hi]] [[count 20 1]]")
    asking = start(driver, "[[approve build]] [[ask Which? | Red | Blue]] [[ask-secret Token?]] [[say on]] [[hang]]")
    complete(driver, first)
    for _ in range(3):
        _answer(driver, asking)
    driver.call("orch/session/followUp", session=asking, text="[[say later]]")
    driver.call("orch/session/stop", session=asking)
    driver.until(asking, "stopped", "failed", "completed")
    text = "[[say more]]" + "x" * BIG
    _unless(driver, {"illegalTransition"}, "orch/session/resume", session=asking, text=text)
    complete(driver, asking)
    driver.call("orch/session/followUp", session=asking, text="[[write note.txt again]]")
    complete(driver, asking)
    driver.call("orch/session/archive", session=first)
    driver.call("orch/session/unarchive", session=first)
    driver.leave()
    return known


def away(driver: Driver) -> Known:
    """Delete, restore, a worktree that was removed behind our back, purge."""
    known = _begin(driver)
    session = start(driver, "[[write made.txt hello]] [[commit made]] [[append made.txt more]] [[write x.log ignored]]")
    complete(driver, session)
    tree = _worktree(driver, session)
    content = tree_of(tree)
    _delete(driver, session, deleteBranch=True)
    assert not tree.exists()
    driver.call("orch/session/restore", session=session)
    assert tree_of(tree) == content
    said = driver.call("orch/session/get", session=session)["attention"]
    shutil.rmtree(tree)
    driver.call("orch/session/restore", session=session)
    # Only a snapshot has what was not committed; the session says when it is not sure that there is one.
    text = (tree / "made.txt").read_text()
    assert text == "hello\nmore\n" or (text == "hello\n" and "snapshot_failed" in said), (text, said)
    kept = start(driver, "[[write kept.txt kept]]")
    complete(driver, kept)
    content = tree_of(_worktree(driver, kept))
    _delete(driver, kept)
    _delete(driver, session, purge=True)
    return Known(known.untouched, contents={kept: content})


def home(driver: Driver) -> Known:
    """Commit, bring the work home, take it back, bring it home as a commit."""
    known = _begin(driver)
    shop = driver.home.root / "shop"
    session = start(driver, "[[write made.txt hello]] [[append README.md more]]")
    complete(driver, session)
    driver.call("orch/session/commit", session=session, message="made")
    _apply(driver, session, strategy="patch")
    assert (shop / "made.txt").read_text() == "hello\n"
    _apply(driver, session, undo=True)
    assert not (shop / "made.txt").exists()
    assert digest_of(shop) == known.untouched[shop]
    _apply(driver, session, strategy="squash")
    assert (shop / "made.txt").read_text() == "hello\n"
    return Known()


CHAPTERS: dict[str, Chapter] = {chapter.__name__: chapter for chapter in (working, away, home)}


def complete(driver: Driver, session: str) -> Json:
    """Have a session come to a good end: what failed because something was killed is resumed."""
    while True:
        found = driver.until(session, "completed", "failed", "stopped")
        if found["state"] == "completed":
            return found
        assert found["reason"], found
        _unless(driver, {"illegalTransition"}, "orch/session/resume", session=session)


def _begin(driver: Driver) -> Known:
    shop = driver.home.root / "shop"
    known = Known({shop: digest_of(shop)})
    driver.call("orch/project/add", path=str(shop))
    return known


def start(driver: Driver, prompt: str, project: str = "shop") -> str:
    """Start a session of the demo agent and return its id."""
    task = {"agent": "demo", "action": "implement", "project": project, "prompt": prompt}
    session: str = driver.call("orch/session/start", **task)["id"]
    return session


def _answer(driver: Driver, session: str) -> None:
    """Answer what the session asks; one that lost its agent asks nothing more."""
    found = driver.until(session, "waiting_for_user", "completed", "failed", "stopped")
    for request in found["inputRequests"]:
        answer: Json = {"optionId": "allow"}
        if request["kind"] == "question":
            secret = request["questions"][0]["secret"]
            answer = {"answers": [{"questionId": request["questions"][0]["id"], "text": SECRET if secret else "Red"}]}
        what = {"session": session, "inputRequestId": request["id"], **answer}
        _unless(driver, GONE, "orch/session/respond", **what)


def _delete(driver: Driver, session: str, **how: bool) -> None:
    done = False
    while not done:
        token = driver.call("orch/session/cleanupPreview", session=session)["token"]
        what = {"session": session, "token": token, **how}
        done = _unless(driver, {"stalePreview", "busy"}, "orch/session/delete", **what)


def _apply(driver: Driver, session: str, **how: Any) -> None:
    # An undo after which the hub died before it could say so is refused: there is nothing more to undo.
    _unless(driver, {"conflict"} if "undo" in how else set(), "orch/session/apply", session=session, **how)


def _unless(driver: Driver, refusals: Collection[str], method: str, /, **params: Any) -> bool:
    """Send a request that may be refused in these ways; tell whether it was not."""
    try:
        driver.call(method, **params)
    except Failed as refusal:
        if refusal.data["kind"] not in refusals:
            raise
        return False
    return True


def _worktree(driver: Driver, session: str) -> Path:
    return Path(driver.call("orch/session/get", session=session)["worktreePath"])
