"""What is kept when a turn has ended: the changes, the artifacts, the words to search in."""

import logging
from functools import partial

from orch_server.domain.artifact import ArtifactKind
from orch_server.domain.errors import OrchError
from orch_server.domain.session import Action, State
from orch_server.services import artifacts, changes, readonly, reconcile, transcript, wip
from orch_server.services.artifacts import Content
from orch_server.services.changes import Against
from orch_server.services.context import Context
from orch_server.services.named_files import named_files
from orch_server.services.transcript import Entry, EntryKind, Piece, Role
from orch_server.services.worktrees import worktree_of
from orch_server.settings.crashpoint import crashpoint
from orch_server.store.records import SessionRecord
from orch_server.store.transaction import Transaction

log = logging.getLogger(__name__)

_ANSWERS = {
    Action.ANALYZE: ArtifactKind.REPORT,
    Action.REVIEW: ArtifactKind.REPORT,
    Action.PLAN: ArtifactKind.PLAN,
}


async def keep(context: Context, session_id: str) -> None:
    """Keep what the session's last turns left. May be repeated: what is kept already is not kept twice."""
    async with context.lock(f"turns of {session_id}"):
        session = context.store.session(session_id)
        if session is None or session.state == State.DELETED:
            return
        crashpoint("turn.ended")
        await wip.take(context, session_id)
        crashpoint("turn.saved")
        try:
            await readonly.check(context, session)
            await changes.refresh(context, session_id)
            await _keep_words(context, session)
        except (OrchError, OSError) as error:
            log.warning("What the last turn of %s left is kept later: %s", session_id, error)
        crashpoint("turn.kept")
        await reconcile.look(context, session_id)


async def keep_all(context: Context) -> None:
    """Keep what turns left that ended just before an earlier hub did."""
    for session_id in await context.store.sessions_with_more_turns():
        await keep(context, session_id)


async def _keep_words(context: Context, session: SessionRecord) -> None:
    until = await context.store.last_turn_end(session.id)
    if until <= session.kept_seq:
        return
    kept, answer = session.kept_seq, None
    async for piece in transcript.pieces(context, session.id, after=kept, until=until):
        answer = _answer(piece.entries) or answer
        contents = [
            Content(ArtifactKind.TRANSCRIPT, "transcript.jsonl", transcript.as_json_lines(piece.entries), append=True),
            Content(ArtifactKind.TRANSCRIPT, "transcript.md", _page(session, piece, after=kept), append=kept > 0),
        ]
        if piece.seq == until:
            contents += await _outcome(context, session, answer)
        await artifacts.keep(context, session, contents, partial(_keep_piece, session.id, piece))
        kept = piece.seq


async def _outcome(context: Context, session: SessionRecord, answer: Entry | None) -> list[Content]:
    """Return what the turn came to: the report, the diff, and the files that the answer names."""
    contents = []
    kind = _ANSWERS.get(session.action)
    if kind is not None and answer is not None:
        contents.append(Content(kind, f"{kind}-{answer.turn or session.turns}.md", f"{answer.text.strip()}\n".encode()))
    if session.action == Action.IMPLEMENT and session.worktree is not None:
        found = await changes.diff(context, session, Against.BASE, ())
        patch = "".join(file.patch or "" for file in found.files)
        contents.append(Content(ArtifactKind.DIFF, "changes.patch", patch.encode("utf-8", "surrogateescape")))
    worktree = worktree_of(session)
    if worktree is not None and answer is not None:
        contents += await named_files(context.git, worktree, answer.text)
    return contents


def _keep_piece(session_id: str, piece: Piece, transaction: Transaction) -> None:
    draft = transaction.session(session_id)
    for entry in piece.entries:
        transaction.index(draft, entry.seq, entry.kind, entry.text, entry.at)
    draft.kept_seq = piece.seq


def _page(session: SessionRecord, piece: Piece, *, after: int) -> bytes:
    page = transcript.as_markdown(session.title, piece.entries)
    if after > 0:
        page = page.partition("\n")[2]
    return page.encode("utf-8", "replace")


def _answer(entries: list[Entry]) -> Entry | None:
    """Return the agent's last message: its final answer."""
    said = [entry for entry in entries if entry.role == Role.AGENT and entry.kind == EntryKind.MESSAGE]
    return said[-1] if said else None
