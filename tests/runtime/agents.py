"""Small programs that play the agent, and looks at what became of them."""

import asyncio
import os
import sys
from pathlib import Path

from orch_server.runtime import runner
from tests.waiting import wait_until_async


def python(source: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs `source`."""
    return (sys.executable, "-I", "-S", "-c", source, *arguments)


ECHO = """
import sys
for line in sys.stdin:
    print("echo", line, end="", flush=True)
"""

# Reads nothing until the file that its argument names is there.
LATE_READER = """
import os, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.003)
for line in sys.stdin:
    print(len(line), flush=True)
"""

STUBBORN = """
import signal, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
print("ready", flush=True)
while True:
    time.sleep(1)
"""

# A tree that does all that is known to hide processes: no signals heeded, own sessions, double forks, an empty
# environment, and one that never keeps a pid for long. Each carries the argument, by which the test finds them; the
# last writes to the file of that name as long as it lives.
HYDRA = """
import os, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
SLEEP = "import time; time.sleep(60)"

end = time.monotonic() + 60  # whatever the test finds out

def hide(environment):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", SLEEP, sys.argv[1]], environment)
        os._exit(0)

hide(dict(os.environ))
hide({})
if os.fork() == 0:
    os.setsid()
    while os.fork() == 0 and time.monotonic() < end:
        with open(sys.argv[1], "a") as hops:
            hops.write(".")
        time.sleep(0.01)
    os._exit(0)
print("ready", flush=True)
while True:
    time.sleep(1)
"""


async def hydra_is_awake(marker: Path) -> None:
    """Wait until all its heads are there (the one that hops is seen by its traces)."""
    await wait_until_async(lambda: marker.exists() and len(processes_with(str(marker))) >= 3)


async def hydra_is_dead(marker: Path) -> bool:
    """Whether all heads that can be found are gone, and the one that hops has left no trace for some hops."""
    before = marker.stat().st_size
    await asyncio.sleep(0.15)
    return marker.stat().st_size == before and not processes_with(str(marker))


def processes_with(token: str) -> set[int]:
    """Return the live processes that have `token` among their arguments."""
    found = set()
    for pid in runner.process_table():
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if token.encode() in arguments and pid != os.getpid():
            found.add(pid)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    return pid in runner.process_table()
