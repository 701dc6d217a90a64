"""`orch/project/*`."""

from pydantic import Field

from orch_server.domain.project import Project
from orch_server.domain.session import Policy
from orch_server.domain.wire import Params, WireModel
from orch_server.protocol.paging import Page, PageParams
from orch_server.protocol.registry import Call, Empty, request
from orch_server.services import projects, spares


class ListProjects(PageParams):
    """Which page of the projects."""


class AddProject(Params):
    """A repository to register."""

    path: str = Field(min_length=1, description="The repository, or any folder in it; its real top level is taken.")
    name: str | None = Field(default=None, min_length=1, max_length=200)
    default_branch: str | None = Field(default=None, min_length=1)


class NamedProject(Params):
    """Which project."""

    project: str = Field(min_length=1, description="Its id or slug.")


class UpdateProject(NamedProject):
    """What to change of a project; what is left out stays."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    default_branch: str | None = Field(default=None, min_length=1)
    trusted: bool | None = None
    policy: Policy | None = None
    setup: str | None = Field(
        default=None,
        max_length=4096,
        description="A shell command to run in new worktrees; trusted projects only. Empty: none.",
    )
    setup_seconds: int | None = Field(default=None, ge=1, le=24 * 3600)
    spares: int | None = Field(default=None, ge=0, le=10, description="Keep so many worktrees ready for new sessions.")


class ProjectPage(WireModel):
    """Some projects, in order of their slugs."""

    items: list[Project]
    next_cursor: str | None


@request("orch/project/list")
def list_(call: Call, params: ListProjects) -> ProjectPage:
    """Return the registered projects."""
    found = projects.list_(call.context, params.cursor, params.limit + 1)
    page = Page.cut(found, params.limit, lambda project: project.slug)
    return ProjectPage(items=page.items, next_cursor=page.next_cursor)


@request("orch/project/add", changes=True)
async def add(call: Call, params: AddProject) -> Project:
    """Register a git repository; the same path again returns the same project."""
    return await projects.add(call.context, params.path, params.name, params.default_branch)


@request("orch/project/get")
def get(call: Call, params: NamedProject) -> Project:
    """Return one project."""
    return projects.get(call.context, params.project)


@request("orch/project/update", changes=True)
async def update(call: Call, params: UpdateProject) -> Project:
    """Change a project's name, default branch, trust, policy, or how its worktrees begin."""
    project = await projects.update(
        call.context,
        params.project,
        name=params.name,
        default_branch=params.default_branch,
        trusted=params.trusted,
        policy=params.policy,
        setup=params.setup,
        setup_seconds=params.setup_seconds,
        spares=params.spares,
    )
    if params.spares is not None or (project.spares and params.default_branch is not None):
        spares.look_after(call.context, project.id)
    return project


@request("orch/project/remove", changes=True)
async def remove(call: Call, params: NamedProject) -> Empty:
    """Forget a project that has no sessions left; no file is deleted."""
    project = projects.get(call.context, params.project)
    if project.spares and not project.missing and not project.session_count:
        await spares.clear(call.context, project.id)
    await projects.remove(call.context, params.project)
    return Empty()
