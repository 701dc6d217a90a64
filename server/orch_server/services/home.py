"""Bringing a session's work home: a commit on its branch, and its work in the project's own checkout."""

import asyncio
import logging
import uuid

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.session import State, refuse_put_away
from orch_server.git import apply as git_apply
from orch_server.git import undo
from orch_server.git.apply import Strategy, Work
from orch_server.git.checkout import ApplyPreview
from orch_server.git.commit import Committed
from orch_server.git.commit import commit as git_commit
from orch_server.git.identity import as_user
from orch_server.git.inventory import read_head
from orch_server.services import homecoming, projects, sessions
from orch_server.services.again import until_done
from orch_server.services.context import Caller, Context, RequestKey
from orch_server.services.homecoming import KINDS, Applied, Place
from orch_server.services.worktrees import worktree_of
from orch_server.store.records import SessionRecord

log = logging.getLogger(__name__)


async def commit(context: Context, caller: Caller, reference: str, message: str | None) -> Committed:
    """Commit all that lies in a session's worktree on its branch, as the user."""
    place = await _open(context, reference)
    async with _lock(context, place):
        place = await _settled(context, reference)
        if (reply := await homecoming.reply_to(context, caller.request_key)) is not None:
            return Committed.model_validate_json(reply)
        return await _commit(context, caller, place, message, caller.request_key)


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
        if (reply := await homecoming.reply_to(context, caller.request_key)) is not None:
            return Applied.model_validate_json(reply)
        outcome = await git_apply.prepare(context.git, place.repository, place.shadow, work)
        program = context.git
        if strategy is not Strategy.PATCH and not outcome.preview.conflicts and not outcome.is_nothing:
            program = await as_user(context.git, place.repository, caller.environment)
            await _commit(context, caller, place, None, None)
            outcome = await git_apply.prepare(program, place.repository, place.shadow, work)
        if outcome.is_nothing and not outcome.preview.conflicts:
            return Applied(preview=outcome.preview, applied=False, message=_said(outcome.preview))
        mark = uuid.uuid4().hex
        await homecoming.begin(context, place, homecoming.APPLY, mark, caller.request_key)
        try:
            await git_apply.apply(program, place.repository, place.shadow, work, outcome, key=mark)
        finally:
            await _settle(context, place)
    return homecoming.applied(place.session.id, outcome.preview.files)


async def take_back(context: Context, caller: Caller, reference: str, *, preview: bool) -> Applied:
    """Take the last application of a session's work back, or show what that would do."""
    place = await _open(context, reference)
    async with _lock(context, place):
        place = await _settled(context, reference)
        if (reply := await homecoming.reply_to(context, caller.request_key)) is not None:
            return Applied.model_validate_json(reply)
        found = await undo.records(context.git, place.repository, place.session.id)
        if not found:
            raise OrchError(
                ErrorKind.CONFLICT,
                f"Nothing of session {place.session.id} was applied, or it was taken back.",
                hint="`orch apply` brings its work into the checkout.",
            )
        seen = await undo.look_back(context.git, place.repository, place.shadow, found[-1])
        if preview:
            return Applied(preview=seen, applied=False, message=_said(seen))
        await homecoming.begin(context, place, homecoming.UNDO, found[-1].name, caller.request_key)
        try:
            name = context.settings.project_runtime_dirname
            await undo.take_back(context.git, place.repository, place.shadow, found[-1], name)
        finally:
            await _settle(context, place)
    return homecoming.undone(seen.files)


async def recover(context: Context) -> None:
    """Settle what a killed hub left in the middle: the applications in the checkouts, and what was not told yet."""
    unsettled = {intent.session_id for intent in context.store.intents() if intent.kind in KINDS}
    for project in context.store.projects(limit=1_000):
        try:
            if undo.is_interrupted(project.path, context.settings.project_runtime_dirname):
                repository = await projects.open_repository(context, project)
                shadow = await projects.shadow_of(context, project, repository)
                async with context.git.lock(f"checkout {repository.path}"):
                    await undo.recover(context.git, repository, shadow, context.settings.project_runtime_dirname)
        except (OrchError, OSError) as error:
            log.warning("An application in %s is settled later: %s", project.path, error)
    for session_id in unsettled:
        assert session_id is not None
        if not await _try_to_settle(context, session_id):
            context.spawn(_settle_later(context, session_id))


def commit_message(session: SessionRecord) -> str:
    """Return what a commit says that the user gave no message for: the title, and the prompt if it says more."""
    title = session.title.strip().splitlines()[0]
    prompt = session.prompt.strip()
    return title if prompt in {"", title} else f"{title}\n\n{prompt}"


async def _commit(
    context: Context, caller: Caller, place: Place, message: str | None, key: RequestKey | None
) -> Committed:
    program = await as_user(context.git, place.repository, caller.environment)
    words = (message or "").strip() or commit_message(place.session)
    before, _ = await read_head(context.git, place.worktree)
    await homecoming.begin(context, place, homecoming.COMMIT, before or "", key)
    try:
        return await git_commit(
            program, place.repository, place.shadow, place.worktree, message=words, trusted=place.project.trusted
        )
    finally:
        await _settle(context, place)


async def _open(context: Context, reference: str) -> Place:
    session = sessions.find(context, reference)
    worktree = worktree_of(session)
    if session.state == State.DELETED:
        refuse_put_away(session, "bring its work home")
    if worktree is None:
        raise OrchError(
            ErrorKind.CONFLICT,
            f"Session {session.id} has no worktree, so there is no work of its own to bring home.",
            hint="implement and plan work in one; analyze and review leave a report: `orch artifacts list`.",
        )
    project = projects.get(context, session.project_id)
    repository = await projects.open_repository(context, project)
    return Place(session, project, repository, await projects.shadow_of(context, project, repository), worktree)


async def _settled(context: Context, reference: str) -> Place:
    """Return the place as it is once nothing half-done of an earlier hub is left."""
    place = await _open(context, reference)
    name = context.settings.project_runtime_dirname
    await undo.recover(context.git, place.repository, place.shadow, name)
    place = await _open(context, reference)
    await homecoming.settle(context, place)
    return place


async def _settle(context: Context, place: Place) -> None:
    """Tell what was done; where that cannot be written down, on a full disk, as soon as it can."""
    try:
        await homecoming.settle(context, place)
    except OrchError as error:
        log.warning("What came home of %s is told later: %s", place.session.id, error)
        context.spawn(_settle_later(context, place.session.id))


async def _settle_later(context: Context, session_id: str) -> None:
    await until_done(lambda: _try_to_settle(context, session_id))


async def _try_to_settle(context: Context, session_id: str) -> bool:
    try:
        async with _lock(context, await _open(context, session_id)):
            await _settled(context, session_id)
    except (OrchError, OSError) as error:
        log.warning("What came home of %s cannot be told yet: %s", session_id, error)
        return False
    return True


def _lock(context: Context, place: Place) -> asyncio.Lock:
    return context.git.lock(f"checkout {place.repository.path}")


def _said(preview: ApplyPreview) -> str:
    if preview.conflicts:
        return "It would be refused."
    return "It would go through." if preview.files else "The checkout has it all already."
