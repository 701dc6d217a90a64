"""A conversation as the context of a new one: for agents, or conversations, that cannot be gone on with."""

from collections.abc import Iterable

from orch_server.services.transcript import Entry, EntryKind, Role

PREFACE = (
    "This continues earlier work, whose conversation is not available any more. What was said and done so far follows "
    "between the lines of equals signs, the oldest first; take the files as they are now."
)
LIMIT = 48_000
"""Characters; of a longer past the end is given."""
_RULE = "=" * 40
_TOOL_CHARACTERS = 400


def in_context(past: Iterable[Entry], text: str) -> str:
    """Return a text to the agent with what was said before it."""
    told = "\n\n".join(filter(None, map(_told, past)))
    if len(told) > LIMIT:
        told = f"(earlier parts are left out)\n\n{told[-LIMIT:]}"
    return f"{PREFACE}\n\n{_RULE}\n{told}\n{_RULE}\n\n{text}" if told else text


def _told(entry: Entry) -> str:
    match entry.kind, entry.role:
        case EntryKind.MESSAGE, Role.USER:
            # A text that was given with a past of its own: that stands above already.
            said = entry.text.rpartition(f"{_RULE}\n\n")[2] if entry.text.startswith(PREFACE) else entry.text
            return f"User: {said.strip()}"
        case EntryKind.MESSAGE, _:
            return f"Agent: {entry.text.strip()}"
        case EntryKind.TOOL, _:
            return f"Tool: {entry.text.strip()[:_TOOL_CHARACTERS]}"
        case EntryKind.INPUT, _:
            return f"Asked: {entry.text.strip()[:_TOOL_CHARACTERS]}"
    return ""
