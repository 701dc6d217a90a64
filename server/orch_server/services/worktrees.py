"""The worktree of a session: planned, journalled, made, and found again after a crash."""

import dataclasses
import logging
from typing import Any

from orch_server.domain.errors import OrchError
from orch_server.domain.events import WorktreeCreated, WorktreeCreating, WorktreeFailed
from orch_server.domain.project import Project
from orch_server.git import spares as git_spares
from orch_server.git import worktree as git_worktree
from orch_server.git.dirty import dirty_tree
from orch_server.git.repository import Repository, resolve_commit
from orch_server.git.shadow import Shadow
from orch_server.git.worktree import Worktree, WorktreePlan
from orch_server.services import projects, spares
from orch_server.services.context import Context
from orch_server.settings.crashpoint import crashpoint
from orch_server.store.records import Intent, SessionRecord
from orch_server.store.transaction import Transaction

log = logging.getLogger(__name__)

INTENT = "worktree"
_PROGRESS_STEP = 10


def worktree_of(session: SessionRecord) -> Worktree | None:
    """Return the session's worktree as it was recorded."""
    return Worktree(**session.worktree) if session.worktree is not None else None


async def provide(context: Context, session_id: str) -> None:
    """Make the session's worktree if it has none; what an earlier attempt left is taken over or put aside."""
    session = context.store.session(session_id)
    assert session is not None
    if session.worktree is not None:
        return
    project = projects.get(context, session.project_id)
    repository = await projects.open_repository(context, project)
    await recover(context, session_id)
    session = context.store.session(session_id)
    assert session is not None
    if session.worktree is not None:
        return
    # What is not committed goes onto what is checked out, unless something else is named.
    standing = "HEAD" if session.from_dirty else project.default_branch or "HEAD"
    base = await resolve_commit(context.git, repository, session.base_ref or standing)
    shadow = await projects.shadow_of(context, project, repository)
    dirty = await dirty_tree(context.git, repository, shadow, base) if session.from_dirty else None
    planned = git_worktree.plan(
        repository,
        session_id=session.id,
        agent=session.agent,
        project_slug=project.slug,
        base=base,
        runtime_dir=context.settings.project_runtime_dirname,
    )

    def begin(transaction: Transaction) -> None:
        draft = transaction.session(session_id)
        draft.branch, draft.base_commit, draft.dirty_tree = planned.branch, base, dirty
        transaction.intend(Intent(planned.intent, INTENT, session_id, dataclasses.asdict(planned)))
        creating = WorktreeCreating(path=planned.path, branch=planned.branch, percent=0)
        transaction.emit(creating, session=draft)

    await context.store.write(begin)
    crashpoint("worktree.planned")
    progress = _Progress(context, session_id, planned)
    worktree = await _claim(context, project, repository, shadow, planned)
    try:
        worktree = worktree or await git_worktree.create(
            context.git, repository, shadow, planned, trusted=project.trusted, progress=progress.show
        )
    except OrchError as error:
        reason = error.message
        worktree = await git_worktree.recover(context.git, planned)
        if worktree is None:
            await context.store.write(lambda transaction: _failed(transaction, planned, reason))
            raise
    crashpoint("worktree.made")
    await context.store.write(lambda transaction: _made(transaction, planned, worktree))


async def _claim(
    context: Context, project: Project, repository: Repository, shadow: Shadow, planned: WorktreePlan
) -> Worktree | None:
    """Take a worktree that was kept ready; whatever stands against that, one is made the usual way."""
    if not project.spares:
        return None
    try:
        return await git_spares.claim(context.git, repository, shadow, planned, trusted=project.trusted)
    except (OrchError, OSError) as error:
        log.warning("No spare worktree for session %s: %s", planned.session_id, error)
        return await git_worktree.recover(context.git, planned)
    finally:
        spares.look_after(context, project.id)


async def recover(context: Context, session_id: str) -> None:
    """Settle what an interrupted creation left: a whole worktree is taken over, a half one put aside."""
    for intent in context.store.intents():
        if intent.kind == INTENT and intent.session_id == session_id:
            planned = WorktreePlan(**intent.data)
            worktree = await git_worktree.recover(context.git, planned)
            if worktree is not None:
                await context.store.write(lambda transaction: _made(transaction, planned, worktree))  # noqa: B023
            else:
                await context.store.write(lambda transaction: transaction.fulfil(planned.intent))  # noqa: B023


def _made(transaction: Transaction, planned: WorktreePlan, worktree: Worktree) -> None:
    session = transaction.session(planned.session_id)
    session.worktree = _as_json(worktree)
    session.worktree_path = worktree.path
    transaction.fulfil(planned.intent)
    transaction.emit(WorktreeCreated(path=worktree.path, branch=worktree.branch), session=session)


def _failed(transaction: Transaction, planned: WorktreePlan, reason: str) -> None:
    session = transaction.session(planned.session_id)
    transaction.fulfil(planned.intent)
    failed = WorktreeFailed(path=planned.path, branch=planned.branch, error=reason)
    transaction.emit(failed, session=session)


def _as_json(worktree: Worktree) -> dict[str, Any]:
    return dataclasses.asdict(worktree)


class _Progress:
    """Tells the creation of a big worktree in tens of percents."""

    def __init__(self, context: Context, session_id: str, planned: WorktreePlan) -> None:
        self._context = context
        self._session_id = session_id
        self._planned = planned
        self._told = 0

    def show(self, percent: int) -> None:
        """Tell `percent` if it is worth an event."""
        if percent < self._told + _PROGRESS_STEP:
            return
        self._told = percent
        self._context.spawn(self._context.store.write(lambda transaction: self._tell(transaction, percent)))

    def _tell(self, transaction: Transaction, percent: int) -> None:
        creating = WorktreeCreating(path=self._planned.path, branch=self._planned.branch, percent=percent)
        transaction.emit(creating, session=transaction.session(self._session_id))
