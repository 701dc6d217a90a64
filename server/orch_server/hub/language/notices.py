"""`window/showMessage`: what became of sessions, for clients that chose to be told."""

from typing import TYPE_CHECKING

import orjson
from lsprotocol import types

from orch_server.domain.readable import harmless
from orch_server.domain.session import Reason, State
from orch_server.hub.language.registry import Watcher, watches
from orch_server.hub.language.wording import shortened
from orch_server.store.records import StoredEvent

if TYPE_CHECKING:
    from orch_server.hub.language.editor import Editor

_TOLD = {State.COMPLETED: types.MessageType.Info, State.FAILED: types.MessageType.Error}
_MESSAGE_CHARACTERS = 200


@watches
def notices(editor: "Editor") -> Watcher | None:
    """Tell when a session is done or failed, and when one changes what is claimed."""
    return _Notices(editor) if editor.capabilities.options.notices else None


class _Notices(Watcher):
    events = ("session.state_changed", "session.updated", "lease.contested")

    def __init__(self, editor: "Editor") -> None:
        self._editor = editor

    def take(self, event: StoredEvent) -> None:
        """Tell what a person wants to know."""
        data = orjson.loads(event.json)["data"]
        if event.type == "lease.contested":
            by = self._editor.context.store.session(data["by"])
            agent = by.agent if by is not None else "a session"
            self._tell(types.MessageType.Warning, f"{agent} ({data['by']}) changes {data['path']}, which is claimed.")
            return
        if event.type == "session.updated":
            self._attention(event.session_id, data["changed"].get("attention") or [])
            return
        kind = _TOLD.get(data["to"])
        if data["to"] == State.STOPPED and data["reason"] != Reason.USER_STOPPED:
            kind = types.MessageType.Warning
        if kind is None or data["from"] == data["to"]:
            return
        session = data["session"]
        why = f" {shortened(session['message'], _MESSAGE_CHARACTERS)}" if session["message"] else ""
        self._tell(kind, f"{session['agent']} in {session['projectSlug']} {data['to']}: {session['title']}.{why}")

    def _attention(self, session_id: str | None, flags: list[str]) -> None:
        session = self._editor.context.store.session(session_id or "")
        if session is not None and flags:
            words = ", ".join(flag.replace("_", " ") for flag in flags)
            self._tell(types.MessageType.Warning, f"{session.agent} in {session.project_slug}: {words} ({session.id}).")

    def _tell(self, kind: types.MessageType, text: str) -> None:
        self._editor.wire.notify(types.WINDOW_SHOW_MESSAGE, types.ShowMessageParams(kind, f"orch: {harmless(text)}"))
