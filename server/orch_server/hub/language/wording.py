"""How a session is put into words, in whatever an editor shows."""

import re
from typing import Any

from lsprotocol import types

from orch_server.domain.readable import harmless
from orch_server.domain.session import State
from orch_server.hub.language.capabilities import ASK
from orch_server.store.records import SessionRecord

_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~&])")


SOURCE = "orch"
"""The source of our own diagnostics, which no agent is asked to fix."""


def offer(title: str, command: str, argument: dict[str, Any]) -> types.CodeAction:
    """Return the code action that carries out a command."""
    title = harmless(title)
    return types.CodeAction(title=title, kind=ASK, command=types.Command(title, command, arguments=[argument]))


def escaped(text: str) -> str:
    """Return a text so that Markdown shows it as it is: no links, no pictures, no headings."""
    return _MARKUP.sub(r"\\\1", harmless(text))


def shortened(text: str, most: int) -> str:
    """Return a text as one line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def state_of(session: SessionRecord) -> str:
    """Return a session's state, and what it waits for."""
    if session.state == State.WAITING_FOR_USER and session.input_requests:
        return f"waits for you: {harmless(shortened(session.input_requests[0].title, 80))}"
    return session.state.replace("_", " ")
