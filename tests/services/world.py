"""The hub's insides without a hub: a store, git, runs and the demo agent, opened and left as a hub does."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from orch_server.agents.catalog import build_catalog
from orch_server.domain.session import LIVE, Action, State
from orch_server.git.command import find_git
from orch_server.runtime.bundle import Bundle
from orch_server.runtime.follow import Follower
from orch_server.runtime.runs import Runs
from orch_server.services import cleanup, projects, sessions
from orch_server.services.collisions import Collisions
from orch_server.services.context import Caller, Context
from orch_server.services.feed import Feed
from orch_server.services.governor import Governor
from orch_server.settings import crashpoint
from orch_server.settings.options import Limits, Settings
from orch_server.settings.places import Places
from orch_server.store.records import SessionRecord
from orch_server.store.schema import open_engine
from orch_server.store.store import Store, now
from tests.repositories import ScratchRepository, hermetic_environment, make_repository
from tests.waiting import wait_until_async

FILES: dict[str, str | bytes] = {
    "README.md": "# Project\n",
    "src/main.py": "print('hello')\n" * 20,
    "data/é.txt": "unicode\r\nwith two kinds\nof line ends\r\n",
    ".gitignore": "ignored/\n*.log\n",
}


class World:
    """One orch home with one project. `open` and `close` are a hub's start and end; what lasts is on the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "orch"
        self.home.mkdir(parents=True)
        self.scratch: ScratchRepository = make_repository(root / "my prøject", FILES, home=root / "home")
        (self.home / "orchestrator.db").write_bytes(_migrated())
        self.places = Places(
            str(self.home), str(root / "config.toml"), str(self.home / "run"), str(self.home / "run" / "hub.sock")
        )
        self.caller = Caller(hermetic_environment(root / "home"))
        self.context: Context = None  # type: ignore[assignment]

    async def open(self, **limits: float) -> Context:
        """Start as a hub does, and settle what the last one left."""
        feed = Feed()
        store = Store(str(self.home / "orchestrator.db"), feed.publish)
        feed.last_seq = store.last_seq
        epoch = int(store.fact("epoch") or 0) + 1
        await store.write(lambda transaction: transaction.set_fact("epoch", str(epoch)))
        chosen = Limits.model_validate({"start_free_bytes": 0, "idle_seconds": 0, **limits})
        self.context = Context(
            places=self.places,
            settings=Settings(_env_file=None),
            limits=chosen,
            store=store,
            feed=feed,
            git=find_git(self.caller.environment),
            runs=Runs(self.places.runs, epoch=epoch),
            governor=Governor(chosen),
            follower=Follower(asyncio.get_running_loop()),
            adapters=build_catalog({}, python=sys.executable, demo_state=str(self.home / "demo")),
            started_at=now(),
            leave=lambda: None,
        )
        self.context.collisions = Collisions(self.context)
        await cleanup.recover(self.context)
        if not store.projects():
            await projects.add(self.context, str(self.scratch.path), "project", None)
        return self.context

    async def close(self) -> None:
        """End every agent, then the hub."""
        for session_id in list(self.context.live):
            await sessions.stop(self.context, session_id)
        await self.settle()
        await self.leave()

    async def leave(self) -> None:
        """End as a hub that is killed does: whatever is under way stays so."""
        for timer in self.context.touches.due.values():
            timer.cancel()
        for task in list(self.context.tasks):
            task.cancel()
        self.context.collisions.close()
        await asyncio.gather(*self.context.tasks, return_exceptions=True)
        for live in list(self.context.live.values()):
            live.detach()
        self.context.follower.close()
        await self.context.store.close()
        self.context.git.close()

    async def settle(self) -> None:
        """Wait until nothing is under way in the background."""
        while self.context.tasks:
            await asyncio.gather(*self.context.tasks, return_exceptions=True)

    async def work(self, prompt: str = "[[say done]]", action: Action = Action.IMPLEMENT) -> SessionRecord:
        """Send the demo agent to work, and return the session when its turn is over or it hangs."""
        prompt = prompt.replace("[[hang]]", "[[say ready]] [[hang]]")
        started = await sessions.start(
            self.context, self.caller, agent="demo", action=action, project="project", prompt=prompt
        )
        if "[[hang]]" in prompt:
            said = self.context.store.events
            while not await said(0, session_id=started.id, types=["agent.message"]):
                await asyncio.sleep(0.003)
        else:
            await wait_until_async(lambda: self.session(started.id).state not in {State.CREATED, *LIVE})
            await wait_until_async(lambda: started.id not in self.context.live)
            await self.settle()
        return self.session(started.id)

    def session(self, session_id: str) -> SessionRecord:
        """Return a session as committed."""
        found = self.context.store.session(session_id)
        assert found is not None
        return found


@contextlib.contextmanager
def silent_runner(world: World) -> Iterator[list[int]]:
    """Stop the first runner that is started before the hub has attached to it; the list is to hold its pid."""
    world.context.runs._patience = 0.2
    stopped: list[int] = []

    def reached(name: str) -> None:
        if name == "runs.handed_over" and not stopped:
            (path,) = Path(world.places.runs).iterdir()
            stopped.append(Bundle(str(path)).runner_pid() or 0)
            os.kill(stopped[0], signal.SIGSTOP)

    crashpoint.arm(reached)
    try:
        yield stopped
    finally:
        crashpoint.arm(None)


@cache
def _migrated() -> bytes:
    """Return an empty database of the present schema, made once: migrating takes longer than most tests."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "empty.db")
        engine = open_engine(str(path))
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        engine.dispose()
        return path.read_bytes()
