"""The record on disk: what is read, what is tolerated, and who counts as alive."""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orch_server.runtime import runner
from orch_server.runtime.bundle import Bundle, Fate, live_cookies
from orch_server.runtime.runs import RunSpec
from tests.runtime.agents import ECHO, HYDRA, hydra_is_awake, hydra_is_dead, is_alive, processes_with, python
from tests.runtime.conftest import MakeHub
from tests.waiting import wait_until_async


@pytest.fixture
def bundle(root: str) -> Bundle:
    bundle = Bundle(os.path.join(root, "run"))
    bundle.create()
    return bundle


def write(bundle: Bundle, name: str, text: str) -> None:
    Path(bundle.path, name).write_text(text)


def test_an_empty_bundle(bundle: Bundle) -> None:
    assert bundle.run_id == "run"
    assert bundle.exists()
    assert bundle.read_run() is None
    assert bundle.read_exit() is None
    assert bundle.runner_pid() is None
    assert bundle.sizes() == (0, 0)
    assert not bundle.agent_alive()
    assert bundle.carriers() == set()
    assert bundle.sweep() == 0
    with pytest.raises(FileExistsError):
        bundle.create()


def test_a_bundle_that_is_not_there(root: str) -> None:
    bundle = Bundle(os.path.join(root, "none"))
    assert not bundle.exists()
    assert bundle.read_run() is None
    assert bundle.runner_pid() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\0"])
def test_a_record_that_does_not_parse_is_none(bundle: Bundle, text: str) -> None:
    write(bundle, "run.json", text)
    write(bundle, "exit.json", text)
    assert bundle.read_run() is None
    assert bundle.read_exit() is None


def test_records_of_other_versions(bundle: Bundle) -> None:
    write(bundle, "run.json", json.dumps({"state": "running", "novelty": {"a": 1}, "agentPid": "seven"}))
    write(bundle, "exit.json", json.dumps({"code": 3, "novelty": 1, "rusage": None}))
    record = bundle.read_run()
    ended = bundle.read_exit()
    assert record is not None
    assert ended is not None
    assert (record.state, record.agent_pid, record.run_id, record.argv) == ("running", 0, "run", ())
    assert (ended.code, ended.signal, ended.undelivered, ended.version) == (3, None, (), 0)
    assert not bundle.agent_alive()


def test_a_torn_journal(bundle: Bundle) -> None:
    assert bundle.fates() == {}
    write(bundle, "in.jsonl", '{"id": "a", "line": "x"}\n{"done": "a"}\n{"id": "b"}\n{"id": "c", "li')
    assert bundle.fates() == {"a": Fate.WRITTEN, "b": Fate.IN_DOUBT}


@pytest.mark.skipif(sys.platform != "linux", reason="without /proc nobody is known by a cookie")
def test_a_process_that_has_just_begun_carries_its_cookie() -> None:
    """posix_spawn returns as soon as the child has given up its old memory: before its environment can be read."""
    for _ in range(50):
        agent = os.posix_spawn("/bin/sleep", ["sleep", "60"], {"ORCH_RUN": "just-begun"})
        try:
            assert runner.cookie_of(agent) == "just-begun"
        finally:
            os.kill(agent, signal.SIGKILL)
            os.waitpid(agent, 0)


async def test_who_is_alive(hub: MakeHub) -> None:
    run = await hub().launch(RunSpec("run", python(ECHO), "/"), {})
    record = run.bundle.read_run()
    assert record is not None
    assert record.state == "running"
    assert record.argv == python(ECHO)
    assert record.agent_pid == run.pid
    assert run.bundle.runner_pid() == record.runner_pid
    assert run.bundle.agent_alive()
    assert run.bundle.carriers() == {run.pid}
    assert live_cookies()[record.cookie] == {run.pid}
    path = Path(run.bundle.path, "run.json")
    whole = path.read_text()
    for field, value in (("agentStart", 1), ("bootId", "another boot"), ("agentPid", 0)):
        path.write_text(json.dumps({**json.loads(whole), field: value}))
        assert not run.bundle.agent_alive(), field
    path.write_text(whole)
    await run.close_input()
    await run.wait()
    await wait_until_async(lambda: run.bundle.runner_pid() is None)
    assert not run.bundle.agent_alive()
    assert run.bundle.sizes() == (0, 0)


def test_a_zombie_is_dead(bundle: Bundle) -> None:
    zombie = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""], stdout=subprocess.PIPE)
    assert zombie.stdout is not None
    zombie.stdout.read()
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    start = int(Path(f"/proc/{zombie.pid}/stat").read_text().rpartition(")")[2].split()[19])
    write(bundle, "run.json", json.dumps({"agentPid": zombie.pid, "agentStart": start, "bootId": boot}))
    assert not bundle.agent_alive()
    zombie.communicate()


def test_asking_for_the_lock_takes_nothing(bundle: Bundle) -> None:
    source = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-I", "-S", "-c", source, os.path.join(bundle.path, "lock")]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    assert bundle.runner_pid() == holder.pid
    holder.communicate(b"\n")
    assert bundle.runner_pid() is None
    with open(os.path.join(bundle.path, "lock"), "a") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_the_remains_of_a_dead_runner_are_swept(hub: MakeHub, tmp_path: Path) -> None:
    marker = tmp_path / "hydra"
    run = await hub().launch(RunSpec("run", python(HYDRA, str(marker)), "/"), {})
    await hydra_is_awake(marker)
    await wait_until_async(lambda: run.bundle.sizes()[0])
    holder = run.bundle.runner_pid()
    assert holder is not None
    os.kill(holder, signal.SIGKILL)
    assert await run.wait() is None
    assert run.bundle.agent_alive()
    assert await asyncio.to_thread(run.bundle.sweep) >= 2
    assert not run.bundle.agent_alive()
    assert run.bundle.carriers() == set()
    hidden = processes_with(str(marker))  # scrubbed, and without the runner an orphan like any other
    assert len(hidden) <= 1
    for pid in hidden:
        os.kill(pid, signal.SIGKILL)
    assert await hydra_is_dead(marker)


async def test_a_silent_runner_is_swept_with_its_agent(hub: MakeHub) -> None:
    run = await hub().launch(RunSpec("run", python(ECHO), "/"), {})
    holder = run.bundle.runner_pid()
    assert holder is not None
    os.kill(holder, signal.SIGSTOP)
    assert await asyncio.to_thread(run.bundle.sweep) == 2
    assert not is_alive(run.pid)
    assert await run.wait() is None
