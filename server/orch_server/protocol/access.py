"""What an agent may ask of the hub: to read its own session, and no more.

An agent works on what others wrote, so what it asks for may not be what its user wants. It cannot start, answer,
stop or delete anything, and it learns nothing of other sessions.
"""

from typing import Any

from orch_server.domain.errors import ErrorKind, OrchError

READING = frozenset(
    {
        "orch/session/get",
        "orch/session/diff",
        "orch/session/transcript",
        "orch/session/logTail",
        "orch/event/list",
        "orch/event/subscribe",
        "orch/event/unsubscribe",
        "orch/artifact/list",
    }
)
_OF_A_CONNECTION = frozenset({"orch/event/unsubscribe"})


def check_agent(session_id: str, method: str, params: Any) -> None:
    """Raise forbidden unless a request of this session's agent reads that session."""
    if method in READING:
        named = params.get("session") if isinstance(params, dict) else None
        if named == session_id or method in _OF_A_CONNECTION:
            return
    raise OrchError(
        ErrorKind.FORBIDDEN,
        f"This comes from the agent of session {session_id}, which may read that session only.",
        hint=f"Ask the user, or name the session: {session_id}.",
        session=session_id,
    )
