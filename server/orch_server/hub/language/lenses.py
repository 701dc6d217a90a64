"""`textDocument/codeLens`: which sessions changed a file, above its first line."""

import asyncio
from typing import TYPE_CHECKING

from lsprotocol import types

from orch_server.hub.language.registry import Watcher, answers, watches

if TYPE_CHECKING:
    from orch_server.hub.language.editor import Editor

_REFRESH_SECONDS = 0.3
_TOP = types.Range(types.Position(0, 0), types.Position(0, 0))


@answers(types.TEXT_DOCUMENT_CODE_LENS)
def code_lenses(editor: "Editor", params: types.CodeLensParams) -> list[types.CodeLens]:
    """Return the lenses of one document."""
    uri = params.text_document.uri
    found = editor.sessions_at(uri)
    if not found:
        return []
    title = "1 session here" if len(found) == 1 else f"{len(found)} sessions here"
    agents = ", ".join(sorted({item.session.agent for item in found}))
    command = types.Command(
        title=f"{title} ({agents})",
        command="orch.sessions",
        arguments=[{"uri": uri, "sessions": [item.session.id for item in found]}],
    )
    return [types.CodeLens(range=_TOP, command=command)]


@watches
def refresher(editor: "Editor") -> Watcher | None:
    """Have a client ask again when the sessions in its files change."""
    return _Refresher(editor) if editor.capabilities.refreshes_lenses and editor.capabilities.options.lenses else None


class _Refresher(Watcher):
    types = ("session.state_changed",)

    def __init__(self, editor: "Editor") -> None:
        self._editor = editor
        self._due: asyncio.TimerHandle | None = None

    def touched(self, project_id: str, paths: frozenset[str]) -> None:
        """Refresh once for all that changes at about the same time."""
        del project_id, paths
        if self._due is None and len(self._editor.documents):
            self._due = asyncio.get_running_loop().call_later(_REFRESH_SECONDS, self._refresh)

    def close(self) -> None:
        """Refresh no more."""
        if self._due is not None:
            self._due.cancel()

    def _refresh(self) -> None:
        self._due = None
        self._editor.wire.request(types.WORKSPACE_CODE_LENS_REFRESH, None)
