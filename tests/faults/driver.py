"""A home whose hub is killed again and again, and a client that never gives up.

The hub is forked (see zygote.py), everything else is as ever: the socket, the database, runners, agents, git. Every
request carries a key; where the hub dies before it answered, the request is repeated to the next one.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from orch_server.hub.dial import ANOTHER_HUB
from orch_server.runtime.bundle import Bundle
from orch_server.settings import crashpoint
from tests.home import OrchHome
from tests.lsp import Failed, RawClient
from tests.waiting import wait_until
from tests.world import Known, check_world

PATIENCE = 180.0
Json = dict[str, Any]


class Zygote:
    """The process that forks hubs; one for a whole run of tests."""

    def __init__(self, prefix: tuple[str, ...] = ()) -> None:
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.faults.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, environment: Mapping[str, str], setup: str = "") -> int:
        """Fork a hub with this environment and return its pid; `setup` is run in it before it begins."""
        return int(self._ask({"start": dict(environment), "setup": setup})["pid"])

    def wait(self, pid: int) -> Json:
        """Wait for a hub's end and return its signal and exit code."""
        return self._ask({"wait": pid})

    def close(self) -> None:
        """End it, and every hub that it forked."""
        self._process.communicate(timeout=30)

    def _ask(self, request: Json) -> Json:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: Json = json.loads(self._process.stdout.readline())
        return answer


class HubDied(Exception):
    """The hub ended before it answered."""


class Driver:
    """One home, its present hub, and a client of it."""

    def __init__(self, home: OrchHome, zygote: Zygote, *, trace: Path | None = None) -> None:
        self.home = home
        self.zygote = zygote
        self.hub: int | None = None
        self.deaths: list[Json] = []
        """How each hub ended, and at which place it was to end."""
        self.crash: list[str] = []
        """The places at which the next hubs are to end, one each."""
        self.dead_runners: list[str] = []
        self.setup = ""
        self.told: dict[int, Json] = {}
        self.before_request: Callable[[], object] = lambda: None
        self._armed: str | None = None
        self._lock = threading.Lock()
        self._client: RawClient | None = None
        self._trace = trace
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def call(self, method: str, /, **params: Any) -> Any:
        """Send a request, to as many hubs as it takes, and return its result."""
        self._number += 1
        key = f"k{self._number}"
        body = {**params, "requestKey": key} if method in CHANGING else params
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.before_request()
                return self._client_now().request(method, body, id_=key)
            except (HubDied, ConnectionError, BrokenPipeError, AssertionError) as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no hub answered {method}") from error
                self._bury()

    def until(self, session: str, *states: str, timeout: float = PATIENCE) -> Json:
        """Wait until a session is in one of these states and nothing of it is under way; return it."""

        def reached() -> Json:
            found: Json = self.call("orch/session/get", session=session)
            return found if found["state"] in states else {}

        return wait_until(reached, timeout)

    def read_events(self) -> None:
        """Take note of every event there is, as a client gets it."""
        after = max(self.told, default=0)
        while True:
            page = self.call("orch/event/list", after=after, limit=1000)["items"]
            if not page:
                return
            for event in page:
                self.told.setdefault(event["seq"], event)
            after = page[-1]["seq"]

    def settle(self, known: Known | None = None) -> dict[str, int]:
        """Wait until nothing is under way, then check the world; return what was counted."""
        self.read_events()
        deadline = time.monotonic() + PATIENCE
        while True:
            self.call("orch/hub/status")
            found = Known(known.untouched if known else {}, self.told, known.contents if known else {}, self.hub)
            try:
                return check_world(self.home, known=found)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def start(self) -> int:
        """Start a hub, with the next of the places at which one is to end."""
        environment = dict(self.home.environment)
        self._armed = self.crash.pop(0) if self.crash else None
        if self._armed is not None:
            environment[crashpoint.CRASH] = self._armed
        if self._trace is not None:
            environment[crashpoint.TRACE] = str(self._trace)
        self.hub = self.zygote.start(environment, self.setup)
        return self.hub

    def note_dead_runners(self) -> None:
        """Note the runs whose runner is gone and recorded no end."""
        bundles = [Bundle(str(path)) for path in (self.home.path / "runs").glob("*")]
        self.dead_runners = [
            bundle.run_id for bundle in bundles if bundle.runner_pid() is None and bundle.read_exit() is None
        ]

    @property
    def kills(self) -> list[str | None]:
        """The places at which hubs were killed; None for a kill from outside."""
        return [death["at"] for death in self.deaths if death["signal"] == signal.SIGKILL]

    def strike(self) -> bool:
        """SIGKILL the hub, whatever it does at this moment; may be called from another thread."""
        with self._lock:
            if self.hub is None:
                return False
            try:
                os.kill(self.hub, signal.SIGKILL)
            except ProcessLookupError:
                return False
            return True

    def kill(self) -> None:
        """SIGKILL the hub and wait for its end."""
        if self.strike():
            self._bury()

    def leave(self) -> Json:
        """Ask the hub to end in order, wait for that and return how it ended."""
        assert self.hub is not None
        os.kill(self.hub, signal.SIGTERM)
        self._bury()
        return self.deaths[-1]

    def end(self) -> None:
        """End the hub and everything that it started."""
        self.kill()
        self.home.close()

    def _bury(self) -> None:
        """Take note of the hub's end, if it has ended or is about to."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self.hub is not None:
            with self._lock:
                hub, self.hub = self.hub, None
            self.deaths.append({**self.zygote.wait(hub), "at": self._armed})
            # A child that was just being forked may hold the lock of a killed hub for an instant longer: the next hub
            # gives way to it before it comes to any place, and the one after that is the one to end there.
            if self.deaths[-1]["code"] == ANOTHER_HUB and self._armed is not None:
                self.crash.insert(0, self._armed)
            elif self.deaths[-1]["code"] not in {None, 0, ANOTHER_HUB}:
                raise RuntimeError(f"the hub cannot serve: {self.deaths[-1]}; {self.home.path / 'hub.log'} says why")

    def _client_now(self) -> RawClient:
        if self.hub is None:
            self.start()
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _connect(self) -> RawClient:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return RawClient(self.home, patience=PATIENCE)
            except Failed:
                raise
            except Exception as error:
                assert self.hub is not None
                if _is_dead(self.hub):
                    raise HubDied(str(error)) from error
                if time.monotonic() > deadline:
                    raise TimeoutError("the hub does not listen") from error
                time.sleep(0.003)


def _is_dead(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _changing() -> frozenset[str]:
    from orch_server.protocol.methods import METHODS

    return frozenset(name for name, method in METHODS.items() if method.changes)


CHANGING = _changing()
