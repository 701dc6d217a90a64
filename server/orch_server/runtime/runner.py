"""The detached process that looks after one agent process: it starts it, feeds it, waits for it and ends it.

    python -I -S runner.py BUNDLE < spec

Rules of this file: it imports the standard library only, and of that only what starts fast. It never reads what the
agent prints: standard output and error go straight into files of the bundle. It trusts the disk more than itself, so
every step below may be the last one before a SIGKILL.

Start. The spec, one JSON document on standard input, holds the agent's environment, so it stays in memory. A spec
that is cut short starts nothing. `run.json` ("starting") is created before the agent is spawned and a bundle that has
one is never started; it is replaced by "running" afterwards. One JSON line on standard output then says how it went.

Input, in the order that makes it exact: note the size of out.log, journal the intent and sync it, write to the pipe,
journal "done", acknowledge. So after a crash: no intent, never written; intent and done, written; an intent alone (at
most one), in doubt.

Operations on `sock`, one JSON object a line, each may carry `n`, which comes back as `re`:
`attach{epoch}`, `input{id, line, seen, secret}`, `closeStdin`, `stop{why, grace}`, `status`. Additions only.

End. When the agent has ended, whatever it left running is ended too, exit.json is put in place, and every attached
connection reads `{"event": "exit"}`.
"""

from __future__ import annotations

import os
import select
import sys
import time

TYPE_CHECKING = False  # typing's own costs 5 ms
if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Iterator
    from typing import Any

    Json = dict[str, Any]
else:
    # The C halves of these modules: the plain ones import enum, re and selectors, and double the time to the first
    # line of the agent (35 ms against 15 ms for the interpreter with its imports). Everything used here is in both.
    try:
        import _signal as signal
        import _socket as socket
    except ImportError:
        import signal
        import socket

VERSION = 1
ALREADY_STARTED = 75
BAD_SPEC = 65

QUEUE_LIMIT = 256
FRAME_LIMIT = 64 << 20
OUTBOX_LIMIT = 4 << 20
EXIT_RECORD_ROOM = 32 << 10  # the ids of a full queue fit
CHECK_SECONDS = 1.0
LIMIT_GRACE = (1.0, 1.0)
LEFTOVER_GRACE = 0.3  # what the agent left may still say goodbye
SWEEP_SECONDS = 5.0
EXEC_LOOKS = 300  # a millisecond apart: how long a process may take from one program to the next

APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
LINUX = sys.platform == "linux"
DEAD_STATES = (b"Z", b"X")


def main(bundle: str) -> int:
    """Run one agent in `bundle`, a directory that the hub has made, and return the exit status."""
    os.umask(0o077)
    os.closerange(3, min(os.sysconf("SC_OPEN_MAX"), 65536))
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    spec = read_spec(0)
    if spec is None:
        return BAD_SPEC
    try:
        os.setsid()
    except PermissionError:
        pass  # started by hand: a group leader already
    os.chdir(bundle)
    lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # closing any descriptor of it unlocks it
    try:
        os.lockf(lock, os.F_TLOCK, 0)
    except OSError:
        report({"ok": False, "error": "another runner has this bundle"})
        return ALREADY_STARTED
    if os.path.lexists("run.json"):
        report({"ok": False, "error": "this bundle was started before, or forbidden to start"})
        return ALREADY_STARTED
    return Runner(spec).run()


def read_spec(descriptor: int) -> Json | None:
    """Read the spec to the end of the stream; None when it is not whole."""
    document = bytearray()
    while chunk := os.read(descriptor, 1 << 16):
        document += chunk
    try:
        spec: Json = loads(document.decode())
        whole = all(isinstance(spec[name], kind) and spec[name] != [] for name, kind in SPEC_SHAPE)
    except (ValueError, KeyError, TypeError):
        return None
    return spec if whole else None


SPEC_SHAPE = (("id", str), ("cookie", str), ("argv", list), ("cwd", str), ("env", dict))


def report(outcome: Json) -> None:
    """Tell whoever started this process how that went, then let go of its standard streams."""
    try:
        os.write(1, encode(outcome))
    except OSError:
        pass  # the hub died; the next one reads the bundle
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


class Input:
    """One line for the agent on its way into the pipe."""

    __slots__ = ("data", "id", "record", "rest", "waiters")

    def __init__(self, id: str, line: str, seen: Any, secret: bool) -> None:  # noqa: A002
        self.id = id
        self.data = (line + "\n").encode()
        self.record: Json = {"id": id, "seen": seen, "line": "" if secret else line}
        if secret:
            self.record["secret"] = True
        self.rest: memoryview | None = None  # what is still to write; None until the intent is journalled
        self.waiters: list[tuple[Connection, Any]] = []


class Runner:
    """The agent process with all that is held for it."""

    def __init__(self, spec: Json) -> None:
        self.spec = spec
        self.bundle = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
        self.out = os.open("out.log", APPEND, 0o600)
        self.err = os.open("err.log", APPEND, 0o600)
        self.journal = os.open("in.jsonl", APPEND, 0o600)
        self.exit_record = preallocate("exit.tmp", EXIT_RECORD_ROOM)
        self.listener = listen("sock")
        self.awake, self.awaken = wake_on_child()
        self.connections: dict[int, Connection] = {}
        self.epoch = -1
        self.queue: dict[str, Input] = {}
        self.written: set[str] = set()
        self.refusal = ""  # why no input is taken any more
        self.undelivered: list[str] = []
        self.stdin_unread: int | None = None  # None: closed in time, so nobody knows
        self.stdin = -1
        self.agent = 0
        self.started_at = time.time()
        self.wait_status: int | None = None
        self.usage: Any = None
        self.why: str | None = None
        self.ladder: list[tuple[float, int]] = []  # when to send which signal, while stopping

    def run(self) -> int:
        """Start the agent and look after it to its end."""
        record = self.record("starting")
        try:
            create_record("run.json", record)
        except FileExistsError:
            report({"ok": False, "error": "this bundle was forbidden to start"})
            return ALREADY_STARTED
        self.crashpoint("starting")
        become_subreaper()
        try:
            self.spawn()
        except (OSError, ValueError, TypeError) as error:
            self.write_exit({"spawnError": describe(error, self.spec)})
            report({"ok": False, "error": describe(error, self.spec)})
            os.unlink("sock")
            return 0
        self.crashpoint("spawned")
        record = self.record("running")
        record.update(agentPid=self.agent, agentStart=start_time(self.agent))
        try:
            replace_record("run.json", record)
        except OSError:
            self.refuse_input("disk_full")
            self.stop("disk_full", LIMIT_GRACE)
        report({"ok": True, "agentPid": self.agent})
        self.look_after()
        self.finish()
        return 0

    def record(self, state: str) -> Json:
        """Return what run.json says."""
        return {
            "version": VERSION,
            "state": state,
            "id": self.spec["id"],
            "cookie": self.spec["cookie"],
            "argv": self.spec["argv"],
            "cwd": self.spec["cwd"],
            "bootId": boot_id(),
            "pid": os.getpid(),
            "start": start_time(os.getpid()),
            "startedAt": self.started_at,
        }

    def spawn(self) -> None:
        """Start the agent in a session of its own, with three descriptors and no inherited signal settings."""
        argv = self.spec["argv"]
        if not os.path.isabs(argv[0]):
            raise ValueError(f"not an absolute path: {argv[0]}")
        source, self.stdin = os.pipe()  # both close on exec
        os.set_blocking(self.stdin, False)
        streams = ((source, 0), (self.out, 1), (self.err, 2))
        self.started_at = time.time()
        try:
            os.chdir(self.spec["cwd"])
            self.agent = os.posix_spawn(
                argv[0],
                argv,
                {**self.spec["env"], "ORCH_RUN": self.spec["cookie"]},
                file_actions=[(os.POSIX_SPAWN_DUP2, held, stream) for held, stream in streams],
                setsid=True,
                setsigmask=(),
                setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
            )
        finally:
            os.fchdir(self.bundle)
            os.close(source)

    # The loop

    def look_after(self) -> None:
        """Serve, feed, check and wait until the agent has ended."""
        next_check = time.monotonic() + CHECK_SECONDS
        while self.wait_status is None:
            now = time.monotonic()
            if now >= next_check:
                self.check_limits()
                next_check = now + CHECK_SECONDS
            self.climb(now)
            wake_at = min([next_check, *(moment for moment, _ in self.ladder)])
            for descriptor, events in self.poll(max(0.0, wake_at - now)):
                self.handle(descriptor, events)
            self.reap()

    def poll(self, seconds: float) -> list[tuple[int, int]]:
        """Wait for something to happen. The few descriptors are registered anew: there is nothing to keep in step."""
        poll = select.poll()
        poll.register(self.awake, select.POLLIN)
        poll.register(self.listener.fileno(), select.POLLIN)
        for descriptor, connection in self.connections.items():
            poll.register(descriptor, select.POLLIN | (select.POLLOUT if connection.outbox else 0))
        if self.queue and self.stdin >= 0:
            poll.register(self.stdin, select.POLLOUT)
        return poll.poll(int(seconds * 1000) + 1)

    def handle(self, descriptor: int, events: int) -> None:
        if descriptor == self.awake:
            drain(self.awake)
        elif descriptor == self.listener.fileno():
            connection = accept(self.listener)
            if connection:
                self.connections[connection.descriptor] = connection
        elif descriptor == self.stdin:
            self.feed()
        elif connection := self.connections.get(descriptor):
            if events & select.POLLOUT:
                connection.flush()
            if events & ~select.POLLOUT:
                for line in connection.receive():
                    self.answer(connection, line)
        self.connections = {key: value for key, value in self.connections.items() if value.open}

    def reap(self) -> bool:
        """Collect every child that has ended, adopted ones too, and say whether there are others."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.agent:
                self.wait_status, self.usage = status, usage

    def check_limits(self) -> None:
        """Stop an agent that filled the disk or passed its limit: on a full disk it would go on unseen."""
        if self.disk_is_full():
            self.refuse_input("disk_full")
            self.stop("disk_full", LIMIT_GRACE)
        limit = self.spec.get("maxOutputBytes")
        if limit is not None and size(self.out) + size(self.err) > limit:
            self.stop("output_limit", LIMIT_GRACE)

    def disk_is_full(self) -> bool:
        try:
            disk = os.fstatvfs(self.bundle)
        except OSError:
            return False
        return disk.f_bavail * disk.f_frsize < (self.spec.get("minFreeBytes") or 0)

    # Operations

    def answer(self, connection: Connection, line: bytes) -> None:
        """Do what one line on a connection asks; every line gets a reply."""
        reply_to = None
        try:
            message = loads(line.decode())
            reply_to = message.get("n")
            operation = message.get("op")
            if operation == "attach":
                self.attach(connection, reply_to, message["epoch"])
            elif operation == "status":
                connection.send({"re": reply_to, "ok": True, **self.status()})
            elif not connection.attached:
                connection.send({"re": reply_to, "ok": False, "error": "attach first"})
            elif operation == "input":
                self.take(connection, reply_to, message)
            elif operation == "closeStdin":
                self.refusal = self.refusal or "stdin_closed"
                self.feed()
                connection.send({"re": reply_to, "ok": True})
            elif operation == "stop":
                interrupt, terminate = message.get("grace") or LIMIT_GRACE
                self.stop(str(message.get("why") or "stop"), (float(interrupt), float(terminate)))
                connection.send({"re": reply_to, "ok": True})
            else:
                connection.send({"re": reply_to, "ok": False, "error": f"unknown operation: {operation}"})
        except Exception as error:  # a malformed line must not end the agent
            connection.send({"re": reply_to, "ok": False, "error": f"malformed: {error!r}"})

    def attach(self, connection: Connection, reply_to: Any, epoch: int) -> None:
        """Serve this connection and close the one before, so that a dead hub's unread words cannot arrive later."""
        if epoch < self.epoch:
            connection.send({"re": reply_to, "ok": False, "error": "a newer hub is attached"})
            connection.close()
            return
        self.epoch = epoch
        for other in self.connections.values():
            if other.attached and other is not connection:  # not one that is about to attach, which may be newer
                other.close()
        connection.attached = True
        connection.send({"re": reply_to, "ok": True, "agentPid": self.agent})

    def status(self) -> Json:
        return {
            "version": VERSION,
            "agentPid": self.agent,
            "out": size(self.out),
            "err": size(self.err),
            "queued": len(self.queue),
            "unread": unread(self.stdin),
            "stopping": self.why,
        }

    # Input

    def take(self, connection: Connection, reply_to: Any, message: Json) -> None:
        """Queue an input, once for each id, or say why not."""
        input_id = message["id"]
        waiter = (connection, reply_to)
        if input_id in self.written:
            connection.send({"re": reply_to, "ok": True, "duplicate": True})
            return
        if input_id in self.queue:
            self.queue[input_id].waiters.append(waiter)
            return
        if not self.refusal and self.disk_is_full():
            self.refuse_input("disk_full")
            self.stop("disk_full", LIMIT_GRACE)
        refusal = self.refusal or ("busy" if len(self.queue) >= QUEUE_LIMIT else "")
        if refusal:
            connection.send({"re": reply_to, "ok": False, "error": refusal})
            return
        item = Input(input_id, message["line"], message.get("seen"), bool(message.get("secret")))
        item.waiters.append(waiter)
        self.queue[input_id] = item
        self.feed()

    def feed(self) -> None:
        """Write as much of the queue as the pipe takes, in the order that the head of this file gives."""
        while self.queue and self.stdin >= 0:
            item = next(iter(self.queue.values()))
            if item.rest is None:
                item.record.update(outOffset=size(self.out), at=time.time())
                if not self.write_journal(item.record, sync=True):
                    return
                self.crashpoint("journalled")
                item.rest = memoryview(item.data)
            try:
                item.rest = item.rest[os.write(self.stdin, item.rest) :]
            except BlockingIOError:
                return
            except OSError as error:
                self.lose_stdin(f"{error.strerror}")
                return
            if item.rest:
                self.crashpoint("partial")
                continue
            self.crashpoint("written")
            del self.queue[item.id]
            self.written.add(item.id)
            self.write_journal({"done": item.id, "at": time.time()}, sync=False)
            self.crashpoint("done")
            for connection, reply_to in item.waiters:
                connection.send({"re": reply_to, "ok": True})
        if self.refusal == "stdin_closed" and not self.queue:
            self.close_stdin()

    def write_journal(self, entry: Json, *, sync: bool) -> bool:
        """Append to in.jsonl. When that fails nothing is taken any more: a torn journal proves nothing."""
        try:
            write_all(self.journal, encode(entry))
            if sync:
                sync_data(self.journal)
        except OSError:
            self.refuse_input("disk_full")
            self.stop("disk_full", LIMIT_GRACE)
            return False
        return True

    def lose_stdin(self, error: str) -> None:
        """The agent reads no more: say so of the line that was begun, and refuse the rest without intents."""
        item = next(iter(self.queue.values()))
        if item.rest is not None:
            self.write_journal({"failed": item.id, "left": len(item.rest), "error": error}, sync=False)
        self.stdin_unread = unread(self.stdin)
        self.refuse_input("pipe")
        self.close_stdin()

    def refuse_input(self, reason: str) -> None:
        """Take no more input, and give back what is queued."""
        self.refusal = reason
        queued, self.queue = self.queue, {}
        self.undelivered += queued
        for item in queued.values():
            for connection, reply_to in item.waiters:
                connection.send({"re": reply_to, "ok": False, "error": reason})

    def close_stdin(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    # The end

    def stop(self, why: str, grace: tuple[float, float]) -> None:
        """Begin to stop the agent, or hurry a stop that has begun."""
        self.why = self.why or why
        now = time.monotonic()
        terminate_at = now + grace[0]
        kill_at = terminate_at + grace[1]
        if not self.ladder:
            self.ladder = [(now, signal.SIGINT), (terminate_at, signal.SIGTERM), (kill_at, signal.SIGKILL)]
            return
        sooner: dict[int, float] = {signal.SIGINT: now, signal.SIGTERM: terminate_at, signal.SIGKILL: kill_at}
        self.ladder = [(min(moment, sooner[number]), number) for moment, number in self.ladder]

    def climb(self, now: float) -> None:
        """Send the signals that are due to the agent's group; the last one is repeated."""
        while self.ladder and self.ladder[0][0] <= now:
            number = self.ladder.pop(0)[1]
            signal_group(self.agent, number)
            if not self.ladder:
                self.ladder = [(now + CHECK_SECONDS, signal.SIGKILL)]

    def finish(self) -> None:
        """Record the end and tell it, once nothing of the agent is alive."""
        if self.queue:
            self.lose_stdin("the agent ended")
        elif self.stdin >= 0:
            self.stdin_unread = unread(self.stdin)
        self.close_stdin()
        leftovers = self.sweep()
        self.crashpoint("exit-before-json")
        status = self.wait_status or 0
        self.write_exit(
            {
                "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
                "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
                "rusage": {
                    "userSeconds": self.usage.ru_utime,
                    "systemSeconds": self.usage.ru_stime,
                    "maxRssKiB": self.usage.ru_maxrss if LINUX else self.usage.ru_maxrss >> 10,
                },
                "stdinUnread": self.stdin_unread,
                "undelivered": self.undelivered,
                "leftovers": leftovers,
            }
        )
        try:
            os.unlink("sock")
        except OSError:
            pass
        for connection in self.connections.values():
            if connection.attached:
                connection.say_last({"event": "exit"})

    def sweep(self) -> int:
        """End whatever the agent left running; return how many processes that were."""
        asked: set[int] = set()
        begun = time.monotonic()
        while time.monotonic() < begun + SWEEP_SECONDS:
            others = self.reap()
            found = leftovers_of({os.getpid()}, self.spec["cookie"], process_table()) - {os.getpid()}
            if not found and not others:
                break  # without a child there is no descendant, however often it changed its pid meanwhile
            force = time.monotonic() > begun + LEFTOVER_GRACE
            if force:  # these first and fresh: one that forks faster than a scan takes is a child by now
                found = own_children() | found
            for pid in found:
                if force or pid not in asked:
                    signal_process(pid, signal.SIGKILL if force else signal.SIGTERM)
            asked |= found
            time.sleep(0.002 if force else 0.01)
        return len(asked)

    def write_exit(self, outcome: Json) -> None:
        """Put exit.json in place. Its file is as long as it needs to be already, so that a full disk does no harm."""
        outcome = {
            "version": VERSION,
            "id": self.spec["id"],
            "startedAt": self.started_at,
            "endedAt": time.time(),
            "why": self.why,
            "outSize": size(self.out),
            "errSize": size(self.err),
            **outcome,
        }
        document = encode(outcome)
        for _ in range(30):
            try:
                os.pwrite(self.exit_record, document, 0)
                os.ftruncate(self.exit_record, len(document))
                os.fsync(self.exit_record)
                os.rename("exit.tmp", "exit.json")
                os.fsync(self.bundle)
            except FileNotFoundError:
                return  # somebody removed the bundle
            except OSError:
                time.sleep(1)
            else:
                return

    def crashpoint(self, name: str) -> None:
        """Die here if the spec says so: how the tests prove what each crash means."""
        if self.spec.get("crash") == name:
            os.kill(os.getpid(), signal.SIGKILL)


class Connection:
    """One hub on the socket: lines in, lines out, never blocking."""

    __slots__ = ("attached", "descriptor", "inbox", "open", "outbox", "scanned", "socket")

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.descriptor = connected.fileno()
        self.inbox = bytearray()
        self.scanned = 0  # how much of the inbox is known to hold no newline
        self.outbox = bytearray()
        self.attached = False
        self.open = True

    def receive(self) -> Iterator[bytes]:
        """Read once and yield the lines that are whole, as long as the connection is open."""
        try:
            chunk = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self.inbox += chunk
        if not chunk or len(self.inbox) > FRAME_LIMIT:
            self.close()
        begin = 0
        while self.open and (end := self.inbox.find(b"\n", max(begin, self.scanned))) >= 0:
            yield bytes(self.inbox[begin:end])
            begin = end + 1
        del self.inbox[:begin]
        self.scanned = len(self.inbox)

    def send(self, message: Json) -> None:
        if self.open:
            self.outbox += encode(message)
            self.flush()

    def flush(self) -> None:
        try:
            while self.open and self.outbox:
                del self.outbox[: self.socket.send(self.outbox)]
        except BlockingIOError:
            if len(self.outbox) > OUTBOX_LIMIT:
                self.close()  # it asks and never reads
        except OSError:
            self.close()

    def say_last(self, message: Json) -> None:
        """Send a last message and close, waiting a moment for a slow reader."""
        self.send(message)
        if self.open:
            self.socket.settimeout(1.0)
            try:
                while self.outbox:
                    del self.outbox[: self.socket.send(self.outbox)]
            except OSError:
                pass
        self.close()

    def close(self) -> None:
        self.open = False
        self.socket.close()


# Files and sockets


def create_record(name: str, record: Json) -> None:
    """Create a whole, synced file, or raise FileExistsError: of several that try, one wins."""
    temporary = f"{name}.{os.getpid()}.tmp"
    write_synced(temporary, record)
    try:
        os.link(temporary, name)
    finally:
        os.unlink(temporary)
    sync_directory()


def replace_record(name: str, record: Json) -> None:
    """Replace a file as a whole, so that a reader sees the old one or the new one."""
    temporary = f"{name}.{os.getpid()}.tmp"
    write_synced(temporary, record)
    os.rename(temporary, name)
    sync_directory()


def write_synced(name: str, record: Json) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, encode(record))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory() -> None:
    descriptor = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def preallocate(name: str, room: int) -> int:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    write_all(descriptor, b" " * room)
    return descriptor


def listen(name: str) -> socket.socket:
    """Listen by a name relative to the working directory: a socket's path has room for some hundred bytes only."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    listener.bind(name)  # the umask makes it 0600
    listener.listen(16)
    return listener


def accept(listener: socket.socket) -> Connection | None:
    try:
        descriptor, _ = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - both modules have it
    except OSError:
        return None
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor)
    connected.setblocking(False)
    return Connection(connected)


def wake_on_child() -> tuple[int, int]:
    """Return a pipe that becomes readable when a child ends."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reading, writing


def drain(descriptor: int) -> None:
    try:
        os.read(descriptor, 4096)
    except BlockingIOError:
        pass


def size(descriptor: int) -> int:
    return os.fstat(descriptor).st_size


def describe(error: Exception, spec: Json) -> str:
    """Say for a person why the agent could not be started."""
    if not isinstance(error, OSError):
        return str(error)
    culprit = spec["argv"][0] if os.path.isdir(spec["cwd"]) else spec["cwd"]
    return f"{error.strerror}: {culprit}"


# JSON


def encode(message: Json) -> bytes:
    """Return a message as one line."""
    line: str = dumps(message) + "\n"
    return line.encode()


def plain_codec() -> tuple[Any, Any]:
    import json

    return json.loads, json.dumps


def quick_codec() -> tuple[Any, Any]:
    """Return loads and dumps straight from the C half of json, whose plain half imports re."""
    import _json

    class Options:
        strict = True
        object_hook = object_pairs_hook = None
        parse_float = float
        parse_int = int
        parse_constant = float

    scan = _json.make_scanner(Options)  # type: ignore[arg-type]
    encoder = _json.make_encoder(None, str, _json.encode_basestring_ascii, None, ": ", ", ", False, False, True)

    def loads(text: str) -> Any:
        text = text.strip()
        try:
            value, end = scan(text, 0)
        except (StopIteration, SystemError):  # the latter when it looks for json's own error and finds no json
            raise ValueError("not JSON") from None
        if end != len(text):
            raise ValueError("more than one JSON value")
        return value

    def dumps(value: Any) -> str:
        return "".join(encoder(value, 0))

    sample: Json = {"text": 'é\n"\udc80', "list": [1, -2.5, None, True, {}, []]}
    if loads(dumps(sample)) != sample:
        raise ImportError("the C half of json has changed")
    return loads, dumps


try:
    loads, dumps = quick_codec()
except Exception:  # private names may change in any way
    loads, dumps = plain_codec()


# Processes, and what differs between platforms. Without /proc (macOS) a process is known by its number alone, and what
# leaves the agent's group is not followed.


def become_subreaper() -> None:
    """Have orphans below this process become its children, so that a double fork hides nobody."""
    if not LINUX:
        return
    set_child_subreaper = 36
    try:
        import _ctypes

        prctl = _ctypes.dlsym(_ctypes.dlopen(None, 2), "prctl")  # type: ignore[arg-type]
        _ctypes.call_function(prctl, (set_child_subreaper, 1, 0, 0, 0))
    except (ImportError, AttributeError, TypeError):
        import ctypes

        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def leftovers_of(roots: set[int], cookie: str, table: dict[int, int]) -> set[int]:
    """Return the processes of `table` (pid to parent) that are below any of `roots` or carry the cookie."""
    carriers = {pid for pid in table if cookie and cookie_of(pid) == cookie}
    return carriers | descendants(table, roots | carriers)


def descendants(table: dict[int, int], roots: set[int]) -> set[int]:
    """Return the processes of `table` (pid to parent) below any of `roots`."""
    children: dict[int, list[int]] = {}
    for pid, parent in table.items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    rest = list(roots)
    while rest:
        for pid in children.get(rest.pop(), ()):
            if pid not in found:
                found.add(pid)
                rest.append(pid)
    return found


def kill_carriers(cookie: str) -> set[int]:
    """Kill every other process with this cookie and return them.

    The newest are looked at first and each is killed on sight: one that forks and ends all the time is gone when a list
    has been made, or when another process has been waited for.
    """
    killed = set()
    undecided = []
    for pid in newest_pids() if cookie else ():
        found = cookie_now(pid)
        if found is None:
            undecided.append(pid)
        elif found == cookie and pid != os.getpid():
            signal_process(pid, signal.SIGKILL)
            killed.add(pid)
    for pid in undecided:
        if cookie_of(pid) == cookie:
            signal_process(pid, signal.SIGKILL)
            killed.add(pid)
    return killed


def own_children() -> set[int]:
    """Return the children of this process as of now, which a scan of everything cannot."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as children:
            return {int(pid) for pid in children.read().split()}
    except OSError:
        return set()  # a kernel without this file: the scan must do


def process_table() -> dict[int, int]:
    """Return the parent of every live process; a zombie is dead, and has no children either."""
    table = {}
    for pid in newest_pids():
        fields = stat_fields(pid)
        if fields and fields[0] not in DEAD_STATES:
            table[pid] = int(fields[1])
    return table


def newest_pids() -> list[int]:
    return sorted((int(name) for name in os.listdir("/proc") if name.isdigit()), reverse=True) if LINUX else []


def cookie_of(pid: int) -> str:
    """Return the cookie that a process carries in its environment, or nothing.

    Between its old program and its new one a process has no environment yet. That takes microseconds, or longer where
    the machine is busy, and whoever was not seen then would be left running: so it is waited for.
    """
    for _ in range(EXEC_LOOKS):
        cookie = cookie_now(pid)
        if cookie is not None:
            return cookie
        settled = bool(read_proc(pid, "cmdline"))
        time.sleep(0.001)
        if settled:  # its environment, if it has any, was there an instant later
            return cookie_now(pid) or ""
    return ""


def cookie_now(pid: int) -> str | None:
    """Return the cookie of a process, "" where it has none, or None where it has no environment, perhaps not yet."""
    environ = read_proc(pid, "environ")
    for setting in environ.split(b"\0"):
        if setting.startswith(b"ORCH_RUN="):
            return setting[len(b"ORCH_RUN=") :].decode("ascii", "replace")
    return "" if environ or not has_program(pid) else None


def has_program(pid: int) -> bool:
    """Whether there is a program to a process, as there is none to a kernel thread or a zombie."""
    try:
        return bool(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return False


def read_proc(pid: int, name: str) -> bytes:
    """Return a file of a process, empty where the process is gone or another user's."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since the boot; None when it is gone."""
    fields = stat_fields(pid)
    return int(fields[19]) if fields else None


def stat_fields(pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat from the state on (the name before it may hold anything)."""
    return read_proc(pid, "stat").rpartition(b")")[2].split()


def boot_id() -> str:
    """Return what names this boot of the machine; pids and start times mean nothing across boots."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def unread(descriptor: int) -> int:
    """Return how many bytes in a pipe nobody has read."""
    if descriptor < 0:
        return 0
    import fcntl

    bytes_to_read = 0x541B if LINUX else 0x4004667F  # FIONREAD; termios would be one more import
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, bytes_to_read, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def signal_group(leader: int, number: int) -> None:
    try:
        os.killpg(leader, number)
    except OSError:
        pass


def signal_process(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        pass


sync_data = getattr(os, "fdatasync", os.fsync)


if __name__ == "__main__":
    os._exit(main(os.path.abspath(sys.argv[1])))
