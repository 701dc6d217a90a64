"""The verbs about who wants which paths: claim, unclaim, leases."""

import click

from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.client import Client
from orch_server.endpoints.cli.main import orch, verb


@verb(orch, prints="LeaseList")
@click.argument("project")
@click.argument("paths", nargs=-1, required=True)
@click.option("--session", help="Claim them for this session instead of yourself.")
def claim(client: Client, project: str, paths: tuple[str, ...], session: str | None, as_json: bool) -> None:
    """Claim PATHS of PROJECT: other agents have to ask before they change them, and you are told.

    Advice, not a lock: nothing keeps a program from writing to its own worktree.
    """
    held = client.change("orch/lease/claim", project=project, paths=list(paths), session=session)
    if as_json:
        show.as_json(held)
    for lease in () if as_json else held["items"]:
        show.line(f"{lease['id']}  {lease['path']}")


@verb(orch, prints="Empty")
@click.argument("lease")
def unclaim(client: Client, lease: str, as_json: bool) -> None:
    """End a claim."""
    done = client.change("orch/lease/release", lease=lease)
    if as_json:
        show.as_json(done)


@verb(orch, prints="LeaseList")
@click.option("--project", help="Only in this project.")
def leases(client: Client, project: str | None, as_json: bool) -> None:
    """List who has claimed which paths."""
    held = client.call("orch/lease/list", project=project)
    if as_json:
        show.as_json(held)
    elif held["items"]:
        rows = [
            [each["id"], each["sessionId"] or "you", show.age(each["createdAt"]), each["path"]]
            for each in held["items"]
        ]
        show.table(["LEASE", "HELD BY", "AGE", "PATH"], rows)
    else:
        show.note("Nothing is claimed.")
