"""What a delete of a session would take away, and what of it exists nowhere else."""

import asyncio
import os
from datetime import UTC, datetime, timedelta

from pydantic import Field

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.session import ENDED, Session, State
from orch_server.domain.wire import WireModel
from orch_server.git import inventory
from orch_server.git.inventory import Inventory
from orch_server.git.repository import Repository
from orch_server.git.shadow import Shadow
from orch_server.git.trash import Trashed
from orch_server.services import projects
from orch_server.services.context import Context
from orch_server.services.worktrees import worktree_of
from orch_server.store.records import SessionRecord


class UnsavedFile(WireModel):
    """A file that no commit holds as it is now."""

    path: str
    kind: str = Field(description="modified, untracked or ignored; a path that ends in / is a repository of its own.")
    bytes: int


class WorktreeContents(WireModel):
    """What lies in a session's worktree. Numbers are of files."""

    path: str
    present: bool
    bytes: int
    files: int
    modified: int
    staged: int
    untracked: int
    ignored: int
    hidden: int = Field(description="Modified files that `git status` does not show (assume-unchanged, skip-worktree).")
    largest: list[UnsavedFile] = Field(description="The twenty largest of those that no commit holds.")
    nested: list[str] = Field(description="Repositories within; their commits are in the worktree alone.")
    operation: str | None = Field(description="rebase, merge, cherry-pick, revert or bisect, if one is under way.")


class LonelyCommit(WireModel):
    """A commit that only this session's branch or HEAD leads to."""

    commit: str
    subject: str


class WorkingProcess(WireModel):
    """A process that works in the worktree."""

    pid: int
    name: str


class Preview(WireModel):
    """What a delete would take away. It takes nothing that `orch/session/restore` does not give back."""

    session: Session
    token: str = Field(description="Pass it to `orch/session/delete`: it then acts on exactly this, or refuses.")
    worktree: WorktreeContents | None
    commits_only_here: list[LonelyCommit] = Field(description="The newest hundred at most.")
    branch: str | None
    artifacts: int
    logs: int = Field(description="Bytes of its log and of what its agents wrote.")
    processes: list[WorkingProcess]
    kept_until: str = Field(description="Until when it can be restored at least.")
    unknown: list[str] = Field(description="What could not be looked at. It is kept like everything else.")
    blockers: list[str] = Field(description="Why a delete would be refused now.")


async def make(context: Context, session: SessionRecord) -> Preview:
    """Look at everything that a delete of the session would concern, as it is at this moment."""
    if session.purged_at is not None:
        raise OrchError(
            ErrorKind.ILLEGAL_TRANSITION,
            f"Session {session.id} was purged: nothing is left of it.",
            hint="Its numbers and ids are all that is kept.",
            state=session.state.value,
            allowed=[],
        )
    found = await _inventory(context, session)
    artifacts, _ = context.store.artifacts(project_id=None, session_id=session.id, kinds=None, before=None, limit=1000)
    token = f"{session.id}-{session.state}-{found.token if found is not None else 'none'}"
    return Preview(
        session=Session.model_validate(session.model_dump(include=set(Session.model_fields))),
        token=token,
        worktree=_contents(found) if found is not None else None,
        commits_only_here=[LonelyCommit(commit=item.commit, subject=item.subject) for item in found.commits]
        if found is not None
        else [],
        branch=session.branch,
        artifacts=len(artifacts),
        logs=await asyncio.to_thread(_log_bytes, context, session),
        processes=[WorkingProcess(pid=item.pid, name=item.name) for item in found.processes] if found else [],
        kept_until=kept_until(context, session),
        unknown=found.unknown if found is not None else [],
        blockers=_blockers(session),
    )


def kept_until(context: Context, session: SessionRecord) -> str:
    """Return until when a deleted session is kept at least, counted from now if it is not deleted yet."""
    if session.trash is not None:
        return str(session.trash["keptUntil"])
    until = datetime.now(UTC) + timedelta(days=context.limits.trash_days)
    return until.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


async def open_git(context: Context, session: SessionRecord) -> tuple[Repository | None, Shadow | None]:
    """Return the repository of the session's project and its shadow, or neither where it cannot be read."""
    try:
        project = projects.get(context, session.project_id)
        repository = await projects.open_repository(context, project)
        return repository, await projects.shadow_of(context, project, repository)
    except (OrchError, OSError):
        return None, None


async def _inventory(context: Context, session: SessionRecord) -> Inventory | None:
    worktree, path = worktree_of(session), None
    if session.trash is not None and session.trash["trashed"] is not None:
        trashed = Trashed.from_json(session.trash["trashed"])
        worktree, path = trashed.worktree, trashed.place
    if worktree is None:
        return None
    _, shadow = await open_git(context, session)
    return await inventory.take(context.git, shadow, worktree, path or worktree.path)


def _contents(found: Inventory) -> WorktreeContents:
    return WorktreeContents(
        path=found.path,
        present=found.present,
        bytes=found.bytes,
        files=found.files,
        modified=found.modified,
        staged=found.staged,
        untracked=found.untracked,
        ignored=found.ignored,
        hidden=found.hidden,
        largest=[UnsavedFile(path=item.path, kind=item.kind, bytes=item.bytes) for item in found.largest],
        nested=found.nested,
        operation=found.operation,
    )


def _blockers(session: SessionRecord) -> list[str]:
    if session.state in {*ENDED, State.ARCHIVED, State.DELETED}:
        return []
    return [f"It is {session.state}: `orch stop {session.id}` comes first."]


def _log_bytes(context: Context, session: SessionRecord) -> int:
    project = projects.get(context, session.project_id)
    log = os.path.join(project.path, context.settings.project_runtime_dirname, "logs", f"{session.id}.log")
    paths = [log]
    for run in context.store.runs_of(session.id):
        bundle = context.runs.bundle(run.id)
        paths += [bundle.out_log, bundle.err_log, bundle.journal]
    return sum(os.path.getsize(path) for path in paths if os.path.isfile(path))
