"""`window/showDocument`: opening files and pages in the client, where it can."""

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlparse

from lsprotocol import types

from orch_server.domain.errors import invalid_params
from orch_server.hub.language.documents import path_of, uri_of
from orch_server.hub.language.registry import Watcher, answers, watches
from orch_server.services import pages
from orch_server.store.records import StoredEvent

if TYPE_CHECKING:
    from orch_server.hub.language.editor import Editor

_REFRESH_SECONDS = 0.5
_TOLD = ("agent.*", "turn.*", "input.*", "followup.*", "session.*", "worktree.*")
_GROWING = ("session.md", "transcript.md", "changes.patch")


def uri_of_page(page: str) -> str:
    """Return the uri of a page for a client that reads pages from the server."""
    return f"{pages.SCHEME}://{quote(page)}"


async def place_for(editor: "Editor", page: str) -> str:
    """Return the uri under which this client can open a page: the server's own, else that of a file."""
    if editor.capabilities.reads_content:
        return uri_of_page(page)
    return uri_of(await pages.write(editor.context, page))


async def show_file(editor: "Editor", path: str, line: int | None = None) -> bool:
    """Have the client open a file, at a line counted from 1; whether it did."""
    return await _show(editor, uri_of(path), line)


async def show_page(editor: "Editor", page: str) -> dict[str, Any]:
    """Have the client open a page, and keep it fresh while it is open."""
    uri = await place_for(editor, page)
    editor.page_shown(page, uri)
    return {"uri": uri, "path": path_of(uri), "shown": await _show(editor, uri)}


async def _show(editor: "Editor", uri: str, line: int | None = None) -> bool:
    if not editor.capabilities.shows_documents:
        return False
    where = None
    if line is not None:
        place = types.Position(max(0, int(line) - 1), 0)
        where = types.Range(place, place)
    params = types.ShowDocumentParams(uri=uri, external=False, take_focus=True, selection=where)
    result = await editor.wire.request(types.WINDOW_SHOW_DOCUMENT, params)
    return bool(result.success)


@answers(types.WORKSPACE_TEXT_DOCUMENT_CONTENT)
async def content(editor: "Editor", params: types.TextDocumentContentParams) -> types.TextDocumentContentResult:
    """Return the text of a page."""
    parts = urlparse(params.uri)
    if parts.scheme != pages.SCHEME:
        raise invalid_params(f"{params.uri!r} is no document of orch.", hint="Its scheme is orch.")
    page = unquote(parts.path)
    editor.page_shown(page, params.uri)
    return types.TextDocumentContentResult(text=await pages.read(editor.context, page))


@watches
def refresher(editor: "Editor") -> Watcher | None:
    """Keep the pages fresh that a client was shown."""
    return _Refresher(editor) if editor.capabilities.shows_documents or editor.capabilities.reads_content else None


class _Refresher(Watcher):
    def __init__(self, editor: "Editor") -> None:
        self._editor = editor
        self._stale: set[str] = set()
        self._due: asyncio.TimerHandle | None = None

    @property
    def events(self) -> tuple[str, ...]:
        """All that pages tell of, as long as one is shown."""
        return _TOLD if self._editor.shown_pages else ()

    def take(self, event: StoredEvent) -> None:
        """Refresh soon what the event may have changed."""
        names = [pages.page_of(event.session_id or "", name) for name in _GROWING]
        self._stale.update(page for page in (*names, "/sessions.md") if page in self._editor.shown_pages)
        if self._stale and self._due is None:
            self._due = asyncio.get_running_loop().call_later(_REFRESH_SECONDS, self._begin)

    def closed(self, document: Any) -> None:
        """Forget a page that is not open any more."""
        self._editor.page_closed(document.uri)

    def close(self) -> None:
        """Refresh no more."""
        if self._due is not None:
            self._due.cancel()

    def _begin(self) -> None:
        self._due = None
        stale, self._stale = self._stale, set()
        self._editor.context.spawn(self._refresh(stale))

    async def _refresh(self, stale: set[str]) -> None:
        for page in stale:
            uri = self._editor.shown_pages.get(page)
            if uri is None:
                continue
            if self._editor.capabilities.reads_content:
                params = types.TextDocumentContentRefreshParams(uri=uri)
                self._editor.wire.request(types.WORKSPACE_TEXT_DOCUMENT_CONTENT_REFRESH, params)
            else:
                await pages.write(self._editor.context, page)
