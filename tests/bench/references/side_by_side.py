"""orch and cli-agent-orchestrator at the same work, one taken in turn with the other; prints what was measured.

Runs in a sandbox with only the loopback interface, in directories of its own, with no key of anybody. Both run the same
agent (liner.py). cli-agent-orchestrator keeps agents in tmux and lets a client see their terminals by a web socket; it
is given its own provider for programs without an account, `mock_cli`, which here is our agent.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psutil

from tests.bench.references import liner
from tests.bench.scene import ORCH_SERVER, orch_home, python_agent
from tests.bench.wire import Wire
from tests.home import BIN, OrchHome
from tests.waiting import wait_until

LINES, INTERVAL_MS = 20, 50
TASK = f"say {LINES} {INTERVAL_MS}"
PORT = 9889
SERVER = f"http://127.0.0.1:{PORT}"
LINER = str(Path(liner.__file__))
_STAMP = re.compile(rb"@(\d{6,}) a line")

Taken = tuple[float, list[float]]
"""Milliseconds from the command to the agent's first output, and from each output to the client."""


def main() -> None:
    """Measure some rounds, and one before that is thrown away."""
    rounds = int(sys.argv[1])
    result: dict[str, Any] = {name: {"first": [], "latency": []} for name in ("orch", "other")}
    with orch_home(python_agent("liner", "command", LINER, "{prompt}")) as home, _Other(home.root) as other:
        client = Wire(ORCH_SERVER, home.environment)
        client.initialize()
        client.call("orch/event/subscribe", {"types": ["agent.*"]})
        subjects: dict[str, Callable[[], Taken]] = {"orch": lambda: _orch(client), "other": other.ask}
        for number in range(-1, rounds):
            for name, ask in subjects.items():
                first, latency = ask()
                if number >= 0:
                    result[name]["first"].append(first)
                    result[name]["latency"].extend(latency)
        result["orch"]["memory"] = _memory([home.hub_pid()])
        result["other"]["memory"] = _memory(other.daemons())
        client.close()
    print(json.dumps(result))


def _orch(client: Wire) -> Taken:
    began = time.monotonic_ns()
    client.call("orch/session/start", {"agent": "liner", "action": "analyze", "project": "shop", "prompt": TASK})
    seen: dict[int, int] = {}
    while len(seen) < LINES:
        body = client.read()
        _note(seen, body)
    return _taken(began, seen)


def _note(seen: dict[int, int], data: bytes) -> None:
    present = time.monotonic_ns()
    for stamp in _STAMP.findall(data):
        seen.setdefault(int(stamp), present)


def _taken(began: int, seen: dict[int, int]) -> Taken:
    ordered = sorted(seen)
    late = ordered[LINES // 2 :]  # by then both clients surely listen
    return (ordered[0] - began) / 1e6, [(seen[stamp] - stamp) / 1e6 for stamp in late]


class _Other:
    """A running cli-agent-orchestrator."""

    def __init__(self, root: Path) -> None:
        self._root = root
        programs = root / "programs"
        programs.mkdir()
        agent = programs / "mock_cli"
        agent.write_text(f"#!/bin/sh\nexec {sys.executable} -I -S {LINER}\n")
        agent.chmod(0o755)
        path = f"{programs}:{BIN}:{os.environ['PATH']}"
        (root / "home" / ".profile").write_text(f"PATH={path}\nPS1='$ '\n")  # the shells that tmux starts read it
        self._environment = {
            **OrchHome(root).environment,
            "PATH": path,
            "SHELL": "/bin/sh",
            "TERM": "xterm-256color",
            "TMUX_TMPDIR": str(root / "run"),
            "CAO_API_PORT": str(PORT),
        }

    def __enter__(self) -> Self:
        log = open(self._root / "other.log", "wb")
        self._process = subprocess.Popen(
            [f"{BIN}/cao-server"], env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        wait_until(lambda: _answers(f"{SERVER}/health"), timeout=90)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        subprocess.run(["tmux", "kill-server"], env=self._environment, capture_output=True, check=False)

    def daemons(self) -> list[int]:
        """Return the processes that stay between sessions: its server, and that of tmux."""
        tmux = [
            process.pid for process in psutil.process_iter(["name"]) if "tmux: server" in (process.info["name"] or "")
        ]
        return [self._process.pid, *tmux]

    def ask(self) -> Taken:
        """Start a session with a task, and watch its terminal."""
        began = time.monotonic_ns()
        query = f"agent_profile=developer&provider=mock_cli&working_directory={self._root / 'shop'}"
        terminal = _request("POST", f"{SERVER}/sessions?{query}", {"initial_message": TASK})
        seen: dict[int, int] = {}
        asyncio.run(asyncio.wait_for(_watch(terminal["id"], lambda data: _note(seen, data), seen), 60))
        _request("DELETE", f"{SERVER}/sessions/{terminal['session_name']}")
        return _taken(began, seen)


async def _watch(terminal_id: str, take: Callable[[bytes], None], seen: dict[int, int]) -> None:
    from websockets.asyncio.client import connect

    async with connect(f"ws://127.0.0.1:{PORT}/terminals/{terminal_id}/ws", proxy=None) as socket:
        rest = b""
        while len(seen) < LINES:
            data = await socket.recv()
            rest = rest[-64:] + (data if isinstance(data, bytes) else data.encode())
            take(rest)


def _request(method: str, url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def _answers(url: str) -> bool:
    try:
        _request("GET", url)
    except OSError:
        return False
    return True


def _memory(pids: list[int]) -> float:
    return sum(psutil.Process(pid).memory_full_info().uss for pid in pids) / 1e6


if __name__ == "__main__":
    main()
