"""`$/progress` of sessions at work: what each does, for as long as it runs; to cancel it is to stop the session."""

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
from lsprotocol import types

from orch_server.domain.readable import harmless
from orch_server.domain.session import LIVE, State
from orch_server.hub.language.registry import Watcher, watches
from orch_server.hub.language.wording import shortened, state_of
from orch_server.services import sessions
from orch_server.store.records import SessionRecord, StoredEvent

if TYPE_CHECKING:
    from orch_server.hub.language.editor import Editor

_PREFIX = "orch-session-"
_EVERY_SECONDS = 0.5
_TITLE_CHARACTERS = 60
_MESSAGE_CHARACTERS = 100


@watches
def runs(editor: "Editor") -> Watcher | None:
    """Show sessions at work."""
    shows = editor.capabilities.shows_progress and editor.capabilities.options.progress
    return _Runs(editor) if shows else None


class _Runs(Watcher):
    events = ("session.state_changed", "agent.tool_started", "agent.plan")

    def __init__(self, editor: "Editor") -> None:
        self._editor = editor
        self._shown: dict[str, _Shown] = {}

    def begin(self) -> None:
        """Show what is at work already."""
        found, _ = self._editor.context.store.sessions(states=LIVE)
        for session in found:
            self._follow(session)

    def take(self, event: StoredEvent) -> None:
        """Follow a session's states, and what its agent does."""
        session_id = event.session_id or ""
        shown = self._shown.get(session_id)
        if event.type == "session.state_changed":
            session = self._editor.context.store.session(session_id)
            if session is not None and session.state in LIVE:
                self._follow(session)
            elif shown is not None:
                shown.end(state_of(session) if session is not None else "gone")
                del self._shown[session_id]
        elif shown is not None:
            shown.say(_doing(event))

    def cancelled(self, token: str | int) -> None:
        """Stop the session whose progress the user cancelled."""
        session_id = str(token).removeprefix(_PREFIX)
        if session_id in self._shown and str(token) != session_id:
            self._editor.context.spawn(sessions.cancel(self._editor.context, session_id))

    def close(self) -> None:
        """Show nothing more."""
        for shown in self._shown.values():
            shown.close()
        self._shown.clear()

    def _follow(self, session: SessionRecord) -> None:
        shown = self._shown.get(session.id)
        if shown is None:
            shown = self._shown[session.id] = _Shown(self._editor, session)
        waits = session.state == State.WAITING_FOR_USER
        shown.say(state_of(session) if waits else "")


class _Shown:
    """The progress of one session: created, begun once the client agreed, reported at most twice a second, ended."""

    def __init__(self, editor: "Editor", session: SessionRecord) -> None:
        self._editor = editor
        self._token = _PREFIX + session.id
        self._title = harmless(f"{session.agent}: {shortened(session.title, _TITLE_CHARACTERS)}")
        self._message = ""
        self._begun = False
        self._closed = False
        self._last: str | None = None
        self._due: asyncio.TimerHandle | None = None
        params = types.WorkDoneProgressCreateParams(self._token)
        editor.wire.request(types.WINDOW_WORK_DONE_PROGRESS_CREATE, params).add_done_callback(self._created)

    def say(self, message: str) -> None:
        """Show what the agent does."""
        self._message = message
        if self._begun and self._due is None:
            self._due = asyncio.get_running_loop().call_later(_EVERY_SECONDS, self._report)

    def end(self, message: str) -> None:
        """Show how it ended, and be gone."""
        self.close()
        if self._begun:
            self._tell(types.WorkDoneProgressEnd(message=message))

    def close(self) -> None:
        """Show nothing more."""
        self._closed = True
        if self._due is not None:
            self._due.cancel()

    def _created(self, reply: "asyncio.Future[Any]") -> None:
        if not self._closed and not reply.cancelled() and reply.exception() is None:
            self._begun = True
            self._last = self._message
            self._tell(types.WorkDoneProgressBegin(self._title, cancellable=True, message=self._message or None))

    def _report(self) -> None:
        self._due = None
        if self._message != self._last:
            self._last = self._message
            self._tell(types.WorkDoneProgressReport(cancellable=True, message=self._message))

    def _tell(self, value: Any) -> None:
        self._editor.wire.notify(types.PROGRESS, types.ProgressParams(self._token, value))


def _doing(event: StoredEvent) -> str:
    data = orjson.loads(event.json)["data"]
    if event.type == "agent.plan":
        steps = [entry["text"] for entry in data["entries"] if entry["status"] == "in_progress"]
        return harmless(shortened(steps[0], _MESSAGE_CHARACTERS)) if steps else ""
    return harmless(shortened(data["title"] or data["name"], _MESSAGE_CHARACTERS))
