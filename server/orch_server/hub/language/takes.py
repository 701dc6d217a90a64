"""`workspace/applyEdit`: a session's changes of one file, as edits of the user's own buffer."""

import asyncio
import os
import re
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from orch_server.domain.errors import ErrorKind, OrchError, invalid_params
from orch_server.hub.language.documents import Document
from orch_server.services import changes, whereabouts
from orch_server.services.merging import LineEdit, edits_for
from orch_server.store.records import SessionRecord

if TYPE_CHECKING:
    from orch_server.hub.language.editor import Editor

_MOST_BYTES = 4 * 1024 * 1024
_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


async def take(editor: "Editor", session: SessionRecord, uri: str, path: str) -> dict[str, Any]:
    """Bring what a session changed in a file into the client's buffer of it, to be looked at, undone and saved."""
    if not editor.capabilities.applies_edits:
        raise invalid_params("The editor takes no edits (workspace/applyEdit).", hint="`orch apply` changes the file.")
    document = editor.documents.get(uri)
    if document is None:
        raise invalid_params(f"{uri} is not open.", hint="Open the file whose buffer is to be changed.")
    place = whereabouts.place_of(editor.context, path)
    if place is None or place.project.id != session.project_id or place.session_id == session.id:
        raise invalid_params(f"{path} is no file that session {session.id} has its own version of.")
    if session.worktree_path is None:
        raise OrchError(ErrorKind.CONFLICT, f"Session {session.id} has no worktree.", hint="Only its diff is left.")
    base = await changes.file_before(editor.context, session, changes.Against.BASE, place.path)
    theirs = await asyncio.to_thread(_content, whereabouts.inside(session.worktree_path, place.path))
    ours, version = document.lines, document.version
    edits = await asyncio.to_thread(edits_for, _lines(base or b""), _lines(theirs), list(ours))
    if edits is None:
        raise OrchError(
            ErrorKind.CONFLICT,
            f"You and session {session.id} changed the same lines of {place.path}.",
            hint="`orch.diff` shows what it changed; take it over by hand.",
        )
    if not edits:
        return {"applied": False, "edits": 0}
    identifier = types.OptionalVersionedTextDocumentIdentifier(uri=uri, version=version)
    text_edits = [_text_edit(document, edit) for edit in edits]
    edit = types.WorkspaceEdit(document_changes=[types.TextDocumentEdit(identifier, text_edits)])
    if not editor.capabilities.applies_versioned_edits:
        edit = types.WorkspaceEdit(changes={uri: text_edits})
    label = f"Changes of {session.agent} {session.id}"
    result = await editor.wire.request(types.WORKSPACE_APPLY_EDIT, types.ApplyWorkspaceEditParams(edit, label))
    return {"applied": bool(result.applied), "edits": len(edits)}


def _text_edit(document: Document, edit: LineEdit) -> types.TextEdit:
    lines = document.lines
    text = "".join(edit.lines)
    if edit.start >= len(lines) and lines and not lines[-1].endswith(("\n", "\r")):
        # Behind a last line without an end there is no line to begin on: the text goes on there.
        end = types.Position(len(lines) - 1, document.width(len(lines) - 1))
        return types.TextEdit(types.Range(end, end), "\n" + text)
    return types.TextEdit(types.Range(types.Position(edit.start, 0), types.Position(edit.end, 0)), text)


def _lines(content: bytes) -> list[str]:
    try:
        found: list[str] = _LINES.findall(content.decode())
    except UnicodeDecodeError as error:
        raise OrchError(
            ErrorKind.CONFLICT, "The file is no UTF-8 text.", hint="`orch apply` takes any file."
        ) from error
    return found


def _content(path: str) -> bytes:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise OrchError(
            ErrorKind.CONFLICT, f"{path} cannot be read: {error.strerror}.", hint="The session may have deleted it."
        ) from error
    if len(content) > _MOST_BYTES:
        raise OrchError(ErrorKind.CONFLICT, f"{path} is too large.", hint="`orch apply` takes files of any size.")
    return content
