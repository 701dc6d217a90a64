"""`orch demo`: three agents at work at once, in a repository and an orch home made for it."""

import asyncio
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import click

from orch_server.domain.errors import OrchError
from orch_server.domain.ids import slug_of
from orch_server.domain.readable import changes_of, harmless, told
from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.client import Client, HubGone
from orch_server.endpoints.cli.main import DONE, FAILED, TIMED_OUT, Verb, orch
from orch_server.hub.dial import HubUnreachable

PROJECT = "bakery"
FILES = {
    "README.md": "# Bakery\n\nBread and rolls, and what they cost.\n",
    "prices.py": "\n".join(
        (
            'PRICES = {"bread": 320, "roll": 60}',
            "",
            "",
            "def total(items):",
            "    return sum(PRICES[item] for item in items)",
            "",
        )
    ),
}
DIRECTIVE = re.compile(r"\s*\[\[.*?\]\]", re.DOTALL)

_LONGEST_SECONDS = 90.0
_THINKING_SECONDS = 1.2  # so that a person sees the question before it is answered
_LEAVE_SECONDS = 15.0
_PATCH_LINES = 12
_ENDED = {"completed", "failed", "stopped"}
_TOLD = {
    "session.created", "session.state_changed", "worktree.created", "agent.thought", "agent.plan",
    "agent.tool_started", "agent.message", "input.requested", "input.answered", "followup.queued",
    "followup.delivered", "worktree.changed",
}  # fmt: skip


@dataclass(slots=True)
class Errand:
    """One session of the demo: what is asked of the agent, and what was heard of it."""

    name: str
    prompt: str
    more: str | None = None
    """A follow-up that is given while the agent works."""
    session: dict[str, Any] = field(default_factory=dict)
    doing: str = ""
    diff: dict[str, Any] | None = None
    asked: bool = False

    @property
    def title(self) -> str:
        """The prompt without the directives of the demo agent."""
        return DIRECTIVE.sub("", self.prompt).strip()


def errands() -> list[Errand]:
    """Return the three pieces of work, the directives of the demo agent in their prompts."""
    return [
        Errand(
            "discount",
            "Give a discount on ten rolls [[think It belongs beside the total, so that no caller forgets it.]]"
            "[[plan Read the prices; Write the discount; Write a test for it]] [[read prices.py]] [[silent 1.2]]"
            r"[[append prices.py \n\ndef discounted(items):\n    cost = total(items)\n"
            r'    return cost - cost // 10 if items.count("roll") >= 10 else cost]] [[silent 1]]'
            r"[[write test_prices.py from prices import discounted\n\n\ndef test_ten_rolls_cost_a_tenth_less():\n"
            r'    assert discounted(10 * ("roll",)) == 540]] [[silent 1]]'
            "[[commit Give a discount on ten rolls]] [[say Ten rolls cost a tenth less, and a test says so.]]",
        ),
        Errand(
            "list",
            "Publish the price list [[read prices.py]] [[silent 0.8]]"
            r"[[write PRICES.md # Prices\n\n* bread 3.20\n* roll 0.60]]"
            "[[approve python3 -m unittest]] [[silent 0.8]] [[say The list is in PRICES.md.]]",
        ),
        Errand(
            "guide",
            "Explain how to order [[read README.md]] [[silent 1.6]]"
            r"[[write docs/ordering.md # Ordering\n\nCall before six, and say how many rolls.]] [[silent 1]]"
            "[[say The page is docs/ordering.md.]]",
            more="Add the opening hours [[silent 0.8]]"
            r"[[append docs/ordering.md \nOpen from six to noon, but not on Mondays.]]"
            "[[say The hours are on the same page.]]",
        ),
    ]


@orch.command(cls=Verb, prints="DemoStep a line")
@click.option("--clean", is_flag=True, help="Remove the scratch directory when all went well.")
def demo(clean: bool, as_json: bool) -> int:
    """Watch three agents work at once in a repository made for it. Nothing of yours is touched."""
    scratch = os.path.realpath(tempfile.mkdtemp(prefix="orch-demo-"))
    view = _view(as_json)
    code = FAILED
    try:
        with _home_in(scratch):
            code = _run(scratch, view)
    except TimeoutError:
        show.note(f"orch demo: it took more than {_LONGEST_SECONDS:.0f} seconds and was stopped.")
        code = TIMED_OUT
    except OrchError as error:
        show.note(f"orch demo: {error} {error.hint}")
    finally:
        view.close()
        if clean and code == DONE:
            shutil.rmtree(scratch)
        elif code != DONE:
            show.note(f"orch demo: {scratch} is kept; {os.path.join('orch', 'hub.log')} in it may say more.")
    if not clean and code == DONE:
        view.kept(scratch)
    return code


@contextmanager
def _home_in(scratch: str) -> Iterator[None]:
    """Let everything below take `scratch` for the user's orch home, the hub and the agents included."""
    before = dict(os.environ)
    for name in before:
        if name.startswith("ORCH_"):
            del os.environ[name]
    os.environ["ORCH_HOME"] = os.path.join(scratch, "orch")
    os.environ["ORCH_CONFIG"] = os.path.join(scratch, "config.toml")  # there is none: no setting of yours counts
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _run(scratch: str, view: "View") -> int:
    repository = os.path.join(scratch, PROJECT)
    work = errands()
    view.begin(scratch, repository, work)
    _make_repository(repository)
    before = _state_of(repository)
    client = Client()
    try:
        client.change("orch/project/add", path=repository)
        stream = client.follow(0, deadline=time.monotonic() + _LONGEST_SECONDS)
        for errand in work:
            view.command(f'orch send demo implement {PROJECT} "{errand.title}"')
            errand.session = client.change(
                "orch/session/start",
                agent="demo",
                action="implement",
                project=PROJECT,
                prompt=errand.prompt,
                title=errand.title,
            )
        _watch(client, stream, work, view)
        for errand in work:
            errand.session = client.call("orch/session/get", session=errand.session["id"])
            errand.diff = client.call("orch/session/diff", session=errand.session["id"])
        found = client.call("orch/agent/list")["items"]
    finally:
        client.close()
        _leave([errand.session["id"] for errand in work if errand.session])
    view.end(work)
    unfinished = [errand for errand in work if errand.session["state"] != "completed"]
    for errand in unfinished:
        show.note(f"orch demo: {errand.title!r} is {errand.session['state']}. {errand.session['message']}")
    if _state_of(repository) != before:
        show.note(f"orch demo: the checkout {repository} was changed, which no agent should do.")
        return FAILED
    if unfinished:
        return FAILED
    view.untouched(repository)
    view.next_steps(found, _next_commands(found))
    return DONE


def _make_repository(path: str) -> None:
    os.makedirs(path)
    for name, text in FILES.items():
        with open(os.path.join(path, name), "w", encoding="utf-8") as file:
            file.write(text)
    _git(path, "init", "--quiet", "--template=", "--initial-branch=main")
    _git(path, "add", "--all")
    _git(path, "commit", "--quiet", "--message", "Open the bakery")


def _state_of(repository: str) -> tuple[bytes, bytes]:
    return _git(repository, "rev-parse", "HEAD"), _git(repository, "status", "--porcelain")


def _git(directory: str, *arguments: str) -> bytes:
    # Not at the top: it imports GitPython, which `orch --help` should not wait for.
    from orch_server.git.command import Target, find_git, run

    git = find_git(os.environ)
    identity = (("user.name", "orch demo"), ("user.email", "demo@localhost.invalid"))
    try:
        return asyncio.run(run(git, Target(directory=directory, settings=identity), arguments)).stdout
    finally:
        git.close()


def _watch(client: Client, stream: Iterator[dict[str, Any]], work: Sequence[Errand], view: "View") -> None:
    """Follow the events until all is done, and play the user: answer what is asked, give the follow-up."""
    by_id = {errand.session["id"]: errand for errand in work}
    due: list[tuple[float, Callable[[], None]]] = []
    while not all(errand.session["state"] in _ENDED for errand in work):
        while due and (time.monotonic() >= due[0][0] or not _working(work)):
            when, act = due.pop(0)
            time.sleep(max(0.0, when - time.monotonic()))
            act()
        event = next(stream)
        errand = by_id.get(event["sessionId"] or "")
        if errand is None:
            continue
        _hear(errand, event)
        view.event(errand, event)
        if event["type"] == "input.requested":
            request = event["data"]["inputRequest"]
            due.append((time.monotonic() + _THINKING_SECONDS, _answer(client, errand, request, view)))
        elif event["type"] == "agent.tool_started" and errand.more is not None and not errand.asked:
            errand.asked = True
            _follow_up(client, errand, errand.more, view)


def _working(work: Iterable[Errand]) -> bool:
    return any(errand.session["state"] in {"created", "running"} for errand in work)


def _answer(client: Client, errand: Errand, request: Mapping[str, Any], view: "View") -> Callable[[], None]:
    def answer() -> None:
        option = next(option["id"] for option in request["options"] if option["kind"] == "allow_once")
        session = errand.session["id"]
        view.command(f"orch respond {session} allow")
        # The state as it will be, so that the work counts as going on before its next event is here.
        errand.session["state"] = "running"
        client.change("orch/session/respond", session=session, inputRequestId=request["id"], optionId=option)

    return answer


def _follow_up(client: Client, errand: Errand, text: str, view: "View") -> None:
    view.command(f'orch followup {errand.session["id"]} "{DIRECTIVE.sub("", text)}"')
    client.change("orch/session/followUp", session=errand.session["id"], text=text)


def _hear(errand: Errand, event: Mapping[str, Any]) -> None:
    """Fold an event into what is known of a session, and say what it does now."""
    data = event["data"]
    match event["type"]:
        case "session.created" | "session.state_changed":
            errand.session = data["session"]
            if errand.session["state"] == "created":
                errand.doing = str(errand.session["reason"])
        case "session.updated":
            errand.session |= data["changed"]
        case "input.requested":
            errand.doing = f"asks: {_told(event)}"
        case "input.answered":
            errand.doing = f"answered: {data['optionId']}"
        case "agent.tool_started" | "agent.message" | "agent.thought":
            errand.doing = _told(event) or errand.doing


def _told(event: Mapping[str, Any]) -> str:
    return DIRECTIVE.sub("", told(dict(event))).strip()


def _leave(session_ids: Iterable[str]) -> None:
    """End every process of the demo: the agents, their runners, the hub. Returns when they are gone."""
    client = Client(start=False)
    pid = None
    try:
        pid = client.call("orch/hub/status")["pid"]
        for session_id in session_ids:
            client.change("orch/session/stop", session=session_id)
        client.call("orch/hub/shutdown")
    except (HubGone, HubUnreachable):
        pass  # then it left by itself
    client.close()
    deadline = time.monotonic() + _LEAVE_SECONDS
    while pid is not None and _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    from orch_server.runtime.bundle import Bundle

    runs = client.places.runs
    for name in os.listdir(runs) if os.path.isdir(runs) else ():
        bundle = Bundle(os.path.join(runs, name))
        bundle.sweep()
        while bundle.runner_pid() is not None and time.monotonic() < deadline:
            time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == 0  # this process started the hub, and is the one to reap it
    except ChildProcessError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _next_commands(agents: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what to type now, with the agents that are installed."""
    top = _repository_of(os.getcwd())
    project = slug_of(os.path.basename(top)) if top is not None else "PROJECT"
    commands = ["orch projects add ." if top is not None else "orch projects add path/to/PROJECT"]
    names = [agent["name"] for agent in agents if agent["available"] and agent["name"] != "demo"]
    for name in names:
        commands.append(f"orch send {name} analyze {project} --follow")
        commands.append(f'orch send {name} implement {project} "Say what is to be done" --follow')
    if not names:
        commands.append(f'orch send demo implement {project} "Say hello" --follow')
    return [*commands, "orch sessions list", "orch agents", "orch --help"]


def _repository_of(path: str) -> str | None:
    while not os.path.exists(os.path.join(path, ".git")):
        above = os.path.dirname(path)
        if above == path:
            return None
        path = above
    return path


# -- what is shown ----------------------------------------------------------------------------------------------


class View(Protocol):
    """Where the demo shows what happens."""

    def begin(self, scratch: str, repository: str, work: Sequence[Errand]) -> None:
        """Say what is about to happen, and where."""

    def command(self, text: str) -> None:
        """Show the command line that does what the demo does now."""

    def event(self, errand: Errand, event: Mapping[str, Any]) -> None:
        """Show an event; `errand` has taken it in."""

    def end(self, work: Sequence[Errand]) -> None:
        """Show what came out."""

    def untouched(self, repository: str) -> None:
        """Say that the user's own files stayed as they were; it was looked at."""

    def next_steps(self, agents: Sequence[Mapping[str, Any]], commands: Sequence[str]) -> None:
        """Show what to try now."""

    def kept(self, scratch: str) -> None:
        """Say where everything is."""

    def close(self) -> None:
        """Leave the terminal in order, whatever happened."""


def _view(as_json: bool) -> View:
    if as_json:
        return JsonView()
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR"):
        return LiveView()
    return PlainView()


class JsonView:
    """One document a line; `kind` says which."""

    def begin(self, scratch: str, repository: str, work: Sequence[Errand]) -> None:
        """Print where everything is."""
        del work
        show.as_json({"kind": "begin", "scratch": scratch, "repository": repository})

    def command(self, text: str) -> None:
        """Print a command line."""
        show.as_json({"kind": "command", "command": text})

    def event(self, errand: Errand, event: Mapping[str, Any]) -> None:
        """Print an event."""
        del errand
        show.as_json({"kind": "event", "event": event})

    def end(self, work: Sequence[Errand]) -> None:
        """Print each session with its diff."""
        for errand in work:
            show.as_json({"kind": "session", "session": errand.session, "diff": errand.diff})

    def untouched(self, repository: str) -> None:
        """Print that the checkout is as it was."""
        show.as_json({"kind": "untouched", "repository": repository})

    def next_steps(self, agents: Sequence[Mapping[str, Any]], commands: Sequence[str]) -> None:
        """Print the agents and the commands."""
        show.as_json({"kind": "next", "agents": agents, "commands": commands})

    def kept(self, scratch: str) -> None:
        """Print nothing: the first document says it."""

    def close(self) -> None:
        """Nothing is open."""


class PlainView:
    """Lines of text."""

    def __init__(self) -> None:
        self._began = 0.0

    def begin(self, scratch: str, repository: str, work: Sequence[Errand]) -> None:
        """Say what is about to happen."""
        show.line(f"{len(work)} agents work at once in one repository, each in a worktree and on a branch of its own.")
        show.line(f"Repository: {repository}")
        show.line(f"Hub, database and all else of this demo: {scratch}")
        show.line("The demo agent has no model: it does what directives in its prompt say (docs/demo-agent.md).")
        show.line("")

    def command(self, text: str) -> None:
        """Print a command line as it would be typed."""
        show.line(f"$ {text}")

    def event(self, errand: Errand, event: Mapping[str, Any]) -> None:
        """Print the events that a newcomer can follow."""
        text = _told(event)
        if event["type"] not in _TOLD or not text:
            return
        self._began = self._began or time.monotonic()
        show.line(f"{time.monotonic() - self._began:5.1f} s  {errand.name:<9} {event['type']:<22} {text}")

    def end(self, work: Sequence[Errand]) -> None:
        """Print what each session changed."""
        for errand in work:
            show.line("")
            show.line(_headline(errand))
            show.line(f"  branch   {errand.session['branch']}")
            show.line(f"  worktree {errand.session['worktreePath']}")
            for text in _diff_lines(errand):
                self.diff_line(text)

    def untouched(self, repository: str) -> None:
        """Say that the user's own files stayed as they were."""
        show.line("")
        show.line(f"{repository} itself is as it was: same commit, nothing modified.")

    def diff_line(self, text: str) -> None:
        """Print a line of a diff."""
        show.line(f"  {text}")

    def next_steps(self, agents: Sequence[Mapping[str, Any]], commands: Sequence[str]) -> None:
        """Print the agents that were found, and what to type."""
        others = [agent for agent in agents if agent["name"] != "demo"]
        present = [f"{agent['name']} {agent['version'] or ''}".strip() for agent in others if agent["available"]]
        missing = [agent["name"] for agent in others if not agent["available"]]
        show.line("")
        show.line(f"Agents found on your PATH: {', '.join(present) or 'none'}.")
        if missing:
            show.line(f"Others that orch knows: {', '.join(missing)}. `orch agents` says how to get them.")
        show.line("Now in a repository of yours:")
        for command in commands:
            show.line(f"  {command}")

    def kept(self, scratch: str) -> None:
        """Say where to look around."""
        show.line("")
        show.line(f"All of the demo is kept in {scratch}. To look around in it:")
        show.line(f"  ORCH_HOME={os.path.join(scratch, 'orch')} orch sessions list")
        show.line(f"  rm -r {scratch}")

    def close(self) -> None:
        """Nothing is open."""


class LiveView(PlainView):
    """A table that changes in place, with the last events below it."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.live import Live

        self._console = Console(highlight=False)
        self._work: Sequence[Errand] = ()
        self._lines: list[str] = []
        self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=8)

    def begin(self, scratch: str, repository: str, work: Sequence[Errand]) -> None:
        """Say what is about to happen, and begin to draw."""
        super().begin(scratch, repository, work)
        self._work = work
        self._live.start()

    def command(self, text: str) -> None:
        """Put a command line among the last events."""
        self._lines.append(f"$ {text}")

    def event(self, errand: Errand, event: Mapping[str, Any]) -> None:
        """Put an event among the last ones."""
        if event["type"] in _TOLD and (text := _told(event)):
            self._lines.append(f"{errand.name:<9} {event['type']:<22} {text}")

    def end(self, work: Sequence[Errand]) -> None:
        """Draw a last time, and print what each session changed."""
        for errand in work:
            errand.doing = "done"
        self.close()
        super().end(work)

    def diff_line(self, text: str) -> None:
        """Print a line of a diff in its colour."""
        from rich.text import Text

        style = {"+": "green", "-": "red", "@": "cyan"}.get(text[:1], "")
        self._console.print(Text(f"  {harmless(text)}", style=style))

    def close(self) -> None:
        """Stop drawing."""
        self._live.stop()

    def _draw(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, header_style="bold", pad_edge=False)
        for heading in ("SESSION", "AGENT", "TASK", "STATE", "NOW", "CHANGES"):
            table.add_column(heading, no_wrap=True, overflow="ellipsis")
        colours = {"running": "cyan", "waiting_for_user": "yellow", "completed": "green", "failed": "red"}
        for errand in self._work:
            session = errand.session
            if not session:
                continue
            cells = (session["id"], session["agent"], errand.title, session["state"], errand.doing, _amount(errand))
            style = colours.get(session["state"], "")
            table.add_row(*(Text(harmless(cell), style if place == 3 else "") for place, cell in enumerate(cells)))
        room = max(3, min(8, self._console.height - len(self._work) - 4))
        recent = (Text(harmless(line), "dim", no_wrap=True, overflow="ellipsis") for line in self._lines[-room:])
        return Group(table, Text(), *recent)


def _headline(errand: Errand) -> str:
    session = errand.session
    turns = f"{session['turns']} turn" + ("s" if session["turns"] != 1 else "")
    return f"{session['id']}  {errand.title}: {session['state']}, {turns}, {_amount(errand)}"


def _amount(errand: Errand) -> str:
    return changes_of({"changes": errand.session["changes"]} if errand.diff is None else _as_changes(errand.diff))


def _as_changes(diff: Mapping[str, Any]) -> dict[str, Any]:
    counts = {"files": len(diff["files"]), "insertions": diff["insertions"], "deletions": diff["deletions"]}
    return {"changes": counts}


def _diff_lines(errand: Errand) -> list[str]:
    """Return the stat and the beginning of the patches: a page of a demo, not a review."""
    assert errand.diff is not None
    lines = [
        f"{file['status']:<9} +{file['insertions']} -{file['deletions']}  {file['path']}"
        for file in errand.diff["files"]
    ]
    patch = [line for file in errand.diff["files"] for line in (file["patch"] or "").splitlines() if _matters(line)]
    lines += patch[:_PATCH_LINES]
    if len(patch) > _PATCH_LINES:
        lines.append(f"... {len(patch) - _PATCH_LINES} more lines: orch diff {errand.session['id']}")
    return lines


def _matters(line: str) -> bool:
    return not line.startswith(("diff --git ", "index ", "--- ", "new file ", "old mode ", "new mode ", "\\ "))
