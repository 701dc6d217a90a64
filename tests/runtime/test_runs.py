"""The hub's side, with real runners and real agents: launch, send, stop, adopt."""

import asyncio
import json
import os
import py_compile
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from orch_server.runtime import runner
from orch_server.runtime.bundle import Bundle, Fate
from orch_server.runtime.runs import (
    InputRefused,
    LaunchFailed,
    Run,
    RunnerGone,
    RunnerSilent,
    Runs,
    RunSpec,
    _runner_program,
)
from tests.runtime.agents import (
    ECHO,
    HYDRA,
    LATE_READER,
    STUBBORN,
    hydra_is_awake,
    hydra_is_dead,
    is_alive,
    processes_with,
    python,
)
from tests.runtime.conftest import MakeHub, collected
from tests.waiting import wait_until, wait_until_async

AT_ONCE = (0.05, 0.05)


def spec_of(source: str, *arguments: str, run_id: str = "run", **more: Any) -> RunSpec:
    return RunSpec(run_id, python(source, *arguments), "/", **more)


def waiting_for(gate: asyncio.Event) -> Callable[[], Awaitable[dict[str, str]]]:
    """Return how an environment is made: not before the gate is open."""

    async def wait() -> dict[str, str]:
        await gate.wait()
        return {}

    return wait


def out(run: Run | Bundle) -> str:
    bundle = run.bundle if isinstance(run, Run) else run
    return Path(bundle.out_log).read_text()


def journal(run: Run | Bundle) -> list[dict[str, Any]]:
    bundle = run.bundle if isinstance(run, Run) else run
    return [json.loads(line) for line in Path(bundle.journal).read_text().splitlines()]


def canaries(run: Run) -> list[str]:
    """Return the files of the bundle that hold a canary."""
    files = [path for path in Path(run.bundle.path).iterdir() if path.is_file()]
    assert len(files) >= 6
    return [path.name for path in files if b"canary" in path.read_bytes()]


async def ready(run: Run) -> None:
    """Wait for the agent's first line."""
    await wait_until_async(lambda: "\n" in out(run))


class TestALife:
    async def test_lines_go_in_and_come_out(self, hub: MakeHub) -> None:
        run = await hub().launch(spec_of(ECHO), {})
        for number in range(5):
            await run.send(f"i{number}", f"line {number}", seen=0)
        await run.close_input()
        ended = await run.wait()
        assert ended is not None
        assert (ended.code, ended.signal, ended.spawn_error, ended.why) == (0, None, None, None)
        assert out(run) == "".join(f"echo line {number}\n" for number in range(5))
        assert ended.out_size == len(out(run))
        assert ended.ended_at >= ended.started_at > 0
        assert ended.max_rss_kib > 0

    async def test_nothing_starts_before_what_must_be_done_before(self, hub: MakeHub) -> None:
        runs, gate = hub(), asyncio.Event()
        launching = asyncio.create_task(runs.launch(spec_of("print('on')"), waiting_for(gate)))
        await wait_until_async(lambda: runs.bundle("run").exists())
        assert runs.bundle("run").read_run() is None
        gate.set()
        run = await launching
        await run.wait()
        assert out(run) == "on\n"

    async def test_what_is_called_off_before_it_starts_never_does(self, hub: MakeHub) -> None:
        runs = hub()
        launching = asyncio.create_task(runs.launch(spec_of(ECHO), waiting_for(asyncio.Event())))
        await wait_until_async(lambda: runs.bundle("run").exists())
        launching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await launching
        record = runs.bundle("run").read_run()
        assert record is not None
        assert record.state == "abandoned"
        await wait_until_async(lambda: runs.bundle("run").runner_pid() is None)
        assert runs.bundle("run").carriers() == set()

    async def test_what_the_agent_gets(self, hub: MakeHub, tmp_path: Path) -> None:
        source = """
import os, sys
print(sorted(int(fd) for fd in os.listdir("/proc/self/fd")), os.getcwd(), os.getsid(0) == os.getpid())
print({key: value for key, value in os.environ.items() if key != "LC_CTYPE"})
"""
        inheritable = os.open("/", os.O_RDONLY)
        os.set_inheritable(inheritable, True)
        try:
            spec = RunSpec("run", python(source), str(tmp_path))
            run = await hub().launch(spec, {"NAME": "välue\udcff"})
        finally:
            os.close(inheritable)
        await run.wait()
        record = run.bundle.read_run()
        assert record is not None
        first, second = Path(run.bundle.out_log).read_text(errors="surrogateescape").splitlines()
        assert first == f"[0, 1, 2, 3] {tmp_path} True"  # 3 is the listing itself
        assert second == str({"NAME": "välue\udcff", "ORCH_RUN": record.cookie})

    async def test_signals_have_their_defaults(self, hub: MakeHub) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            spec = RunSpec("run", ("/bin/grep", "^Sig[BI]", "/proc/self/status"), "/")
            run = await hub().launch(spec, {})
        finally:
            signal.signal(signal.SIGHUP, before)
        await run.wait()
        internal = 0b11 << 31  # 32 and 33 belong to the C library
        assert [int(line.split()[1], 16) & ~internal for line in out(run).splitlines()] == [0, 0]

    async def test_the_environment_is_never_on_disk(self, hub: MakeHub) -> None:
        run = await hub().launch(spec_of("input(); input()"), {"KEY": "canary-of-the-environment"})
        await run.send("secret", "canary-of-a-secret", seen=3, secret=True)
        assert canaries(run) == []
        await run.send("open", "go", seen=4)
        await run.wait()
        assert canaries(run) == []
        assert [entry["line"] for entry in journal(run) if "line" in entry] == ["", "go"]
        assert journal(run)[0]["secret"] is True

    async def test_everything_is_for_this_user_alone(self, hub: MakeHub) -> None:
        before = os.umask(0)
        try:
            run = await hub().launch(spec_of(ECHO), {})
        finally:
            os.umask(before)
        assert os.stat(run.bundle.path).st_mode & 0o777 == 0o700
        for file in os.listdir(run.bundle.path):
            assert os.stat(os.path.join(run.bundle.path, file)).st_mode & 0o077 == 0, file

    async def test_a_bundle_whose_path_is_longer_than_an_address(self, tmp_path: Path, hub: MakeHub) -> None:
        hub()
        deep = tmp_path / ("d" * 100) / ("e" * 100)
        run = await Runs(str(deep), epoch=1).launch(spec_of(ECHO), {})
        await run.send("i", "hello", seen=0)
        again = await Runs(str(deep), epoch=2).adopt("run")
        assert again is not None
        await again.stop("test", AT_ONCE)
        assert await again.wait() is not None

    @pytest.mark.parametrize(
        ("source", "code", "number"),
        [
            ("raise SystemExit(7)", 7, None),
            ("import os; os.kill(os.getpid(), 9)", None, 9),
            ("import os; os.abort()", None, 6),
        ],
    )
    async def test_how_it_ended(self, hub: MakeHub, source: str, code: int | None, number: int | None) -> None:
        run = await hub().launch(spec_of("import resource; resource.setrlimit(4, (0, 0)); " + source), {})
        ended = await run.wait()
        assert ended is not None
        assert (ended.code, ended.signal) == (code, number)

    async def test_status(self, hub: MakeHub) -> None:
        run = await hub().launch(spec_of(STUBBORN), {})
        await ready(run)
        await run.send("i", "four", seen=0)
        status = await run.status()
        assert (status["agentPid"], status["out"], status["unread"]) == (run.pid, 6, 5)
        await run.stop("test", AT_ONCE)
        ended = await run.wait()
        assert ended is not None
        assert ended.stdin_unread == 5


class TestNoStart:
    @pytest.mark.parametrize(
        ("argv", "cwd", "words"),
        [
            (("/nowhere/agent",), "/", "No such file or directory: /nowhere/agent"),
            (("/etc/passwd",), "/", "Permission denied: /etc/passwd"),
            (("/bin/true",), "/nowhere", "No such file or directory: /nowhere"),
            (("true",), "/", "not an absolute path: true"),
            (("/bin/true", "\0"), "/", "null"),
        ],
    )
    async def test_the_reason_is_told(self, hub: MakeHub, argv: tuple[str, ...], cwd: str, words: str) -> None:
        runs = hub()
        with pytest.raises(LaunchFailed, match=words):
            await runs.launch(RunSpec("run", argv, cwd), {})
        ended = runs.bundle("run").read_exit()
        assert ended is not None
        assert ended.spawn_error
        assert words in ended.spawn_error
        assert await runs.adopt("run") is None

    async def test_a_run_is_launched_once(self, hub: MakeHub) -> None:
        runs = hub()
        await runs.launch(spec_of(ECHO), {})
        with pytest.raises(LaunchFailed):
            await runs.launch(spec_of(ECHO), {})

    async def test_a_missing_interpreter(self, root: str) -> None:
        with pytest.raises(LaunchFailed):
            await Runs(root, epoch=1, python="/nowhere/python").launch(spec_of(ECHO), {})

    async def test_a_runner_that_breaks_says_its_last_words(self, root: str) -> None:
        runs = Runs(root, epoch=1, python="/bin/ls")
        with pytest.raises(LaunchFailed, match="The runner died"):
            await runs.launch(spec_of(ECHO), {})
        wait_until(lambda: collected(runs))

    def test_stale_compiled_code_is_not_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = tmp_path / "runner.py"
        source.write_text("pass")
        monkeypatch.setattr(runner, "__file__", str(source))
        assert _runner_program(sys.executable) == str(source)
        compiled = py_compile.compile(str(source))
        assert _runner_program(sys.executable) == compiled
        assert _runner_program("/another/python") == str(source)
        source.write_text("pass  # newer")
        assert _runner_program(sys.executable) == str(source)


class TestInput:
    async def test_an_id_is_written_once(self, hub: MakeHub) -> None:
        run = await hub().launch(spec_of(ECHO), {})
        await run.send("one", "first", seen=0)
        await asyncio.gather(*(run.send("one", "first", seen=0) for _ in range(3)))
        await run.send("two", "second", seen=0)
        await run.close_input()
        await run.wait()
        assert out(run) == "echo first\necho second\n"

    async def test_an_id_in_the_queue_is_queued_once(self, hub: MakeHub, tmp_path: Path) -> None:
        go = tmp_path / "go"
        run = await hub().launch(spec_of(LATE_READER, str(go)), {})
        sends = [asyncio.create_task(run.send("one", "x" * 200_000, seen=0)) for _ in range(3)]
        sends += [asyncio.create_task(run.send("two", "y", seen=0)) for _ in range(2)]
        await run.status()
        go.touch()
        await asyncio.gather(*sends)
        await run.close_input()
        await run.wait()
        assert out(run) == "200001\n2\n"

    async def test_lines_of_megabytes_and_the_order_of_calls(self, hub: MakeHub) -> None:
        run = await hub().launch(spec_of("import sys\nfor line in sys.stdin: print(len(line))"), {})
        sizes = [5_000_000, 1, 70_000, 3_000_000, 2]
        sends = [run.send(f"i{n}", "ü" * size, seen=0) for n, size in enumerate(sizes)]
        await asyncio.gather(*sends)
        await run.close_input()
        await run.wait()
        assert out(run) == "".join(f"{size + 1}\n" for size in sizes)

    async def test_the_journal_tells_intent_before_done(self, hub: MakeHub) -> None:
        run = await hub().launch(spec_of(ECHO), {})
        await run.send("one", "first", seen=0)
        await ready(run)
        await run.send("two", "second", seen=11)
        entries = journal(run)
        assert [entry.get("id") or entry.get("done") for entry in entries] == ["one", "one", "two", "two"]
        assert [entries[n]["outOffset"] for n in (0, 2)] == [0, len("echo first\n")]
        assert [entries[n]["seen"] for n in (0, 2)] == [0, 11]
        assert [entries[n]["line"] for n in (0, 2)] == ["first", "second"]

    async def test_an_agent_that_closed_its_input(self, hub: MakeHub) -> None:
        run = await hub().launch(spec_of("import os, time; os.close(0); print(1, flush=True); time.sleep(600)"), {})
        await ready(run)
        results = await asyncio.gather(*(run.send(f"i{n}", "hello", seen=0) for n in range(3)), return_exceptions=True)
        assert [getattr(result, "reason", result) for result in results] == ["pipe"] * 3
        assert [sorted(entry) for entry in journal(run)] == [
            ["at", "id", "line", "outOffset", "seen"],
            ["error", "failed", "left"],
        ]
        assert run.bundle.fates() == {"i0": Fate.FAILED}
        await run.stop("test", AT_ONCE)
        ended = await run.wait()
        assert ended is not None
        assert ended.undelivered == ("i0",)

    async def test_input_after_the_last(self, hub: MakeHub, tmp_path: Path) -> None:
        go = tmp_path / "go"
        run = await hub().launch(spec_of(LATE_READER, str(go)), {})
        before = asyncio.create_task(run.send("before", "x" * 200_000, seen=0))
        await asyncio.sleep(0)
        await run.close_input()
        with pytest.raises(InputRefused, match="stdin_closed"):
            await run.send("after", "x", seen=0)
        go.touch()
        await before
        await run.wait()
        assert out(run) == "200001\n"

    async def test_a_full_queue_says_busy(self, hub: MakeHub, tmp_path: Path) -> None:
        go = tmp_path / "go"
        run = await hub().launch(spec_of(LATE_READER, str(go)), {})
        connection = run._connection
        assert connection is not None
        line = "x" * 200_000
        asks = [
            asyncio.create_task(connection.request("input", id=f"i{n}", line=line if n == 0 else "y"))
            for n in range(257)
        ]
        assert (await asks[-1])["error"] == "busy"
        go.touch()
        replies = await asyncio.gather(*asks)
        assert all(reply["ok"] for reply in replies[:-1])

    async def test_many_sends_never_meet_a_full_queue(self, hub: MakeHub, tmp_path: Path) -> None:
        go = tmp_path / "go"
        run = await hub().launch(spec_of(LATE_READER, str(go)), {})
        sends = [asyncio.create_task(run.send(f"i{n}", "x" * (1000 + n), seen=0)) for n in range(400)]
        await run.status()
        go.touch()
        await asyncio.gather(*sends)
        await run.close_input()
        await run.wait()
        assert out(run) == "".join(f"{1001 + n}\n" for n in range(400))

    async def test_a_line_is_one_line(self, hub: MakeHub) -> None:
        run = await hub().launch(spec_of(ECHO), {})
        with pytest.raises(ValueError, match="one line"):
            await run.send("i", "two\nlines", seen=0)

    async def test_a_lone_surrogate_is_refused_and_harms_nothing(self, hub: MakeHub) -> None:
        run = await hub().launch(spec_of(ECHO), {})
        with pytest.raises(InputRefused, match="malformed"):
            await run.send("bad", "\ud800", seen=0)
        await run.send("good", "fine", seen=0)


class TestStop:
    async def test_one_that_obeys(self, hub: MakeHub) -> None:
        source = "import time\ntry: print(1, flush=True); time.sleep(600)\nexcept BaseException: raise SystemExit(3)"
        run = await hub().launch(spec_of(source), {})
        await ready(run)
        await run.stop("asked", (20, 20))
        ended = await run.wait()
        assert ended is not None
        assert (ended.code, ended.why) == (3, "asked")

    async def test_one_that_ignores_signals_and_hides(self, hub: MakeHub, tmp_path: Path) -> None:
        marker = tmp_path / "hydra"
        run = await hub().launch(spec_of(HYDRA, str(marker)), {})
        await hydra_is_awake(marker)
        await ready(run)
        await run.stop("asked", AT_ONCE)
        ended = await run.wait()
        assert ended is not None
        assert ended.signal == signal.SIGKILL
        assert ended.leftovers >= 3
        assert await hydra_is_dead(marker)

    async def test_a_second_stop_hurries_the_first(self, hub: MakeHub) -> None:
        run = await hub().launch(spec_of(STUBBORN), {})
        await ready(run)
        await run.stop("asked", (600, 600))
        assert (await run.status())["stopping"] == "asked"
        await run.stop("hurry", AT_ONCE)
        ended = await asyncio.wait_for(run.wait(), 10)
        assert ended is not None
        assert (ended.signal, ended.why) == (signal.SIGKILL, "asked")

    async def test_what_a_normal_end_leaves_is_ended_too(self, hub: MakeHub, tmp_path: Path) -> None:
        source = """
import os, sys
if os.fork() == 0:
    os.setsid()
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)", sys.argv[1]])
"""
        run = await hub().launch(spec_of(source, str(tmp_path)), {})
        ended = await run.wait()
        assert ended is not None
        assert (ended.code, ended.leftovers) == (0, 1)
        assert processes_with(str(tmp_path)) == set()

    async def test_too_much_output(self, hub: MakeHub) -> None:
        run = await hub().launch(spec_of("while True: print('x' * 1000)", max_output_bytes=100_000), {})
        ended = await run.wait()
        assert ended is not None
        assert ended.why == "output_limit"

    async def test_too_little_room_on_the_disk(self, hub: MakeHub) -> None:
        run = await hub().launch(spec_of("import time; time.sleep(600)", min_free_bytes=1 << 62), {})
        with pytest.raises(InputRefused, match="disk_full"):
            await run.send("i", "hello", seen=0)
        ended = await run.wait()
        assert ended is not None
        assert ended.why == "disk_full"
        assert journal(run) == []


class TestAdoption:
    async def test_another_hub_goes_on(self, hub: MakeHub) -> None:
        first = await hub(1).launch(spec_of(ECHO), {})
        await first.send("one", "first", seen=0)
        first.detach()
        with pytest.raises(RunnerGone):
            await first.send("late", "late", seen=0)
        second = await hub(2).adopt("run")
        assert second is not None
        assert second.pid == first.pid
        await second.send("one", "first", seen=0)
        await second.send("two", "second", seen=0)
        await second.close_input()
        assert await second.wait() is not None
        assert out(second) == "echo first\necho second\n"
        assert await hub(3).adopt("run") is None

    async def test_a_newer_hub_cuts_off_an_older_one(self, hub: MakeHub) -> None:
        older = await hub(1).launch(spec_of(ECHO), {})
        newer = await hub(2).adopt("run")
        assert newer is not None
        with pytest.raises(RunnerGone):
            await older.send("one", "from the dead", seen=0)
        with pytest.raises(RunnerGone):
            await older.wait()
        with pytest.raises(RunnerGone, match="newer"):
            await hub(1).adopt("run")
        await newer.send("two", "alive", seen=0)
        await ready(newer)
        assert out(newer) == "echo alive\n"

    async def test_what_an_older_hub_queued_is_acknowledged_to_the_newer_one(
        self, hub: MakeHub, tmp_path: Path
    ) -> None:
        go = tmp_path / "go"
        older = await hub(1).launch(spec_of(LATE_READER, str(go)), {})
        lost = [asyncio.create_task(older.send(f"i{n}", "x" * 100_000, seen=0)) for n in range(3)]
        await older.status()
        newer = await hub(2).adopt("run")
        assert newer is not None
        assert [type(error) for error in await asyncio.gather(*lost, return_exceptions=True)] == [RunnerGone] * 3
        again = [asyncio.create_task(newer.send(f"i{n}", "x" * 100_000, seen=0)) for n in range(4)]
        await newer.status()
        go.touch()
        await asyncio.gather(*again)
        await newer.close_input()
        await newer.wait()
        assert out(newer) == "100001\n" * 4

    async def test_a_hub_that_is_killed(self, hub: MakeHub, root: str) -> None:
        program = f"""
import asyncio, sys
from orch_server.runtime.runs import Runs, RunSpec
async def main():
    run = await Runs({root!r}, epoch=1).launch(RunSpec("run", {python(ECHO)!r}, "/"), {{}})
    await run.send("one", "first", seen=0)
    print("ready", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
        environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
        killed = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, env=environment
        )
        assert killed.stdout is not None
        assert await killed.stdout.readline() == b"ready\n"
        killed.kill()
        await killed.wait()
        run = await hub(2).adopt("run")
        assert run is not None
        await run.send("one", "first", seen=0)
        await run.send("two", "second", seen=0)
        await run.close_input()
        assert await run.wait() is not None
        assert out(run) == "echo first\necho second\n"

    async def test_a_stopped_runner_does_not_hang_it(self, hub: MakeHub) -> None:
        run = await hub(1).launch(spec_of(ECHO), {})
        holder = run.bundle.runner_pid()
        assert holder is not None
        os.kill(holder, signal.SIGSTOP)
        with pytest.raises(RunnerSilent):
            await hub(2, patience=0.2).adopt("run")
        assert is_alive(run.pid)
        os.kill(holder, signal.SIGCONT)
        assert await hub(3).adopt("run") is not None

    async def test_the_bundle_of_an_older_runner(self, hub: MakeHub) -> None:
        first = await hub(1).launch(spec_of(ECHO), {})
        first.detach()
        path = os.path.join(first.bundle.path, "run.json")
        whole = json.loads(Path(path).read_text())
        Path(path).write_text(json.dumps({"state": "running", "cookie": whole["cookie"], "novelty": [1]}))
        run = await hub(2).adopt("run")
        assert run is not None
        assert run.pid == first.pid
        await run.send("one", "first", seen=0)
        await run.close_input()
        assert await run.wait() is not None

    async def test_fifty_hubs_lose_and_repeat_nothing(self, hub: MakeHub) -> None:
        chance = random.Random(20)
        run: Run | None = await hub(0).launch(spec_of(ECHO), {})
        outbox = [f"line {number}" for number in range(600)]
        delivered = 0
        for epoch in range(1, 51):
            assert run is not None
            batch = outbox[delivered : delivered + chance.randint(1, 30)]
            sends = [asyncio.create_task(run.send(line, line, seen=0)) for line in batch]
            answered = chance.randint(0, len(batch))
            if answered:
                await sends[answered - 1]
            for _ in range(chance.randint(0, 4)):
                await asyncio.sleep(0)
            if chance.random() < 0.7:
                run.detach()
            run = await hub(epoch).adopt("run")
            results = await asyncio.gather(*sends, return_exceptions=True)
            assert all(result is None or isinstance(result, RunnerGone) for result in results)
            delivered += next((n for n, result in enumerate(results) if result), len(batch))
        assert run is not None
        await asyncio.gather(*(run.send(line, line, seen=0) for line in outbox[delivered:]))
        await run.close_input()
        assert await run.wait() is not None
        assert out(run) == "".join(f"echo {line}\n" for line in outbox)
        assert [entry["id"] for entry in journal(run) if "id" in entry] == outbox


class TestTheRunnerDies:
    async def test_killed_from_outside(self, hub: MakeHub) -> None:
        runs = hub()
        run = await runs.launch(spec_of(ECHO), {})
        await run.send("one", "first", seen=0)
        await ready(run)
        holder = run.bundle.runner_pid()
        assert holder is not None
        os.kill(holder, signal.SIGKILL)
        assert await run.wait() is None
        assert out(run) == "echo first\n"
        assert await runs.adopt("run") is None
        with pytest.raises(RunnerGone):
            await run.send("two", "second", seen=0)
        await wait_until_async(lambda: not run.bundle.agent_alive())  # its input ended

    @pytest.mark.parametrize(
        ("crash", "fate", "heard"),
        [
            ("journalled", Fate.IN_DOUBT, ""),
            ("partial", Fate.IN_DOUBT, None),
            ("written", Fate.IN_DOUBT, "500001\n"),
            ("done", Fate.WRITTEN, "500001\n"),
        ],
    )
    async def test_what_the_journal_tells_after_a_crash(
        self, hub: MakeHub, crash: str, fate: Fate, heard: str | None
    ) -> None:
        source = "import sys\nfor line in sys.stdin: print(len(line))"
        run = await hub().launch(spec_of(source, crash=crash), {})
        with pytest.raises(RunnerGone):
            await run.send("one", "x" * 500_000, seen=0)
        assert await run.wait() is None
        assert run.bundle.read_exit() is None
        await wait_until_async(lambda: not run.bundle.agent_alive())
        assert run.bundle.fates() == {"one": fate}
        if heard is None:
            assert 0 < int(out(run)) < 500_000  # torn, which is why it may be in doubt
        else:
            assert out(run) == heard

    async def test_before_the_agent_is_spawned(self, hub: MakeHub) -> None:
        runs = hub()
        with pytest.raises(LaunchFailed, match="died"):
            await runs.launch(spec_of(ECHO, crash="starting"), {})
        record = runs.bundle("run").read_run()
        assert record is not None
        assert (record.state, record.agent_pid) == ("starting", 0)
        assert runs.bundle("run").carriers() == set()
        assert not runs.bundle("run").abandon()

    async def test_after_the_agent_is_spawned_unrecorded(self, hub: MakeHub) -> None:
        runs = hub()
        with pytest.raises(LaunchFailed, match="died"):
            await runs.launch(spec_of("import time; time.sleep(600)", crash="spawned"), {})
        bundle = runs.bundle("run")
        record = bundle.read_run()
        assert record is not None
        assert record.state == "starting"
        assert len(bundle.carriers()) == 1
        assert await asyncio.to_thread(bundle.sweep) == 1
        assert bundle.carriers() == set()

    async def test_between_the_end_and_its_record(self, hub: MakeHub) -> None:
        run = await hub().launch(spec_of("input(); print('said')", crash="exit-before-json"), {})
        await run.send("one", "go", seen=0)
        assert await run.wait() is None
        assert out(run) == "said\n"
