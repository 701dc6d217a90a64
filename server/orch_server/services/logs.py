"""The end of what an agent wrote."""

import os

from orch_server.services.context import Context
from orch_server.store.records import SessionRecord

_MOST_BYTES = 256 * 1024


def tail(context: Context, session: SessionRecord, lines: int) -> tuple[list[str], bool]:
    """Return the last lines that the session's agent wrote to its standard error, and whether there are more.

    Where the latest run wrote none, those of the runs before it.
    """
    for run in reversed(context.store.runs_of(session.id)):
        found, more = _last_lines(context.runs.bundle(run.id).err_log, lines)
        if found:
            return found, more
    return [], False


def _last_lines(path: str, lines: int) -> tuple[list[str], bool]:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _MOST_BYTES))
            text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return [], False
    found = text.splitlines()
    cut = size > _MOST_BYTES
    return (found[1:] if cut else found)[-lines:], cut or len(found) > lines
