"""One cell's stage, inside a sandbox: a hub of its own, a project, one real program, and the model that it asks.

Everything is done as an editor does it: requests over a bridge's standard input and output. What is waited for is a
condition that will come; how long that may take is generous, since a slow machine proves nothing.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import psutil

from orch_server.services.replay import read, replay_session
from tests.agents_real import programs
from tests.agents_real.surroundings import REALS, Real
from tests.fakes.scripted_model import ScriptedModel
from tests.home import OrchHome
from tests.lsp import Client
from tests.repositories import ScratchRepository, make_repository

Found = TypeVar("Found")
Session = Mapping[str, Any]

PATIENCE = 120.0
"""Seconds in which anything that must happen does happen."""
ENDED = frozenset({"completed", "failed", "stopped"})
MARK = "orch-scene-command"
"""In the command line of what the programs' shells run, so that it can be found again."""


class Scene:
    """A hub with one project, and a program that is sent to work there."""

    def __init__(self, program: str, directory: Path, model: ScriptedModel) -> None:
        self.program = program
        self.real: Real = REALS[program]
        self.model = model
        self.home = OrchHome(directory)
        self.project: ScratchRepository = make_repository(
            directory / "project", {"README.md": "# Project\n"}, home=directory / "home"
        )
        bin_directory = directory / "bin"
        bin_directory.mkdir()
        (bin_directory / self.real.adapter.programs[0]).symlink_to(programs.PROGRAMS[program].path)
        self.home.environment["PATH"] = f"{bin_directory}:{self.home.environment['PATH']}"
        self.home.environment["TERM"] = "dumb"
        self.home.environment |= self.real.prepare(Path(self.home.environment["HOME"]), model.url)
        self.client: Client | None = None

    async def open(self) -> None:
        """Connect, which starts a hub where none runs, and have it know the project."""
        self.client = await Client.start(self.home)
        await self.call("orch/project/add", path=str(self.project.path))

    async def close(self) -> None:
        """End everything; with it what the programs wrote is told where something failed."""
        if self.client is not None:
            await self.client.close()
        await asyncio.to_thread(self.home.close)

    async def call(self, method: str, **params: Any) -> Any:
        """Send a request and return its result."""
        assert self.client is not None
        return await self.client.call(method, params, timeout=PATIENCE)

    # What a user does.

    async def start(self, prompt: str, action: str = "implement", policy: str | None = None) -> str:
        """Send the program to work; return the session's id."""
        session = await self.call(
            "orch/session/start",
            agent=self.program,
            action=action,
            project="project",
            prompt=prompt,
            model=self.real.model,
            **({"policy": policy} if policy else {}),
        )
        return str(session["id"])

    async def follow_up(self, session_id: str, text: str, mode: str = "queue") -> Session:
        """Give it a further text."""
        session: Session = await self.call("orch/session/followUp", session=session_id, text=text, mode=mode)
        return session

    async def asked(self, session_id: str) -> dict[str, Any]:
        """Wait for its next request to the user."""
        waiting = await self.until(session_id, lambda session: session["state"] == "waiting_for_user")
        request: dict[str, Any] = waiting["inputRequests"][0]
        return request

    async def choose(self, session_id: str, kind: str) -> dict[str, Any]:
        """Answer its next approval with the first option of a kind."""
        request = await self.asked(session_id)
        option = next(option["id"] for option in request["options"] if option["kind"] == kind)
        await self.call("orch/session/respond", session=session_id, inputRequestId=request["id"], optionId=option)
        return request

    async def stop(self, session_id: str) -> Session:
        """Stop it; its processes are gone with the reply."""
        session: Session = await self.call("orch/session/stop", session=session_id)
        return session

    async def resume(self, session_id: str, text: str, **more: Any) -> Session:
        """Go on with it."""
        session: Session = await self.call("orch/session/resume", session=session_id, text=text, **more)
        return session

    def some_minutes_pass(self) -> None:
        """Make it look to the program as if some minutes had passed."""
        self.real.later(Path(self.home.environment["HOME"]))

    async def kill_hub(self) -> None:
        """SIGKILL the hub; the program works on, and nobody listens."""
        assert self.client is not None
        await asyncio.to_thread(self.home.kill_hub)
        await self.client.gone()

    # What is seen.

    async def session(self, session_id: str) -> Session:
        """Return a session."""
        found: Session = await self.call("orch/session/get", session=session_id)
        return found

    async def until(self, session_id: str, condition: Callable[[Session], object]) -> Session:
        """Wait until a condition on the session is true, and return the session."""

        seen: Session = {}

        async def look() -> Session | None:
            nonlocal seen
            seen = await self.session(session_id)
            return seen if condition(seen) else None

        return await self.happens(look, lambda: seen)

    async def ended(self, session_id: str) -> Session:
        """Wait until the session's work has ended."""
        return await self.until(session_id, lambda session: session["state"] in ENDED)

    async def completed(self, session_id: str) -> Session:
        """Wait until the session's work has ended, and see that it ended well."""
        session = await self.ended(session_id)
        assert (session["state"], session["reason"]) == ("completed", "turn_ended"), session
        return session

    async def happens(self, look: Callable[[], Awaitable[Found | None]], what: Callable[[], object]) -> Found:
        """Look again and again until there is something to be seen."""
        deadline = time.monotonic() + PATIENCE
        while (found := await look()) is None:
            assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s in vain: {what()}"
            await asyncio.sleep(0.05)
        return found

    async def appears(self, path: Path) -> None:
        """Wait for a file."""

        async def look() -> bool | None:
            return path.exists() or None

        await self.happens(look, lambda: path)

    async def model_was_asked(self, step: str, times: int = 1) -> None:
        """Wait until the model has begun to answer so often in this way."""

        async def look() -> bool | None:
            return len([one for one in self.model.requests if one["step"].startswith(step)]) >= times or None

        await self.happens(look, lambda: [one["step"] for one in self.model.requests])

    async def events(self, session_id: str, *types: str) -> list[dict[str, Any]]:
        """Return past events of a session: what they say."""
        more = {"types": types} if types else {}
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["seq"] if found else 0
            page = await self.call("orch/event/list", session=session_id, after=after, limit=1000, **more)
            if not page["items"]:
                return found
            found += page["items"]

    async def said(self, session_id: str) -> str:
        """Return all that the agent said, one message after the other."""
        return "".join(event["data"]["text"] for event in await self.events(session_id, "agent.message"))

    async def check_record(self, session_id: str) -> None:
        """See that the adapter knew every message, and that the record of the run tells the same end when replayed."""
        logs = await self.events(session_id, "agent.log")
        assert [log["data"] for log in logs if log["data"]["stream"] in {"unknown", "raw"}] == []
        runs = [event["runId"] for event in await self.events(session_id, "run.started")]
        session = await self.session(session_id)
        # The last of several runs does not tell all; and that an interrupt was not the user's is told by the hub alone.
        if len(runs) == 1 and session["reason"] != "silent_limit":
            replayed = replay_session(self.real.adapter, read(str(self.home.path / "runs" / runs[0]))).session
            assert (replayed.state, replayed.reason) == (session["state"], session["reason"])

    def tell(self) -> None:
        """Print what the hub and the programs wrote, for whoever has to find out why a cell failed."""
        for log in [self.home.path / "hub.log", *sorted(self.home.path.glob("runs/*/*.log"))]:
            if log.exists():
                print(f"--- {log.relative_to(self.home.path)}\n{log.read_bytes()[-6000:].decode(errors='replace')}")
        for journal in sorted(self.home.path.glob("runs/*/in.jsonl")):
            print(f"--- {journal.relative_to(self.home.path)}\n{journal.read_bytes()[-4000:].decode(errors='replace')}")
        print("--- the model\n", *(one["step"] for one in self.model.requests), sep="\n")

    async def nothing_runs(self, session_id: str) -> None:
        """See that no process of a session is left: nothing that carries its mark, no command of its shell."""
        session = await self.session(session_id)
        assert session["pid"] is None
        left = [" ".join(process.cmdline()) for process in _processes() if _is_of_an_agent(process)]
        assert left == []


def _processes() -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if process.pid != os.getpid()]


def _is_of_an_agent(process: psutil.Process) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return MARK in " ".join(process.cmdline()) or "ORCH_RUN" in process.environ()
    except psutil.Error:
        return False
