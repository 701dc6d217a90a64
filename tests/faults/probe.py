"""An agent that was talked into driving the hub: it asks for everything, and writes down what it was told.

    python probe.py ENVIRONMENT HOW OTHER OUTPUT

HOW: `plain`, `detached` (double-forked, a session of its own) or `stripped` (that, and without its environment).
"""

import json
import os
import sys
import time
from types import SimpleNamespace
from typing import Any

from orch_server.protocol.methods import METHODS
from tests.lsp import Failed, RawClient


def main(environment: str, how: str, other: str, output: str) -> None:
    """Ask, in a process of the wanted kind, and wait until it is done."""
    if how == "plain":
        ask(environment, other, output)
        return
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        left = {} if how == "stripped" else dict(os.environ)
        os.execve(sys.executable, [sys.executable, __file__, environment, "plain", other, output], {**left, **_path()})
    deadline = time.monotonic() + 60
    while not os.path.exists(output) and time.monotonic() < deadline:
        time.sleep(0.01)


def ask(environment: str, other: str, output: str) -> None:
    """Send every method for the own session and for another, and write what came."""
    own = os.path.basename(os.getcwd())
    told: list[Any] = []
    home: Any = SimpleNamespace(environment=json.loads(environment))
    with RawClient(home, patience=60) as client:
        for session in (own, other):
            for method in sorted(METHODS):
                params: dict[str, Any] = {"session": session}
                if method.startswith("orch/project/") or method == "orch/session/start":
                    params = {"project": "shop", "path": "/", "agent": "demo", "action": "implement", "prompt": "x"}
                told.append([method, session == own, _answer(client, method, params)])
        told.append(["textDocument/hover", False, _answer(client, "textDocument/hover", {})])
    with open(f"{output}.new", "w", encoding="utf-8") as file:
        json.dump(told, file)
    os.rename(f"{output}.new", output)


def _answer(client: RawClient, method: str, params: Any) -> str:
    try:
        client.request(method, params)
    except Failed as refusal:
        return str(refusal.data.get("kind"))
    return "done"


def _path() -> dict[str, str]:
    return {"PYTHONPATH": os.environ["PYTHONPATH"]}


if __name__ == "__main__":
    main(*sys.argv[1:])
