"""The hub's life: one per user and home. It owns the database and git, supervises the runs, and serves clients.

It may be killed at any moment: what it knows is in the database and in the run bundles, and the next hub takes over
from there. Agents never notice.
"""

import asyncio
import fcntl
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from orch_server import PROTOCOL_VERSION, __version__
from orch_server.agents.catalog import AgentConfig, build_catalog
from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.events import HubStarted, HubStopping
from orch_server.git.command import find_git
from orch_server.hub import address, hello, peer
from orch_server.hub.connection import Connection
from orch_server.protocol.registry import Dispatcher
from orch_server.runtime.follow import Follower
from orch_server.runtime.runs import Runs
from orch_server.services import recovery, turns
from orch_server.services.collisions import Collisions
from orch_server.services.context import Context, Environment
from orch_server.services.feed import Feed
from orch_server.services.governor import Governor
from orch_server.services.session_logs import SessionLogs
from orch_server.settings.crashpoint import crashpoint
from orch_server.settings.options import database_path, read_config, read_settings
from orch_server.settings.places import Places
from orch_server.store.records import StoredEvent
from orch_server.store.store import Store, now, time_ago
from orch_server.store.transaction import Transaction

log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_HELLO_SECONDS = 5.0
_KEY_HOURS = 24


class AnotherHub(Exception):
    """Another hub holds the lock."""


class Hub:
    """One running hub."""

    def __init__(self, places: Places, environment: Mapping[str, str]) -> None:
        self._places = places
        self._environment = environment
        self._leaving = asyncio.Event()
        self._reason = "asked"
        self._connections: dict[int, Connection] = {}
        self._busy_until = time.monotonic()
        self._lock: int | None = None
        self._listener: socket.socket | None = None
        self._context: Context | None = None
        self._dispatcher: Dispatcher | None = None
        self._idle_seconds = 0.0

    async def start(self) -> None:
        """Take the lock, open the database, adopt what runs. Raises AnotherHub where one holds the lock."""
        places = self._places
        os.makedirs(places.home, mode=0o700, exist_ok=True)
        address.check_home(places.home)
        self._lock = _take_lock(places.lock)
        crashpoint("hub.locked")
        settings, config = read_settings(places), read_config(places.config_file)
        logging.getLogger().setLevel(settings.log_level.upper())
        self._idle_seconds = config.limits.hub_idle_seconds
        feed = Feed()

        def publish(events: Sequence[StoredEvent]) -> None:
            feed.publish(events)
            logs.take(events)

        store = Store(_database_path(places, settings.database_url), publish)
        feed.last_seq = store.last_seq
        crashpoint("hub.opened")
        epoch = int(store.fact("epoch") or 0) + 1
        last_seen = float(store.fact("last_seen") or time.time())
        await store.write(lambda transaction: transaction.set_fact("epoch", str(epoch)))
        crashpoint("hub.counted")
        self._context = Context(
            places=places,
            settings=settings,
            limits=config.limits,
            store=store,
            feed=feed,
            git=find_git(self._environment),
            runs=Runs(places.runs, epoch=epoch),
            governor=Governor(config.limits),
            follower=Follower(asyncio.get_running_loop()),
            adapters=build_catalog(
                {name: AgentConfig(**table.model_dump()) for name, table in config.agents.items()},
                python=sys.executable,
                demo_state=os.path.join(places.home, "demo"),
            ),
            started_at=now(),
            leave=self.leave,
        )
        self._context.collisions = Collisions(self._context)
        logs = SessionLogs(self._context)
        self._context.spawn(logs.run())
        self._dispatcher = Dispatcher(self._context)
        await store.write(lambda transaction: transaction.emit(HubStarted(version=__version__)))
        await recovery.recover(self._context, max(0.0, time.time() - last_seen))
        crashpoint("hub.recovered")
        self._context.spawn(turns.keep_all(self._context))
        self._context.collisions.begin()

    def leave(self, reason: str = "asked") -> None:
        """Begin to end. Agents run on."""
        self._reason = reason
        self._leaving.set()

    async def serve(self) -> None:
        """Serve until the hub is to leave; a signal asks it to."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.leave, "signal")
        await self.until_left()

    def listen(self) -> None:
        """Bind the socket and accept clients from now on."""
        self._stop_listening()
        self._listener = address.listen(self._places.socket)
        crashpoint("hub.bound")
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    async def until_left(self) -> None:
        """Look after the hub's own affairs until it is to leave, then end in order."""
        while not self._leaving.is_set():
            try:
                await asyncio.wait_for(self._leaving.wait(), _LOOK_SECONDS)
            except TimeoutError:
                try:
                    await self._look_around()
                except (OrchError, OSError, address.AddressRefused) as error:  # a full disk, say: no reason to leave
                    log.warning("The hub's own affairs are looked after later: %s", error)
        await self._end()

    def attach(
        self,
        environment: Environment,
        exit_pipe: int | None = None,
        on_closed: Callable[[], None] = lambda: None,
        agent_of: str | None = None,
    ) -> Connection:
        """Return a connection object for a client that said hello."""
        assert self._context is not None
        assert self._dispatcher is not None

        def closed(connection: Connection) -> None:
            self._detached(connection)
            on_closed()

        connection = Connection(self._context, self._dispatcher, environment, closed, exit_pipe, agent_of)
        self._connections[id(connection)] = connection
        if agent_of is None:  # nothing is started in an agent's environment
            self._context.clients[id(connection)] = environment
            self._context.spawn(recovery.start_waiting(self._context, environment))
        return connection

    def _detached(self, connection: Connection) -> None:
        self._connections.pop(id(connection), None)
        if self._context is not None:
            self._context.clients.pop(id(connection), None)
        self._busy_until = time.monotonic()

    def _accept(self) -> None:
        assert self._listener is not None
        for _ in range(64):
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            if not address.peer_is_us(accepted):
                accepted.close()
                continue
            accepted.setblocking(False)
            _Guest(self, accepted)

    async def welcome(self, guest: socket.socket, said: dict[str, object], descriptors: list[int]) -> None:
        """Answer a caller's hello, and serve it if the two go together."""
        reason = ""
        if said.get("protocolVersion") != PROTOCOL_VERSION:
            reason = "protocol"
        if _is_newer(str(said.get("version", ""))):
            reason = "older"
        answer = {
            "version": __version__,
            "protocolVersion": PROTOCOL_VERSION,
            "pid": os.getpid(),
            "accepted": not reason,
            "reason": reason,
        }
        loop = asyncio.get_running_loop()
        try:
            await asyncio.wait_for(loop.sock_sendall(guest, hello.encode(answer)), _HELLO_SECONDS)
        except (OSError, TimeoutError):
            reason = reason or "gone"
        if reason:
            guest.close()
            for descriptor in descriptors:
                os.close(descriptor)
            if reason == "older":
                self.leave("replaced by a newer version")
            return
        given = said.get("environment")
        environment = {str(name): str(value) for name, value in given.items()} if isinstance(given, dict) else {}
        exit_pipe = descriptors[0] if descriptors else None
        connection = self.attach(environment, exit_pipe, agent_of=self._agent_behind(guest))
        for descriptor in descriptors[1:]:
            os.close(descriptor)
        await loop.connect_accepted_socket(lambda: connection, guest)

    def _agent_behind(self, guest: socket.socket) -> str | None:
        """Return the session whose agent calls, "" where that run is over; None for everybody else."""
        assert self._context is not None
        run_id = peer.run_of(guest, self._places.runs)
        if run_id is None:
            return None
        return next((row.session_id for row in self._context.store.live_runs() if row.id == run_id), "")

    async def _look_around(self) -> None:
        context = self._context
        assert context is not None
        if self._listener is not None and not os.path.exists(self._places.socket):
            log.warning("The socket %s vanished; it is bound again", self._places.socket)
            self.listen()
        busy = self._connections or context.live or context.unsettled or context.bring_ups or context.queued()
        if busy:
            self._busy_until = time.monotonic()
            await context.store.write(_keep_house)
        elif time.monotonic() - self._busy_until > self._idle_seconds:
            self.leave("idle")

    async def _end(self) -> None:
        context = self._context
        assert context is not None
        self._stop_listening()
        log.info("The hub leaves: %s", self._reason)
        crashpoint("hub.leaving")
        for bring_up in list(context.bring_ups.values()):
            await asyncio.wait([bring_up.task], timeout=_HELLO_SECONDS)
        for live in list(context.live.values()):
            live.detach()
        try:
            await context.store.write(lambda transaction: transaction.set_fact("last_seen", str(time.time())))
            await context.store.write(lambda transaction: transaction.emit(HubStopping(reason=self._reason)))
        except OrchError as error:
            log.warning("The hub's leave is not recorded: %s", error)
        crashpoint("hub.left")
        for connection in list(self._connections.values()):
            connection.close()
        context.collisions.close()
        for task in list(context.tasks):
            task.cancel()
        try:
            os.rmdir(self._places.socket_dir)
        except OSError:
            pass  # not ours alone, or in use again
        context.follower.close()
        await context.store.close()
        crashpoint("hub.closed")
        context.git.close()
        if self._lock is not None:
            os.close(self._lock)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
            try:
                os.unlink(self._places.socket)
            except FileNotFoundError:
                pass


class _Guest:
    """A caller that has not said its whole hello."""

    def __init__(self, hub: Hub, connection: socket.socket) -> None:
        self._hub = hub
        self._connection = connection
        self._receiver = hello.Receiver(connection)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(connection, self._on_data)
        self._timer = self._loop.call_later(_HELLO_SECONDS, self._dismiss)

    def _on_data(self) -> None:
        try:
            said = self._receiver.receive()
        except (OSError, ValueError):
            self._dismiss()
            return
        if said is not None:
            self._loop.remove_reader(self._connection)
            self._timer.cancel()
            task = self._loop.create_task(self._hub.welcome(self._connection, said, self._receiver.descriptors))
            _welcoming.add(task)
            task.add_done_callback(_welcoming.discard)

    def _dismiss(self) -> None:
        self._loop.remove_reader(self._connection)
        self._timer.cancel()
        self._connection.close()
        for descriptor in self._receiver.descriptors:
            os.close(descriptor)


_welcoming: "set[asyncio.Task[None]]" = set()


def _keep_house(transaction: Transaction) -> None:
    """Note that the hub lives, and forget the keys of old requests."""
    transaction.set_fact("last_seen", str(time.time()))
    transaction.forget_keys(time_ago(_KEY_HOURS * 3600))


def _take_lock(path: str) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AnotherHub(path) from None
    os.truncate(descriptor, 0)
    os.write(descriptor, b"%d\n" % os.getpid())
    return descriptor


def _database_path(places: Places, url: str) -> str:
    path = database_path(places.home, url)
    if path is None:
        raise OrchError(
            ErrorKind.DATABASE_UNUSABLE,
            f"DATABASE_URL is {url!r}; orch keeps its data in SQLite only.",
            hint="Write sqlite:///FILE; a relative FILE counts from ORCH_HOME.",
        )
    return path


def _is_newer(version: str) -> bool:
    return _parts(version) > _parts(__version__)


def _parts(version: str) -> tuple[int, ...]:
    """Return the numbers a version begins with; what is no version is older than everything."""
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
