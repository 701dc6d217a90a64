"""A repository that sets every trap git knows: plain git runs them, orch runs none, whatever is asked of it (B3)."""

import shutil
from pathlib import Path

import pytest

from tests.faults.driver import Driver, Zygote
from tests.faults.figures import record
from tests.faults.scenario import IDENTITY, complete
from tests.git.test_safety import Canaries, everyday_git, make_hostile
from tests.home import OrchHome
from tests.repositories import ScratchRepository, make_repository

pytestmark = pytest.mark.timeout(300)
VECTORS = 25
MORE_HOOKS = ("pre-push", "pre-rebase", "applypatch-msg", "post-applypatch", "pre-merge-commit", "sendemail-validate")


def set_more_traps(scratch: ScratchRepository, canaries: Canaries) -> None:
    """Set traps for what orch never does, too: it must not come to them by way of something else."""

    def config(name: str, value: str) -> None:
        scratch.git("config", name, value)

    for hook in MORE_HOOKS:
        canaries.program(f"hook-{hook}")
        (scratch.path / ".git/hooks" / hook).symlink_to(canaries.programs / f"hook-{hook}")
    config("interactive.diffFilter", canaries.program("diff-filter", "cat"))
    config("difftool.evil.cmd", canaries.program("difftool"))
    config("diff.tool", "evil")
    config("difftool.prompt", "false")
    config("remote.evil.url", f"ext::{canaries.program('ext-transport')}")
    config("remote.evil.uploadpack", canaries.program("upload-pack"))
    config("trailer.evil.command", canaries.program("trailer"))
    config("gpg.ssh.program", canaries.program("gpg-ssh", "exit 1"))
    config("browser.evil.cmd", canaries.program("browser"))
    config("man.evil.cmd", canaries.program("man"))


def spring_more_traps(scratch: ScratchRepository, canaries: Canaries) -> None:
    """Do with plain git what a person may do, so that it is known which traps work."""
    for words in (
        ["-p", "log"],
        ["-c", "core.fsmonitor=", "fetch", "ssh://nowhere.invalid/x"],
        ["-c", "protocol.ext.allow=always", "fetch", "evil"],
        ["fetch", "git://nowhere.invalid/x"],
        ["difftool", "--no-prompt", "HEAD~1"],
        ["interpret-trailers", "--trailer", "evil=x", "README.md"],
        ["web--browse", "--tool=evil", "x"],
        ["-c", "sequence.editor=", "rebase", "--force-rebase", "HEAD~1"],
        ["push", str(scratch.path.parent / "bare"), "HEAD"],
        ["-c", "gpg.format=ssh", "-c", "user.signingKey=x", "commit", "-S", "--allow-empty", "-m", "x"],
    ):
        scratch.git(*words, check=False)
    scratch.git("rebase", "-i", "HEAD~1", check=False)
    scratch.git("rebase", "--abort", check=False)


def test_no_trap_of_a_repository_is_sprung(tmp_path: Path, zygote: Zygote, monkeypatch: pytest.MonkeyPatch) -> None:
    home = OrchHome(tmp_path)
    home.environment.update(IDENTITY)
    home.configure("[limits]\nidle_seconds = 0.2\nstart_free_bytes = 0\n")
    canaries = Canaries(tmp_path / "canaries")
    control, shop = (make_repository(tmp_path / name / "shop") for name in ("control", "work"))
    (tmp_path / "bare").mkdir()
    for scratch in (control, shop):
        make_hostile(scratch, canaries)
        set_more_traps(scratch, canaries)
    canaries.fired()
    everyday_git(control, canaries)
    control.git("config", "core.fsmonitor", "false")
    spring_more_traps(control, canaries)
    fired = canaries.fired()
    assert len(fired) >= VECTORS, sorted(fired)
    shop.git("config", "filter.process.process", canaries.program("filter-process", "exit 1"))
    canaries.fired()

    home.environment["GIT_EXTERNAL_DIFF"] = canaries.program("environment-diff")
    home.environment["GIT_SSH_COMMAND"] = canaries.program("environment-ssh")
    with Driver(home, zygote) as driver:
        driver.call("orch/project/add", path=str(shop.path))
        prompt = "[[write file.f1 x]] [[write file.t x]] [[write file.c x]] [[write new.f2 x]]"
        what = {"agent": "demo", "action": "implement", "project": "shop", "prompt": prompt}
        session = driver.call("orch/session/start", **what)["id"]
        complete(driver, session)
        verbs: list[tuple[str, dict[str, object]]] = [
            ("orch/session/diff", {}),
            ("orch/session/diff", {"against": "turn"}),
            ("orch/session/cleanupPreview", {}),
            ("orch/session/transcript", {}),
            ("orch/session/apply", {"preview": True}),
            ("orch/session/apply", {}),
            ("orch/session/apply", {"undo": True}),
            ("orch/session/commit", {"message": "made"}),
            ("orch/session/followUp", {"text": "[[append new.f2 more]]"}),
        ]
        for method, params in verbs:
            driver.call(method, session=session, **params)
        complete(driver, session)
        driver.call("orch/session/archive", session=session)
        driver.call("orch/session/unarchive", session=session)
        tree = Path(driver.call("orch/session/get", session=session)["worktreePath"])
        driver.call("orch/session/delete", session=session, deleteBranch=True)
        driver.call("orch/session/restore", session=session)
        shutil.rmtree(tree)
        driver.call("orch/session/restore", session=session)
        driver.leave()
        token = driver.call("orch/session/cleanupPreview", session=session)["token"]
        driver.call("orch/session/delete", session=session, purge=True, token=token)
        driver.call("orch/project/remove", project="shop")
        assert canaries.fired() == set()
    record("hostile repository", vectors=len(fired), executed_by_plain_git=len(fired), executed_by_orch=0)
