"""Starting a session: until its agent executes, and what its worktree costs."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.measure import Line, Scale, at_most, compare, take_in_turn
from tests.bench.scene import ORCH_SERVER, REFERENCES, orch_home, python_agent
from tests.bench.wire import Wire, frame
from tests.home import OrchHome
from tests.repositories import ScratchRepository, make_repository
from tests.waiting import wait_until

STAMP = str(REFERENCES / "stamp.py")


def start(scale: Scale) -> Iterator[Line]:
    """Measure a session without a worktree against the same program started directly."""
    with orch_home(python_agent("stamp", "command", STAMP, "{prompt}")) as home:
        client = Wire(ORCH_SERVER, home.environment)
        try:
            client.initialize()
            stamps = home.root / "stamps"
            stamps.mkdir()
            params = {"agent": "stamp", "action": "analyze", "project": "shop", "prompt": str(stamps)}
            taken = take_in_turn(
                scale.rounds,
                {
                    "orch": lambda: _until_stamped(stamps, lambda: client.call("orch/session/start", params)),
                    "spawn": lambda: _until_stamped(stamps, lambda: _spawn(stamps)),
                },
            )
        finally:
            client.close()
    what = "session/start -> the agent executes, no worktree"
    yield compare("session-start", what, "ms", taken["orch"], "posix_spawn", taken["spawn"], at_most(1, 60, "ms"))


def worktree(scale: Scale) -> Iterator[Line]:
    """Measure a worktree against plain git's of the same repository."""
    for files in (1_000, 20_000, 100_000) if scale.full else (1_000, 20_000):
        with orch_home() as home:
            repository = make_repository(home.root / "big", files=files_of(files))
            home.cli("projects", "add", str(home.root / "big"))
            client = Wire(ORCH_SERVER, home.environment)
            try:
                client.initialize()
                client.call("orch/event/subscribe", {"types": ["worktree.*"]})
                subjects = {"orch": lambda: orch_worktree(client), "git": lambda: _git_worktree(home, repository)}  # noqa: B023
                taken = take_in_turn(5 if files < 10_000 else 3, subjects)
            finally:
                client.close()
        what = f"worktree of {files:,} files"
        target = at_most(1.05, 50, "ms")
        yield compare("worktree", what, "ms", taken["orch"], "git worktree add", taken["git"], target)


def _until_stamped(stamps: Path, begin: Callable[[], object]) -> float:
    began = time.monotonic_ns()
    begin()
    found = wait_until(lambda: [path for path in stamps.iterdir() if path.suffix != ".tmp"], timeout=30)
    took = (int(found[0].read_text()) - began) / 1e6
    found[0].unlink()
    return took


def _spawn(stamps: Path) -> None:
    subprocess.run([sys.executable, "-I", "-S", STAMP, str(stamps)], check=True, close_fds=False)


def orch_worktree(client: Wire) -> float:
    """Have a session's worktree made, and return its milliseconds; the client hears of worktrees."""
    params = {"agent": "demo", "action": "implement", "project": "big", "prompt": "[[say done]]"}
    client.write(frame({"jsonrpc": "2.0", "id": 9, "method": "orch/session/start", "params": params}))
    began = 0.0
    while True:
        body = client.read()
        if b'"type":"worktree.creating"' in body and not began:
            began = time.perf_counter()
        elif b'"type":"worktree.created"' in body:
            return (time.perf_counter() - began) * 1000


def _git_worktree(home: OrchHome, repository: ScratchRepository) -> float:
    name = f"plain-{time.monotonic_ns()}"
    began = time.perf_counter()
    repository.git("worktree", "add", "--quiet", "-b", name, str(home.root / name))
    return (time.perf_counter() - began) * 1000


def files_of(count: int) -> dict[str, str]:
    """Return so many small files in directories."""
    return {f"d{number // 200}/file{number}.txt": f"line of {number}\n" * 20 for number in range(count)}
