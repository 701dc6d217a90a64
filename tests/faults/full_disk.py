"""The inside of test_disk.py: `python -m tests.faults.full_disk CASE DIRECTORY`, in a mount namespace of its own."""

import errno
import json
import os
import sys
import time
from pathlib import Path

from tests.faults.driver import Driver, Zygote
from tests.faults.mounts import LIMITS, WITHOUT_RIGHTS, mount_small
from tests.faults.scenario import complete, new_home, start
from tests.lsp import Failed
from tests.world import Known, digest_of, tree_of

SIZE = "size=12m"
WAIT = 60.0
FEW_INODES = "nr_inodes=600"


def main(case: str, directory: str) -> None:
    """Fill the file system while agents work, free it again, and print what was acknowledged meanwhile."""
    root = Path(directory)
    small = root / ("orch" if case != "project" else "shop")
    mount_small(small, f"{SIZE},{FEW_INODES}" if case == "inodes" else SIZE)
    home = new_home(root)
    home.configure(LIMITS)
    zygote = Zygote(WITHOUT_RIGHTS)
    try:
        with Driver(home, zygote) as driver:
            print(json.dumps({"acknowledged": _play(driver, case, small)}))
    finally:
        zygote.close()


def _play(driver: Driver, case: str, small: Path) -> int:
    shop = driver.home.root / "shop"
    untouched = {shop: digest_of(shop)}
    driver.call("orch/project/add", path=str(shop))
    done = start(driver, "[[write made.txt hello]] [[say hi]]")
    complete(driver, done)
    content = tree_of(shop / ".orchestrator" / "worktrees" / done)
    working = start(driver, "[[write early.txt x]] [[count 0 5]]")
    driver.until(working, "running")
    driver.read_events()
    before = len(driver.told)

    _fill(case, small)
    refused = 0
    for number in range(20):
        try:
            driver.call("orch/session/update", session=done, title=f"title {number}")
        except Failed as refusal:
            _check("orch/session/update", refusal)
            refused += 1
    for method, params in (
        ("orch/session/start", {"agent": "demo", "action": "implement", "project": "shop", "prompt": "[[say x]]"}),
        ("orch/session/commit", {"session": done, "message": "on a full disk"}),
        ("orch/session/delete", {"session": done}),
    ):
        try:
            driver.call(method, **params)
        except Failed as refusal:
            _check(method, refusal)
    assert driver.call("orch/session/get", session=working)["id"] == working, "the hub does not answer"
    assert driver.call("orch/hub/status")["pid"] == driver.hub, "the hub ended"
    title = driver.call("orch/session/get", session=done)["title"]
    if case == "home":
        assert refused, "a full disk was not noticed"

    _free(small)
    deadline = time.monotonic() + WAIT
    while True:
        try:
            driver.call("orch/session/update", session=done, title="there is room again")
            break
        except Failed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    assert title.startswith(("title ", "[[")), title
    driver.call("orch/session/stop", session=working)
    driver.until(working, "stopped", "failed", "completed")
    found = driver.call("orch/session/get", session=done)
    if found["state"] == "deleted":
        driver.call("orch/session/restore", session=done)
    assert tree_of(shop / ".orchestrator" / "worktrees" / done) == content
    driver.settle(Known(untouched, contents={done: content}))
    return len(driver.told) - before


def _check(method: str, refusal: Failed) -> None:
    """A refusal says what is wrong in a way that a person can act on."""
    assert refusal.data["kind"] in {"diskFull", "gitFailed", "conflict", "databaseUnusable"}, (
        method,
        refusal,
        refusal.data,
    )
    assert refusal.data["hint"], refusal


def _fill(case: str, small: Path) -> None:
    ballast = small / "ballast"
    ballast.mkdir()
    number = 0
    try:
        while True:
            number += 1
            with open(ballast / str(number), "wb") as file:
                if case != "inodes":
                    while True:
                        file.write(b"x" * 4096)
                        file.flush()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def _free(small: Path) -> None:
    for file in (small / "ballast").iterdir():
        file.unlink()
    (small / "ballast").rmdir()


if __name__ == "__main__":
    os.umask(0o077)
    main(*sys.argv[1:])
