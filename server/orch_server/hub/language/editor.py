"""The client of one connection as language features see it: what it can show, what it has open, what it is told."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

import orjson
from cattrs import Converter
from lsprotocol import types
from pygls.workspace import PositionCodec

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.ids import random_id
from orch_server.domain.project import Project
from orch_server.hub.language.capabilities import Capabilities, Options, announce
from orch_server.hub.language.commands import COMMANDS
from orch_server.hub.language.documents import Document, Documents, path_of
from orch_server.hub.language.features import ANSWERS, WATCHERS
from orch_server.hub.language.registry import Watcher
from orch_server.services import whereabouts
from orch_server.services.context import Caller, Context
from orch_server.services.feed import LocalListener, Subscription
from orch_server.services.marks import Mark
from orch_server.services.touches import SessionTouch
from orch_server.store.records import StoredEvent

log = logging.getLogger(__name__)

Answered = bytes | Coroutine[Any, Any, bytes]


class Wire(Protocol):
    """The connection, as an editor sends by it."""

    def notify(self, method: str, params: Any) -> None:
        """Send a notification of LSP."""

    def request(self, method: str, params: Any, id_: str | None = None) -> "asyncio.Future[Any]":
        """Send a request of LSP; the future has its result, or the error that the client replied.

        It is cancelled when the client leaves.
        """

    def withdraw(self, id_: str) -> None:
        """Tell the client that the reply to a request is not needed any more."""

    async def execute(self, method: str, params: dict[str, Any]) -> bytes:
        """Carry out an `orch/*` request as if the client had sent it; returns its result as JSON."""


class Editor:
    """One client. Features keep what they need in watchers of their own."""

    def __init__(self, context: Context, caller: Caller, wire: Wire, converter: Converter) -> None:
        self.context = context
        self.caller = caller
        self.wire = wire
        self.capabilities = Capabilities(types.ClientCapabilities(), Options())
        self.documents = Documents()
        self.folders: Callable[[], list[str]] = list
        """The folders that the client has open."""
        self.agents: list[str] | None = None
        """The agents that are installed for this client, once somebody looked."""
        self.shown_pages: dict[str, str] = {}
        """The pages that the client was shown, with the uri of each."""
        self.marks: dict[str, list[Mark]] = {}
        """Where in the open documents others are at work."""
        self._converter = converter
        self._watchers: list[Watcher] = []
        self._subscription: Subscription | None = None

    def meet(
        self, params: types.InitializeParams, server: types.ServerCapabilities, folders: Callable[[], list[str]]
    ) -> None:
        """Learn what the client can, and fill in what it may ask for."""
        self.capabilities = Capabilities(params.capabilities, Options.read(params.initialization_options))
        self.documents.codec = PositionCodec(server.position_encoding)
        self.folders = folders
        announce(server, self.capabilities, list(COMMANDS))

    def begin(self) -> None:
        """Begin to watch: the client is ready to be sent something."""
        if self._watchers:
            return
        self._watchers = [watcher for make in WATCHERS if (watcher := make(self)) is not None]
        self._listen()
        self.context.touches.listeners.add(self._touched)
        for watcher in self._watchers:
            watcher.begin()

    def close(self) -> None:
        """Stop watching."""
        self.context.touches.listeners.discard(self._touched)
        if self._subscription is not None:
            self.context.feed.unsubscribe(self._subscription)
            self._subscription = None
        for watcher in self._watchers:
            watcher.close()
        self._watchers = []

    def answer(self, method: str, params: Any) -> Answered:
        """Answer a request; what takes longer is awaitable. Raises OrchError for what a client is to be told."""
        handler = ANSWERS[method]
        result = handler(self, self._structure(method, params))
        if isinstance(result, Awaitable):
            return self._finish(result)
        return self._encode(result)

    def take_document(self, method: str, params: Any) -> None:
        """Take what a client says of a document; what cannot be read is left."""
        try:
            if method == types.TEXT_DOCUMENT_DID_OPEN:
                self._tell("opened", self.documents.open(params))
            elif method == types.TEXT_DOCUMENT_DID_CHANGE:
                self._tell("changed", self.documents.change(params))
            elif method == types.TEXT_DOCUMENT_DID_CLOSE:
                self._tell("closed", self.documents.close(params))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            log.warning("A client's %s could not be read: %r", method, error)

    def sessions_at(self, uri: str) -> list[SessionTouch]:
        """Return the sessions that changed a document's file, each with where."""
        document = self.documents.get(uri)
        path = document.path if document is not None else path_of(uri)
        return whereabouts.sessions_at(self.context, path) if path is not None else []

    def project(self) -> Project | None:
        """Return the project that the client has open: that of its first folder that lies in one."""
        for uri in self.folders():
            path = path_of(uri)
            place = whereabouts.place_of(self.context, os.path.join(path, "")) if path is not None else None
            if place is not None:
                return place.project
        return None

    def cancelled(self, token: str | int) -> None:
        """Take that the user cancelled a progress of ours."""
        for watcher in self._watchers:
            watcher.cancelled(token)

    def page_shown(self, page: str, uri: str) -> None:
        """Note that the client has a page open, under this uri."""
        self.shown_pages[page] = uri
        self._listen()

    def page_closed(self, uri: str) -> None:
        """Note that the client has closed what it may have been shown."""
        self.shown_pages = {page: shown for page, shown in self.shown_pages.items() if shown != uri}
        self._listen()

    def _listen(self) -> None:
        """Hear of what the watchers want to hear of now, and of nothing else: an agent's every word costs time."""
        wanted = sorted({pattern for watcher in self._watchers for pattern in watcher.events})
        present = self._subscription
        if wanted == ([] if present is None else present.types):
            return
        if present is not None:
            self.context.feed.unsubscribe(present)
            self._subscription = None
        if wanted:
            self._subscription = Subscription(random_id(8), LocalListener(self._take), types=wanted)
            self.context.feed.subscribe(self._subscription, self.context.store, None)

    def _tell(self, what: str, document: Document | None) -> None:
        if document is not None:
            for watcher in self._watchers:
                getattr(watcher, what)(document)

    def _take(self, event: StoredEvent) -> None:
        for watcher in self._watchers:
            if any(_fits(event.type, pattern) for pattern in watcher.events):
                watcher.take(event)

    def _touched(self, project_id: str, paths: frozenset[str]) -> None:
        for watcher in self._watchers:
            watcher.touched(project_id, paths)

    def _structure(self, method: str, params: Any) -> Any:
        try:
            model: Any = types.METHOD_TO_TYPES[method][2]
            return self._converter.structure(params, model)
        except Exception as error:  # whatever a client sends
            raise OrchError(ErrorKind.INVALID_PARAMS, f"The parameters of {method} are wrong.") from error

    async def _finish(self, result: Awaitable[Any]) -> bytes:
        return self._encode(await result)

    def _encode(self, result: Any) -> bytes:
        return result if isinstance(result, bytes) else orjson.dumps(self._converter.unstructure(result))


def _fits(type_: str, pattern: str) -> bool:
    return type_.startswith(pattern[:-1]) if pattern.endswith("*") else type_ == pattern
