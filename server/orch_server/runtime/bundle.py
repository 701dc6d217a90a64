"""The record of one run on disk, as the hub reads it: a directory that outlives every process.

Rules of this file: everything is read anew, since a runner may have written meanwhile; an unknown field is ignored and
a missing one has a default, since runners of other versions write here too; the lock is probed, never taken.
"""

import errno
import fcntl
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from orch_server.runtime import runner
from orch_server.settings.crashpoint import crashpoint

SURE_WHEN_EMPTY = 10  # looks that found nothing, on a machine whose processes come and go all the time


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What run.json says: who runs, and where.

    `state` is "starting" (the agent may or may not have been spawned), "running", or "abandoned" (never to be started).
    """

    run_id: str
    state: str
    cookie: str
    argv: tuple[str, ...]
    cwd: str
    boot_id: str
    runner_pid: int
    runner_start: int | None
    agent_pid: int
    agent_start: int | None
    started_at: float
    version: int


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """What exit.json says: how the agent ended.

    Exactly one of `code`, `signal` and `spawn_error` is set. `why` is the reason of whoever stopped it: the hub's own
    word, or the runner's `disk_full` and `output_limit`; None when the agent ended by itself.
    """

    run_id: str
    code: int | None
    signal: int | None
    spawn_error: str | None
    why: str | None
    started_at: float
    ended_at: float
    user_seconds: float
    system_seconds: float
    max_rss_kib: int
    stdin_unread: int | None
    undelivered: tuple[str, ...]
    leftovers: int
    out_size: int
    err_size: int
    version: int


class Fate(StrEnum):
    """What became of an input, as far as the journal tells. An id that is not in it was never written."""

    WRITTEN = "written"
    """It is in the agent's pipe, whole, and must not be sent again blindly."""
    IN_DOUBT = "inDoubt"
    """The runner died between deciding to write it and knowing that it had: at most one of a run."""
    FAILED = "failed"
    """The agent read no more, so no whole line of it arrived."""


class Bundle:
    """The directory of one run."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Bundle({self.path!r})"

    @property
    def run_id(self) -> str:
        """The run that this is the record of."""
        return os.path.basename(self.path)

    @property
    def out_log(self) -> str:
        """What the agent wrote to its standard output."""
        return os.path.join(self.path, "out.log")

    @property
    def err_log(self) -> str:
        """What the agent wrote to its standard error."""
        return os.path.join(self.path, "err.log")

    @property
    def journal(self) -> str:
        """The lines that were written to the agent, with what is known of each."""
        return os.path.join(self.path, "in.jsonl")

    @property
    def socket(self) -> str:
        """Where the runner listens. Connect with `runs.connect`: the path may be too long for an address."""
        return os.path.join(self.path, "sock")

    def create(self) -> None:
        """Make the directory, for this user alone; FileExistsError if the run was made before."""
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        os.mkdir(self.path, mode=0o700)

    def exists(self) -> bool:
        """Whether the directory is there."""
        return os.path.isdir(self.path)

    def read_run(self) -> RunRecord | None:
        """Return run.json; None when the run has never begun."""
        found = self._read("run.json")
        if found is None:
            return None
        return RunRecord(
            run_id=_text(found, "id") or self.run_id,
            state=_text(found, "state"),
            cookie=_text(found, "cookie"),
            argv=tuple(_strings(found, "argv")),
            cwd=_text(found, "cwd"),
            boot_id=_text(found, "bootId"),
            runner_pid=_integer(found, "pid") or 0,
            runner_start=_integer(found, "start"),
            agent_pid=_integer(found, "agentPid") or 0,
            agent_start=_integer(found, "agentStart"),
            started_at=_number(found, "startedAt"),
            version=_integer(found, "version") or 0,
        )

    def read_exit(self) -> ExitRecord | None:
        """Return exit.json; None while the agent runs, and for ever when its runner died before it."""
        found = self._read("exit.json")
        if found is None:
            return None
        usage = found.get("rusage")
        usage = usage if isinstance(usage, dict) else {}
        return ExitRecord(
            run_id=_text(found, "id") or self.run_id,
            code=_integer(found, "code"),
            signal=_integer(found, "signal"),
            spawn_error=_text(found, "spawnError") or None,
            why=_text(found, "why") or None,
            started_at=_number(found, "startedAt"),
            ended_at=_number(found, "endedAt"),
            user_seconds=_number(usage, "userSeconds"),
            system_seconds=_number(usage, "systemSeconds"),
            max_rss_kib=_integer(usage, "maxRssKiB") or 0,
            stdin_unread=_integer(found, "stdinUnread"),
            undelivered=tuple(_strings(found, "undelivered")),
            leftovers=_integer(found, "leftovers") or 0,
            out_size=_integer(found, "outSize") or 0,
            err_size=_integer(found, "errSize") or 0,
            version=_integer(found, "version") or 0,
        )

    def fates(self) -> dict[str, Fate]:
        """Return what became of each input that the runner began to write, in their order.

        A line of the journal that is torn was never acted upon: the intent comes whole before the first byte.
        """
        fates: dict[str, Fate] = {}
        try:
            with open(self.journal, "rb") as file:
                lines = file.read().split(b"\n")
        except OSError:
            return fates
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            for field, fate in (("id", Fate.IN_DOUBT), ("done", Fate.WRITTEN), ("failed", Fate.FAILED)):
                if field in entry:
                    fates[entry[field]] = fate
        return fates

    def sizes(self) -> tuple[int, int]:
        """Return the bytes of standard output and of standard error so far."""
        return _size(self.out_log), _size(self.err_log)

    def abandon(self) -> bool:
        """Forbid that this run is ever started; False when it has begun already.

        For a runner that was started by a hub that died: it may still be on its way to its first step. Without the
        directory, which comes before the runner, there is none.
        """
        if not self.exists():
            return True
        claim = os.path.join(self.path, f"run.json.{os.getpid()}.tmp")
        record = {"version": runner.VERSION, "state": "abandoned", "id": self.run_id}
        runner.write_synced(claim, record)
        crashpoint("runs.claiming")
        try:
            os.link(claim, os.path.join(self.path, "run.json"))
        except FileExistsError:
            found = self.read_run()
            return found is not None and found.state == "abandoned"
        finally:
            os.unlink(claim)
        return True

    def runner_pid(self) -> int | None:
        """Return the pid of the live runner, which holds the lock for life; None when there is none."""
        try:
            descriptor = os.open(os.path.join(self.path, "lock"), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return _lock_holder(descriptor)
        except OSError:
            record = self.read_run()  # a file system that cannot be asked: the pid and its start time must do
            return record.runner_pid if record and _is_alive(record, record.runner_pid, record.runner_start) else None
        finally:
            os.close(descriptor)

    def agent_alive(self) -> bool:
        """Whether the agent process itself lives: its pid, started when run.json says, in this boot, no zombie."""
        record = self.read_run()
        return record is not None and _is_alive(record, record.agent_pid, record.agent_start)

    def same_boot(self) -> bool:
        """Whether the machine has not been started anew since the run began."""
        record = self.read_run()
        return record is None or _same_boot(record)

    def carriers(self) -> set[int]:
        """Return the live processes that carry this run's cookie in their environment."""
        record = self.read_run()
        if record is None or not record.cookie or not _same_boot(record):
            return set()
        return live_cookies().get(record.cookie, set()) - {os.getpid()}

    def sweep(self, seconds: float = 5.0) -> int:
        """Kill all that is left of this run and return how many processes that were.

        For a run whose runner died, or no longer answers: it goes first, then the agent, whatever is below it, and
        whatever carries the cookie. Blocks for at most `seconds`, usually a few milliseconds: call it in a thread.
        """
        record = self.read_run()
        if record is None:
            return 0
        cookie = record.cookie if _same_boot(record) else ""
        deadline = time.monotonic() + seconds
        killed: set[int] = set()
        empty = 0
        while empty < SURE_WHEN_EMPTY and time.monotonic() < deadline:
            listed = runner.newest_pids()
            table = runner.process_table()
            roots = self._known(record) | runner.kill_carriers(cookie)
            found = (roots | runner.descendants(table, roots)) - {os.getpid()}
            for pid in found:
                runner.signal_process(pid, signal.SIGKILL)
            killed |= found
            if found:
                empty = 0
            elif runner.newest_pids() == listed:
                break  # nobody came or went, not even to die, so nobody slipped through by changing its pid
            else:
                empty += 1
        return len(killed)

    def _known(self, record: RunRecord) -> set[int]:
        """Return the runner and the agent, where they live."""
        known = set()
        if _is_alive(record, record.agent_pid, record.agent_start):
            known.add(record.agent_pid)
        holder = self.runner_pid()
        if holder is not None and _is_running(holder):
            known.add(holder)
        return known

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            with open(os.path.join(self.path, name), "rb") as file:
                found = json.loads(file.read())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None


def live_cookies() -> dict[str, set[int]]:
    """Return every run's cookie that a live process carries, with the processes: one pass for any number of runs."""
    carriers: dict[str, set[int]] = {}
    for pid in runner.process_table():
        if cookie := runner.cookie_of(pid):
            carriers.setdefault(cookie, set()).add(pid)
    return carriers


def _lock_holder(descriptor: int) -> int | None:
    """Ask who holds a POSIX lock on the file, taking none."""
    if sys.platform == "darwin":
        layout = struct.Struct("qqihh")  # start, length, pid, type, whence
        answer = layout.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, layout.pack(0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)))
        pid, kind = answer[2], answer[3]
    elif sys.platform == "linux":
        layout = struct.Struct("hhqqi4x")  # type, whence, start, length, pid: the same on x86-64 and arm64
        answer = layout.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, layout.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)))
        pid, kind = answer[4], answer[0]
    else:
        raise OSError(errno.ENOTSUP, "the layout of struct flock is not known here")
    return None if kind == fcntl.F_UNLCK else int(pid)


def _is_alive(record: RunRecord, pid: int, start: int | None) -> bool:
    if pid <= 0 or not _same_boot(record) or not _is_running(pid):
        return False
    if start is not None:
        return runner.start_time(pid) == start
    import psutil  # only where a runner cannot read start times

    try:
        return abs(float(psutil.Process(pid).create_time()) - record.started_at) < 2.0
    except psutil.Error:
        return False


def _is_running(pid: int) -> bool:
    if runner.LINUX:
        fields = runner.stat_fields(pid)
        return bool(fields) and fields[0] not in runner.DEAD_STATES
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _same_boot(record: RunRecord) -> bool:
    return record.boot_id == runner.boot_id()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _text(found: dict[str, Any], name: str) -> str:
    value = found.get(name)
    return value if isinstance(value, str) else ""


def _integer(found: dict[str, Any], name: str) -> int | None:
    value = found.get(name)
    return value if isinstance(value, int) else None


def _number(found: dict[str, Any], name: str) -> float:
    value = found.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _strings(found: dict[str, Any], name: str) -> Iterable[str]:
    value = found.get(name)
    return (item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
