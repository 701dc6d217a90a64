"""The verbs that bring a session's work home: commit, apply."""

from typing import Any

import click

from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.client import Client
from orch_server.endpoints.cli.main import DONE, REFUSED, orch, verb


@verb(orch, prints="Committed")
@click.argument("session")
@click.option("-m", "--message", help="What the commit says; default: the session's title and prompt.")
def commit(client: Client, session: str, message: str | None, as_json: bool) -> None:
    """Commit all that lies in a session's worktree on its branch, as you."""
    done = client.change("orch/session/commit", session=session, message=message)
    if as_json:
        show.as_json(done)
    elif done["files"]:
        show.line(f"{done['commit'][:12]}  {_count(done['files'])} committed")
    else:
        show.line(f"{done['commit'][:12]}  nothing to commit")


@verb(orch, prints="Applied")
@click.argument("session")
@click.option(
    "--strategy",
    type=click.Choice(["patch", "merge", "squash", "rebase"]),
    default="patch",
    show_default=True,
    help="patch changes your files and commits nothing; the others commit on the branch that is checked out.",
)
@click.option("--preview", is_flag=True, help="Only say what it would do.")
@click.option("--undo", is_flag=True, help="Take the last application of this session back.")
def apply(client: Client, session: str, strategy: str, preview: bool, undo: bool, as_json: bool) -> int:
    """Bring a session's work into the project's own checkout: all of it, or nothing.

    Refused, with nothing changed, where it conflicts with what is there or would touch what you have not committed.
    """
    result = client.change("orch/session/apply", session=session, strategy=strategy, preview=preview, undo=undo)
    refused = bool(result["preview"]["conflicts"])
    if as_json:
        show.as_json(result)
        return REFUSED if refused else DONE
    for file in result["preview"]["files"]:
        name = f"{file['oldPath']} -> {file['path']}" if file["oldPath"] else file["path"]
        show.line(f"{file['status']:<12} {name}")
    for conflict in result["preview"]["conflicts"]:
        show.line(f"conflict     {conflict['path']} ({conflict['kind'].replace('_', ' ')})")
    if result["applied"]:
        show.line(f"{_count(result['preview']['files'])} {'taken back' if undo else 'applied'}")
    show.note(result["message"])
    return REFUSED if refused else DONE


def _count(files: list[dict[str, Any]]) -> str:
    return f"{len(files)} file{'' if len(files) == 1 else 's'}"
