"""What is secret is nowhere on the disk, and what is on the disk is for its user alone (B15, B16, C.13)."""

import os
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.driver import Driver, Zygote
from tests.faults.figures import record
from tests.faults.scenario import SECRET, _answer, complete, new_home
from tests.home import BIN, OrchHome
from tests.lsp import Failed

pytestmark = pytest.mark.timeout(300)

UNSPOKEN = {f"CANARY_{number}": f"canary-{number}-3f9a1c{number}" for number in range(8)}
"""Values in the environment of the client, which its agents get and nobody writes down."""
SPOKEN = {
    "ANTHROPIC_API_KEY": "sk-ant-api03-canaryCANARYcanaryCANARY0123",
    "GITHUB_TOKEN": "ghp_canaryCANARYcanaryCANARYcanaryCANARY",
    "AWS_ACCESS_KEY_ID": "AKIACANARYCANARY0123",
}
"""Values that the agent says aloud; their shape is known."""


@pytest.fixture
def driver(tmp_path: Path, zygote: Zygote) -> Iterator[Driver]:
    home = new_home(tmp_path)
    home.environment.update({**UNSPOKEN, **SPOKEN})
    with Driver(home, zygote) as driver:
        driver.call("orch/project/add", path=str(tmp_path / "shop"))
        yield driver


def test_no_secret_is_on_the_disk(driver: Driver, tmp_path: Path) -> None:
    said = " ".join(f"[[env {name}]]" for name in SPOKEN)
    prompt = f"[[write a.txt x]] [[ask-secret Token?]] {said} [[stderr done]]"
    what = {"agent": "demo", "action": "implement", "project": "shop", "prompt": prompt}
    session = driver.call("orch/session/start", **what)["id"]
    driver.until(session, "waiting_for_user")
    driver.kill()
    _answer(driver, session)
    complete(driver, session)
    with pytest.raises(Failed):
        driver.call("orch/session/start", **{**what, "project": "nowhere"})
    missing = driver.call("orch/session/start", **{**what, "agent": "gemini"})["id"]
    driver.until(missing, "failed")
    driver.call("orch/session/delete", session=session)
    driver.call("orch/session/restore", session=session)
    driver.leave()
    driver.settle()
    text = "".join(event["data"]["text"] for event in driver.told.values() if event["type"] == "agent.message")
    assert text.count("[redacted]") == len(SPOKEN)
    secrets = [*UNSPOKEN.values(), *SPOKEN.values(), SECRET]
    assert len(secrets) == 12
    found = list(findings(tmp_path, secrets))
    # What an agent writes to its own output is its own; the rest of the disk has nothing of it.
    own = {driver.home.path / "runs", driver.home.path / "demo"}
    outside = [(path, secret) for path, secret in found if not own & set(path.parents) or secret not in SPOKEN.values()]
    assert outside == []
    assert {secret for _, secret in found} == set(SPOKEN.values())
    record("secrets", canaries=len(secrets), found=len(outside))


def test_what_is_ignored_is_not_pushed(driver: Driver, tmp_path: Path) -> None:
    what = {"agent": "demo", "action": "implement", "project": "shop", "prompt": "[[write a.txt x]]"}
    session = driver.call("orch/session/start", **what)["id"]
    complete(driver, session)
    tree = Path(driver.call("orch/session/get", session=session)["worktreePath"])
    (tree / "secret.log").write_text("the-ignored-canary\n")
    driver.call("orch/session/followUp", session=session, text="[[write b.txt y]]")
    complete(driver, session)
    driver.call("orch/session/delete", session=session)
    git = ["git", "-c", "protocol.file.allow=always"]
    mirror = tmp_path / "mirror"
    subprocess.run([*git, "init", "--quiet", "--bare", str(mirror)], check=True)
    shop = tmp_path / "shop"
    subprocess.run([*git, "-C", str(shop), "push", "--quiet", "--mirror", str(mirror)], check=True, capture_output=True)
    pushed = objects(mirror)
    assert b"the-ignored-canary" not in pushed
    assert b"x\n" in pushed


@pytest.mark.ordinary
@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_all_that_is_made_is_for_its_user_alone(umask: int, tmp_path: Path, zygote: Zygote) -> None:
    home = new_home(tmp_path)
    with Driver(home, zygote) as driver:
        driver.setup = f"import os; os.umask({umask})"
        driver.call("orch/project/add", path=str(tmp_path / "shop"))
        what = {"agent": "demo", "action": "implement", "project": "shop", "prompt": "[[write a.txt x]] [[say hi]]"}
        kept, gone = (driver.call("orch/session/start", **what)["id"] for _ in range(2))
        for session in (kept, gone):
            complete(driver, session)
        driver.call("orch/session/delete", session=gone)
        driver.settle()
        looked_at = list(open_to_others(home.path))
        assert looked_at == []
        runtime = tmp_path / "shop" / ".orchestrator"
        assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
        assert list(open_to_others(runtime)) == []
        assert list(open_to_others(tmp_path / "run" / "orch")) == []


@pytest.mark.ordinary
@pytest.mark.parametrize("umask", ["000", "777"])
def test_a_hub_that_a_client_starts_is_private_too(umask: str, tmp_path: Path) -> None:
    home = OrchHome(tmp_path)
    try:
        command = f"umask {umask}; exec {shlex.quote(BIN)}/orch health"
        subprocess.run(["sh", "-c", command], env=home.environment, check=True, capture_output=True, timeout=60)
        assert list(open_to_others(home.path)) == []
        assert list(open_to_others(tmp_path / "run" / "orch")) == []
    finally:
        home.close()


def findings(root: Path, secrets: list[str]) -> Iterator[tuple[Path, str]]:
    """Yield every file below `root`, and every object of a repository there, that holds a secret."""
    for directory, _, files in os.walk(root):
        for name in files:
            path = Path(directory, name)
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                yield from ((path, secret) for secret in secrets if secret.encode() in content)
        if directory.endswith("/.git") or (Path(directory) / "objects").is_dir():
            content = objects(Path(directory))
            yield from ((Path(directory), secret) for secret in secrets if secret.encode() in content)


def objects(repository: Path) -> bytes:
    """Return all objects of a repository, unpacked."""
    command = ["git", f"--git-dir={repository}", "cat-file", "--batch-all-objects", "--batch"]
    return subprocess.run(command, capture_output=True, check=False).stdout


def open_to_others(root: Path) -> Iterator[str]:
    """Yield what of the files below `root` somebody else could read, or that is not ours."""
    for directory, _, files in os.walk(root):
        for path in (Path(directory), *(Path(directory, name) for name in files)):
            found = path.lstat()
            mode = stat.S_IMODE(found.st_mode)
            if stat.S_ISLNK(found.st_mode):
                continue
            if mode & 0o077 or mode & (stat.S_ISUID | stat.S_ISGID) or found.st_uid != os.geteuid():
                yield f"{path} {mode:o} of {found.st_uid}"
