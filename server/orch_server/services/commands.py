"""Commands: what users asked for, in words or in fields."""

from orch_server.domain.command import Command
from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.events import CommandRejected
from orch_server.domain.project import Project
from orch_server.services import language, projects
from orch_server.services.context import Context
from orch_server.services.language import Parsed
from orch_server.services.names import AgentName, ProjectName
from orch_server.store.records import SessionRecord

_PAGE = 1_000


def parse(context: Context, text: str, project: str | None = None) -> Parsed:
    """Say what a text asks for, and what of it is not clear; `project` is meant where the text names none."""
    default = projects.get(context, project).slug if project is not None else None
    known = {item.slug: item for item in _all_projects(context)}
    return language.parse(
        text,
        agents=[AgentName(adapter.name, adapter.display_name) for adapter in context.adapters.values()],
        projects=[ProjectName(item.slug, item.name, item.path) for item in known.values()],
        path_exists=lambda slug, path: _is_path(known[slug], path),
        default_project=default,
    )


async def understand(context: Context, text: str, project: str | None = None) -> Parsed:
    """Return what a text asks for; one that leaves anything open is rejected, with an event that says so."""
    parsed = parse(context, text, project)
    if not parsed.problems:
        return parsed
    rejected = CommandRejected(text=text, problems=parsed.problems)
    await context.store.write(lambda transaction: transaction.emit(rejected))
    raise OrchError(
        ErrorKind.INVALID_PARAMS,
        " ".join(parsed.problems),
        hint="; ".join(f"{item.field}: {', '.join(item.options)}" for item in parsed.candidates if item.options),
        **parsed.model_dump(mode="json", by_alias=True),
    )


def of_session(context: Context, session: SessionRecord) -> Command:
    """Return the command that a session began with."""
    command = context.store.command(session.command_id)
    assert command is not None, session.command_id
    return command


def _all_projects(context: Context) -> list[Project]:
    found: list[Project] = []
    while True:
        page = context.store.projects(after=found[-1].slug if found else None, limit=_PAGE)
        found += page
        if len(page) < _PAGE:
            return found


def _is_path(project: Project, path: str) -> bool:
    """Whether a path names something in the project, and nothing outside of it."""
    try:
        projects.check_scope(project, path)
    except (OrchError, OSError, ValueError):
        return False
    return True
