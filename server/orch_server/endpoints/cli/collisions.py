"""The verbs about work that would not merge: collisions, plan-merge, tell."""

from typing import Any

import click

from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.client import Client
from orch_server.endpoints.cli.main import orch, verb

_OTHER = {"base": "the base branch", "checkout": "your checkout"}


@verb(orch, prints="CollisionList")
@click.option("--project", help="Only of this project.")
@click.option("--session", help="Only of this session.")
def collisions(client: Client, project: str | None, session: str | None, as_json: bool) -> None:
    """List which sessions would not merge with one another, with their base branch, or with your checkout.

    Nothing was merged: this is seen while they work, uncommitted changes included.
    """
    found = client.call("orch/collision/list", project=project, session=session)
    if as_json:
        show.as_json(found)
        return
    rows = [
        [each["id"], each["sessions"][0], _other(each), file["path"], file["kind"].replace("_", " "), _lines(file)]
        for each in found["items"]
        for file in each["files"]
    ]
    if rows:
        show.table(["COLLISION", "SESSION", "WITH", "FILE", "KIND", "LINES"], rows)
    else:
        show.note("Nothing collides.")


@verb(orch, "plan-merge", prints="MergePlan")
@click.argument("project")
def plan_merge(client: Client, project: str, as_json: bool) -> None:
    """Say in which order to bring ended sessions home so that the fewest conflict, and what to settle first."""
    found = client.call("orch/collision/plan", project=project)
    if as_json:
        show.as_json(found)
        return
    if not found["order"]:
        show.note("No session that ended has anything to bring home.")
        return
    known = {each: client.call("orch/session/get", session=each) for each in found["order"]}
    show.table(
        ["", "SESSION", "AGENT", "TITLE"],
        [[f"{n}.", each, known[each]["agent"], known[each]["title"]] for n, each in enumerate(found["order"], 1)],
    )
    for one, other in found["settleFirst"]:
        show.line(f"settle first: {one} and {other}")


@verb(orch, prints="Session")
@click.argument("collision")
@click.argument("session")
def tell(client: Client, collision: str, session: str, as_json: bool) -> None:
    """Tell SESSION what the other side of COLLISION changed: a follow-up with the changed lines."""
    told = client.change("orch/collision/tell", collision=collision, session=session)
    if as_json:
        show.as_json(told)
    else:
        show.line(f"{told['id']}  {show.state(told)}")


def _other(collision: dict[str, Any]) -> str:
    return collision["sessions"][1] or _OTHER[collision["against"]]


def _lines(file: dict[str, Any]) -> str:
    return ", ".join(" / ".join(_range(side) for side in hunk["sides"]) for hunk in file["hunks"])


def _range(lines: dict[str, int]) -> str:
    first, last = lines["startLine"], lines["endLine"]
    if last < first:
        return f"before {first}"
    return f"{first}" if first == last else f"{first}-{last}"
