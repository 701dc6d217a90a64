"""Whether files changed while an agent ran that was to change nothing: told, and shown if one of its tools named them.

A read-only session may work in the user's own checkout, where the user works too; so what changed is told of every
turn, and only what a tool of the session named is laid at its door.
"""

import logging
import os

import orjson

from orch_server.domain.errors import OrchError
from orch_server.domain.events import MOST_PATHS, AgentToolStarted, ProjectChangedReadOnly
from orch_server.domain.session import READ_ONLY_ACTIONS, Attention
from orch_server.git.diff import list_files
from orch_server.git.snapshot import snapshot
from orch_server.services import changes, reconcile
from orch_server.services.context import Context
from orch_server.store.records import SessionRecord
from orch_server.store.transaction import Transaction

log = logging.getLogger(__name__)
_ABOUT = frozenset({Attention.READ_ONLY_CHANGED})


async def note_start(context: Context, session_id: str) -> None:
    """Remember the files as they are before an agent starts that is to change nothing."""
    session = context.store.session(session_id)
    if session is None or session.action not in READ_ONLY_ACTIONS:
        return
    try:
        _, shadow, files = await changes.open_files(context, session)
        taken = await snapshot(context.git, shadow, files)
        await context.store.write(lambda transaction: _remember(transaction, session_id, taken.tree))
    except (OrchError, OSError) as error:
        log.warning("Whether %s changes anything will not be seen: %s", session_id, error)


async def check(context: Context, session: SessionRecord) -> None:
    """Look whether files changed since the turn began, and tell it."""
    if session.action not in READ_ONLY_ACTIONS or not session.turn_trees:
        return
    before = session.turn_trees[-1]
    _, shadow, files = await changes.open_files(context, session)
    taken = await snapshot(context.git, shadow, files)
    if taken.tree == before:
        return
    changed = [file.path for file in await list_files(context.git, shadow, before, taken.tree)][:MOST_PATHS]
    named = await _named_by_tools(context, session, files.path)
    attributed = any(path in named for path in changed)
    event = ProjectChangedReadOnly(paths=changed, attributed=attributed)

    def work(transaction: Transaction) -> None:
        transaction.emit(event, session=transaction.session(session.id))
        if session.worktree is None:  # else it is kept with the changes of the worktree
            _remember(transaction, session.id, taken.tree)

    await context.store.write(work)
    if attributed:
        await reconcile.set_attention(context, session.id, _ABOUT, [Attention.READ_ONLY_CHANGED])


def _remember(transaction: Transaction, session_id: str, tree: str) -> None:
    session = transaction.session(session_id)
    if session.turn_trees[-1:] != [tree]:
        session.turn_trees = [*session.turn_trees, tree][-2:]


async def _named_by_tools(context: Context, session: SessionRecord, root: str) -> set[str]:
    """Return the paths that the tools named since the last turn was kept, as they are below the root."""
    named: set[str] = set()
    after = session.kept_seq
    while page := await context.store.events(after, session_id=session.id, types=[AgentToolStarted.type]):
        for event in page:
            paths = orjson.loads(event.json)["data"].get("paths", [])
            named.update(os.path.relpath(os.path.join(root, path), root) for path in paths)
        after = page[-1].seq
    return named
