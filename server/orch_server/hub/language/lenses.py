"""`textDocument/codeLens`: which sessions changed a file, above its first line."""

import asyncio
from typing import TYPE_CHECKING

from lsprotocol import types

from orch_server.domain.readable import harmless
from orch_server.hub.language.registry import Watcher, answers, watches
from orch_server.hub.language.wording import shortened, state_of
from orch_server.services.touches import SessionTouch
from orch_server.store.records import StoredEvent

if TYPE_CHECKING:
    from orch_server.hub.language.editor import Editor

_REFRESH_SECONDS = 0.3
_TOP = types.Range(types.Position(0, 0), types.Position(0, 0))


@answers(types.TEXT_DOCUMENT_CODE_LENS)
def code_lenses(editor: "Editor", params: types.CodeLensParams) -> list[types.CodeLens]:
    """Return the lenses of one document: how many sessions there are, then each of them."""
    found = editor.sessions_at(params.text_document.uri)
    if not found:
        return []
    count = "1 session here" if len(found) == 1 else f"{len(found)} sessions here"
    project = found[0].session.project_slug
    summary = types.Command(count, "orch.sessions", arguments=[{"project": project}])
    return [types.CodeLens(_TOP, summary), *(types.CodeLens(_TOP, _of_session(item)) for item in found)]


def _of_session(item: SessionTouch) -> types.Command:
    session, touch = item.session, item.touch
    about = harmless(shortened(session.title, 40))  # several sessions of one agent are told apart by it
    title = f"{session.agent}, {state_of(session)}, +{touch.insertions} -{touch.deletions}: {about}"
    return types.Command(title, "orch.diff", arguments=[{"session": session.id, "paths": [touch.path]}])


@watches
def refresher(editor: "Editor") -> Watcher | None:
    """Have a client ask again when the sessions in its files change."""
    return _Refresher(editor) if editor.capabilities.refreshes_lenses and editor.capabilities.options.lenses else None


class _Refresher(Watcher):
    events = ("session.state_changed",)

    def __init__(self, editor: "Editor") -> None:
        self._editor = editor
        self._due: asyncio.TimerHandle | None = None

    def take(self, event: StoredEvent) -> None:
        """A session's state is in its lenses."""
        del event
        self._refresh_soon()

    def touched(self, project_id: str, paths: frozenset[str]) -> None:
        """Other files are changed now, or other lines."""
        del project_id, paths
        self._refresh_soon()

    def _refresh_soon(self) -> None:
        """Refresh once for all that changes at about the same time."""
        if self._due is None and len(self._editor.documents):
            self._due = asyncio.get_running_loop().call_later(_REFRESH_SECONDS, self._refresh)

    def close(self) -> None:
        """Refresh no more."""
        if self._due is not None:
            self._due.cancel()

    def _refresh(self) -> None:
        self._due = None
        self._editor.wire.request(types.WORKSPACE_CODE_LENS_REFRESH, None)
