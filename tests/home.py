"""An orch home of a test's own: its environment, its command line, its hub, and an end that leaves no process."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil

from orch_server.endpoints.cli.client import Client
from orch_server.endpoints.cli.watching import watch
from orch_server.settings.places import find_places
from tests.waiting import wait_until

BIN = os.path.dirname(sys.executable)


class OrchHome:
    """One ORCH_HOME below a test's directory, with nothing of the machine's environment in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "orch"
        self.environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(root / "home"),
            "LANG": "C.UTF-8",
            "TMPDIR": str(root / "tmp"),
            "XDG_RUNTIME_DIR": str(root / "run"),
            "XDG_CONFIG_HOME": str(root / "config"),
            "ORCH_HOME": str(self.path),
        }
        for name in ("home", "tmp", "run", "config/orch"):
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / "run").chmod(0o700)

    def configure(self, text: str) -> None:
        """Write the user's config.toml; a hub that runs already does not read it."""
        (self.root / "config" / "orch" / "config.toml").write_text(text)

    def cli(self, *arguments: str, expect: int | None = 0, input: str | None = None, timeout: float = 60) -> str:  # noqa: A002
        """Run `orch ...` and return its standard output; the exit code must be `expect` (None: any)."""
        done = subprocess.run(
            [f"{BIN}/orch", *arguments],
            env=self.environment,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert expect in {None, done.returncode}, f"orch {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments: str, expect: int | None = 0) -> Any:
        """Run `orch ... --json` and return what its last line says."""
        return json.loads(self.cli(*arguments, "--json", expect=expect).splitlines()[-1])

    def events(self, type_: str | None = None, *, session: str | None = None) -> list[dict[str, Any]]:
        """Return past events."""
        with self._client() as client:
            return list(client.past(0, types=type_ and [type_], session=session))

    def add_project(self, path: Path) -> None:
        """Add a repository."""
        with self._client() as client:
            client.change("orch/project/add", path=str(path))

    def send(self, agent: str, action: str, project: str, prompt: str, **more: Any) -> str:
        """Start a session and return its id."""
        task = {"agent": agent, "action": action, "project": project, "prompt": prompt, **more}
        with self._client() as client:
            started: dict[str, Any] = client.change("orch/session/start", **task)
        return str(started["id"])

    def session(self, session_id: str) -> dict[str, Any]:
        """Return a session as the hub tells it."""
        with self._client() as client:
            found: dict[str, Any] = client.call("orch/session/get", session=session_id)
        return found

    def wait(self, session_id: str, *, timeout: float = 30) -> dict[str, Any]:
        """Wait until a session is done or waits for the user, and return it."""
        with self._client() as client, suppress(TimeoutError):
            watch(client, [session_id], "done", timeout, events=False, as_json=False)
        return self.session(session_id)

    def hub_pid(self) -> int:
        """Return the pid of the hub that holds the lock, as the hub wrote it."""
        return int((self.path / "hub.lock").read_text())

    def kill_hub(self) -> int:
        """SIGKILL the hub and return the pid it had."""
        pid = self.hub_pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        return pid

    def hubs(self) -> list[psutil.Process]:
        """Return every live hub of this home; there should never be two."""
        return [process for process in self.processes() if "--hub" in process.cmdline()]

    def bundle(self, session_id: str) -> Path:
        """Return the run bundle of a session whose agent runs now."""
        pid = self.session(session_id)["pid"]
        assert pid is not None, f"session {session_id} has no process"
        (found,) = (run["path"] for run in self._runs() if run.get("agentPid") == pid)
        return Path(found)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Read the database behind the hub's back."""
        connection = sqlite3.connect(f"file:{self.path / 'orchestrator.db'}?mode=ro", uri=True)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def processes(self) -> list[psutil.Process]:
        """Return every live process that belongs to this home: its hub, its runners, its agents, its bridges."""
        mark = f"ORCH_HOME={self.path}".encode()
        cookies = {str(run.get("cookie")).encode() for run in self._runs()}
        found = []
        for process in psutil.process_iter(["pid"]):
            try:
                environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
                words = Path(f"/proc/{process.pid}/cmdline").read_bytes()
                carries = any(word.startswith(b"ORCH_RUN=") and word[9:] in cookies for word in environment)
                if mark in environment or carries or str(self.path).encode() in words:
                    found.append(process)
            except (OSError, psutil.Error):
                continue
        return [process for process in found if process.pid != os.getpid()]

    def close(self) -> None:
        """End the hub and everything it started."""
        deadline = time.monotonic() + 10
        while (left := self.processes()) and time.monotonic() < deadline:
            for process in left:
                try:
                    process.kill()
                except psutil.Error:
                    pass
            psutil.wait_procs(left, timeout=0.2)
        # A hub removes it at its end; one that was killed did not, and it may lie outside of the test's directory.
        socket = Path(find_places(self.environment).socket)
        with suppress(OSError):
            socket.unlink(missing_ok=True)
            socket.parent.rmdir()

    def _client(self) -> closing[Client]:
        """Return a connection from this process: whoever looks again and again need not start a program each time."""
        return closing(Client(environment=self.environment))

    def _runs(self) -> list[dict[str, Any]]:
        found = []
        for record in self.path.glob("runs/*/run.json"):
            try:
                found.append({**json.loads(record.read_text()), "path": str(record.parent)})
            except (OSError, ValueError):
                continue
        return found


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody waited for has."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
