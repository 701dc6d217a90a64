"""Leases: who wants which paths for itself. Advice to others, never a lock.

An agent that asks for leave to change a leased path is not waved through by `auto_edit`: the user decides. Whoever
holds the path is told when another names it.
"""

import os
from collections.abc import Iterable, Sequence

from orch_server.domain.errors import ErrorKind, OrchError, invalid_params, not_found
from orch_server.domain.events import LeaseClaimed, LeaseContested, LeaseReleased
from orch_server.domain.ids import random_id
from orch_server.domain.lease import Lease
from orch_server.domain.session import State
from orch_server.services import projects
from orch_server.services.context import Context
from orch_server.store.records import SessionRecord
from orch_server.store.transaction import Transaction

_PUT_AWAY = frozenset({State.ARCHIVED, State.DELETED})


async def claim(context: Context, reference: str, holder: SessionRecord | None, paths: Sequence[str]) -> list[Lease]:
    """Have paths of a project held by a session, or by the user; what they hold already is held once."""
    project = projects.get(context, reference)
    if holder is not None and holder.project_id != project.id:
        raise invalid_params(f"Session {holder.id} is not in project {project.slug}.", hint="Name one that is.")
    if holder is not None and holder.state in _PUT_AWAY:
        raise OrchError(
            ErrorKind.CONFLICT,
            f"Session {holder.id} is {holder.state} and can hold nothing.",
            hint="Bring it back first, or claim the path for yourself.",
        )
    wanted = [_inside(path) for path in dict.fromkeys(paths)]
    session_id = holder.id if holder is not None else None

    def work(transaction: Transaction) -> list[Lease]:
        present = _valid(transaction, project.id)
        found = []
        for path in wanted:
            other = next((each for each in present if each.session_id != session_id and _meet(each.path, path)), None)
            if other is not None:
                raise OrchError(
                    ErrorKind.CONFLICT,
                    f"{other.path} is claimed by {_holder(other)} already.",
                    hint=f"`orch unclaim {other.id}` ends that.",
                    lease=other.model_dump(mode="json", by_alias=True),
                )
            same = next((each for each in present if each.path == path), None)
            if same is None:
                same = Lease(
                    id=random_id(), project_id=project.id, session_id=session_id, path=path, created_at=transaction.now
                )
                transaction.add_lease(same)
                draft = transaction.session(session_id) if session_id is not None else None
                transaction.emit(LeaseClaimed(lease=same), session=draft, project_id=project.id)
                present.append(same)
            found.append(same)
        return found

    return await context.store.write(work)


async def release(context: Context, reference: str) -> None:
    """End a lease, by its id or the unique beginning of it."""
    every = [lease for project in context.store.projects(limit=1_000) for lease in context.store.leases(project.id)]
    found = [lease for lease in every if lease.id.startswith(reference)]
    if len(found) != 1:
        raise not_found("lease", reference)

    def work(transaction: Transaction) -> None:
        transaction.drop_lease(found[0].id)
        transaction.emit(LeaseReleased(lease=found[0]), project_id=found[0].project_id)

    await context.store.write(work)


def list_(context: Context, reference: str | None) -> list[Lease]:
    """Return the leases there are, in a project or in all."""
    wanted = [projects.get(context, reference)] if reference is not None else context.store.projects(limit=1_000)
    return [lease for project in wanted for lease in context.store.leases(project.id) if _counts(context, lease)]


def contested(
    transaction: Transaction, session: SessionRecord, root: str, paths: Iterable[str], told: set[tuple[str, str]]
) -> str | None:
    """Return who else holds one of the paths that a session is about to change, in words; None where nobody does.

    The holder is told, once for each lease and path in `told`.
    """
    held = [lease for lease in _valid(transaction, session.project_id) if lease.session_id != session.id]
    words = None
    for path in paths if held else ():
        own = os.path.relpath(os.path.join(root, path), root)
        lease = next((each for each in held if _covers(each.path, own)), None)
        if lease is None:
            continue
        words = words or f"{lease.path} is claimed by {_holder(lease)}."
        if (lease.id, own) not in told:
            told.add((lease.id, own))
            holder = transaction.session(lease.session_id) if lease.session_id is not None else None
            event = LeaseContested(lease=lease, by=session.id, path=own)
            transaction.emit(event, session=holder, project_id=lease.project_id)
    return words


def _valid(transaction: Transaction, project_id: str) -> list[Lease]:
    """Return the leases whose holders are there; those of sessions that were put away rest with them."""
    found = transaction.leases(project_id)
    return [
        each for each in found if each.session_id is None or transaction.session(each.session_id).state not in _PUT_AWAY
    ]


def _counts(context: Context, lease: Lease) -> bool:
    session = context.store.session(lease.session_id) if lease.session_id is not None else None
    return session is None or session.state not in _PUT_AWAY


def _inside(path: str) -> str:
    """Return a path from the top of the project in its plainest form."""
    plain = os.path.normpath(path)
    if not path or "\0" in path or os.path.isabs(plain) or plain.split(os.sep)[0] == "..":
        raise invalid_params(f"{path!r} is no path in the project.", hint="Name it from the top of the project.")
    return plain


def _covers(held: str, path: str) -> bool:
    return held in {".", path} or path.startswith(held + os.sep)


def _meet(one: str, other: str) -> bool:
    return _covers(one, other) or _covers(other, one)


def _holder(lease: Lease) -> str:
    return f"session {lease.session_id}" if lease.session_id is not None else "the user"
