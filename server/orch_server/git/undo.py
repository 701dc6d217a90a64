"""What an application replaced in the project's checkout, kept in the project, and brought back on demand.

A record `refs/orch/undo/<session>/<n>` is a commit with the exact bytes of the touched files as the application left
them; its parent has them as they were before, and its message says the rest as JSON. Taken back, it goes on under
`refs/orch/undone`.
"""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git import checkout
from orch_server.git.checkout import ApplyPreview, exchange_files, look, make_ready, refusal
from orch_server.git.command import TIMEOUT, Git, run, visible
from orch_server.git.diff import DiffFile, list_files
from orch_server.git.exchange import PLACE, Change, Exchange, Heads, content_name
from orch_server.git.index import scratch_index
from orch_server.git.objects import NOTHING, Conflict, ConflictKind, carry_over, changed, make_commit, tree_of
from orch_server.git.refs import Update, update_refs
from orch_server.git.repository import Repository, check_identity
from orch_server.git.shadow import Shadow
from orch_server.settings.crashpoint import crashpoint

UNDO = "refs/orch/undo"
UNDONE = "refs/orch/undone"


@dataclass(frozen=True, slots=True)
class Record:
    """An application that can be taken back: its ref, its commit, and what is known about it."""

    name: str
    commit: str
    heads: Heads
    about: Mapping[str, Any]


async def keep(
    git: Git,
    repository: Repository,
    shadow: Shadow,
    made: Exchange,
    changes: Sequence[Change],
    heads: Heads,
    *,
    session_id: str,
    about: Mapping[str, Any],
) -> str:
    """Record what an exchange is about to replace, and return the record's name.

    The plan of the exchange is written first: a record that nobody carried out is known by it, and set aside.
    """
    before = await _exact_tree(git, shadow, repository.path, [item.path for item in changes if item.before])
    after = await _exact_tree(git, shadow, made.new, [item.path for item in changes if item.after])
    message = json.dumps({**about, "heads": [heads.before, heads.after]}).encode("ascii")
    old = await make_commit(git, shadow, before, (), b"Before\n")
    new = await make_commit(git, shadow, after, (old,), message)
    await carry_over(git, repository, shadow, [old, new], [before, after], [])
    used = [*await _names(git, repository, UNDO, session_id), *await _names(git, repository, UNDONE, session_id)]
    name = f"{UNDO}/{session_id}/{max(map(_number, used), default=0) + 1}"
    await asyncio.to_thread(made.write_plan, changes, heads, name)
    crashpoint("apply.planned")
    await update_refs(git, repository.target(), [Update(name, new, "")])
    return name


async def records(git: Git, repository: Repository, session_id: str) -> list[Record]:
    """Return what can be taken back of a session, oldest first."""
    names = sorted(await _names(git, repository, UNDO, session_id), key=_number)
    return [await _read(git, repository, name) for name in names]


async def undone(git: Git, repository: Repository, shadow: Shadow, session_id: str, name: str) -> Record | None:
    """Return the record of this name if it was taken back, under the name it had; None if it was not.

    A hub may have died when everything was in its place again and the record not yet set aside: that is done here.
    """
    aside = UNDONE + name.removeprefix(UNDO)
    if aside in await _names(git, repository, UNDONE, session_id):
        return replace(await _read(git, repository, aside), name=name)
    if name not in await _names(git, repository, UNDO, session_id):
        return None
    record = await _read(git, repository, name)
    if record.heads.before is not None and repository.head_commit != record.heads.before:
        return None
    after, before = await tree_of(git, shadow, record.commit), await tree_of(git, shadow, f"{record.commit}^")
    for change in await changed(git, shadow, after, before):
        wanted = change.new if change.new_mode != NOTHING else None
        if await asyncio.to_thread(_content, repository, change.path) != wanted:
            return None
    await set_aside(git, repository, name)
    return record


async def files_of(git: Git, shadow: Shadow, record: Record, *, backwards: bool = False) -> list[DiffFile]:
    """Return the files that an application changed, or with `backwards` those that taking it back changes."""
    before, after = await tree_of(git, shadow, f"{record.commit}^"), await tree_of(git, shadow, record.commit)
    return await list_files(git, shadow, after, before) if backwards else await list_files(git, shadow, before, after)


async def look_back(git: Git, repository: Repository, shadow: Shadow, record: Record) -> ApplyPreview:
    """Return which files taking it back would touch, and which of them were changed since."""
    await asyncio.to_thread(check_identity, repository)
    after, before = await tree_of(git, shadow, record.commit), await tree_of(git, shadow, f"{record.commit}^")
    if record.heads.after is not None and repository.head_commit != record.heads.after:
        raise OrchError(
            ErrorKind.CONFLICT,
            "The checkout is at another commit by now than the one that was made there.",
            hint=f"Go back to it, or take it back as a change of its own: `git revert {record.heads.after[:12]}`.",
        )
    touched = await changed(git, shadow, after, before)
    left = {change.path: change.old for change in touched if change.old_mode != NOTHING}
    conflicts = [
        Conflict(path=visible(change.path), kind=ConflictKind.UNCOMMITTED)
        for change in touched
        if await asyncio.to_thread(_content, repository, change.path) != left.get(change.path)
    ]
    return ApplyPreview(files=await list_files(git, shadow, after, before), conflicts=conflicts)


async def take_back(git: Git, repository: Repository, shadow: Shadow, record: Record, runtime_dir: str) -> None:
    """Bring back what was in the checkout before an application; refused where the files were changed since."""
    seen = await look_back(git, repository, shadow, record)
    if seen.conflicts:
        raise refusal(seen)
    after, before = await tree_of(git, shadow, record.commit), await tree_of(git, shadow, f"{record.commit}^")
    touched = await changed(git, shadow, after, before)
    with scratch_index(shadow.directory) as index:
        contents = shadow.target(work_tree=repository.path, index=index, exact=True)
        await run(git, contents, ["read-tree", before], timeout=TIMEOUT)
        made = await make_ready(git, repository, contents, touched, runtime_dir)
    heads = Heads(record.heads.after, record.heads.before)
    changes = await look(repository, made, touched, heads)
    await asyncio.to_thread(made.write_plan, changes, heads, "")
    await exchange_files(git, repository, shadow, made)
    crashpoint("undo.exchanged")
    await set_aside(git, repository, record.name)


async def set_aside(git: Git, repository: Repository, name: str) -> None:
    """Take a record out of those that can be taken back; its bytes stay."""
    found = await run(git, repository.target(), ["rev-parse", "--quiet", "--verify", name], accept=(0, 1))
    if found.status == 0:
        updates = [Update(UNDONE + name.removeprefix(UNDO), found.line), Update(name, "", found.line)]
        await update_refs(git, repository.target(), updates)


def is_interrupted(path: str, runtime_dir: str) -> bool:
    """Tell whether something of an application lies about in a checkout."""
    place = os.path.join(path, runtime_dir, PLACE)
    return os.path.isdir(place) and bool(os.listdir(place))


async def recover(git: Git, repository: Repository, shadow: Shadow, runtime_dir: str) -> None:
    """Settle the applications that a killed hub left in the middle: they are over, or were never begun."""
    for name in await checkout.recover(git, repository, shadow, runtime_dir):
        if name:
            await set_aside(git, repository, name)


async def _exact_tree(git: Git, shadow: Shadow, directory: str, paths: Sequence[str]) -> str:
    """Return the tree of some files of a directory, byte for byte."""
    with scratch_index(shadow.directory) as index:
        target = shadow.target(work_tree=directory, index=index, exact=True)
        if paths:
            stdin = b"".join(os.fsencode(path) + b"\0" for path in paths)
            await run(git, target, ["update-index", "--add", "-z", "--stdin"], stdin=stdin, timeout=TIMEOUT)
        return (await run(git, target, ["write-tree"])).line


async def _read(git: Git, repository: Repository, name: str) -> Record:
    commit = (await run(git, repository.target(), ["rev-parse", "--verify", name])).line
    content = await run(git, repository.target(), ["cat-file", "commit", commit])
    about = json.loads(content.stdout.partition(b"\n\n")[2])
    return Record(name, commit, Heads(*about.pop("heads")), about)


async def _names(git: Git, repository: Repository, kind: str, session_id: str) -> list[str]:
    listed = await run(git, repository.target(), ["for-each-ref", "--format=%(refname)", f"{kind}/{session_id}"])
    return listed.stdout.decode("ascii").splitlines()


def _number(name: str) -> int:
    return int(name.rpartition("/")[2])


def _content(repository: Repository, path: bytes) -> str | None:
    name = content_name(os.path.join(repository.path, os.fsdecode(path)), repository.object_format)
    return None if name is None else name.partition(" ")[2]
