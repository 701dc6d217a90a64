"""The verbs of the end: preview, delete, restore, archive, unarchive."""

import sys
from typing import Any

import click

from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.client import Client
from orch_server.endpoints.cli.main import orch, verb
from orch_server.endpoints.cli.sessions import show_session

_SHOWN_COMMITS = 5


@verb(orch, prints="Preview")
@click.argument("session")
def preview(client: Client, session: str, as_json: bool) -> None:
    """Show what a delete would take away, and what of it exists nowhere else."""
    found = client.call("orch/session/cleanupPreview", session=session)
    if as_json:
        show.as_json(found)
    else:
        _show_preview(found)


@verb(orch, prints="DeletedSession")
@click.argument("session")
@click.option("--delete-branch", is_flag=True, help="Take the session's branch away too.")
@click.option("--purge", is_flag=True, help="Remove it for good: nothing can be restored then.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(client: Client, session: str, delete_branch: bool, purge: bool, yes: bool, as_json: bool) -> None:
    """Move a session with its worktree into the trash; `orch restore` brings everything back.

    Shows first what that is, and asks. Where nobody can be asked, it needs --yes.
    """
    found = client.call("orch/session/cleanupPreview", session=session)
    if not as_json:
        _show_preview(found)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("Nobody can be asked here: say --yes.")
        click.confirm("Remove it for good?" if purge else "Move it into the trash?", abort=True, err=True)
    deleted = client.change(
        "orch/session/delete",
        session=found["session"]["id"],
        deleteBranch=delete_branch,
        token=found["token"],
        purge=purge,
    )
    if as_json:
        show.as_json(deleted)
    elif deleted["keptUntil"] is None:
        show.line(f"{deleted['session']['id']}  purged")
    else:
        show.line(
            f"{deleted['session']['id']}  deleted; `orch restore` works until {deleted['keptUntil'][:10]} at least"
        )


@verb(orch, prints="Session")
@click.argument("session")
def restore(client: Client, session: str, as_json: bool) -> None:
    """Bring a session back from the trash, or a worktree that something else removed."""
    show_session(client.change("orch/session/restore", session=session), as_json)


@verb(orch, prints="Session")
@click.argument("session")
def archive(client: Client, session: str, as_json: bool) -> None:
    """Put an ended session away; nothing of it is removed."""
    show_session(client.change("orch/session/archive", session=session), as_json)


@verb(orch, prints="Session")
@click.argument("session")
def unarchive(client: Client, session: str, as_json: bool) -> None:
    """Bring an archived session back."""
    show_session(client.change("orch/session/unarchive", session=session), as_json)


def _show_preview(found: dict[str, Any]) -> None:
    session, worktree = found["session"], found["worktree"]
    show.line(f"{session['id']}  {show.state(session)}  {session['title']}")
    if worktree is not None:
        gone = "" if worktree["present"] else " (not there any more)"
        show.line(f"  worktree  {worktree['path']}{gone}")
        counts = [f"{worktree['files']} files, {_size(worktree['bytes'])}"]
        kinds = ("modified", "staged", "untracked", "ignored", "hidden")
        counts += [f"{worktree[kind]} {kind}" for kind in kinds if worktree[kind]]
        show.line(f"            {', '.join(counts)}")
        for file in worktree["largest"]:
            show.line(f"            {file['kind']:<9} {_size(file['bytes']):>9}  {file['path']}")
        for nested in worktree["nested"]:
            show.line(f"            a repository of its own: {nested}")
        if worktree["operation"]:
            show.line(f"            a {worktree['operation']} is under way")
    if found["branch"]:
        show.line(f"  branch    {found['branch']}")
    for commit in found["commitsOnlyHere"][:_SHOWN_COMMITS]:
        show.line(f"  only here {commit['commit'][:10]}  {commit['subject']}")
    if len(found["commitsOnlyHere"]) > _SHOWN_COMMITS:
        show.line(f"            and {len(found['commitsOnlyHere']) - _SHOWN_COMMITS} more commits")
    show.line(f"  words     {found['artifacts']} artifacts, {_size(found['logs'])} of logs")
    for process in found["processes"]:
        show.line(f"  process   {process['name']} ({process['pid']}) works in it")
    show.line(f"  kept      until {found['keptUntil'][:10]} at least, if it is deleted now")
    for name, texts in (("unknown", found["unknown"]), ("but", found["blockers"])):
        for text in texts:
            show.line(f"  {name:<9} {text}")


def _size(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
