"""Bringing a session's work home: a commit on its branch, and its work in the project's own checkout."""

import asyncio
import logging
from dataclasses import dataclass

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.project import Project
from orch_server.domain.session import State
from orch_server.domain.wire import WireModel
from orch_server.git import apply as git_apply
from orch_server.git import undo
from orch_server.git.apply import Strategy, Work
from orch_server.git.checkout import ApplyPreview
from orch_server.git.commit import Committed
from orch_server.git.commit import commit as git_commit
from orch_server.git.identity import as_user
from orch_server.git.repository import Repository
from orch_server.git.shadow import Shadow
from orch_server.git.worktree import Worktree
from orch_server.services import projects, sessions
from orch_server.services.context import Caller, Context
from orch_server.services.worktrees import worktree_of
from orch_server.store.records import SessionRecord

log = logging.getLogger(__name__)


class Applied(WireModel):
    """What was, or would be, brought into the project's checkout."""

    preview: ApplyPreview
    applied: bool
    message: str


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a session's work is, and where it is to come."""

    session: SessionRecord
    project: Project
    repository: Repository
    shadow: Shadow
    worktree: Worktree


async def commit(context: Context, caller: Caller, reference: str, message: str | None) -> Committed:
    """Commit all that lies in a session's worktree on its branch, as the user."""
    place = await _open(context, reference)
    return await _commit(context, caller, place, message)


async def apply(context: Context, caller: Caller, reference: str, strategy: Strategy, *, preview: bool) -> Applied:
    """Bring a session's work into the project's checkout, or show what that would do."""
    place = await _open(context, reference)
    work = Work(
        place.worktree,
        strategy,
        commit_message(place.session),
        place.project.trusted,
        context.settings.project_runtime_dirname,
    )
    if preview:
        outcome = await git_apply.prepare(context.git, place.repository, place.shadow, work)
        return Applied(preview=outcome.preview, applied=False, message=_said(outcome.preview))
    async with _lock(context, place):
        place = await _settled(context, reference)
        key = caller.request_key.key if caller.request_key is not None else None
        if (done := await _done_before(context, place, key)) is not None:
            return Applied(preview=done, applied=True, message=_undo_hint(place.session))
        outcome = await git_apply.prepare(context.git, place.repository, place.shadow, work)
        if not outcome.preview.conflicts and not outcome.is_nothing:
            program = context.git
            if strategy is not Strategy.PATCH:
                program = await as_user(context.git, place.repository, caller.environment)
                await _commit(context, caller, place, None)
                outcome = await git_apply.prepare(program, place.repository, place.shadow, work)
        else:
            program = context.git
        await git_apply.apply(program, place.repository, place.shadow, work, outcome, key=key)
    if outcome.is_nothing:
        return Applied(preview=outcome.preview, applied=False, message="The checkout has it all already.")
    return Applied(preview=outcome.preview, applied=True, message=_undo_hint(place.session))


async def take_back(context: Context, reference: str, *, preview: bool) -> Applied:
    """Take the last application of a session's work back, or show what that would do."""
    place = await _open(context, reference)
    async with _lock(context, place):
        place = await _settled(context, reference)
        found = await undo.records(context.git, place.repository, place.session.id)
        if not found:
            raise OrchError(
                ErrorKind.CONFLICT,
                f"Nothing of session {place.session.id} was applied, or it was taken back.",
                hint="`orch apply` brings its work into the checkout.",
            )
        seen = await undo.look_back(context.git, place.repository, place.shadow, found[-1])
        if not preview:
            name = context.settings.project_runtime_dirname
            await undo.take_back(context.git, place.repository, place.shadow, found[-1], name)
    return Applied(
        preview=seen, applied=not preview, message="The checkout is as it was before." if not preview else ""
    )


async def recover(context: Context) -> None:
    """Settle the applications that a killed hub left in the middle."""
    for project in context.store.projects(limit=1_000):
        try:
            if undo.is_interrupted(project.path, context.settings.project_runtime_dirname):
                repository = await projects.open_repository(context, project)
                shadow = await projects.shadow_of(context, project, repository)
                async with context.git.lock(f"checkout {repository.path}"):
                    await undo.recover(context.git, repository, shadow, context.settings.project_runtime_dirname)
        except (OrchError, OSError) as error:
            log.warning("An application in %s is settled later: %s", project.path, error)


def commit_message(session: SessionRecord) -> str:
    """Return what a commit says that the user gave no message for: the title, and the prompt if it says more."""
    title = session.title.strip().splitlines()[0]
    prompt = session.prompt.strip()
    return title if prompt in {"", title} else f"{title}\n\n{prompt}"


async def _commit(context: Context, caller: Caller, place: _Place, message: str | None) -> Committed:
    program = await as_user(context.git, place.repository, caller.environment)
    words = (message or "").strip() or commit_message(place.session)
    return await git_commit(
        program, place.repository, place.shadow, place.worktree, message=words, trusted=place.project.trusted
    )


async def _open(context: Context, reference: str) -> _Place:
    session = sessions.find(context, reference)
    worktree = worktree_of(session)
    if session.state == State.DELETED:
        raise OrchError(
            ErrorKind.ILLEGAL_TRANSITION,
            f"Session {session.id} is deleted.",
            hint=f"`orch restore {session.id}` brings it back.",
            state=session.state.value,
            allowed=["restore"],
        )
    if worktree is None:
        raise OrchError(
            ErrorKind.CONFLICT,
            f"Session {session.id} has no worktree, so there is no work of its own to bring home.",
            hint="implement and plan work in one; analyze and review leave a report: `orch artifacts list`.",
        )
    project = projects.get(context, session.project_id)
    repository = await projects.open_repository(context, project)
    return _Place(session, project, repository, await projects.shadow_of(context, project, repository), worktree)


async def _settled(context: Context, reference: str) -> _Place:
    """Return the place as it is once nothing half-done of an earlier hub is left."""
    place = await _open(context, reference)
    name = context.settings.project_runtime_dirname
    await undo.recover(context.git, place.repository, place.shadow, name)
    return await _open(context, reference)


def _lock(context: Context, place: _Place) -> asyncio.Lock:
    return context.git.lock(f"checkout {place.repository.path}")


async def _done_before(context: Context, place: _Place, key: str | None) -> ApplyPreview | None:
    """Return what an earlier life of this very request has brought home."""
    if key is None:
        return None
    for record in await undo.records(context.git, place.repository, place.session.id):
        if record.about.get("key") == key:
            return ApplyPreview(files=await undo.files_of(context.git, place.shadow, record), conflicts=[])
    return None


def _said(preview: ApplyPreview) -> str:
    if preview.conflicts:
        return "It would be refused."
    return "It would go through." if preview.files else "The checkout has it all already."


def _undo_hint(session: SessionRecord) -> str:
    return f"`orch apply {session.id} --undo` takes it back."
