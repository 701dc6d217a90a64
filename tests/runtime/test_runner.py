"""The runner by itself: its spec, its claim on a bundle, and its socket, without the hub's side."""

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from orch_server.runtime import runner
from orch_server.runtime.bundle import Bundle
from orch_server.runtime.runs import RunSpec
from tests.runtime.agents import ECHO, python
from tests.runtime.conftest import MakeHub


def document(marker: Path) -> bytes:
    """Return the spec of an agent that leaves a file behind."""
    return json.dumps(
        {
            "version": 1,
            "id": "run",
            "cookie": "cookie-of-a-test",
            "argv": ["/bin/touch", str(marker)],
            "cwd": "/",
            "env": {},
            "minFreeBytes": 0,
            "maxOutputBytes": None,
        }
    ).encode()


def start(bundle: Bundle) -> "subprocess.Popen[bytes]":
    """Start a runner that waits for its spec."""
    command = [sys.executable, "-I", "-S", str(runner.__file__), bundle.path]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={})


@pytest.fixture
def bundle(root: str) -> Bundle:
    bundle = Bundle(os.path.join(root, "run"))
    bundle.create()
    return bundle


def test_a_spec_cut_short_starts_nothing(bundle: Bundle, tmp_path: Path) -> None:
    whole = document(tmp_path / "marker")
    specs = [whole[: len(whole) * part // 6] for part in range(6)] + [whole[:-1], b"[]", b"{}", whole + b"{}"]
    started = [start(bundle) for _ in specs]
    for process, spec in zip(started, specs, strict=True):
        said, _ = process.communicate(spec)
        assert (process.returncode, said) == (runner.BAD_SPEC, b"")
    assert os.listdir(bundle.path) == []
    assert not (tmp_path / "marker").exists()


def test_one_of_two_runners_has_the_bundle(bundle: Bundle, tmp_path: Path) -> None:
    racers = [start(bundle) for _ in range(4)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(document(tmp_path / "marker"))
        racer.stdin.close()
        racer.stdin = None
    for racer in racers:
        racer.communicate()
    assert sorted(racer.returncode for racer in racers) == [0] + [runner.ALREADY_STARTED] * 3
    ended = bundle.read_exit()
    assert ended is not None
    assert ended.code == 0


def test_a_forbidden_run_is_never_started(bundle: Bundle, tmp_path: Path) -> None:
    assert bundle.abandon()
    process = start(bundle)
    said, _ = process.communicate(document(tmp_path / "marker"))
    assert process.returncode == runner.ALREADY_STARTED
    assert json.loads(said)["ok"] is False
    assert not (tmp_path / "marker").exists()
    assert bundle.abandon()  # as a hub does that was killed before it could take note


def test_a_run_without_a_bundle_needs_no_forbidding(root: str) -> None:
    bundle = Bundle(os.path.join(root, "never-made"))
    assert bundle.abandon()
    assert not bundle.exists()


def test_either_the_hub_forbids_it_or_it_runs(root: str, tmp_path: Path) -> None:
    chance = random.Random(7)
    outcomes = set()
    for number in range(16):
        bundle = Bundle(os.path.join(root, f"run{number}"))
        bundle.create()
        marker = tmp_path / f"marker{number}"
        process = start(bundle)
        assert process.stdin is not None
        process.stdin.write(document(marker))
        process.stdin.close()
        process.stdin = None
        time.sleep(chance.uniform(0, 0.05))  # spreads the race, waits for nothing
        forbidden = bundle.abandon()
        process.communicate()
        assert marker.exists() is not forbidden
        assert (bundle.read_exit() is None) is forbidden
        outcomes.add(forbidden)
    assert outcomes


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "malformed"),
        (b"[]", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b"[" * 100_000, "malformed"),
        (b'{"n": 5, "op": "dance"}', "attach first"),
        (b'{"n": 5, "op": "input", "id": "i", "line": "x"}', "attach first"),
        (b'{"n": 5, "op": "attach"}', "malformed"),
        (b'{"n": 5, "op": "attach", "epoch": 1}\n{"n": 5, "op": "dance"}', "unknown operation: dance"),
        (b'{"n": 5, "op": "attach", "epoch": 1}\n{"n": 5, "op": "input", "id": 5}', "malformed"),
        (b'{"n": 5, "op": "attach", "epoch": 1}\n{"n": 5, "op": "stop", "grace": "x"}', "malformed"),
    ],
)
async def test_every_line_gets_a_reply(hub: MakeHub, line: bytes, words: str) -> None:
    run = await hub(1).launch(RunSpec("run", python(ECHO), "/"), {})
    replies = await asyncio.to_thread(talk, run.bundle, line)
    assert words in replies[-1]["error"]
    assert replies[-1]["ok"] is False
    again = await hub(2).adopt("run")
    assert again is not None
    await again.send("one", "still well", seen=0)


async def test_a_client_that_leaves_in_the_middle_of_a_line(hub: MakeHub) -> None:
    run = await hub().launch(RunSpec("run", python(ECHO), "/"), {})

    def leave() -> None:
        with dial(run.bundle) as connected:
            connected.sendall(b'{"op": "att')

    await asyncio.to_thread(leave)
    await run.send("one", "still well", seen=0)


async def test_the_end_is_told(hub: MakeHub) -> None:
    run = await hub(1).launch(RunSpec("run", python(ECHO), "/"), {})

    def listen() -> bytes:
        with dial(run.bundle) as connected, connected.makefile("rb") as stream:
            connected.sendall(b'{"n": 1, "op": "attach", "epoch": 2}\n{"n": 2, "op": "closeStdin"}\n')
            return stream.read()

    *_, last = (await asyncio.to_thread(listen)).splitlines()
    assert json.loads(last) == {"event": "exit"}
    assert run.bundle.read_exit() is not None


def test_the_quick_codec_is_json() -> None:
    loads, dumps = runner.quick_codec()
    values: list[Any] = [{}, [], "ü\ud800\n", -1.5e300, 2**70, {"a": [{"b": None}, True]}]
    for value in values:
        assert json.loads(dumps(value)) == value
        assert loads(json.dumps(value)) == value
    for broken in ("", "{", "1 2", '{"a":}', "nil"):
        with pytest.raises(ValueError):
            loads(broken)


def test_it_works_without_private_modules(bundle: Bundle, tmp_path: Path) -> None:
    program = f"""
import sys
source = open({str(runner.__file__)!r}).read()
for private in ("_signal as signal", "_json", "_ctypes"):
    assert "import " + private in source
    source = source.replace("import " + private, "raise ImportError")
sys.argv[1:] = [{bundle.path!r}]
exec(compile(source, "runner", "exec"))
"""
    process = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], input=document(tmp_path / "marker"), capture_output=True, env={}
    )
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "marker").exists()


def dial(bundle: Bundle) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX)
    connected.settimeout(10)
    directory = os.open(bundle.path, os.O_RDONLY)
    try:
        connected.connect(f"/proc/self/fd/{directory}/sock")
    finally:
        os.close(directory)
    return connected


def talk(bundle: Bundle, lines: bytes) -> list[dict[str, Any]]:
    """Say some lines and return as many replies."""
    with dial(bundle) as connected, connected.makefile("rb") as stream:
        connected.sendall(lines + b"\n")
        return [json.loads(stream.readline()) for _ in lines.split(b"\n")]
