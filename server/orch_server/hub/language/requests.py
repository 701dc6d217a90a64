"""`window/showMessageRequest`: approvals and questions, for clients that chose to be asked.

One is shown at a time, in the order they came, since some editors can show no more. The first answer wins, wherever
it is given; a request that somebody else answered is taken back by `$/cancelRequest`.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

import orjson
from lsprotocol import types

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.ids import random_id
from orch_server.domain.readable import harmless
from orch_server.domain.session import InputRequest, InputRequestKind, State
from orch_server.hub.language.registry import Watcher, watches
from orch_server.hub.language.showing import show_page
from orch_server.hub.language.wording import shortened
from orch_server.services.pages import page_of
from orch_server.store.records import SessionRecord, StoredEvent

if TYPE_CHECKING:
    from orch_server.hub.language.editor import Editor

log = logging.getLogger(__name__)

_DETAIL_CHARACTERS = 600
_SHOW = "Show the session"
_Key = tuple[str, str]


@watches
def requests(editor: "Editor") -> Watcher | None:
    """Ask the user what agents ask."""
    return _Requests(editor) if editor.capabilities.options.approvals else None


class _Requests(Watcher):
    events = ("input.*", "session.*")

    def __init__(self, editor: "Editor") -> None:
        self._editor = editor
        self._waiting: dict[_Key, None] = {}
        self._shown: tuple[_Key, str, asyncio.Future[object]] | None = None
        self._asking: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Ask what is open already."""
        found, _ = self._editor.context.store.sessions(states=[State.WAITING_FOR_USER])
        for session in reversed(found):
            for request in session.input_requests:
                self._waiting[session.id, request.id] = None
        self._go_on()

    def take(self, event: StoredEvent) -> None:
        """Ask what is new, and take back what needs no answer any more."""
        if event.type == "input.requested" and event.session_id is not None:
            request = orjson.loads(event.json)["data"]["inputRequest"]
            self._waiting[event.session_id, request["id"]] = None
        elif self._shown is not None and self._shown[0][0] == event.session_id:
            key, id_, reply = self._shown
            if self._open(key) is None and not reply.done():
                self._editor.wire.withdraw(id_)
                reply.cancel()
        self._go_on()

    def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()

    def _go_on(self) -> None:
        if self._waiting and self._asking is None:
            self._asking = self._editor.context.spawn(self._ask_all())

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                key = next(iter(self._waiting))
                del self._waiting[key]
                found = self._open(key)
                if found is not None:
                    await self._ask(key, *found)
        finally:
            self._asking = None

    def _open(self, key: _Key) -> tuple[SessionRecord, InputRequest] | None:
        session = self._editor.context.store.session(key[0])
        for request in session.input_requests if session is not None else []:
            if request.id == key[1] and session is not None:
                return session, request
        return None

    async def _ask(self, key: _Key, session: SessionRecord, request: InputRequest) -> None:
        answers = _answers(request)
        actions = [types.MessageActionItem(title) for title in (*answers, _SHOW)]
        params = types.ShowMessageRequestParams(types.MessageType.Warning, _message(session, request), actions)
        id_ = f"orch-ask-{random_id(8)}"
        reply = self._editor.wire.request(types.WINDOW_SHOW_MESSAGE_REQUEST, params, id_)
        self._shown = (key, id_, reply)
        try:
            await asyncio.wait([reply])
        finally:
            self._shown = None
        if reply.cancelled():
            return
        if reply.exception() is not None:
            text = f"{_message(session, request)} `orch respond {session.id}` answers it."
            self._tell(types.MessageType.Warning, text)
            return
        chosen = getattr(reply.result(), "title", None)
        try:
            if chosen == _SHOW:
                await show_page(self._editor, page_of(session.id, "session.md"))
            elif chosen in answers:
                await self._respond(session, request, answers[chosen])
        except OrchError as error:
            if error.kind != ErrorKind.ALREADY_ANSWERED:
                self._tell(types.MessageType.Error, f"orch: {error.message} {error.hint}")

    async def _respond(self, session: SessionRecord, request: InputRequest, option_id: str) -> None:
        params = {"session": session.id, "inputRequestId": request.id, "optionId": option_id}
        await self._editor.wire.execute("orch/session/respond", params)

    def _tell(self, kind: types.MessageType, text: str) -> None:
        text = harmless(text, keep="\n")
        self._editor.wire.notify(types.WINDOW_SHOW_MESSAGE, types.ShowMessageParams(kind, text))


def _answers(request: InputRequest) -> dict[str, str]:
    """Return the options that one click can choose, by their titles."""
    if request.kind == InputRequestKind.APPROVAL:
        options = [(option.id, option.label) for option in request.options]
    elif len(request.questions) == 1 and not request.questions[0].multi_select and not request.questions[0].secret:
        options = [(option.id, option.label) for option in request.questions[0].options]
    else:
        options = []
    titles: dict[str, str] = {}
    for option_id, label in options:
        title = harmless(label or option_id)
        titles[title if title not in {*titles, _SHOW} else f"{title} ({option_id})"] = option_id
    return titles


def _message(session: SessionRecord, request: InputRequest) -> str:
    lines = [f"orch: {session.agent} in {session.project_slug} ({session.id}) asks: {request.title}"]
    details = [request.detail, *(question.text for question in request.questions)]
    lines += [shortened(text, _DETAIL_CHARACTERS) for text in dict.fromkeys(details) if text and text != request.title]
    if not _answers(request):
        lines.append("It takes a text: give it with orch.followUp, or orch.respond.")
    return harmless("\n".join(lines), keep="\n")
