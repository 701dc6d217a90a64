"""Diagnostics, hover and actions where others are at work: a warning on lines that would not merge, a note on those
that another session changes, too. What an editor holds and has not written counts as the user's side.
"""

import asyncio
import os
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from lsprotocol import types

from orch_server.domain.collision import CollisionKind, LineRange
from orch_server.domain.readable import harmless
from orch_server.domain.session import LIVE
from orch_server.hub.language.documents import Document, uri_of
from orch_server.hub.language.registry import Watcher, watches
from orch_server.hub.language.wording import SOURCE, escaped, offer, shortened, state_of
from orch_server.services import whereabouts
from orch_server.services.marks import Mark, marks
from orch_server.services.sides import CHECKOUT
from orch_server.services.touches import SessionTouch
from orch_server.store.records import SessionRecord

if TYPE_CHECKING:
    from orch_server.hub.language.editor import Editor

_TYPING_SECONDS = 0.25
_LARGEST_BUFFER = 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_WHY = {
    CollisionKind.CONTENT: "both changed these lines",
    CollisionKind.ADD_ADD: "both added this file",
    CollisionKind.MODIFY_DELETE: "one changed this file, the other deleted it",
    CollisionKind.RENAME: "it was renamed",
}


@watches
def watcher(editor: "Editor") -> Watcher:
    """Look after the open documents of a client."""
    return Overlaps(editor)


class Overlaps(Watcher):
    """What is marked in the open documents of one client."""

    def __init__(self, editor: "Editor") -> None:
        self._editor = editor
        self._due: dict[str, asyncio.TimerHandle] = {}
        self._looking: set[str] = set()
        self._again: set[str] = set()
        self._held: dict[str, tuple[str, str, bytes]] = {}
        self._published: dict[str, list[types.Diagnostic]] = {}
        editor.marks = {}

    def begin(self) -> None:
        """Listen for looks at the sides."""
        self._editor.context.collisions.changed.add(self._looked)

    def opened(self, document: Document) -> None:
        """Look at a document that was opened."""
        self._soon(document, 0)

    def changed(self, document: Document) -> None:
        """Look at a document once its user rests."""
        self._soon(document, _TYPING_SECONDS)

    def closed(self, document: Document) -> None:
        """Take back what was marked, and what was held."""
        self._hold(document.uri, None)
        self._editor.marks.pop(document.uri, None)
        if self._published.pop(document.uri, None):
            self._publish(document.uri, [])

    def close(self) -> None:
        """Look after nothing any more."""
        self._editor.context.collisions.changed.discard(self._looked)
        for timer in self._due.values():
            timer.cancel()
        for uri in list(self._held):
            self._hold(uri, None)

    def _looked(self, project_id: str, paths: frozenset[str] | None) -> None:
        for document in self._editor.documents:
            place = self._place(document)
            if place is not None and place.project.id == project_id and (paths is None or place.path in paths):
                self._soon(document, 0)

    def _place(self, document: Document) -> whereabouts.Place | None:
        return whereabouts.place_of(self._editor.context, document.path) if document.path is not None else None

    def _soon(self, document: Document, seconds: float) -> None:
        waiting = self._due.pop(document.uri, None)
        if waiting is not None:
            waiting.cancel()
        self._due[document.uri] = asyncio.get_running_loop().call_later(seconds, self._begin, document)

    def _begin(self, document: Document) -> None:
        self._due.pop(document.uri, None)
        if document.uri in self._looking:
            self._again.add(document.uri)
        else:
            self._looking.add(document.uri)
            self._editor.context.spawn(self._look(document))

    async def _look(self, document: Document) -> None:
        uri = document.uri
        try:
            place = self._place(document)
            if place is None or self._editor.documents.get(uri) is not document:
                return
            key = place.session_id or CHECKOUT
            text = document.text
            unsaved = await asyncio.to_thread(_unsaved, document.path or "", text)
            self._hold(uri, None if unsaved is None else (place.project.id, key, place.path, unsaved))
            found = await marks(self._editor.context, place.project.id, key, place.path)
            if self._editor.documents.get(uri) is document:
                self._editor.marks[uri] = found
                self._show(document, found)
        finally:
            self._looking.discard(uri)
            if uri in self._again:
                self._again.discard(uri)
                self._soon(document, 0)

    def _hold(self, uri: str, buffer: tuple[str, str, str, bytes] | None) -> None:
        """Have the text of a buffer count instead of its file; None: the file counts."""
        collisions = self._editor.context.collisions
        if buffer is not None:
            project_id, key, path, content = buffer
            self._held[uri] = (project_id, key, os.fsencode(path))
            collisions.project(project_id).sides.hold(key, os.fsencode(path), content)
        elif uri in self._held:
            project_id, key, held = self._held.pop(uri)
            collisions.project(project_id).sides.hold(key, held, None)

    def _show(self, document: Document, found: list[Mark]) -> None:
        if not self._editor.capabilities.shows_diagnostics:
            return
        diagnostics = [_diagnostic(self._editor, document, mark) for mark in found]
        if diagnostics != self._published.get(document.uri, []):
            self._published[document.uri] = diagnostics
            self._publish(document.uri, diagnostics)

    def _publish(self, uri: str, diagnostics: list[types.Diagnostic]) -> None:
        params = types.PublishDiagnosticsParams(uri=uri, diagnostics=diagnostics)
        self._editor.wire.notify(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS, params)


def words_at(editor: "Editor", uri: str, line: int, *, markdown: bool, told: Collection[str]) -> list[str]:
    """Return what a hover says of the collisions in a line, counted from 1; of the sessions in `told` no more."""
    found = []
    for mark in editor.marks.get(uri, ()):
        if mark.collision is not None and _holds(mark.mine, line):
            why = f"Would not merge with {_who(editor, mark)}: {_WHY[mark.kind or CollisionKind.CONTENT]}."
            session = _session(editor, mark)
            asked = shortened(session.prompt, 300) if session is not None and session.id not in told else ""
            if markdown:
                found.append("\n\n".join([f"**{escaped(why)}**", *([f"> {escaped(asked)}"] if asked else [])]))
            else:
                found.append("\n".join([harmless(why), *([harmless(asked)] if asked else [])]))
    return found


def sessions_in(editor: "Editor", uri: str, line: int) -> list[SessionTouch]:
    """Return the sessions that changed a line, counted from 1: by the marks of the document where it has them.

    A mark counts the lines as they are in the editor; what is known without one is where a session began.
    """
    marks_ = editor.marks.get(uri, ())
    marked = {mark.other for mark in marks_}
    here = {mark.other for mark in marks_ if _holds(mark.mine, line)}
    return [
        item
        for item in editor.sessions_at(uri)
        if (item.session.id in here if item.session.id in marked and not item.in_worktree else item.covers(line))
    ]


def actions_at(editor: "Editor", params: types.CodeActionParams) -> Iterator[types.CodeAction]:
    """Yield what can be done about the collisions in a range."""
    uri = params.text_document.uri
    first, last = params.range.start.line + 1, params.range.end.line + 1
    seen: set[str] = set()
    for mark in editor.marks.get(uri, ()):
        collision = mark.collision
        near = any(_holds(mark.mine, line) for line in range(first, last + 1))
        if collision is None or collision.id in seen or not near:
            continue
        seen.add(collision.id)
        yield offer(
            f"Compare with {_short_name(editor, mark)}", "orch.compare", {"collision": collision.id, "uri": uri}
        )
        for session_id in collision.sessions:
            session = editor.context.store.session(session_id) if session_id is not None else None
            if session is None:
                continue
            title = f"{session.agent}: {shortened(session.title, 50)}"
            told = {"collision": collision.id, "session": session.id}
            yield offer(f"Tell {title} what the other side changed", "orch.tell", told)
            if session.state in LIVE:
                yield offer(f"Stop {title}", "orch.stop", {"session": session.id})


def _diagnostic(editor: "Editor", document: Document, mark: Mark) -> types.Diagnostic:
    session = _session(editor, mark)
    who = _who(editor, mark)
    related = None
    if editor.capabilities.shows_related_information and (place := _elsewhere(editor, document, mark)) is not None:
        related = [types.DiagnosticRelatedInformation(place, f"What {who} has there")]
    if mark.collision is None:
        severity, message = types.DiagnosticSeverity.Information, f"{who} changes these lines"
    else:
        severity = types.DiagnosticSeverity.Warning
        message = f"Would not merge with {who}: {_WHY[mark.kind or CollisionKind.CONTENT]}"
    return types.Diagnostic(
        range=_range(editor, document, mark.mine),
        severity=severity,
        source=SOURCE,
        code="collision" if mark.collision is not None else "changed-elsewhere",
        message=message,
        related_information=related,
        data={"session": session.id if session else None, "collision": mark.collision.id if mark.collision else None},
    )


def _who(editor: "Editor", mark: Mark) -> str:
    session = _session(editor, mark)
    if session is not None:
        return harmless(f"{session.agent} “{shortened(session.title, 60)}” ({session.id}, {state_of(session)})")
    return "what lies in the checkout" if mark.other == CHECKOUT else "the base branch"


def _short_name(editor: "Editor", mark: Mark) -> str:
    session = _session(editor, mark)
    if session is not None:
        return f"{session.agent}: {shortened(session.title, 50)}"
    return "the checkout" if mark.other == CHECKOUT else "the base branch"


def _session(editor: "Editor", mark: Mark) -> SessionRecord | None:
    return editor.context.store.session(mark.other)


def _elsewhere(editor: "Editor", document: Document, mark: Mark) -> types.Location | None:
    """Return the other side's lines, where they are in a file."""
    session = _session(editor, mark)
    root = session.worktree_path if session is not None else None
    if mark.other == CHECKOUT and document.path is not None:
        place = whereabouts.place_of(editor.context, document.path)
        root = place.project.path if place is not None else None
    if root is None or mark.other_path is None:
        return None
    start = types.Position(max(0, mark.theirs.start_line - 1), 0)
    end = types.Position(max(start.line, mark.theirs.end_line), 0)
    return types.Location(uri_of(os.path.join(root, mark.other_path)), types.Range(start, end))


def _range(editor: "Editor", document: Document, lines: LineRange) -> types.Range:
    """Return lines as a range of the document; where the side has none, the line that follows."""
    most = max(0, len(document.lines) - 1)
    first = min(max(0, lines.start_line - 1), most)
    last = min(max(first, lines.end_line - 1), most)
    text = document.lines[last].rstrip("\r\n") if document.lines else ""
    width = editor.documents.codec.client_num_units(text)
    return types.Range(types.Position(first, 0), types.Position(last, width))


def _holds(lines: LineRange, line: int) -> bool:
    return lines.start_line <= line <= max(lines.start_line, lines.end_line)


def _unsaved(path: str, text: str) -> bytes | None:
    """Return the content of a buffer in the form of its file; None where it says the same, or cannot be put so."""
    try:
        with open(path, "rb") as file:
            disk = file.read(_LARGEST_BUFFER + 1)
        disk.decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    content = text.encode("utf-8", "replace")
    if len(disk) > _LARGEST_BUFFER or len(content) > _LARGEST_BUFFER:
        return None
    if b"\r\n" in disk and b"\r" not in content:
        content = content.replace(b"\n", b"\r\n")
    if disk.startswith(_BOM) and not content.startswith(_BOM):
        content = _BOM + content
    return None if content == disk else content
