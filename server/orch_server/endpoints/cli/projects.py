"""`orch projects ...`."""

import os
from typing import Any

import click

from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.client import Client
from orch_server.endpoints.cli.main import orch, verb

POLICIES = click.Choice(["ask", "auto_edit", "auto_all", "deny"])


@orch.group()
def projects() -> None:
    """The repositories in which agents may work."""


@verb(projects, "list", prints="ProjectPage")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
def list_(client: Client, limit: int | None, as_json: bool) -> None:
    """List the registered projects."""
    found = list(client.pages("orch/project/list", limit))
    if as_json:
        show.as_json({"items": found, "nextCursor": None})
        return
    rows = [[project["slug"], str(project["sessionCount"]), _path(project)] for project in found]
    show.table(
        ["PROJECT", "SESSIONS", "PATH"], rows, "no project yet. `orch projects add PATH` registers a repository."
    )


@verb(projects, prints="Project")
@click.argument("path", type=click.Path())
@click.option("--name", help="What to call it; default: its folder's name.")
@click.option("--default-branch", help="Where worktrees start; default: what is checked out.")
def add(client: Client, path: str, name: str | None, default_branch: str | None, as_json: bool) -> None:
    """Register the git repository at PATH."""
    project = client.change("orch/project/add", path=os.path.abspath(path), name=name, defaultBranch=default_branch)
    _show(project, as_json)


@verb(projects, "show", prints="Project")
@click.argument("project")
def show_(client: Client, project: str, as_json: bool) -> None:
    """Show one project."""
    _show(client.call("orch/project/get", project=project), as_json)


@verb(projects, prints="Project")
@click.argument("project")
@click.option("--name", help="A new name.")
@click.option("--default-branch", help="Where worktrees start from now on.")
@click.option("--trusted/--untrusted", default=None, help="Whether the project's own hooks and filters may run.")
@click.option("--policy", type=POLICIES, help="The approval policy of new sessions.")
@click.option("--setup", help="A shell command to run in every new worktree; '' for none. Trusted projects only.")
@click.option("--setup-seconds", type=click.IntRange(1), help="How long that may take.")
@click.option("--spares", type=click.IntRange(0, 10), help="Keep so many worktrees ready for new sessions.")
def update(client: Client, as_json: bool, **changed: Any) -> None:
    """Change a project."""
    changed["defaultBranch"] = changed.pop("default_branch")
    changed["setupSeconds"] = changed.pop("setup_seconds")
    _show(client.change("orch/project/update", **changed), as_json)


@verb(projects, prints="Empty")
@click.argument("project")
def remove(client: Client, project: str, as_json: bool) -> None:
    """Forget a project that has no sessions. No file is deleted."""
    result = client.change("orch/project/remove", project=project)
    if as_json:
        show.as_json(result)


def _show(project: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show.as_json(project)
        return
    show.line(f"{project['slug']}  {_path(project)}")
    show.line(
        f"  branch {project['defaultBranch'] or '(what is checked out)'}, {project['sessionCount']} sessions, "
        f"{'trusted' if project['trusted'] else 'not trusted'}, policy {project['policy'] or '(by action)'}"
    )
    if project["setup"]:
        show.line(f"  set-up: {project['setup']} (at most {project['setupSeconds']} s)")
    if project["spares"]:
        show.line(f"  {project['spares']} worktree{'' if project['spares'] == 1 else 's'} kept ready")


def _path(project: dict[str, Any]) -> str:
    return str(project["path"]) + (" (missing)" if project["missing"] else "")
