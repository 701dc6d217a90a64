"""Pages about sessions, for editors: each has a name like `/sessions/<id>/transcript.md` and is made when asked for.

| page | what it holds |
|---|---|
| `/sessions.md` | the sessions that are not put away |
| `/sessions/<id>/session.md` | one session: what it was asked, how far it is, what it asks, where to go from there |
| `/sessions/<id>/transcript.md` | its conversation |
| `/sessions/<id>/changes.patch` | what it changed, uncommitted work included |
| `/sessions/<id>/collisions.patch` | how the other sides differ in what would not merge |
| `/sessions/<id>/stderr.log` | the end of what its agent wrote to standard error |
| `/sessions/<id>/base/<path>` | a file as it was where the session began |
"""

import asyncio
import os
from collections.abc import Awaitable, Callable

from orch_server.domain.errors import OrchError, not_found
from orch_server.domain.session import State
from orch_server.services import advice, changes, logs, sessions, transcript
from orch_server.services.changes import Against
from orch_server.services.context import Context
from orch_server.store.records import SessionRecord

SCHEME = "orch"
_LOG_LINES = 1_000
_MOST_SESSIONS = 200

Page = Callable[[Context, SessionRecord], Awaitable[str]]


def page_of(session_id: str, name: str) -> str:
    """Return the name of a session's page."""
    return f"/sessions/{session_id}/{name}"


async def read(context: Context, page: str) -> str:
    """Return the text of a page."""
    if page == "/sessions.md":
        return _list(context)
    _, _, session_id, name, *rest = [*page.split("/", 4), "", "", ""]
    if not page.startswith("/sessions/") or not session_id:
        raise _unknown(page)
    session = sessions.find(context, session_id)
    if name == "base" and rest[0]:
        return await _base(context, session, rest[0])
    make = _PAGES.get(name)
    if make is None or rest[0]:
        raise _unknown(page)
    return await make(context, session)


async def write(context: Context, page: str) -> str:
    """Write a page to a file of ours, and return its path; the file is replaced when the page is written again."""
    text = await read(context, page)
    path = os.path.join(context.places.pages, *(part for part in page.removeprefix("/sessions/").split("/") if part))
    if not os.path.normpath(path).startswith(context.places.pages + os.sep) or ".." in page.split("/"):
        raise _unknown(page)
    await asyncio.to_thread(_write, path, text)
    return path


def _unknown(page: str) -> OrchError:
    return not_found("page", page, hint=f"A session has {', '.join(_PAGES)} and base/<path>.")


def _list(context: Context) -> str:
    states = [state for state in State if state not in {State.ARCHIVED, State.DELETED}]
    found, cursor = context.store.sessions(states=states, limit=_MOST_SESSIONS)
    lines = ["# Sessions", ""]
    for session in found:
        lines.append(f"- {_marked(session)} `{session.id}` {session.agent} {session.action} in {session.project_slug}, "
                     f"{_state(session)}: {_line(session.title)}")  # fmt: skip
        lines.extend(f"  - asks: {_line(request.title)}" for request in session.input_requests)
    if not found:
        lines.append("There are none. `orch send` starts one.")
    if cursor is not None:
        lines += ["", f"These are the newest {_MOST_SESSIONS}; `orch sessions list` has the others."]
    return "\n".join(lines) + "\n"


async def _session(context: Context, session: SessionRecord) -> str:
    del context
    rows = [
        ("id", session.id),
        ("agent", f"{session.agent} {session.action}, policy {session.policy}"),
        ("project", session.project_slug),
        ("state", _state(session)),
        ("why", session.message),
        ("attention", ", ".join(session.attention)),
        ("branch", session.branch),
        ("worktree", session.worktree_path),
        ("turns", str(session.turns)),
        ("changes", _changes(session)),
        ("begun", session.created_at),
    ]
    lines = [f"# {_line(session.title)}", "", *(f"- {name}: {value}" for name, value in rows if value), ""]
    lines += ["## Asked to", "", _quoted(session.prompt), ""]
    for request in session.input_requests:
        lines += [f"## It asks: {_line(request.title)}", ""]
        said = dict.fromkeys([request.detail, *(item.text for item in request.questions)])
        lines += [f"{_quoted(text)}\n" for text in said if text and text != request.title]
        options = [option.id for option in request.options]
        options += [f"{item.id}: {option.id}" for item in request.questions for option in item.options]
        lines += [f"- `orch respond {session.id} {option}`" for option in options]
        lines.append("")
    for item in session.queued:
        lines += [f"## Waiting for its turn ({item.status})", "", _quoted(item.text), ""]
    lines += ["## More", "", *(f"- {name}" for name in _PAGES if name != "session.md"), ""]
    return "\n".join(lines)


async def _transcript(context: Context, session: SessionRecord) -> str:
    return transcript.as_markdown(session.title, await transcript.read(context, session.id))


async def _patch(context: Context, session: SessionRecord) -> str:
    found = await changes.diff(context, session, Against.BASE, ())
    left_out = [f"# {file.path}: too large to show\n" for file in found.files if file.truncated]
    return "".join([*left_out, *(file.patch or "" for file in found.files)])


async def _log(context: Context, session: SessionRecord) -> str:
    lines, _ = await asyncio.to_thread(logs.tail, context, session, _LOG_LINES)
    return "".join(f"{line}\n" for line in lines)


async def _base(context: Context, session: SessionRecord, path: str) -> str:
    content = await changes.file_before(context, session, changes.Against.BASE, path)
    if content is None:
        raise not_found("file", path, hint=f"It was not there where session {session.id} began.")
    return content.decode("utf-8", "replace")


_PAGES: dict[str, Page] = {
    "session.md": _session,
    "transcript.md": _transcript,
    "changes.patch": _patch,
    "collisions.patch": advice.compare,
    "stderr.log": _log,
}


def _marked(session: SessionRecord) -> str:
    return "[!]" if session.state == State.WAITING_FOR_USER else "[ ]"


def _state(session: SessionRecord) -> str:
    reason = f" ({session.reason})" if session.reason is not None else ""
    return f"{session.state.replace('_', ' ')}{reason}"


def _changes(session: SessionRecord) -> str:
    found = session.changes
    return f"{found.files} files, +{found.insertions} -{found.deletions}" if found is not None else ""


def _line(text: str) -> str:
    return " ".join(text.split())


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8", errors="replace", newline="", opener=_private) as file:
        file.write(text)
    os.replace(path + ".new", path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
