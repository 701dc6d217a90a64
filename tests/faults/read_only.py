"""The inside of test_disk.py: `python -m tests.faults.read_only CASE DIRECTORY`, in a mount namespace of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.driver import Driver, Zygote
from tests.faults.mounts import LIMITS, WITHOUT_RIGHTS, cover_read_only, mount_small, uncover
from tests.faults.scenario import complete, new_home, start
from tests.lsp import Failed
from tests.waiting import wait_until
from tests.world import Known, digest_of, tree_of

SIZE = "size=64m"
REASON = "Read-only file system"
UNREACHABLE = 6


def project(driver: Driver, shop: Path) -> None:
    """The project becomes read-only under an agent that talks: it talks on, and what would write is refused."""
    done, talking = _sessions(driver)
    cover_read_only(shop)
    _is_refused(driver, "orch/session/commit", session=done, message="nowhere")
    _is_refused(driver, "orch/session/apply", session=done)
    _is_refused(driver, "orch/session/delete", session=done)
    failed = driver.until(start(driver, "[[say never]]"), "failed")
    assert REASON in failed["message"], failed
    _talks_on(driver, talking)
    driver.kill()
    _talks_on(driver, talking)
    driver.call("orch/session/update", session=done, title="kept all the same")
    uncover(shop)
    driver.call("orch/session/commit", session=done, message="there is a way again")
    complete(driver, failed["id"])
    _end(driver, done, talking)


def home(driver: Driver, shop: Path) -> None:
    """The home becomes read-only under the hub; another hub does not start, says why, and starts when it may."""
    done, talking = _sessions(driver)
    place = driver.home.path
    cover_read_only(place)
    new = start(driver, "[[say never]]")
    failed = driver.until(new, "failed")
    assert REASON in failed["message"], failed
    driver.call("orch/session/update", session=done, title="kept all the same")
    driver.read_events()
    driver.kill()
    for program in ("orch sessions list", "orch-server"):
        refused = subprocess.run(
            [*WITHOUT_RIGHTS, *program.split()],
            env=driver.home.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert refused.returncode == UNREACHABLE, refused
        assert REASON in refused.stderr, refused
        assert "Traceback" not in refused.stderr, refused
    before = _written(driver)
    wait_until(lambda: _written(driver) > before, 60)
    uncover(place)
    assert driver.call("orch/session/get", session=done)["title"] == "kept all the same"
    complete(driver, new)
    _talks_on(driver, talking)
    _end(driver, done, talking)


CASES: dict[str, Callable[[Driver, Path], None]] = {case.__name__: case for case in (project, home)}


def main(case: str, directory: str) -> None:
    """Play one case in a home and a project below this directory."""
    root = Path(directory)
    mount_small(root / ("shop" if case == "project" else "orch"), SIZE)
    orch = new_home(root)
    orch.configure(LIMITS)
    zygote = Zygote(WITHOUT_RIGHTS)
    try:
        with Driver(orch, zygote) as driver:
            driver.call("orch/project/add", path=str(root / "shop"))
            CASES[case](driver, root / "shop")
    finally:
        zygote.close()


def _sessions(driver: Driver) -> tuple[str, str]:
    """Return one whose work is done and one that goes on for ever, and has begun to."""
    done, talking = start(driver, "[[write made.txt hello]]"), start(driver, "[[count 0 5]]")
    complete(driver, done)
    _talks_on(driver, talking)  # only then is all written that it begins with
    driver.read_events()
    return done, talking


def _is_refused(driver: Driver, method: str, /, **params: Any) -> None:
    """See that a request is refused with the reason and with a word on what to do."""
    try:
        driver.call(method, **params)
    except Failed as refusal:
        assert REASON in str(refusal) + str(refusal.data), (method, refusal.data)
        assert refusal.data["kind"] in {"conflict", "gitFailed"}, (method, refusal.data)
        assert refusal.data["hint"], (method, refusal.data)
        return
    raise AssertionError(f"{method} was not refused")


def _talks_on(driver: Driver, session: str) -> None:
    last = driver.call("orch/event/list", limit=1)["lastSeq"]
    wait_until(
        lambda: driver.call("orch/event/list", session=session, after=last, types=["agent.message"])["items"], 60
    )


def _written(driver: Driver) -> int:
    """Return how much the agents of the home have written, whoever reads it."""
    return sum(log.stat().st_size for log in (driver.home.path / "runs").glob("*/out.log"))


def _end(driver: Driver, done: str, talking: str) -> None:
    """See that all works as ever, and that nothing is lost."""
    shop = driver.home.root / "shop"
    driver.call("orch/session/stop", session=talking)
    content = tree_of(shop / ".orchestrator" / "worktrees" / done)
    assert content[b"made.txt"][-1] == b"hello\n"
    driver.call("orch/session/delete", session=done)
    driver.call("orch/session/restore", session=done)
    driver.settle(Known({shop: digest_of(shop)}, contents={done: content}))


if __name__ == "__main__":
    os.umask(0o077)
    main(*sys.argv[1:])
