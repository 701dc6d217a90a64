"""`orch dashboard`: all sessions at a glance, live on a terminal."""

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from orch_server.domain.readable import changes_of, event_line, harmless, is_empty
from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.client import Client
from orch_server.endpoints.cli.main import orch, verb

if TYPE_CHECKING:
    from rich.console import Group

_SETTLE_SECONDS = 0.2
_LATEST = 8
_SHOWN = 12


@verb(orch, prints="Dashboard")
def dashboard(client: Client, as_json: bool) -> None:
    """Show what runs, what waits for you, what failed and what happened last; live on a terminal."""
    if as_json:
        show.as_json(client.call("orch/dashboard/get"))
    elif sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        _live(client)
    else:
        _print(client.call("orch/dashboard/get"))


def _live(client: Client) -> None:
    from rich.live import Live

    events = client.follow(None)
    with Live(_drawn(client.call("orch/dashboard/get")), auto_refresh=False, screen=True) as live:
        for _ in events:
            time.sleep(_SETTLE_SECONDS)  # what else comes meanwhile is in the same picture
            found = client.call("orch/dashboard/get")
            client.skip_events(found["recentEvents"][-1]["seq"])
            live.update(_drawn(found), refresh=True)


def _drawn(found: dict[str, Any]) -> "Group":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False, expand=True)
    for heading in ("SESSION", "STATE", "AGENT", "PROJECT", "AGE", "CHANGES", "TITLE"):
        table.add_column(heading, no_wrap=True)
    for session, style in _rows(found):
        table.add_row(*(Text(harmless(cell), style=style) for cell in _cells(session)))
    latest = [Text(harmless(event_line(event)), style="dim", no_wrap=True) for event in _latest(found)]
    return Group(Text(_summary(found), style="bold"), Text(), table, Text(), *latest)


def _print(found: dict[str, Any]) -> None:
    show.line(_summary(found))
    rows = [_cells(session) for session, _ in _rows(found)]
    show.table(["SESSION", "STATE", "AGENT", "PROJECT", "AGE", "CHANGES", "TITLE"], rows)
    for event in _latest(found):
        show.line(event_line(event))


def _summary(found: dict[str, Any]) -> str:
    counts = ", ".join(f"{count} {state}" for state, count in sorted(found["sessionsByState"].items()))
    cost = f"; ${found['usage']['costUsd']:.2f} in all" if found["usage"]["costUsd"] else ""
    collisions = len(found["collisions"])
    cost += f"; {collisions} collision{'' if collisions == 1 else 's'} (orch collisions)" if collisions else ""
    projects = "1 project" if len(found["projects"]) == 1 else f"{len(found['projects'])} projects"
    return f"{projects}; sessions: {counts or 'none'}{cost}"


def _rows(found: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    kinds = (("waiting", "yellow"), ("active", "green"), ("failures", "red"), ("changed", "cyan"))
    shown: dict[str, tuple[dict[str, Any], str]] = {}
    for kind, style in kinds:
        for session in found[kind][:_SHOWN]:
            shown.setdefault(session["id"], (session, style))
    return list(shown.values())


def _cells(session: dict[str, Any]) -> list[str]:
    return [
        session["id"],
        show.state(session),
        session["agent"],
        session["projectSlug"],
        show.age(session["createdAt"]),
        changes_of(session),
        session["title"],
    ]


def _latest(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [event for event in found["recentEvents"] if not is_empty(event)][-_LATEST:]
