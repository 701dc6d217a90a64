"""The register of language features: what a client may ask, and what is told to it unasked.

A feature is a module of this package. It answers requests by functions under `@answers`, and watches by a factory
under `@watches`; its module's name stands in `features.py`, and what it needs of the client in `capabilities.py`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from orch_server.hub.language.documents import Document
from orch_server.store.records import StoredEvent

if TYPE_CHECKING:
    from orch_server.hub.language.editor import Editor

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])

ANSWERS: dict[str, Callable[..., Any]] = {}
WATCHERS: "list[Callable[[Editor], Watcher | None]]" = []


class Watcher:
    """Looks at what happens for one client, and may send to it. Every method may be left out."""

    @property
    def events(self) -> tuple[str, ...]:
        """The events that it wants now, as in `orch/event/subscribe`."""
        return ()

    def begin(self) -> None:
        """The client is ready: send what there is already."""

    def opened(self, document: Document) -> None:
        """A document was opened."""

    def changed(self, document: Document) -> None:
        """A document was changed. Be quick: the client is typing."""

    def closed(self, document: Document) -> None:
        """A document was closed."""

    def take(self, event: StoredEvent) -> None:
        """Something happened."""

    def touched(self, project_id: str, paths: frozenset[str]) -> None:
        """Sessions changed these files of a project, counted from its top."""

    def cancelled(self, token: str | int) -> None:
        """The user cancelled the progress of this token."""

    def close(self) -> None:
        """The client is gone."""


class WatcherFactory(Protocol):
    """Makes the watcher of one client, or none where the client could not show what it has to say."""

    def __call__(self, editor: "Editor") -> Watcher | None: ...


def answers(method: str) -> Callable[[HandlerT], HandlerT]:
    """Register a function `(editor, params) -> result`, plain or async, for a method of LSP."""

    def register(handler: HandlerT) -> HandlerT:
        ANSWERS[method] = handler
        return handler

    return register


def watches(factory: WatcherFactory) -> WatcherFactory:
    """Register a factory of watchers, called once for each client."""
    WATCHERS.append(factory)
    return factory
