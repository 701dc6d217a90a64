"""The order of the hub's system calls: what it acknowledges is on the disk before (C.12)."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orch_server.hub.dial import HubUnreachable
from tests.faults.figures import record
from tests.faults.scenario import new_home
from tests.faults.tracing import can_trace
from tests.home import OrchHome
from tests.lsp import RawClient
from tests.waiting import wait_until

UPDATES = 20
CALLS = "pwrite64,write,sendto,fsync,fdatasync,rename,renameat,renameat2"


pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not can_trace(), reason="needs strace, and leave to trace"),
]


def test_nothing_is_acknowledged_before_it_is_synced(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    trace = tmp_path / "trace"
    environment = {**home.environment, **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}}
    tracing = ["strace", "-f", "-y", "-s", "300", "-e", f"trace={CALLS}", "-o", str(trace)]
    hub = subprocess.Popen([*tracing, sys.executable, "-m", "orch_server", "--hub"], env=environment)
    try:
        connected = wait_until(lambda: _connected(home), 120)
        assert connected is not None
        with connected as client:
            client.request("orch/project/add", {"path": str(tmp_path / "shop")})
            what = {"agent": "demo", "action": "implement", "project": "shop", "prompt": "[[write a.txt x]]"}
            session = client.request("orch/session/start", what)["id"]
            wait_until(lambda: _state(client, session) == "completed", 120)
            wait_until(lambda: client.request("orch/hub/status")["runs"] == 0, 120)
            for number in range(UPDATES):
                update = {"session": session, "title": f"title {number}"}
                client.request("orch/session/update", update, id_=f"update-{number}")
            client.request("orch/session/delete", {"session": session}, id_="the-delete")
    finally:
        home.close()  # strace ends with what it traces
        hub.wait(60)
    calls = list(_calls(trace))
    replies = _check_commits(calls)
    assert replies >= UPDATES
    _check_delete(calls)
    record("durability", acknowledged_after_a_sync=replies, violations=0)


def _connected(home: OrchHome) -> RawClient | None:
    try:
        return RawClient(home, patience=120)
    except HubUnreachable:
        return None


def _check_commits(calls: list[tuple[str, str]]) -> int:
    """See that between any two replies the log of the database was written and, after that, synced.

    The second request is sent when the first reply is there, so what lies between is its own; the hub's own commits may
    come in between as well, and need not be synced before a reply that is not theirs.
    """
    written = synced = False
    replies = 0
    for name, text in calls:
        if "orchestrator.db-wal>" in text:
            if name in {"pwrite64", "write"}:
                written = True
            elif name in {"fsync", "fdatasync"}:
                synced = written
        elif name == "sendto" and '\\"id\\":\\"update-' in text and "result" in text:
            assert synced, text
            written = synced = False
            replies += 1
    return replies


def _check_delete(calls: list[tuple[str, str]]) -> None:
    """See that what is pinned is synced before the rename, and both directories before the reply."""
    reply = next(number for number, (name, text) in enumerate(calls) if name == "sendto" and '"the-delete\\"' in text)
    rename = next(
        number
        for number, (name, text) in enumerate(calls)
        if name.startswith("rename") and "/.orchestrator/worktrees>" in text and "/.orchestrator/trash>" in text
    )
    synced = [(number, text) for number, (name, text) in enumerate(calls) if name in {"fsync", "fdatasync"}]
    assert rename < reply
    assert any(number < rename and "/.git/" in text for number, text in synced), "nothing of git is synced"
    assert any(number < rename and ".orchestrator/trash/" in text for number, text in synced), "no manifest is synced"
    for place in ("worktrees>", "trash>"):
        found = [number for number, text in synced if text.rstrip(") =0").endswith(f".orchestrator/{place}")]
        assert any(rename < number < reply for number in found), f"{place} is not synced after the rename"


def _calls(trace: Path) -> Iterator[tuple[str, str]]:
    """Yield every call in the order of their ends, those that were interrupted by another thread put together."""
    begun: dict[str, str] = {}
    for line in trace.read_text(errors="replace").splitlines():
        pid, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>")
            if not rest.startswith(("fsync", "fdatasync")):  # a write may be seen from its beginning on
                yield rest.partition("(")[0], rest
            continue
        resumed = re.match(r"<\.\.\. (\w+) resumed>", rest)
        if resumed is not None:
            if resumed[1] in {"fsync", "fdatasync"}:
                yield resumed[1], begun.pop(pid, "")
            continue
        yield rest.partition("(")[0], rest


def _state(client: RawClient, session: str) -> str:
    return str(client.request("orch/session/get", {"session": session})["state"])
