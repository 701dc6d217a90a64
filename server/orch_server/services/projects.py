"""Projects: the git repositories in which agents may be sent to work."""

import os
from typing import Any

from orch_server.domain.errors import ErrorKind, OrchError, invalid_params, not_found
from orch_server.domain.events import ProjectRegistered, ProjectRemoved, ProjectUpdated
from orch_server.domain.ids import SLUG, random_id, slug_of
from orch_server.domain.project import Project
from orch_server.domain.session import Policy
from orch_server.git.repository import Repository, inspect, resolve_commit
from orch_server.git.shadow import Shadow, open_shadow
from orch_server.services.context import Context
from orch_server.store.transaction import Transaction


async def add(context: Context, path: str, name: str | None, default_branch: str | None) -> Project:
    """Register the repository at `path`; the same repository again is the same project."""
    repository = await inspect(context.git, path, runtime_dir=context.settings.project_runtime_dirname)
    if default_branch is not None:
        await resolve_commit(context.git, repository, default_branch)
    label = name or os.path.basename(repository.path)

    def work(transaction: Transaction) -> Project:
        known = transaction.project_by("path", repository.path)
        if known is not None:
            return known
        project = Project(
            id=random_id(),
            slug=_free_slug(transaction, slug_of(label)),
            name=label,
            path=repository.path,
            default_branch=default_branch,
            trusted=False,
            policy=None,
            created_at=transaction.now,
        )
        transaction.save_project(project)
        transaction.emit(ProjectRegistered(project=project), project_id=project.id)
        return project

    project = await context.store.write(work)
    return get(context, project.id)


def get(context: Context, reference: str) -> Project:
    """Return the project with this id or slug, or raise notFound with the known slugs."""
    project = context.store.project(reference)
    if project is None:
        known = [known.slug for known in context.store.projects(limit=20)]
        hint = f"Known: {', '.join(known)}." if known else "`orch projects add PATH` registers a repository."
        raise not_found("project", reference, hint=hint, candidates=known)
    return _seen(project)


def list_(context: Context, after: str | None, limit: int) -> list[Project]:
    """Return projects in order of their slugs."""
    return [_seen(project) for project in context.store.projects(after=after, limit=limit)]


async def update(
    context: Context,
    reference: str,
    *,
    name: str | None,
    default_branch: str | None,
    trusted: bool | None,
    policy: Policy | None,
    setup: str | None = None,
    setup_seconds: int | None = None,
    spares: int | None = None,
) -> Project:
    """Change what is given, leave what is None; an empty set-up command takes it away."""
    present = get(context, reference)
    if default_branch is not None:
        await resolve_commit(context.git, await open_repository(context, present), default_branch)

    def work(transaction: Transaction) -> Project:
        project = transaction.project(present.id)
        wanted = {
            "name": name,
            "default_branch": default_branch,
            "trusted": trusted,
            "policy": policy,
            "setup": setup,
            "setup_seconds": setup_seconds,
            "spares": spares,
        }
        given: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
        if setup is not None:
            given["setup"] = setup.strip() or None
        changed = project.model_copy(update=given)
        if setup and setup.strip() and not changed.trusted:
            raise OrchError(
                ErrorKind.NOT_TRUSTED,
                f"A set-up command runs in trusted projects alone, and {project.slug} is not trusted.",
                hint=f"If you trust what it runs: `orch projects update {project.slug} --trusted`.",
            )
        if changed != project:
            transaction.save_project(changed)
            transaction.emit(ProjectUpdated(project=changed), project_id=changed.id)
        return changed

    await context.store.write(work)
    return get(context, present.id)


async def remove(context: Context, reference: str) -> None:
    """Forget a project without sessions. No file is touched."""
    present = get(context, reference)

    def work(transaction: Transaction) -> None:
        project = transaction.project(present.id)
        sessions = transaction.count_sessions(project.id)
        if sessions:
            raise OrchError(
                ErrorKind.ILLEGAL_TRANSITION,
                f"Project {project.slug} still has {sessions} sessions.",
                hint="Delete and purge them first: `orch sessions list --project "
                f"{project.slug} --archived --deleted` shows them.",
                sessions=sessions,
            )
        transaction.remove_project(project.id)
        transaction.emit(ProjectRemoved(project=project), project_id=project.id)

    await context.store.write(work)


async def open_repository(context: Context, project: Project) -> Repository:
    """Return the project's repository as it is now."""
    if not os.path.isdir(project.path):
        raise OrchError(
            ErrorKind.CONFLICT,
            f"The repository of {project.slug} is not at {project.path} any more.",
            hint="Put it back, or remove the project and add it where it is now.",
        )
    try:
        return await inspect(context.git, project.path, runtime_dir=context.settings.project_runtime_dirname)
    except OrchError as error:
        if error.kind != ErrorKind.INVALID_PARAMS:
            raise
        # What `inspect` says of a path that is to be added is here said of one that was good when it was.
        raise OrchError(
            ErrorKind.CONFLICT,
            f"The repository of {project.slug} is not as it was when it was added: {error}",
            hint="Make it so again. Until then nothing of its sessions is touched.",
        ) from error


async def shadow_of(context: Context, project: Project, repository: Repository) -> Shadow:
    """Return the repository of the hub's own that stands in for the project's."""
    directory = os.path.join(context.places.home, "git", project.id)
    return await open_shadow(context.git, repository, directory, runtime_dir=context.settings.project_runtime_dirname)


def check_scope(project: Project, scope_path: str) -> str:
    """Return a path in the project as a relative one; refuse what lies outside or does not exist."""
    if "\0" in scope_path:
        raise invalid_params("A path cannot contain NUL.")
    real = os.path.realpath(os.path.join(project.path, scope_path))
    root = os.path.realpath(project.path)
    if os.path.commonpath([root, real]) != root:
        raise invalid_params(
            f"The scope {scope_path!r} is outside of {project.path}.", hint="Name a path in the project."
        )
    if not os.path.lexists(real):
        raise invalid_params(
            f"There is no {scope_path!r} in {project.slug}.", hint="Name a file or folder that exists."
        )
    return os.path.relpath(real, root)


def _free_slug(transaction: Transaction, wanted: str) -> str:
    slug, number = wanted, 2
    while transaction.project_by("slug", slug) is not None:
        ending = f"-{number}"
        slug, number = wanted[: 32 - len(ending)] + ending, number + 1
    assert SLUG.fullmatch(slug), slug
    return slug


def _seen(project: Project) -> Project:
    return project.model_copy(update={"missing": not os.path.isdir(project.path)})
