"""`orch do` and `orch commands ...`: commands in the user's own words."""

from typing import Any

import click

from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.client import Client, RequestFailed
from orch_server.endpoints.cli.main import DONE, USAGE, orch, verb
from orch_server.endpoints.cli.watching import outcome, see_through

_FIELDS = ("agent", "action", "project", "scopePath", "prompt", "model")


@verb(orch, prints="SubmittedCommand; --dry-run Parsed")
@click.argument("text")
@click.option("--project", help="The project that is meant where the text names none.")
@click.option("--yes/--dry-run", "starts", default=True, help="Start it (the default), or only say what is understood.")
@click.option("--wait", "wait_", is_flag=True, help="Return when it is done or waits for you.")
@click.option("--follow", is_flag=True, help="Print its events until then.")
def do(client: Client, text: str, project: str | None, starts: bool, wait_: bool, follow: bool, as_json: bool) -> int:
    """Do what TEXT says: "ask codex to review src/cart.py in shop with gpt-5.5".

    Says what it understood and starts that. Where the text leaves something open it asks, starts nothing, and exits
    with 2. With --json and --dry-run it prints what it understood.
    """
    understood = client.call("orch/command/parse", text=text, project=project)
    if not starts and as_json:
        show.as_json(understood)
    elif as_json:
        show.note(_told(understood))
    else:
        show.line(_told(understood))
    for problem, candidates in zip(understood["problems"], understood["candidates"], strict=True):
        show.note(f"orch: {problem}")
        if candidates["options"]:
            show.note(f"      {candidates['field']}: {', '.join(candidates['options'])}")
    if not starts:
        return USAGE if understood["problems"] else DONE
    submitted = _submit(client, text, project, understood)
    if submitted is None:
        return USAGE
    session = see_through(client, submitted["session"], wait=wait_, follow=follow, as_json=as_json)
    if as_json:
        show.as_json({**submitted, "session": session})
    return outcome(session)


@orch.group()
def commands() -> None:
    """What was asked for, in words or in fields."""


@verb(commands, "list", prints="CommandPage")
@click.option("--project", help="Only this project's.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
def list_(client: Client, limit: int | None, as_json: bool, **place: Any) -> None:
    """List commands, the newest first."""
    found = list(client.pages("orch/command/list", limit, **place))
    if as_json:
        show.as_json({"items": found, "nextCursor": None})
        return
    rows = [
        [
            item["sessionId"],
            item["agent"],
            item["action"],
            item["scopePath"] or "",
            show.age(item["createdAt"]),
            " ".join((item["text"] or item["prompt"]).split())[:80],
        ]
        for item in found
    ]
    show.table(["SESSION", "AGENT", "ACTION", "SCOPE", "AGE", "TEXT"], rows, "nothing was asked for yet.")


def _submit(client: Client, text: str, project: str | None, understood: dict[str, Any]) -> dict[str, Any] | None:
    """Submit a text as it was understood: what starts is what was shown, whatever changed meanwhile."""
    submitted: dict[str, Any]
    if not understood["problems"]:
        fields = {name: understood[name] for name in _FIELDS}
        submitted = client.change("orch/command/submit", text=text, **fields)
        return submitted
    try:
        submitted = client.change("orch/command/submit", text=text, project=project)
    except RequestFailed as error:
        if error.data.get("problems"):  # as was to be expected; the refusal is on record now
            return None
        raise
    return submitted


def _told(understood: dict[str, Any]) -> str:
    """Return on one line what was understood."""
    where = f"in {understood['project'] or '?'}" + (f" at {understood['scopePath']}" if understood["scopePath"] else "")
    model = f" with {understood['model']}" if understood["model"] else ""
    words = " ".join((understood["prompt"] or "").split())
    said = f': "{words}"' if words else ""
    return f"{understood['agent'] or '?'} {understood['action'] or '?'} {where}{model}{said}"
