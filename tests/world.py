"""The invariants, checked from the outside: the database, git, the file system and /proc, never the hub's own word."""

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from orch_server.domain.session import LIVE, TRANSITIONS, State
from tests.home import OrchHome


def check_world(home: OrchHome, untouched: Mapping[Path, str]) -> dict[str, int]:
    """Assert every invariant and return what was counted; `untouched` has each checkout with its digest from before."""
    with closing(sqlite3.connect(f"file:{home.path / 'orchestrator.db'}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        sessions = {row["id"]: dict(row) for row in connection.execute("SELECT * FROM sessions")}
        projects = {row["id"]: row["path"] for row in connection.execute("SELECT id, path FROM projects")}
        events = [dict(row) for row in connection.execute("SELECT * FROM events ORDER BY seq")]
        runs = [dict(row) for row in connection.execute("SELECT * FROM runs")]
        damage = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        dangling = connection.execute("PRAGMA foreign_key_check").fetchall()
    assert damage == ["ok"], f"I6: {damage}"
    assert dangling == [], f"I6: {[tuple(row) for row in dangling]}"
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1)), "I2: a gap in the numbers"
    _check_output(home, runs, events)
    _check_history(sessions, events)
    _check_processes(home, sessions, runs)
    _check_worktrees(sessions, projects)
    for checkout, digest in untouched.items():
        assert digest_of(checkout) == digest, f"I8: {checkout} was changed"
    return {"sessions": len(sessions), "events": len(events), "runs": len(runs)}


def digest_of(checkout: Path) -> str:
    """Return what of a checkout a session must not change: content, index, HEAD, and every ref but orch's own."""
    parts = [_git(checkout, "rev-parse", "HEAD"), _git(checkout, "status", "--porcelain", "--untracked-files=all")]
    parts += [line for line in _git(checkout, "for-each-ref").splitlines() if "/orch/" not in line]
    for directory, folders, files in os.walk(checkout):
        folders[:] = sorted(set(folders) - {".git", ".orchestrator"})
        parts += [f"{name} {(Path(directory) / name).read_bytes()!r}" for name in sorted(files)]
    return "\n".join(parts)


def _check_output(home: OrchHome, runs: list[dict[str, Any]], events: list[dict[str, Any]]) -> None:
    """I1, I2: what an ended agent wrote was taken in to its last byte, and nothing twice."""
    for run in runs:
        log = home.path / "runs" / run["id"] / "out.log"
        if run["state"] == "ended" and log.exists():
            assert run["out_offset"] == log.stat().st_size, f"I2: run {run['id']} was not taken in to its end"
    spoken: dict[str, list[str]] = {}
    for event in events:
        if event["type"] == "agent.tool_started" and event["data"] != b"{}":
            spoken.setdefault(f"{event['run_id']}", []).append(json.loads(event["data"])["toolId"])
    for run_id, tools in spoken.items():
        assert len(tools) == len(set(tools)), f"I2: run {run_id} has a tool twice"


def _check_history(sessions: dict[str, dict[str, Any]], events: list[dict[str, Any]]) -> None:
    """I5: the changes of every session's state are a path in the table."""
    present: dict[str, State] = {}
    for event in events:
        name = event["session_id"]
        if name is None or event["data"] == b"{}":
            continue
        data = json.loads(event["data"])
        if event["type"] == "session.created":
            present[name] = State.CREATED
        elif event["type"] == "session.state_changed":
            assert present[name] == data["from"], f"I5: session {name} jumped to {data['from']}"
            assert data["to"] == data["from"] or State(data["to"]) in TRANSITIONS[present[name]], f"I5: {data}"
            present[name] = State(data["to"])
        elif "session" in data:
            present[name] = State(data["session"]["state"])
    for name, state in present.items():
        assert sessions[name]["state"] == state, f"I5: the events leave {name} {state}, it is {sessions[name]['state']}"


def _check_processes(home: OrchHome, sessions: dict[str, dict[str, Any]], runs: list[dict[str, Any]]) -> None:
    """I3: what carries the mark of a run belongs to a run that the database calls live."""
    live = {run["id"] for run in runs if run["state"] != "ended"}
    for record in home.path.glob("runs/*/run.json"):
        run = json.loads(record.read_text())
        if record.parent.name not in live and run.get("cookie"):
            left = [pid for pid in _carriers(run["cookie"]) if pid != os.getpid()]
            assert left == [], f"I3: run {record.parent.name} is over and {left} live"
    for session in sessions.values():
        if session["state"] in LIVE:
            assert any(run["session_id"] == session["id"] for run in runs if run["id"] in live), f"I3: {session['id']}"


def _check_worktrees(sessions: dict[str, dict[str, Any]], projects: dict[str, str]) -> None:
    """I4: the directories, git's entries and the sessions that own a worktree are the same."""
    for project_id, path in projects.items():
        root = Path(path) / ".orchestrator" / "worktrees"
        directories = {entry.name for entry in root.iterdir()} if root.exists() else set()
        listed = _git(Path(path), "worktree", "list", "--porcelain").splitlines()
        prefix = f"worktree {root}/"
        registered = {line.removeprefix(prefix) for line in listed if line.startswith(prefix)}
        owners = {
            session["id"]
            for session in sessions.values()
            if session["project_id"] == project_id
            and session["worktree"] not in {None, "null"}
            and session["state"] != State.DELETED
        }
        assert directories == registered == owners, f"I4: {path}: {directories} {registered} {owners}"


def _carriers(cookie: str) -> Iterator[int]:
    mark = f"ORCH_RUN={cookie}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)
            except OSError:
                continue


def _git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(directory), *arguments], capture_output=True, text=True, check=True)
    return done.stdout
