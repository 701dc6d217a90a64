"""A process that has imported the hub and forks one whenever it is asked: a hub in milliseconds, as real as any.

`python -m tests.faults.zygote`: one JSON request a line on standard input, one answer a line on standard output.
`{"start": environment}` gives `{"pid": n}`, `{"wait": pid}` gives `{"signal": n, "code": n}`. It has one thread, so
that a fork takes nothing half-done along, and everything it forked ends with it.
"""

import ctypes
import json
import os
import signal
import sys
from typing import Any

import alembic.command
import alembic.config
import alembic.script

import orch_server.main
from orch_server.endpoints import serve
from orch_server.protocol import methods
from orch_server.settings import crashpoint

_ = alembic.command, alembic.config, alembic.script, methods, orch_server.main
DIE_WITH_PARENT = 1


def main() -> None:
    """Serve until standard input ends."""
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    if "start" in request:
        return {"pid": _start(request["start"], request.get("setup", ""))}
    _, status = os.waitpid(request["wait"], 0)
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status), "code": None}
    return {"signal": None, "code": os.WEXITSTATUS(status)}


def _start(environment: dict[str, str], setup: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1):
            os.dup2(null, number)
        os.environ.clear()
        os.environ.update(environment)
        crashpoint.arm_from(os.environ)
        if setup:
            exec(setup, {"__name__": "setup"})
        code = serve.run_hub(None)
    finally:
        os._exit(code)
    return 0


if __name__ == "__main__":
    main()
