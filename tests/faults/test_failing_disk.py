"""A disk that refuses what an open database asks of it loses nothing that was acknowledged (C.5)."""

from pathlib import Path

import pytest

from tests.faults.driver import Driver, Zygote
from tests.faults.scenario import complete, new_home, start
from tests.faults.tracing import can_trace, failing
from tests.lsp import Failed
from tests.waiting import wait_until
from tests.world import Known, digest_of, tree_of

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not can_trace(), reason="needs strace, and leave to trace"),
]

KINDS = {"databaseUnusable", "diskFull"}


@pytest.mark.parametrize(
    ("calls", "error"),
    [
        ("fdatasync", "EIO"),
        ("pwrite64", "EIO"),
        pytest.param("pwrite64", "EROFS", marks=pytest.mark.nightly),
        pytest.param("pwrite64", "ENOSPC", marks=pytest.mark.nightly),
        pytest.param("pwrite64", "EDQUOT", marks=pytest.mark.nightly),
        pytest.param("pread64", "EIO", marks=pytest.mark.nightly),
    ],
)
def test_a_database_that_cannot_be_written_goes_on_when_it_can(
    calls: str, error: str, tmp_path: Path, zygote: Zygote
) -> None:
    home = new_home(tmp_path)
    shop = tmp_path / "shop"
    untouched = {shop: digest_of(shop)}
    database = home.path / "orchestrator.db"
    files = [database, database.with_name("orchestrator.db-wal")]
    with Driver(home, zygote) as driver:
        driver.call("orch/project/add", path=str(shop))
        done, talking = start(driver, "[[write made.txt hello]]"), start(driver, "[[count 0 5]]")
        complete(driver, done)
        content = tree_of(shop / ".orchestrator" / "worktrees" / done)
        driver.until(talking, "running")
        driver.read_events()
        hub = driver.hub
        assert hub is not None
        with failing(hub, calls, error, files, tmp_path / "strace"):
            refused = wait_until(lambda: refusal(driver, done, "never"), 60)
            assert refused is not None
            assert refused.data["kind"] in KINDS, refused.data
            assert refused.data["hint"], refused.data
            if calls != "pread64":
                assert driver.call("orch/session/get", session=done)["title"] != "never"
        assert driver.hub == hub, "the hub ended"
        wait_until(lambda: refusal(driver, done, "kept") is None, 60)
        assert driver.call("orch/session/get", session=done)["title"] == "kept"
        last = driver.call("orch/event/list", limit=1)["lastSeq"]
        more = {"session": talking, "after": last, "types": ["agent.message"]}
        wait_until(lambda: driver.call("orch/event/list", **more)["items"], 60)
        driver.kill()
        assert driver.call("orch/session/get", session=done)["title"] == "kept"
        driver.call("orch/session/stop", session=talking)
        driver.settle(Known(untouched, contents={done: content}))


def refusal(driver: Driver, session: str, title: str) -> Failed | None:
    """Return how a change is refused, None where it is not."""
    try:
        driver.call("orch/session/update", session=session, title=title)
    except Failed as found:
        return found
    return None
