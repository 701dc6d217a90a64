"""The invariants, checked from the outside: the database, git, the file system and /proc, never the hub's own word.

I1 what was told to a client is kept, unchanged · I2 the output of an agent is taken in wholly and once · I3 the live
processes are those of the live runs · I4 directories, git's entries, branches and sessions agree, and nothing is under
way · I5 every session's history is legal · I6 the database is sound · I7 no byte of work is lost · I8 what is outside
of a session is untouched · I10 the hub stays small and has no network socket. (I9, one reply for each request, is
checked by the clients of the tests themselves.)
"""

import json
import os
import sqlite3
import stat
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orch_server.domain.redact import redacted
from orch_server.domain.session import LIVE, TRANSITIONS, State
from orch_server.runtime.bundle import Bundle
from orch_server.store.schema import HEAD
from tests.home import OrchHome

LARGEST_HUB = 200_000_000
OURS = "orch/"
Json = dict[str, Any]
Content = Mapping[bytes, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Known:
    """What a test knows of the world besides: what was told, what was written, what must be as before."""

    untouched: Mapping[Path, str] = field(default_factory=dict)
    """Each checkout with its digest from before."""
    told: Mapping[int, Json] = field(default_factory=dict)
    """Events that a client got, by their number."""
    contents: Mapping[str, Content] = field(default_factory=dict)
    """What lies in the worktree of each session, wherever that is now."""
    hub: int | None = None


def check_world(
    home: OrchHome, untouched: Mapping[Path, str] | None = None, known: Known | None = None
) -> dict[str, int]:
    """Assert every invariant and return what was counted."""
    known = known or Known(untouched or {})
    world = World(home)
    found = list(world.violations(known))
    assert found == [], "\n".join(found)
    return {"sessions": len(world.sessions), "events": len(world.events), "runs": len(world.runs)}


class World:
    """The world as it is at one moment."""

    def __init__(self, home: OrchHome) -> None:
        self.home = home
        path = home.path / "orchestrator.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row

            def rows(table: str, order: str = "rowid") -> list[Json]:
                return [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY {order}")]

            self.damage = [row[0] for row in connection.execute("PRAGMA integrity_check")]
            self.dangling = [tuple(row) for row in connection.execute("PRAGMA foreign_key_check")]
            self.revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
            self.sessions = {row["id"]: row for row in rows("sessions")}
            self.projects = {row["id"]: row["path"] for row in rows("projects")}
            self.events = rows("events", "seq")
            self.runs = {row["id"]: row for row in rows("runs")}
            self.outbox, self.intents = rows("outbox"), rows("intents")

    def violations(self, known: Known) -> Iterator[str]:
        """Yield every broken invariant, its number first."""
        yield from self._told(known.told)
        yield from self._output()
        yield from self._processes()
        yield from self._places()
        yield from self._history()
        yield from self._database()
        yield from self._contents(known.contents)
        for checkout, digest in known.untouched.items():
            if (now := digest_of(checkout)) != digest:
                yield f"I8: {checkout} was changed: {_difference(digest, now)}"
        yield from self._bounds(known.hub)

    def _told(self, told: Mapping[int, Json]) -> Iterator[str]:
        kept = {event["seq"]: event for event in self.events}
        for seq, event in told.items():
            row = kept.get(seq)
            if row is None:
                yield f"I1: event {seq} ({event['type']}) was told to a client and is gone"
            elif row["type"] != event["type"] or (row["data"] != b"{}" and json.loads(row["data"]) != event["data"]):
                yield f"I1: event {seq} is not as it was told: {row['data']!r}, not {event['data']}"

    def _output(self) -> Iterator[str]:
        if [event["seq"] for event in self.events] != list(range(1, len(self.events) + 1)):
            yield "I2: there is a gap in the numbers"
        said: dict[str, list[str]] = defaultdict(list)
        emptied = set()
        for event in self.events:
            if event["data"] == b"{}" and event["run_id"]:
                emptied.add(event["run_id"])
            elif event["type"] == "agent.message":
                said[event["run_id"]].append(json.loads(event["data"])["text"])
        for run in self.runs.values():
            log = self.home.path / "runs" / run["id"] / "out.log"
            if run["state"] != "ended" or not log.exists() or run["id"] in emptied:
                continue
            if run["out_offset"] != log.stat().st_size:
                yield f"I2: run {run['id']} was taken in to {run['out_offset']} of {log.stat().st_size}"
            elif "".join(said[run["id"]]) != (spoken := _spoken(log)):
                yield f"I2: run {run['id']} said {spoken[-200:]!r}, not {''.join(said[run['id']])[-200:]!r}"

    def _processes(self) -> Iterator[str]:
        for run_id, run in self.runs.items():
            bundle = Bundle(str(self.home.path / "runs" / run_id))
            if run["state"] == "ended":
                if left := bundle.carriers():
                    yield f"I3: run {run_id} is over, and {left} live"
            elif not bundle.carriers() and bundle.runner_pid() is None:
                yield f"I3: run {run_id} is {run['state']}, and nothing of it lives"
        live = {run["session_id"] for run in self.runs.values() if run["state"] != "ended"}
        for session in self.sessions.values():
            if session["state"] in LIVE and session["id"] not in live:
                yield f"I3: session {session['id']} is {session['state']} without a run"
        known = {entry.name for entry in (self.home.path / "runs").glob("*")}
        if unknown := known - set(self.runs):
            yield f"I3: run bundles of nobody: {unknown}"
        for row in self.outbox:
            if self.runs[row["run_id"]]["state"] == "ended":
                yield f"I3: a line waits for run {row['run_id']}, which is over"

    def _places(self) -> Iterator[str]:
        for intent in self.intents:
            yield f"I4: {intent['id']} is still under way"
        for project_id, path in self.projects.items():
            if not Path(path, ".git").exists():
                continue
            mine = [session for session in self.sessions.values() if session["project_id"] == project_id]
            yield from self._places_of(Path(path), mine)

    def _places_of(self, project: Path, sessions: Iterable[Json]) -> Iterator[str]:
        root = project / ".orchestrator"
        entries = _entries(project)
        owners, trashed, branches = set(), set(), set()
        for session in sessions:
            branches.add(session["branch"])
            if session["worktree"] in {None, "null"} or session["purged_at"]:
                continue
            if session["state"] == State.DELETED:
                trash = json.loads(session["trash"])["trashed"]
                if trash is not None and trash["present"]:
                    trashed.add(session["id"])
            else:
                owners.add(session["id"])
                if "branch_missing" not in session["attention"] and not _ref(project, session["branch"]):
                    yield f"I4: the branch of {session['id']} is gone"
        for place, expected in (("worktrees", owners), ("trash", trashed)):
            directories = {path.name for path in (root / place).glob("*") if path.is_dir()}
            directories = {name for name in directories if not name.startswith(("half-made-", "spare-"))}
            registered = {path.name for path in entries if path.parent == root / place}
            if not directories == registered == expected:
                yield f"I4: {root / place}: there are {directories}, git has {registered}, sessions {expected}"
        for path, reason in entries.items():
            if root in path.parents and path.parent.name != "spares" and reason != f"orch:{path.name}":
                yield f"I4: {path} is locked with {reason!r}"
        if unknown := set(_branches(project)) - branches:
            yield f"I4: branches of nobody: {unknown}"

    def _history(self) -> Iterator[str]:
        present: dict[str, State] = {}
        versions: dict[str, int] = defaultdict(int)
        for event in self.events:
            name = event["session_id"]
            if name is None or event["data"] == b"{}":
                continue
            data = json.loads(event["data"])
            version = data.get("session", {}).get("version") or data.get("changed", {}).get("version")
            if version is not None:
                if version <= versions[name]:
                    yield f"I5: session {name} went from version {versions[name]} to {version}"
                versions[name] = version
            if event["type"] == "session.created":
                present[name] = State.CREATED
            elif event["type"] == "session.state_changed":
                before, after = State(data["from"]), State(data["to"])
                if present.get(name) != before:
                    yield f"I5: session {name} was {present.get(name)} and left {before}"
                if after != before and after not in TRANSITIONS[before]:
                    yield f"I5: session {name} went from {before} to {after}"
                present[name] = after
            elif "session" in data:
                present[name] = State(data["session"]["state"])
        for name, state in present.items():
            if self.sessions[name]["state"] != state:
                yield f"I5: the events leave {name} {state}, it is {self.sessions[name]['state']}"

    def _database(self) -> Iterator[str]:
        if self.damage != ["ok"]:
            yield f"I6: {self.damage}"
        if self.dangling:
            yield f"I6: {self.dangling}"
        if self.revision != HEAD:
            yield f"I6: the schema is {self.revision}"

    def _contents(self, contents: Mapping[str, Content]) -> Iterator[str]:
        for session_id, content in contents.items():
            session = self.sessions[session_id]
            if session["purged_at"]:
                continue
            root = Path(self.projects[session["project_id"]], ".orchestrator")
            trash = session["state"] == State.DELETED
            place = root / ("trash" if trash else "worktrees") / session_id
            if not place.is_dir():
                yield f"I7: what was in {session_id} is not in {place}"
                continue
            now = tree_of(place)
            if lost := {path for path, what in content.items() if now.get(path) != what}:
                yield f"I7: {session_id} lost {sorted(lost)[:5]}"

    def _bounds(self, hub: int | None) -> Iterator[str]:
        pids = set(_mine(self.home)) | ({hub} if hub is not None else set())
        for pid in pids:
            if sockets := inet_sockets(pid):
                yield f"I10: process {pid} has network sockets: {sockets}"
        if hub is not None and (size := resident(hub)) > LARGEST_HUB:
            yield f"I10: the hub has {size / 1e6:.0f} MB"


def digest_of(checkout: Path) -> str:
    """Return what of a checkout a session must not change.

    Content, index, HEAD, configuration, hooks, and every ref but orch's own.
    """
    parts = [_git(checkout, "rev-parse", "HEAD"), _git(checkout, "status", "--porcelain", "--untracked-files=all")]
    parts += [line for line in _git(checkout, "for-each-ref").splitlines() if "/orch/" not in line]
    parts += [f"{name} {what!r}" for name, what in sorted(_configuration(checkout))]
    for directory, folders, files in os.walk(checkout):
        folders[:] = sorted(set(folders) - {".git", ".orchestrator"})
        parts += [f"{name} {(Path(directory) / name).read_bytes()!r}" for name in sorted(files)]
    return "\n".join(parts)


def tree_of(top: Path) -> dict[bytes, tuple[object, ...]]:
    """Return all there is below a directory: kind, mode and content of every entry, by its path."""
    return dict(_walk(os.fsencode(top), b""))


def inet_sockets(pid: int) -> list[str]:
    """Return the network sockets that a process holds, of those that the kernel lists for this namespace."""
    held = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            if target.startswith("socket:["):
                held.add(target[8:-1])
        tables = {name: Path(f"/proc/{pid}/net", name).read_text() for name in ("tcp", "tcp6", "udp", "udp6", "raw")}
    except OSError:
        return []  # it has ended
    lines = [(name, line.split()) for name, text in tables.items() for line in text.splitlines()[1:]]
    return [f"{name} {fields[1]}" for name, fields in lines if len(fields) > 9 and fields[9] in held]


def resident(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak(pid: int) -> int:
    """Return the most memory that a process ever had resident, in bytes."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:"))


def _mine(home: OrchHome) -> Iterator[int]:
    for process in home.processes():
        yield process.pid


def _spoken(log: Path) -> str:
    """Return what an agent that speaks ACP said, by its own output, without what it repeats of an older run."""
    said: list[str] = []
    loading = _loading(log.parent / "in.jsonl")
    for message in _json_lines(log):
        if loading is not None and message.get("id") == loading and "method" not in message:
            said.clear()
        params = message.get("params")
        update = params.get("update") if isinstance(params, dict) else None
        if isinstance(update, dict) and update.get("sessionUpdate") == "agent_message_chunk":
            said.append(redacted(update["content"]["text"].encode()).decode())  # each part as it came
    return "".join(said)


def _loading(journal: Path) -> object:
    """Return the id of the request by which an agent was to load an older conversation."""
    for entry in _json_lines(journal):
        if '"session/load"' in (line := entry.get("line", "")):
            return json.loads(line)["id"]
    return None


def _json_lines(path: Path) -> Iterator[Json]:
    for line in path.read_bytes().split(b"\n"):
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict):
            yield message


def _walk(top: bytes, path: bytes) -> Iterator[tuple[bytes, tuple[object, ...]]]:
    full = os.path.join(top, path) if path else top
    found = os.lstat(full)
    if stat.S_ISLNK(found.st_mode):
        yield path, ("link", os.readlink(full))
    elif stat.S_ISDIR(found.st_mode):
        yield path, ("directory", found.st_mode)
        for name in os.listdir(full):
            yield from _walk(top, os.path.join(path, name))
    elif stat.S_ISREG(found.st_mode):
        with open(full, "rb") as file:
            yield path, ("file", found.st_mode, file.read())
    else:
        yield path, ("special", found.st_mode)


def _configuration(checkout: Path) -> Iterator[tuple[str, bytes]]:
    git_dir = checkout / ".git"
    for path in (git_dir / "config", git_dir / "info" / "exclude", *sorted((git_dir / "hooks").glob("*"))):
        if path.is_file():
            yield path.name, path.read_bytes()


def _entries(project: Path) -> dict[Path, str]:
    """Return git's worktrees, each with the reason that it is locked with."""
    found = {}
    for entry in _git(project, "worktree", "list", "--porcelain", "-z").split("\0\0"):
        fields = dict(line.partition(" ")[::2] for line in entry.split("\0") if line)
        if "worktree" in fields:
            found[Path(fields["worktree"])] = fields.get("locked", "")
    return found


def _branches(project: Path) -> list[str]:
    return _git(project, "for-each-ref", "--format=%(refname:short)", f"refs/heads/{OURS}").splitlines()


def _ref(project: Path, branch: str) -> bool:
    return bool(_git(project, "for-each-ref", f"refs/heads/{branch}"))


def _difference(before: str, after: str) -> str:
    changed = set(before.splitlines()) ^ set(after.splitlines())
    return "; ".join(sorted(changed))[:500]


def _git(directory: Path, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(directory), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, errors="surrogateescape", check=True)
    return done.stdout
