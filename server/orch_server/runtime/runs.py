"""The hub's side of the runners: start one, find one again, talk to it.

Rules of this file: nothing here blocks the event loop, nothing waits for ever for a process that may be stopped, and a
hub that goes away, in order or not, leaves every agent as it is.
"""

import asyncio
import importlib.util
import itertools
import json
import os
import socket
import struct
import sys
import tempfile
import weakref
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orch_server.domain.ids import random_id
from orch_server.runtime import runner
from orch_server.runtime.bundle import Bundle, ExitRecord
from orch_server.settings.crashpoint import crashpoint, take_for_runner

IN_FLIGHT = runner.QUEUE_LIMIT // 2  # leaves room in the runner's queue for what an older hub put there
START_SECONDS = 30.0
DEATH_SECONDS = 0.5  # from a closed connection to a free lock, when a runner dies
REAP_SECONDS = 0.1  # from a closed connection to the end of the process
REPLY_LIMIT = 1 << 20
ADDRESS_LIMIT = 100


class LaunchFailed(Exception):
    """The agent could not be started; the message says why, for a person."""


class InputRefused(Exception):
    """The runner has not written this input and will not.

    `reason` is `stdin_closed`, `disk_full`, `pipe` (the agent reads no more) or `busy` (send it and all later ones
    again, in order). Of `pipe` alone a part may have arrived, if the input was the first in the queue.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RunnerGone(Exception):
    """There is no connection to the runner any more: it ended or died, a newer hub has it, or this one let go."""


class RunnerSilent(Exception):
    """A runner lives but does not answer, since it is stopped or the machine is stuck; its agent is left alone."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What to run. The environment is not part of it, since that is never kept.

    `argv[0]` is an absolute path. `crash` names a crash point of the runner, for tests.
    """

    run_id: str
    argv: tuple[str, ...]
    cwd: str
    min_free_bytes: int = 0
    max_output_bytes: int | None = None
    crash: str | None = None


class Runs:
    """All runs under one root directory.

    `epoch` grows from hub to hub: a runner cuts off an older hub when a newer one attaches. `patience` is how many
    seconds a runner may take for an answer.
    """

    def __init__(self, root: str, *, epoch: int, python: str = sys.executable, patience: float = 4.0) -> None:
        self._root = root
        self._epoch = epoch
        self._command = (python, "-I", "-S", _runner_program(python))
        self._patience = patience
        self._children: set[int] = set()
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()

    def bundle(self, run_id: str) -> Bundle:
        """Return the record of a run, which need not exist."""
        return Bundle(os.path.join(self._root, run_id))

    async def launch(self, spec: RunSpec, env: Mapping[str, str] | Callable[[], Awaitable[Mapping[str, str]]]) -> "Run":
        """Start an agent under a runner of its own and attach to it; LaunchFailed when it does not start.

        RunnerSilent when it runs but its runner stopped answering: a later adopt may find it well. Where `env` is how
        the environment is made, that is done while the runner comes up, and nothing starts before; what it raises is
        raised.
        """
        bundle = self.bundle(spec.run_id)
        try:
            bundle.create()
            crashpoint("runs.bundle_made")
            ours = self._spawn(bundle)
            crashpoint("runs.runner_started")
        except OSError as error:
            raise LaunchFailed(f"The runner cannot be started: {error}") from error
        try:
            made = await env() if callable(env) else env
        except BaseException:
            ours.close()
            bundle.abandon()
            raise
        try:
            agent_pid = await asyncio.wait_for(_hand_over(ours, spec, made), START_SECONDS)
        except TimeoutError as error:
            if not bundle.abandon():
                raise RunnerSilent(f"The runner of {spec.run_id} does not say whether its agent runs.") from error
            raise LaunchFailed("The runner did not begin in time.") from error
        finally:
            self._reap()
        try:
            crashpoint("runs.handed_over")
            connection = await self._attach(bundle)
        except RunnerGone:
            connection = None  # it has ended already; wait() says how
        return Run(bundle, agent_pid, connection)

    async def adopt(self, run_id: str) -> "Run | None":
        """Attach to the runner that an earlier hub started.

        None when no runner lives: the bundle says whether the agent ended in order. RunnerSilent when one lives that
        does not answer, RunnerGone when it serves a newer hub.
        """
        bundle = self.bundle(run_id)
        if bundle.runner_pid() is None:
            return None
        try:
            connection = await self._attach(bundle)
        except RunnerGone:
            if await _runner_has_left(bundle):
                return None
            raise
        return Run(bundle, connection.agent_pid, connection)

    def detach(self) -> None:
        """Let go of every run, as a hub does that leaves; runners and agents go on."""
        for connection in tuple(self._connections):
            connection.close()

    async def _attach(self, bundle: Bundle) -> "Connection":
        try:
            async with asyncio.timeout(self._patience):
                connection = await Connection.open(bundle, self._epoch)
        except TimeoutError as error:
            raise RunnerSilent(f"The runner of {bundle.run_id} does not answer.") from error
        self._connections.add(connection)
        connection.on_end(lambda: asyncio.get_running_loop().call_later(REAP_SECONDS, self._reap))
        return connection

    def _spawn(self, bundle: Bundle) -> socket.socket:
        """Start a runner and return the stream that it reads its spec from and reports on."""
        ours, theirs = socket.socketpair()
        with theirs:
            actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), number) for number in (0, 1, 2)]
            argv = [*self._command, bundle.path]
            try:
                # The environment is empty: nothing of the hub's is handed on, and a runner never carries a cookie.
                pid = os.posix_spawn(argv[0], argv, {}, file_actions=actions, setsigmask=())
            except OSError:
                ours.close()
                raise
        self._children.add(pid)
        return ours

    def _reap(self) -> None:
        """Collect the runners that have ended; a hub never waits for one."""
        for pid in tuple(self._children):
            try:
                ended = os.waitpid(pid, os.WNOHANG)[0] == pid
            except ChildProcessError:
                ended = True
            if ended:
                self._children.discard(pid)


class Run:
    """One run that this hub is attached to."""

    def __init__(self, bundle: Bundle, pid: int, connection: "Connection | None") -> None:
        self.bundle = bundle
        self.pid = pid
        self._connection = connection
        self._slots = asyncio.Semaphore(IN_FLIGHT)

    @property
    def run_id(self) -> str:
        """The run's name."""
        return self.bundle.run_id

    async def send(self, input_id: str, line: str, *, seen: int | None, secret: bool = False) -> None:
        """Have a line written to the agent, once for each id, and return when it is in the agent's pipe.

        Several may be under way and keep the order of the calls. InputRefused when it was not and will not be
        written; RunnerGone when nobody knows: send it again under the same id to the run once it is adopted.
        """
        if "\n" in line:
            raise ValueError("an input is one line")
        async with self._slots:
            reply = await self._ask("input", id=input_id, line=line, seen=seen, secret=secret)
        if not reply.get("ok"):
            raise InputRefused(str(reply.get("error")))

    async def close_input(self) -> None:
        """Close the agent's standard input once all that was sent is written."""
        await self._ask("closeStdin")

    async def stop(self, why: str, grace: tuple[float, float] = (5.0, 5.0)) -> None:
        """Begin to stop the agent and all it started; wait() tells the end.

        It gets SIGINT, after the first time of grace SIGTERM, after the second SIGKILL. A second call may hurry the
        first one, never slow it down.
        """
        await self._ask("stop", why=why, grace=list(grace))

    async def status(self) -> dict[str, Any]:
        """Return what the runner says of itself: sizes, queue, unread bytes, whether it is stopping."""
        return await self._ask("status")

    async def wait(self) -> ExitRecord | None:
        """Wait for the end of the agent and return its record; None when the runner died and nobody knows.

        RunnerGone when this hub is no longer attached while the runner lives on.
        """
        if self._connection:
            await self._connection.closed.wait()
        record = self.bundle.read_exit()
        if record is None and not await _runner_has_left(self.bundle):
            raise RunnerGone("no longer attached")
        return record or self.bundle.read_exit()

    def detach(self) -> None:
        """Close the connection; the runner and its agent go on."""
        if self._connection:
            self._connection.close()

    async def _ask(self, operation: str, **fields: Any) -> dict[str, Any]:
        if self._connection is None:
            raise RunnerGone("the run has ended")
        return await self._connection.request(operation, **fields)


class Connection:
    """A stream of questions to a runner, each with its answer. Made by `open`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.agent_pid = 0
        self.closed = asyncio.Event()
        self._writer = writer
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._listening = asyncio.create_task(self._listen(reader))

    @classmethod
    async def open(cls, bundle: Bundle, epoch: int) -> "Connection":
        """Connect to a runner's socket and attach; RunnerGone when nobody listens or it refuses."""
        try:
            connection = cls(*await _connect(bundle))
        except OSError as error:
            raise RunnerGone(str(error)) from error
        try:
            reply = await connection.request("attach", epoch=epoch)
        except BaseException:
            connection.close()
            raise
        if not reply.get("ok"):
            connection.close()
            raise RunnerGone(str(reply.get("error")))
        connection.agent_pid = int(reply.get("agentPid") or 0)
        return connection

    async def request(self, operation: str, **fields: Any) -> dict[str, Any]:
        """Ask and wait for the answer; RunnerGone when the connection ends first."""
        if self.closed.is_set():
            raise RunnerGone("not connected")
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        # Not drained: the answers bound what is under way, and a line must never wait behind a cancelled one.
        self._writer.write(json.dumps({"op": operation, "n": number, **fields}).encode() + b"\n")
        try:
            return await answer
        finally:
            self._waiting.pop(number, None)

    def on_end(self, callback: Callable[[], object]) -> None:
        """Call back once this connection has ended, for whatever reason."""
        self._listening.add_done_callback(lambda _: callback())

    def close(self) -> None:
        """Let go; whoever waits for an answer gets RunnerGone."""
        self._listening.cancel()
        self._end()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                message = json.loads(line)
                answer = self._waiting.get(message.get("re"))
                if answer and not answer.done():
                    answer.set_result(message)
        except (OSError, ValueError):
            pass  # torn by the runner's death; the bundle knows
        self._end()

    def _end(self) -> None:
        self.closed.set()
        self._writer.close()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(RunnerGone("the connection ended"))
        self._waiting.clear()


async def _hand_over(stream: socket.socket, spec: RunSpec, env: Mapping[str, str]) -> int:
    """Give a new runner its spec and return the agent's pid, once it runs."""
    document = {
        "version": runner.VERSION,
        "id": spec.run_id,
        "cookie": random_id(26),
        "argv": list(spec.argv),
        "cwd": spec.cwd,
        "env": dict(env),
        "minFreeBytes": spec.min_free_bytes,
        "maxOutputBytes": spec.max_output_bytes,
        "crash": spec.crash or take_for_runner(),
    }
    reader, writer = await asyncio.open_connection(sock=stream)
    try:
        writer.write(json.dumps(document).encode())
        writer.write_eof()
        said = await reader.read()
    except OSError:
        said = b""
    finally:
        writer.close()
    try:
        outcome = json.loads(said)
    except ValueError:
        last_words = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise LaunchFailed(f"The runner died. {last_words}".strip()) from None
    if not outcome.get("ok"):
        raise LaunchFailed(str(outcome.get("error")))
    return int(outcome["agentPid"])


async def _runner_has_left(bundle: Bundle) -> bool:
    """Whether the runner is gone, allowing for the moment in which it dies."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEATH_SECONDS
    while bundle.runner_pid() is not None:
        if loop.time() > deadline:
            return False
        await asyncio.sleep(0.005)
    return True


async def _connect(bundle: Bundle) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the bundle's socket, however long its path is (an address has room for some hundred bytes)."""
    if len(os.fsencode(bundle.socket)) < ADDRESS_LIMIT:
        return await asyncio.open_unix_connection(bundle.socket, limit=REPLY_LIMIT)
    if runner.LINUX:
        directory = os.open(bundle.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return await asyncio.open_unix_connection(f"/proc/self/fd/{directory}/sock", limit=REPLY_LIMIT)
        finally:
            os.close(directory)
    with tempfile.TemporaryDirectory() as short:
        os.symlink(bundle.path, os.path.join(short, "b"))
        return await asyncio.open_unix_connection(os.path.join(short, "b", "sock"), limit=REPLY_LIMIT)


def _runner_program(python: str) -> str:
    """Return the file to start as the runner: its compiled form where that is good, which saves a third of the start.

    An interpreter that is given compiled code does not ask whether it is stale, so that is done here.
    """
    source = str(runner.__file__)
    compiled = importlib.util.cache_from_source(source)
    try:
        with open(compiled, "rb") as file:
            magic, flags, changed, length = struct.unpack("<4sIII", file.read(16))
        status = os.stat(source)
    except (OSError, struct.error):
        return source
    fresh = (importlib.util.MAGIC_NUMBER, 0, int(status.st_mtime), status.st_size)
    return compiled if python == sys.executable and (magic, flags, changed, length) == fresh else source
