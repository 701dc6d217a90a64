"""Watching sessions until they are done: what `send`, `do` and `wait` share."""

import time
from typing import Any

from orch_server.domain.readable import event_line, is_empty
from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.client import Client
from orch_server.endpoints.cli.main import DONE, FAILED, WAITING
from orch_server.endpoints.cli.sessions import show_session

OUTCOMES = {"completed": DONE, "failed": FAILED, "stopped": FAILED, "waiting_for_user": WAITING}
"""The exit code that tells a session's state."""


def outcome(session: dict[str, Any]) -> int:
    """Return the exit code that tells how a session ended, also if it was put away since."""
    return OUTCOMES.get(session["stateBefore"] or session["state"], DONE)


def see_through(client: Client, session: dict[str, Any], *, wait: bool, follow: bool, as_json: bool) -> dict[str, Any]:
    """Show a session that began, stay until it is done if that is wanted, and return it as it is then.

    With `as_json` only its events are printed, and the last word is the caller's.
    """
    if not as_json:
        show.line(
            f"{session['id']}  {session['agent']} {session['action']} in {session['projectSlug']}: {session['title']}"
        )
    if wait or follow:
        session = watch(client, [session["id"]], "done", None, events=follow, as_json=as_json)[0]
        if not as_json:
            show_session(session, as_json)
            if not follow and session["state"] == "completed":
                _show_answer(client, session)
    return session


def _show_answer(client: Client, session: dict[str, Any]) -> None:
    """Print the agent's last word."""
    told = client.call("orch/event/list", session=session["id"], types=["turn.completed"], limit=1000)["items"]
    if told and told[-1]["data"]["text"].strip():
        show.line("")
        show.block(told[-1]["data"]["text"].strip())


def watch(
    client: Client, references: list[str], until: str, timeout: float | None, *, events: bool, as_json: bool
) -> list[dict[str, Any]]:
    """Return the sessions once what is waited for has come."""
    deadline = None if timeout is None else time.monotonic() + timeout
    ids = [client.call("orch/session/get", session=reference)["id"] for reference in references]
    only = ids[0] if len(ids) == 1 else None
    kinds = None if events or until == "change" else ["session.*"]
    # Subscribed before the sessions are looked at, so that nothing is missed in between.
    stream = client.follow(0 if events else None, deadline=deadline, session=only, types=kinds)
    sessions = {name: client.call("orch/session/get", session=name) for name in ids}
    before = {name: session["version"] for name, session in sessions.items()}
    while not _come(sessions, until, before):
        event = next(stream)
        name = event["sessionId"]
        if name not in sessions:
            continue
        if events and as_json:
            show.as_json(event)
        elif events and not is_empty(event):
            show.line(event_line(event))
        if event["type"].startswith("session."):
            sessions[name] = client.call("orch/session/get", session=name)
    return [sessions[name] for name in ids]


def _come(sessions: dict[str, dict[str, Any]], until: str, before: dict[str, int]) -> bool:
    states = [session["state"] for session in sessions.values()]
    if until == "change":
        return any(session["version"] != before[name] for name, session in sessions.items())
    if until == "waiting":
        return any(state not in {"created", "running"} for state in states)
    return all(state not in {"created", "running"} for state in states)
