"""What use cases work with, made once by the hub and handed to each of them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from orch_server.agents.adapter import Adapter
from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git.command import Git
from orch_server.runtime.follow import Follower
from orch_server.runtime.runs import Runs
from orch_server.services.feed import Feed
from orch_server.services.governor import Governor
from orch_server.services.touches import Touches
from orch_server.settings.options import Limits, Settings
from orch_server.settings.places import Places
from orch_server.store.store import Store

if TYPE_CHECKING:
    from orch_server.services.collisions import Collisions
    from orch_server.services.live import LiveRun

log = logging.getLogger(__name__)

Environment = Mapping[str, str]


@dataclass(slots=True)
class BringUp:
    """A session's way from its record to a running agent."""

    task: "asyncio.Task[None]"
    queued: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while it waits for a place."""
    launching: bool = False
    """Set once a process is being started: from then on it is not cancelled, only stopped."""
    noting: "asyncio.Task[None] | None" = None
    """What must be done before the agent starts. Cancelled, it is not started."""


@dataclass(slots=True)
class Context:
    """The hub's parts. No logic lives here."""

    places: Places
    settings: Settings
    limits: Limits
    store: Store
    feed: Feed
    git: Git
    runs: Runs
    governor: Governor
    follower: Follower
    adapters: Mapping[str, Adapter]
    started_at: str
    leave: Callable[[], None]
    """Ask the hub to end; agents run on."""
    collisions: "Collisions" = field(init=False)
    """What would not merge. Made with the context, for it works with it."""
    live: "dict[str, LiveRun]" = field(default_factory=dict)
    """The runs of which this hub takes in the output, by session id."""
    bring_ups: "dict[str, BringUp]" = field(default_factory=dict)
    """Sessions whose worktree is being made or whose agent is being started."""
    unsettled: "dict[str, Callable[[], Awaitable[None]]]" = field(default_factory=dict)
    """Sessions whose runner does not answer yet; a call goes on without it."""
    unfinished: set[str] = field(default_factory=set)
    """Sessions of which a cleanup failed halfway and is tried again in the background."""
    environments: dict[str, Environment] = field(default_factory=dict)
    """The environment of the client that last asked for a session's runs; in memory alone, never stored."""
    clients: dict[int, Environment] = field(default_factory=dict)
    """The environments of the connected clients, by connection."""
    session_locks: "WeakValueDictionary[str, asyncio.Lock]" = field(default_factory=WeakValueDictionary)
    touches: Touches = field(default_factory=Touches)
    """Which sessions changed which files, as far as somebody looked."""
    tasks: "set[asyncio.Task[None]]" = field(default_factory=set)
    """Work in the background that nobody awaits."""

    def queued(self) -> int:
        """Return how many sessions wait for a place, or for a usage limit to end."""
        return self.governor.queued()

    def environment_for(self, session_id: str) -> Environment | None:
        """Return the environment in which a session's agent may be started now, if there is one."""
        return self.environments.get(session_id) or next(iter(self.clients.values()), None)

    def spawn(self, work: "Coroutine[None, None, None]") -> "asyncio.Task[None]":
        """Run `work` in the background; a failure nobody expected is logged."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Work in the background failed", exc_info=error)

    def lock(self, session_id: str) -> asyncio.Lock:
        """Return the lock of a session: one change of its processes at a time."""
        return self.session_locks.setdefault(session_id, asyncio.Lock())

    def adapter(self, name: str) -> Adapter:
        """Return the adapter of an agent, or raise agentUnavailable."""
        adapter = self.adapters.get(name)
        if adapter is None:
            raise OrchError(
                ErrorKind.AGENT_UNAVAILABLE,
                f"There is no agent {name!r}.",
                hint=f"Known: {', '.join(sorted(self.adapters))}. Others go into {self.places.config_file}.",
                known=sorted(self.adapters),
            )
        return adapter


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A client's key for a request that must have one effect only."""

    key: str
    method: str
    digest: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the client's environment, and the key of the request if it has one."""

    environment: Environment
    request_key: RequestKey | None = None
