"""Which agent, if any, the other end of a connection belongs to.

A process below a run's runner is the agent's: the runner is the reaper of all orphans below it, so a double fork hides
nobody, and the bundle's path is in its command line. The run's mark in the environment tells it too, also when the
runner is dead. A process of the same user that sheds both is not told from the user; see SECURITY.md.
"""

import os
import socket
import struct
import sys

from orch_server.runtime import runner
from orch_server.runtime.bundle import Bundle

DEEPEST = 64


def run_of(connection: socket.socket, runs: str) -> str | None:
    """Return the run that the caller belongs to; `runs` is the directory of all run bundles."""
    if sys.platform != "linux":
        return None  # no /proc to look at
    size = struct.calcsize("3i")
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    cookies = set()
    for _ in range(DEEPEST):
        if pid <= 1:
            break
        words = _command_line(pid)
        if words and os.path.dirname(words[-1]) == runs:
            return os.path.basename(words[-1])
        cookies.add(runner.cookie_of(pid))
        fields = runner.stat_fields(pid)
        pid = int(fields[1]) if fields else 0
    return _run_with(cookies - {""}, runs)


def _command_line(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def _run_with(cookies: set[str], runs: str) -> str | None:
    """Return the run with one of these marks; None for the mark of another home."""
    if not cookies:
        return None
    for name in os.listdir(runs) if os.path.isdir(runs) else ():
        record = Bundle(os.path.join(runs, name)).read_run()
        if record is not None and record.cookie in cookies:
            return name
    return None
