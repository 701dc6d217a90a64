"""The one place that runs git: environment, limits, ends."""

import asyncio
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.ids import random_id
from orch_server.git import command
from orch_server.git.command import INTENT_VARIABLE, Git, Target, find_git, is_oid, kill_survivors, run, visible
from tests.home import is_gone
from tests.repositories import hermetic_environment, make_repository
from tests.waiting import wait_until, wait_until_async


@contextmanager
def fake_git(tmp_path: Path, script: str) -> Iterator[Git]:
    """Yield a git that is a shell script."""
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    git = find_git({"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)})
    yield git
    git.close()


async def nobody_carries(intent: str) -> None:
    """Wait for the kernel to take down what was killed."""
    await wait_until_async(lambda: not command._carriers(intent))


async def test_the_environment_holds_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "GIT_DIR",
        "GIT_EXTERNAL_DIFF",
        "GIT_CONFIG_PARAMETERS",
        "GIT_SSH_COMMAND",
        "SECRET_KEY",
        "LD_PRELOAD_X",
    ):
        monkeypatch.setenv(name, "hostile")
    with fake_git(tmp_path, "env") as git:
        answer = await run(git, Target(git_dir="/x"), ["version"], intent="some-id")
    seen = dict(line.split("=", 1) for line in answer.line.splitlines())
    assert "hostile" not in seen.values()
    assert seen["GIT_DIR"] == "/x"
    assert seen[INTENT_VARIABLE] == "some-id"
    assert seen["GIT_CONFIG_GLOBAL"] == "/dev/null"
    assert seen["LC_ALL"] == "C"
    settings = {
        seen[f"GIT_CONFIG_KEY_{number}"]: seen[f"GIT_CONFIG_VALUE_{number}"]
        for number in range(int(seen["GIT_CONFIG_COUNT"]))
    }
    assert settings["core.hooksPath"] == "/dev/null"
    assert settings["protocol.allow"] == "never"


async def test_standard_input_is_empty_and_there_is_no_terminal(tmp_path: Path) -> None:
    with fake_git(tmp_path, "cat; ps -o sid= -p $$ >&2; echo $$ >&2") as git:
        answer = await run(git, Target(), ["version"])
    assert answer.stdout == b""
    session, pid = answer.stderr.split()
    assert session == pid


async def test_standard_input_is_handed_over(git: Git, tmp_path: Path) -> None:
    scratch = make_repository(tmp_path / "project")
    target = Target(git_dir=str(scratch.path / ".git"))
    answer = await run(git, target, ["hash-object", "--stdin"], stdin=b"hello\n")
    assert answer.line == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_no_git_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(OrchError, match="git is not installed") as caught:
        find_git({"PATH": str(tmp_path)})
    assert caught.value.kind is ErrorKind.GIT_FAILED
    assert caught.value.hint


def test_a_relative_entry_of_path_is_not_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OrchError):
        find_git({"PATH": ".:"})


async def test_a_failure_tells_what_git_said(git: Git, tmp_path: Path) -> None:
    with pytest.raises(OrchError, match=r"git cat-file failed: .*not a git repository") as caught:
        await run(git, Target(git_dir=str(tmp_path)), ["cat-file", "-p", "HEAD"])
    assert caught.value.kind is ErrorKind.GIT_FAILED
    assert "not a git repository" in caught.value.data["stderr"]
    assert caught.value.data["status"] == 128


@pytest.mark.parametrize(
    ("stderr", "kind", "hint"),
    [
        ("fatal: write error: No space left on device", ErrorKind.DISK_FULL, "Free some space"),
        ("fatal: Unable to create '/x/index.lock': File exists.", ErrorKind.GIT_FAILED, "Another git"),
        ("fatal: transport 'https' not allowed by protocol", ErrorKind.GIT_FAILED, "partial clone"),
        ('error: open("x"): Permission denied', ErrorKind.GIT_FAILED, "cannot be read"),
    ],
)
async def test_known_failures_carry_advice(tmp_path: Path, stderr: str, kind: ErrorKind, hint: str) -> None:
    with fake_git(tmp_path, f"cat >&2 <<'END'\n{stderr}\nEND\nexit 1") as git, pytest.raises(OrchError) as caught:
        await run(git, Target(), ["read-tree"])
    assert caught.value.kind is kind
    assert hint in caught.value.hint


async def test_a_git_that_was_killed_is_said_to_be(tmp_path: Path) -> None:
    with fake_git(tmp_path, "kill -KILL $$") as git, pytest.raises(OrchError) as caught:
        await run(git, Target(), ["read-tree"])
    assert caught.value.kind is ErrorKind.GIT_FAILED
    assert caught.value.message == "git read-tree was ended by signal 9 (Killed)."
    assert "Try again" in caught.value.hint


async def test_a_call_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    intent = random_id(6)
    with fake_git(tmp_path, "sleep 1000 & sleep 1000") as git:
        begun = time.monotonic()
        with pytest.raises(OrchError, match=r"did not finish within 0\.3 seconds"):
            await run(git, Target(), ["status"], timeout=0.3, intent=intent)
        assert time.monotonic() - begun < 60
    await nobody_carries(intent)


async def test_a_cancelled_call_leaves_no_process(tmp_path: Path) -> None:
    intent = random_id(6)
    with fake_git(tmp_path, "sleep 1000 & echo begun; sleep 1000") as git:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_stdout(_chunk: bytes) -> bool:
            loop.call_soon_threadsafe(begun.set)
            return True

        call = asyncio.create_task(run(git, Target(), ["status"], intent=intent, on_stdout=on_stdout))
        await begun.wait()
        call.cancel()
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    await nobody_carries(intent)


async def test_a_child_that_keeps_the_pipes_does_not_keep_the_call(tmp_path: Path) -> None:
    with fake_git(tmp_path, "sleep 1000 & echo done") as git:
        begun = time.monotonic()
        answer = await run(git, Target(), ["status"])
        assert answer.line == "done"
        assert time.monotonic() - begun < 60


async def test_an_answer_that_comes_while_nobody_looks_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class HeldUp(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> Any:
            ready = super().select(timeout)
            if not ready:  # a busy machine: git says all it has to say and ends before this thread goes on
                wait_until(lambda: all(is_gone(child.pid) for child in psutil.Process().children()))
            return ready

    monkeypatch.setattr(command, "selectors", SimpleNamespace(DefaultSelector=HeldUp, EVENT_READ=selectors.EVENT_READ))
    with fake_git(tmp_path, "sleep 0.3; echo answer") as git:
        assert (await run(git, Target(), ["status"])).line == "answer"


async def test_too_much_output_ends_the_call(tmp_path: Path) -> None:
    with fake_git(tmp_path, "exec yes") as git, pytest.raises(OrchError, match="printed more than 1 MiB"):
        await run(git, Target(), ["log"], limit=1024 * 1024)


async def test_a_reader_may_stop_the_call(tmp_path: Path) -> None:
    with fake_git(tmp_path, "exec yes") as git:
        answer = await run(git, Target(), ["log"], on_stdout=lambda _chunk: False)
    assert answer.status == 0


async def test_survivors_of_an_intent_are_ended_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are asked to end, so that they take their lock files away; who does not is killed."""
    monkeypatch.setattr(command, "GRACE", 0.2)
    environment = {"PATH": os.environ["PATH"]}
    stubborn = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    mine = {**environment, INTENT_VARIABLE: "abc"}
    ours = [
        psutil.Popen(["sleep", "1000"], env=mine, start_new_session=True),
        psutil.Popen(["sh", "-c", stubborn], env=mine, stdout=subprocess.PIPE),
    ]
    other = psutil.Popen(["sleep", "1000"], env={**environment, INTENT_VARIABLE: "abcd"})
    try:
        assert ours[1].stdout.readline() == b"ready\n"
        with fake_git(tmp_path, "true") as git:
            assert await kill_survivors(git, "abc") >= 2
        assert [process.wait(5) for process in ours] == [-signal.SIGTERM, -signal.SIGKILL]
        assert other.poll() is None
    finally:
        ours[1].stdout.close()
        for process in (*ours, other):
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.mark.parametrize("directory", ["plain", "with space", "ünïcode", "~", "$HOME", "-rf", "new\nline", "a=b"])
async def test_any_directory_is_taken_as_it_is(git: Git, tmp_path: Path, directory: str) -> None:
    scratch = make_repository(tmp_path / directory)
    answer = await run(git, Target(directory=str(scratch.path)), ["rev-parse", "--show-toplevel"])
    assert answer.line == str(scratch.path)


async def test_many_calls_at_once_do_not_block_the_loop(tmp_path: Path) -> None:
    """They end when the loop says so, which it can only while they run."""
    with fake_git(tmp_path, f"cd {tmp_path}; : > begun.$$; until [ -e go ]; do sleep 0.02; done") as git:
        calls = asyncio.gather(*(run(git, Target(), ["status"]) for _ in range(16)))
        await wait_until_async(lambda: len(list(tmp_path.glob("begun.*"))) == 16)
        (tmp_path / "go").touch()
        await calls


def test_names() -> None:
    assert is_oid("a" * 40)
    assert is_oid("0" * 64)
    assert not is_oid("a" * 41)
    assert not is_oid("--help")
    assert visible(b"a\xffb") == "a\\xffb"
    assert visible("é".encode()) == "é"


async def test_home_is_all_that_is_kept(tmp_path: Path) -> None:
    environment = {**hermetic_environment(tmp_path), "OPENAI_API_KEY": "x"}
    git = find_git(environment)
    assert set(git.environment) <= {"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_CONFIG_HOME"}
    git.close()
