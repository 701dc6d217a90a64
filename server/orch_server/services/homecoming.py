"""What was done to bring a session's work home, told exactly once, also where a hub died in between.

The intent is written down before git does anything. `settle` then finds out from git whether it was done, and commits
the event, the reply under the request's key and the end of the intent together: after a success, before the next
request for the session, and at a hub's start.
"""

import dataclasses
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orch_server.domain.events import MOST_PATHS, CheckoutApplied, CheckoutUndone, EventData, WorktreeCommitted
from orch_server.domain.project import Project
from orch_server.domain.wire import WireModel
from orch_server.git import commit, undo
from orch_server.git.checkout import ApplyPreview
from orch_server.git.commit import Committed
from orch_server.git.diff import DiffFile, list_files
from orch_server.git.inventory import read_head, read_ref
from orch_server.git.repository import Repository
from orch_server.git.shadow import Shadow
from orch_server.git.worktree import Worktree
from orch_server.services.context import Context, RequestKey
from orch_server.store.records import Intent, SessionRecord
from orch_server.store.transaction import Transaction

COMMIT, APPLY, UNDO = "commit", "apply", "undo"
KINDS = frozenset({COMMIT, APPLY, UNDO})


class Applied(WireModel):
    """What was, or would be, brought into the project's checkout."""

    preview: ApplyPreview
    applied: bool
    message: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session's work is, and where it is to come."""

    session: SessionRecord
    project: Project
    repository: Repository
    shadow: Shadow
    worktree: Worktree


@dataclass(frozen=True, slots=True)
class _Done:
    event: EventData
    reply: WireModel


async def begin(context: Context, place: Place, kind: str, mark: str, key: RequestKey | None) -> None:
    """Write down what is about to be done; by `mark` git tells afterwards whether it was."""
    data = {"mark": mark, "key": None if key is None else dataclasses.asdict(key)}
    intent = Intent(f"{kind}-{place.session.id}-{secrets.token_hex(4)}", kind, place.session.id, data)
    await context.store.write(lambda transaction: transaction.intend(intent))


async def settle(context: Context, place: Place) -> None:
    """Tell what of the session's work came home since it was written down. The lock of the checkout is held."""
    for intent in context.store.intents():
        if intent.session_id == place.session.id and intent.kind in KINDS:
            done = await _FINDERS[intent.kind](context, place, intent.data["mark"])
            await context.store.write(lambda transaction, i=intent, d=done: _record(transaction, place, i, d))  # type: ignore[misc]


async def reply_to(context: Context, key: RequestKey | None) -> bytes | None:
    """Return the reply to a request that had its effect before the hub could answer it."""
    if key is None:
        return None
    kept = await context.store.write(lambda transaction: transaction.kept_reply(key.key))
    return kept.reply if kept is not None else None


def applied(session_id: str, files: list[DiffFile]) -> Applied:
    """Return the reply to an application that went through."""
    preview = ApplyPreview(files=files, conflicts=[])
    return Applied(preview=preview, applied=True, message=f"`orch apply {session_id} --undo` takes it back.")


def undone(files: list[DiffFile]) -> Applied:
    """Return the reply to an application that was taken back."""
    preview = ApplyPreview(files=files, conflicts=[])
    return Applied(preview=preview, applied=True, message="The checkout is as it was before.")


def _record(transaction: Transaction, place: Place, intent: Intent, done: _Done | None) -> None:
    if done is not None:
        session = transaction.session(place.session.id)
        transaction.emit(done.event, session=session)
        if intent.data["key"] is not None:
            key = RequestKey(**intent.data["key"])
            transaction.claim_key(key.key, key.method, key.digest, session.id, done.reply.json_bytes())
    transaction.fulfil(intent.id)


async def _committed(context: Context, place: Place, before: str) -> _Done | None:
    await commit.recover(place.worktree)
    tip, _ = await read_head(context.git, place.worktree)
    if tip is None or await read_ref(context.git, place.worktree.common_dir, f"{tip}^1") != before:
        return None
    files = await list_files(context.git, place.shadow, before, tip)
    worktree = place.worktree
    event = WorktreeCommitted(
        path=worktree.path, branch=worktree.branch, commit=tip, files=len(files), paths=_paths(files)
    )
    return _Done(event, Committed(commit=tip, files=files))


async def _applied(context: Context, place: Place, key: str) -> _Done | None:
    found = await undo.records(context.git, place.repository, place.session.id)
    record = next((record for record in found if record.about.get("key") == key), None)
    if record is None:
        return None
    files = await undo.files_of(context.git, place.shadow, record)
    event = CheckoutApplied(
        strategy=record.about["strategy"],
        commit=record.heads.after,
        files=len(files),
        paths=_paths(files),
        record=record.name,
    )
    return _Done(event, applied(place.session.id, files))


async def _undone(context: Context, place: Place, name: str) -> _Done | None:
    record = await undo.undone(context.git, place.repository, place.shadow, place.session.id, name)
    if record is None:
        return None
    files = await undo.files_of(context.git, place.shadow, record, backwards=True)
    event = CheckoutUndone(files=len(files), paths=_paths(files), record=record.name)
    return _Done(event, undone(files))


_FINDERS: dict[str, Any] = {COMMIT: _committed, APPLY: _applied, UNDO: _undone}


def _paths(files: Sequence[DiffFile]) -> list[str]:
    return [file.path for file in files[:MOST_PATHS]]
