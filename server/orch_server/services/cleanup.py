"""The end of a session's life, and the way back: archive, delete, restore, purge.

Whatever changes the world is journalled: the intent says what is being done and how far it has come, and `settle`
either finishes it or takes it back: at once after a failure, and where that fails too (on a full disk, say) again and
again in the background, at the hub's next start, and before the next request for the session. A delete is undone until
its rename and finished after it; a restore and a purge are finished.
"""

import asyncio
import dataclasses
import logging
import os
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from orch_server.domain.errors import ErrorKind, OrchError, invalid_params
from orch_server.domain.events import (
    CleanupPreviewed,
    SessionArchived,
    SessionDeleted,
    SessionPurged,
    SessionRestored,
    SessionUnarchived,
    WorktreeRemoved,
    WorktreeRestored,
)
from orch_server.domain.session import ENDED, LIVE, Reason, State, check_transition
from orch_server.git import trash
from orch_server.git.inventory import read_head, read_ref
from orch_server.git.trash import Trashed
from orch_server.git.wip import wip_ref
from orch_server.git.worktree import Worktree
from orch_server.services import previews, projects, reconcile, sessions, turns, wip
from orch_server.services.again import until_done
from orch_server.services.context import Caller, Context, RequestKey
from orch_server.services.previews import Preview
from orch_server.services.worktrees import worktree_of
from orch_server.settings.crashpoint import crashpoint
from orch_server.store.records import Intent, SessionRecord
from orch_server.store.transaction import Transaction

log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")

DELETE, RESTORE, REBUILD, PURGE = "delete", "restore", "rebuild", "purge"
KINDS = frozenset({DELETE, RESTORE, REBUILD, PURGE})
HUB_STARTS_KEPT = 2
_LOOK_SECONDS = 60.0
_SNAPSHOT_EVERY = 5  # looks
_PURGE_EVERY = 60  # looks
_WAITING = frozenset({Reason.WAITING_FOR_CLIENT, Reason.QUEUED_BY_LIMIT, Reason.PARKED_UNTIL_RESET})


@dataclass(frozen=True, slots=True)
class Deleted:
    """A session in the trash, and until when it stays there at least; None once it is purged."""

    session: SessionRecord
    kept_until: str | None


# -- the use cases ----------------------------------------------------------------------------------------------


async def archive(context: Context, caller: Caller, reference: str) -> SessionRecord:
    """Put an ended session away: it is hidden and takes no further texts. Nothing of it is removed."""
    session_id = sessions.find(context, reference).id

    def work(transaction: Transaction) -> SessionRecord:
        session = transaction.session(session_id)
        _put_away(transaction, session, State.ARCHIVED)
        transaction.tell(session, lambda snapshot: SessionArchived(session=snapshot))
        _keep_reply(transaction, caller.request_key, session)
        return session

    async with context.lock(session_id):
        session = await _settled(context, session_id)
        if session.state == State.ARCHIVED:
            return session
        await _make_quiet(context, session, State.ARCHIVED)
        crashpoint("archive.quiet")
        return await context.store.write(work)


async def unarchive(context: Context, caller: Caller, reference: str) -> SessionRecord:
    """Bring an archived session back to the state it was in."""
    session_id = sessions.find(context, reference).id

    def work(transaction: Transaction) -> SessionRecord:
        session = transaction.session(session_id)
        if session.state != State.ARCHIVED or session.state_before is None:
            raise _illegal(session, "is not archived", "`orch sessions list --archived` shows those that are.")
        state, session.state_before = session.state_before, None
        transaction.move(session, state, session.reason, session.message)
        transaction.tell(session, lambda snapshot: SessionUnarchived(session=snapshot))
        _keep_reply(transaction, caller.request_key, session)
        return session

    async with context.lock(session_id):
        await _settled(context, session_id)
        return await context.store.write(work)


async def preview(context: Context, reference: str) -> Preview:
    """Return what a delete of the session would take away."""
    session_id = sessions.find(context, reference).id
    async with context.lock(session_id):
        session = await _settled(context, session_id)
    made = await previews.make(context, session)
    event = CleanupPreviewed(token=made.token)
    await context.store.write(lambda transaction: transaction.emit(event, session=transaction.session(session_id)))
    return made


async def delete(
    context: Context, reference: str, *, drop_branch: bool = False, token: str | None = None, purge: bool = False
) -> Deleted:
    """Move a session into the trash, or with `purge` remove what is there for good.

    With a token it acts on exactly what the preview showed, and else raises stalePreview. A session that is in the
    trash already is left as it is.
    """
    session_id = sessions.find(context, reference).id
    if purge and token is None:
        raise invalid_params(
            "A purge needs the token of a preview.",
            hint="`orch/session/cleanupPreview` gives it: what is purged cannot be restored.",
        )

    async def work() -> Deleted:
        async with context.lock(session_id):
            session = await _settled(context, session_id)
            if session.purged_at is not None or (session.state == State.DELETED and not purge):
                return _deleted(context, session)
            if session.state != State.DELETED:
                await _make_quiet(context, session, State.DELETED)
            await _check_token(context, session_id, token)
            if session.state != State.DELETED:
                await _throw_away(context, session_id, drop_branch=drop_branch, then_purge=purge)
            elif purge:
                await _purge(context, session_id)
            return _deleted(context, _present(context, session_id))

    return await _to_the_end(context, work())


async def restore(context: Context, caller: Caller, reference: str) -> SessionRecord:
    """Bring a session back from the trash, or the worktree of one whose directory was removed behind our back."""
    session_id = sessions.find(context, reference).id

    async def work() -> SessionRecord:
        async with context.lock(session_id):
            session = await _settled(context, session_id)
            if session.purged_at is not None:
                raise _illegal(session, "was purged", "Nothing is left of it.")
            key = None if caller.request_key is None else dataclasses.asdict(caller.request_key)
            if session.state == State.DELETED:
                await _begin(context, session_id, RESTORE, {"key": key})
            else:
                commit = await _what_is_missing(context, session)
                await _begin(context, session_id, REBUILD, {"key": key, "commit": commit})
            await settle(context, session_id)
            await reconcile.look(context, session_id)
            return _present(context, session_id)

    return await _to_the_end(context, work())


async def recover(context: Context) -> None:
    """Finish or undo what an earlier hub left under way."""
    for session_id in {intent.session_id for intent in context.store.intents() if intent.kind in KINDS}:
        assert session_id is not None
        await _try_to_settle(context, session_id)


async def settle_before(context: Context, reference: str) -> None:
    """Settle what an earlier request left under way for a session, before one that is not about its cleanup."""
    session_id = sessions.find(context, reference).id
    if _under_way(context, session_id):
        async with context.lock(session_id):
            await settle(context, session_id)


async def purge_expired(context: Context) -> None:
    """Remove for good what was in the trash for long enough. Nothing else is ever removed without being asked.

    A clock may be wrong: what is over must have been over in the life of an earlier hub already.
    """
    moment = datetime.now(UTC)
    epoch = int(context.store.fact("epoch") or 0)
    cursor: int | None = None
    while True:
        page, cursor = context.store.sessions(states=[State.DELETED], before=cursor)
        for session in page:
            about = session.trash or {}
            over = bool(about) and datetime.fromisoformat(about["keptUntil"]) < moment
            if over != ("overIn" in about):
                await context.store.write(partial(_note_over, session_id=session.id, epoch=epoch if over else None))
            elif over and epoch - about["epoch"] >= HUB_STARTS_KEPT and about["overIn"] < epoch:
                async with context.lock(session.id):
                    if _present(context, session.id).state == State.DELETED:
                        await _purge(context, session.id)
        if cursor is None:
            return


async def tend(context: Context) -> None:
    """Look after all sessions until cancelled: flags, snapshots of running work, what turns left, the trash."""
    seen: dict[str, reconcile.Signature] = {}
    number = 0
    while True:
        try:
            await reconcile.look_around(context, seen)
            if number % _PURGE_EVERY == 0:
                await purge_expired(context)
            if number and number % _SNAPSHOT_EVERY == 0:
                await wip.take_all(context)
                await turns.keep_all(context)  # what a full disk kept from being kept
        except (OrchError, OSError) as error:
            log.warning("Not all sessions could be looked after: %s", error)
        number += 1
        await asyncio.sleep(_LOOK_SECONDS)


# -- the journal ------------------------------------------------------------------------------------------------


async def settle(context: Context, session_id: str) -> None:
    """Bring what is under way for a session to its end, or take it back. The session's lock is held."""
    for intent in _under_way(context, session_id):
        log.info("Settling the %s of %s", intent.kind, session_id)
        await _carry_on(context, intent)


def _under_way(context: Context, session_id: str) -> list[Intent]:
    return [intent for intent in context.store.intents() if intent.session_id == session_id and intent.kind in KINDS]


async def _carry_on(context: Context, intent: Intent) -> None:
    """Finish what an intent says, or take it back; where that fails it is tried again."""
    try:
        await _STEPS[intent.kind](context, intent)
    except (OrchError, OSError):
        _go_on_later(context, _subject(intent))
        raise


def _go_on_later(context: Context, session_id: str) -> None:
    """Try again until nothing is under way: space may come back, and nobody need ask for the session then."""
    if session_id in context.unfinished or not _under_way(context, session_id):
        return

    async def go_on() -> None:
        try:
            await until_done(lambda: _try_to_settle(context, session_id))
        finally:
            context.unfinished.discard(session_id)

    context.unfinished.add(session_id)
    context.spawn(go_on())


async def _try_to_settle(context: Context, session_id: str) -> bool:
    async with context.lock(session_id):
        try:
            await settle(context, session_id)
        except (OrchError, OSError) as error:
            log.warning("The cleanup of %s goes on later: %s", session_id, error)
            return False
    return True


async def _begin(context: Context, session_id: str, kind: str, data: dict[str, Any]) -> Intent:
    intent = Intent(f"{kind}-{session_id}-{secrets.token_hex(4)}", kind, session_id, data)
    await context.store.write(lambda transaction: transaction.intend(intent))
    crashpoint("cleanup.begun")
    return intent


async def _throw_away(context: Context, session_id: str, *, drop_branch: bool, then_purge: bool) -> None:
    """Do a delete from its first step; what fails before the rename is undone at once."""
    session = _present(context, session_id)
    worktree = worktree_of(session)
    data: dict[str, Any] = {"trashed": None, "purge": then_purge, "prepared": False}
    if worktree is None:
        data["prepared"] = True
    else:
        data["trashed"] = Trashed(worktree, _runtime_dir(context), _manifest(context, session_id), False).as_json()
    intent = await _begin(context, session_id, DELETE, data)
    try:
        if worktree is not None:
            await _prepare(context, intent, worktree, drop_branch=drop_branch)
        await _delete_on(context, intent)
    except (OrchError, OSError):
        await _carry_on(context, intent)
        if _present(context, session_id).state != State.DELETED:
            raise


async def _prepare(context: Context, intent: Intent, worktree: Worktree, *, drop_branch: bool) -> None:
    assert intent.session_id is not None
    repository, shadow = await previews.open_git(context, _present(context, intent.session_id))
    trashed = await trash.prepare(
        context.git,
        repository,
        shadow,
        worktree,
        runtime_dir=_runtime_dir(context),
        manifests=os.path.dirname(_manifest(context, intent.session_id)),
        drop_branch=drop_branch,
    )
    crashpoint("delete.pinned")
    intent.data.update(trashed=trashed.as_json(), prepared=True)
    await context.store.write(lambda transaction: transaction.advance(intent.id, intent.data))
    crashpoint("delete.prepared")


async def _delete_on(context: Context, intent: Intent) -> None:
    """Finish a delete whose preparation is recorded."""
    session_id, trashed = _subject(intent), _trashed(intent)
    if trashed is not None:
        await trash.move(trashed)
        crashpoint("delete.moved")
        await trash.settle(context.git, trashed)
        crashpoint("delete.settled")

    def work(transaction: Transaction) -> None:
        session = transaction.session(session_id)
        session.trash = {
            "trashed": None if trashed is None else trashed.as_json(),
            "keptUntil": previews.kept_until(context, session),
            "epoch": int(context.store.fact("epoch") or 0),
            "archived": session.state == State.ARCHIVED,
        }
        _put_away(transaction, session, State.DELETED)
        if trashed is not None and trashed.present:
            removed = WorktreeRemoved(path=trashed.worktree.path, branch=trashed.worktree.branch)
            transaction.emit(removed, session=session)
        session.worktree_path = None
        transaction.tell(session, lambda snapshot: SessionDeleted(session=snapshot))
        transaction.fulfil(intent.id)
        if intent.data["purge"]:
            transaction.intend(Intent(f"{PURGE}-{session_id}-{secrets.token_hex(4)}", PURGE, session_id, {}))

    await context.store.write(work)
    crashpoint("delete.done")
    if intent.data["purge"]:
        await settle(context, session_id)


async def _delete_or_undo(context: Context, intent: Intent) -> None:
    trashed = _trashed(intent)
    under_way = trashed is None or not trashed.present or await trash.is_moved(trashed)
    if intent.data["prepared"] and under_way:
        await _delete_on(context, intent)
        return
    if trashed is not None:
        await trash.undo(context.git, trashed)
    crashpoint("delete.undone")
    await context.store.write(lambda transaction: transaction.fulfil(intent.id))


async def _restore_on(context: Context, intent: Intent) -> None:
    """Finish a restore; where the directory cannot be put back it stays in the trash."""
    session_id = _subject(intent)
    session = _present(context, session_id)
    assert session.trash is not None
    kept = session.trash["trashed"]
    trashed = Trashed.from_json(kept) if kept is not None else None
    made: Worktree | None = None
    if trashed is not None:
        _, shadow = await previews.open_git(context, session)
        try:
            made = await trash.bring_back(context.git, shadow, trashed)
        except (OrchError, OSError):
            if await trash.is_moved(trashed) or not await asyncio.to_thread(os.path.lexists, trashed.worktree.path):
                await context.store.write(lambda transaction: transaction.fulfil(intent.id))
            raise
        crashpoint("restore.moved")

    def work(transaction: Transaction) -> None:
        draft = transaction.session(session_id)
        assert draft.trash is not None
        assert draft.state_before is not None
        state = State.ARCHIVED if draft.trash["archived"] else draft.state_before
        draft.state_before, draft.trash = (draft.state_before if draft.trash["archived"] else None), None
        if made is not None:
            _take_over(transaction, draft, made, present=trashed is not None and trashed.present)
        transaction.move(draft, state, draft.reason, draft.message)
        transaction.tell(draft, lambda snapshot: SessionRestored(session=snapshot))
        _keep_reply(transaction, _key(intent), draft)
        if trashed is None:
            transaction.fulfil(intent.id)
        else:
            transaction.advance(intent.id, {"forget": trashed.as_json()})

    await context.store.write(work)
    crashpoint("restore.recorded")
    if trashed is not None:
        await _forget(context, intent, trashed)


async def _forget(context: Context, intent: Intent, trashed: Trashed) -> None:
    await trash.forget(context.git, trashed)
    await context.store.write(lambda transaction: transaction.fulfil(intent.id))
    crashpoint("restore.done")


async def _restore_or_forget(context: Context, intent: Intent) -> None:
    if "forget" in intent.data:
        await _forget(context, intent, Trashed.from_json(intent.data["forget"]))
    else:
        await _restore_on(context, intent)


async def _rebuild_on(context: Context, intent: Intent) -> None:
    """Make a removed worktree anew from its newest snapshot."""
    session_id = _subject(intent)
    session = _present(context, session_id)
    worktree = worktree_of(session)
    assert worktree is not None
    project = projects.get(context, session.project_id)
    try:
        repository = await projects.open_repository(context, project)
        shadow = await projects.shadow_of(context, project, repository)
        runtime_dir_name = _runtime_dir(context)
        commit = intent.data["commit"]
        made = await trash.rebuild(context.git, shadow, worktree, commit, None, runtime_dir_name=runtime_dir_name)
    except (OrchError, OSError):
        await context.store.write(lambda transaction: transaction.fulfil(intent.id))
        raise
    crashpoint("rebuild.made")

    def work(transaction: Transaction) -> None:
        draft = transaction.session(session_id)
        _take_over(transaction, draft, made, present=True)
        _keep_reply(transaction, _key(intent), draft)
        transaction.fulfil(intent.id)

    await context.store.write(work)


async def _purge(context: Context, session_id: str) -> None:
    await _begin(context, session_id, PURGE, {})
    await settle(context, session_id)


async def _purge_on(context: Context, intent: Intent) -> None:
    """Finish a purge: the files first, then the words, last what the hub itself still wrote."""
    session_id = _subject(intent)
    session = _present(context, session_id)
    if session.trash is not None and session.trash["trashed"] is not None:
        await trash.destroy(context.git, Trashed.from_json(session.trash["trashed"]))
        crashpoint("purge.destroyed")
    if session.purged_at is None:

        def work(transaction: Transaction) -> None:
            draft = transaction.session(session_id)
            transaction.empty(draft)
            transaction.tell(draft, lambda snapshot: SessionPurged(session=snapshot))

        await context.store.write(work)
        crashpoint("purge.emptied")
    await asyncio.to_thread(_remove_words, context, session)
    crashpoint("purge.removed")
    await context.store.write(lambda transaction: transaction.fulfil(intent.id))


_STEPS = {DELETE: _delete_or_undo, RESTORE: _restore_or_forget, REBUILD: _rebuild_on, PURGE: _purge_on}


# -- parts ------------------------------------------------------------------------------------------------------


async def _settled(context: Context, session_id: str) -> SessionRecord:
    await settle(context, session_id)
    return _present(context, session_id)


async def _make_quiet(context: Context, session: SessionRecord, wanted: State) -> None:
    """Refuse a session that is at work; end the idle process of one that is not, and wait for what is being kept."""
    if session.state in {*LIVE, State.CREATED}:
        verb = "archived" if wanted == State.ARCHIVED else "deleted"
        raise _illegal(session, f"is {session.state} and cannot be {verb}", f"`orch stop {session.id}` comes first.")
    check_transition(session.state, wanted)
    if session.reason in _WAITING:  # or it would be started while it is being taken away
        await context.store.write(lambda transaction: _wait_no_more(transaction, session.id))
    if session.id in context.bring_ups or session.id in context.unsettled:
        raise OrchError(
            ErrorKind.BUSY, f"Session {session.id} is being started.", hint=f"`orch stop {session.id}` comes first."
        )
    parked = context.governor.parked.pop(session.id, None)
    if parked is not None:
        parked.cancel()
    live = context.live.get(session.id)
    if live is not None:
        await live.stop("idle")
    async with context.lock(f"turns of {session.id}"):
        pass


async def _check_token(context: Context, session_id: str, token: str | None) -> None:
    if token is None:
        return
    now = await previews.make(context, _present(context, session_id))
    if now.token != token:
        raise OrchError(
            ErrorKind.STALE_PREVIEW,
            f"Session {session_id} is not as the preview showed it. Nothing was touched.",
            hint="`preview` in the data shows it as it is now, with a new token.",
            preview=now.model_dump(mode="json", by_alias=True),
        )


async def _what_is_missing(context: Context, session: SessionRecord) -> str:
    """Return the commit from which a removed worktree is made anew; refuse where none was removed."""
    worktree = worktree_of(session)
    if session.state in LIVE:
        raise _illegal(session, f"is {session.state}", f"`orch stop {session.id}` comes first.")
    if worktree is None or await asyncio.to_thread(os.path.lexists, worktree.path):
        raise _illegal(session, "is not deleted, and its worktree is in its place", "There is nothing to restore.")
    saved = await read_ref(context.git, worktree.common_dir, wip_ref(session.id))
    head, _ = await read_head(context.git, worktree)
    if saved is not None and head is not None:
        # What was committed after the last snapshot is newer than it.
        taken_at = await read_ref(context.git, worktree.common_dir, f"{saved}^2") or await read_ref(
            context.git, worktree.common_dir, f"{saved}^1"
        )
        saved = saved if taken_at == head else head
    return saved or head or worktree.base


def _note_over(transaction: Transaction, *, session_id: str, epoch: int | None) -> None:
    """Note in the life of which hub the retention was over first, or that by now it is not."""
    session = transaction.session(session_id)
    if session.trash is not None:
        kept = {name: value for name, value in session.trash.items() if name != "overIn"}
        session.trash = kept if epoch is None else {**kept, "overIn": epoch}


def _wait_no_more(transaction: Transaction, session_id: str) -> None:
    session = transaction.session(session_id)
    if session.reason in _WAITING:
        transaction.move(session, session.state, None)


def _put_away(transaction: Transaction, session: SessionRecord, state: State) -> None:
    if session.state in ENDED:  # and not archived before it is deleted
        session.state_before = session.state
    transaction.move(session, state, session.reason, session.message)


def _take_over(transaction: Transaction, session: SessionRecord, made: Worktree, *, present: bool) -> None:
    session.worktree, session.branch = dataclasses.asdict(made), made.branch
    session.worktree_path = made.path
    if present:
        transaction.emit(WorktreeRestored(path=made.path, branch=made.branch), session=session)


def _remove_words(context: Context, session: SessionRecord) -> None:
    home = os.path.realpath(context.places.home)
    for run in context.store.runs_of(session.id):
        trash.remove_directory(home, "runs", run.id)
    if os.path.isdir(context.places.pages):
        trash.remove_directory(home, "pages", session.id)
    project = context.store.project(session.project_id)
    if project is not None:
        root = os.path.join(project.path, _runtime_dir(context))
        for part, name in (("artifacts", session.id), ("logs", f"{session.id}.log")):
            if os.path.isdir(root):
                trash.remove_directory(root, part, name)


def _deleted(context: Context, session: SessionRecord) -> Deleted:
    return Deleted(session, None if session.purged_at is not None else previews.kept_until(context, session))


def _trashed(intent: Intent) -> Trashed | None:
    values = intent.data["trashed"]
    return Trashed.from_json(values) if values is not None else None


def _key(intent: Intent) -> RequestKey | None:
    return RequestKey(**intent.data["key"]) if intent.data["key"] is not None else None


def _subject(intent: Intent) -> str:
    assert intent.session_id is not None
    return intent.session_id


def _present(context: Context, session_id: str) -> SessionRecord:
    session = context.store.session(session_id)
    assert session is not None
    return session


def _runtime_dir(context: Context) -> str:
    return context.settings.project_runtime_dirname


def _manifest(context: Context, session_id: str) -> str:
    return os.path.join(context.places.home, "trash", f"{session_id}.json")


def _keep_reply(transaction: Transaction, key: RequestKey | None, session: SessionRecord) -> None:
    if key is not None:
        transaction.claim_key(key.key, key.method, key.digest, session.id)


def _illegal(session: SessionRecord, why: str, hint: str) -> OrchError:
    allowed = {State.ARCHIVED: ["unarchive", "delete"], State.DELETED: ["restore"]}
    fallback = ["stop"] if session.state not in ENDED else ["archive", "delete"]
    return OrchError(
        ErrorKind.ILLEGAL_TRANSITION,
        f"Session {session.id} {why}.",
        hint=hint,
        state=session.state.value,
        allowed=allowed.get(session.state, fallback),
    )


async def _to_the_end(context: Context, work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Await `work`, which goes on to its end even if the request is cancelled."""
    outcome: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()

    async def go_on() -> None:
        try:
            outcome.set_result(await work)
        except Exception as error:
            outcome.set_exception(error)

    context.spawn(go_on())
    return await asyncio.shield(outcome)
