"""`orch sessions ...`: looking at sessions."""

from typing import Any

import click

from orch_server.domain.readable import changes_of
from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.asking import show_request
from orch_server.endpoints.cli.client import Client
from orch_server.endpoints.cli.main import orch, verb
from orch_server.endpoints.cli.projects import POLICIES

STATES = [
    "created",
    "running",
    "waiting_for_user",
    "completed",
    "failed",
    "stopped",
    "archived",
    "deleted",
]


@orch.group()
def sessions() -> None:
    """The agents' sessions: list them, show one, change one."""


@verb(sessions, "list", prints="SessionPage")
@click.option("--project", help="Only this project's.")
@click.option("--agent", help="Only this agent's.")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="Only in this state; may be repeated."
)
@click.option("--archived", is_flag=True, help="Archived ones too.")
@click.option("--deleted", is_flag=True, help="Deleted ones too.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
def list_(
    client: Client,
    project: str | None,
    agent: str | None,
    states: tuple[str, ...],
    archived: bool,
    deleted: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """List sessions, the newest first."""
    found = list(
        client.pages(
            "orch/session/list",
            limit,
            project=project,
            agent=agent,
            states=list(states) or None,
            includeArchived=archived or None,
            includeDeleted=deleted or None,
        )
    )
    if as_json:
        show.as_json({"items": found, "nextCursor": None})
        return
    rows = [
        [
            session["id"],
            show.state(session),
            session["agent"],
            session["action"],
            session["projectSlug"],
            show.age(session["createdAt"]),
            changes_of(session),
            session["title"],
        ]
        for session in found
    ]
    show.table(
        ["SESSION", "STATE", "AGENT", "ACTION", "PROJECT", "AGE", "CHANGES", "TITLE"],
        rows,
        "no session here. `orch send --help` says how to begin one; --archived and --deleted show those put away.",
    )


@verb(sessions, "show", prints="Session")
@click.argument("session")
def show_(client: Client, session: str, as_json: bool) -> None:
    """Show one session: its state, what it waits for, where it works."""
    show_session(client.call("orch/session/get", session=session), as_json)


@verb(sessions, prints="Session")
@click.argument("session")
@click.option("--title", help="A new title.")
@click.option("--policy", type=POLICIES, help="How its requests are decided from now on.")
def update(client: Client, as_json: bool, **changed: Any) -> None:
    """Change a session's title or policy."""
    show_session(client.change("orch/session/update", **changed), as_json)


def show_session(session: dict[str, Any], as_json: bool) -> None:
    """Print a session for a person, or as JSON."""
    if as_json:
        show.as_json(session)
        return
    show.line(
        f"{session['id']}  {show.state(session)}  {session['agent']} {session['action']} in {session['projectSlug']}"
    )
    if session["title"]:
        show.line(f"  {session['title']}")
    facts = {
        "why": session["message"],
        "purged": session["purgedAt"] and f"{session['purgedAt'][:16]}: its numbers and ids are all that is left",
        "attention": ", ".join(session["attention"]),
        "branch": session["branch"],
        "worktree": session["worktreePath"],
        "changes": changes_of(session),
        "usage": _usage(session["usage"]),
        "agent": f"pid {session['pid']}" if session["pid"] else "",
    }
    for name, value in facts.items():
        if value:
            show.line(f"  {name:<9} {value}")
    for item in session["queued"]:
        show.line(f"  {item['status']:<9} {item['id']}  {item['text']}")
    for request in session["inputRequests"]:
        show_request(request)


def _usage(usage: dict[str, Any]) -> str:
    if not usage["inputTokens"] and not usage["outputTokens"]:
        return ""
    cost = f", ${usage['costUsd']:.4f}" if usage["costUsd"] is not None else ""
    return f"{usage['inputTokens']} tokens in, {usage['outputTokens']} out{cost}"
