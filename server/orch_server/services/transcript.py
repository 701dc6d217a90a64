"""A session's conversation as entries: what was said, thought, done and asked, put together from its events."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any

import orjson

from orch_server.domain.wire import WireModel
from orch_server.services.context import Context
from orch_server.store.records import StoredEvent

TYPES = (
    "turn.started",
    "turn.failed",
    "followup.delivered",
    "agent.message",
    "agent.thought",
    "agent.tool_started",
    "agent.tool_finished",
    "agent.plan",
    "input.requested",
    "input.answered",
)


class Role(StrEnum):
    """Whose words an entry holds."""

    USER = "user"
    AGENT = "agent"
    SYSTEM = "system"


class EntryKind(StrEnum):
    """What an entry is."""

    MESSAGE = "message"
    THOUGHT = "thought"
    TOOL = "tool"
    PLAN = "plan"
    INPUT = "input"


class Entry(WireModel):
    """One piece of a conversation."""

    seq: int
    """The event it began with."""
    turn: int | None
    role: Role
    kind: EntryKind
    text: str
    at: str


async def read(context: Context, session_id: str, after: int = 0, until: int | None = None) -> list[Entry]:
    """Return the entries of a session that its events after one and up to another tell."""
    entries: list[Entry] = []
    assembler = _Assembler()
    while page := await context.store.events(after, session_id=session_id, types=TYPES):
        entries.extend(assembler.take(event for event in page if until is None or event.seq <= until))
        after = page[-1].seq
    entries.extend(assembler.rest())
    entries.sort(key=lambda entry: entry.seq)
    return entries


def as_markdown(title: str, entries: Iterable[Entry]) -> str:
    """Return a conversation as a page to read."""
    return "\n".join([f"# {title}", *(_section(entry) for entry in entries)]) + "\n"


def as_json_lines(entries: Iterable[Entry]) -> bytes:
    """Return a conversation as one JSON document a line."""
    return b"".join(entry.json_bytes() + b"\n" for entry in entries)


class _Assembler:
    """Joins the pieces of messages, and tools with their results."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Entry, list[str]]] = {}
        """Each with its pieces, which are joined once: a message may come in hundreds of thousands."""

    def take(self, events: Iterable[StoredEvent]) -> Iterator[Entry]:
        """Take the next events and yield the entries that are complete."""
        for stored in events:
            event = orjson.loads(stored.json)
            data = event["data"]
            if not data:
                continue  # the session was purged
            match stored.type:
                case "agent.message" | "agent.thought":
                    kind = EntryKind.MESSAGE if stored.type == "agent.message" else EntryKind.THOUGHT
                    if data["messageId"] not in self._open:
                        self._open[data["messageId"]] = _entry(event, Role.AGENT, kind, ""), []
                    self._open[data["messageId"]][1].append(data["text"])
                    if data["final"]:
                        yield from self._close(data["messageId"])
                case "agent.tool_started":
                    words = [data["title"] or data["name"]]
                    self._open[data["toolId"]] = _entry(event, Role.AGENT, EntryKind.TOOL, ""), words
                case "agent.tool_finished":
                    tool, words = self._open.get(data["toolId"]) or (_entry(event, Role.AGENT, EntryKind.TOOL, ""), [])
                    outcome = data["output"].rstrip() if data["ok"] else f"failed: {data['output'].rstrip()}"
                    self._open[data["toolId"]] = tool, ["\n".join([*words, outcome]).strip()]
                    yield from self._close(data["toolId"])
                case _:
                    if (whole := _whole(event)) is not None:
                        yield whole

    def rest(self) -> Iterator[Entry]:
        """Yield the entries that are not complete yet."""
        for name in list(self._open):
            yield from self._close(name)

    def _close(self, name: str) -> Iterator[Entry]:
        entry, pieces = self._open.pop(name)
        entry.text = "".join(pieces)
        if entry.text.strip():
            yield entry


def _whole(event: dict[str, Any]) -> Entry | None:
    data = event["data"]
    match event["type"]:
        case "turn.started" if data["prompt"]:
            return _entry(event, Role.USER, EntryKind.MESSAGE, data["prompt"])
        case "followup.delivered" if data["mode"] == "steer":
            return _entry(event, Role.USER, EntryKind.MESSAGE, data["text"])
        case "turn.failed":
            return _entry(event, Role.SYSTEM, EntryKind.MESSAGE, f"{data['reason']}: {data['message']}".rstrip(": "))
        case "agent.plan":
            lines = [f"[{_MARKS.get(item['status'], ' ')}] {item['text']}" for item in data["entries"]]
            return _entry(event, Role.AGENT, EntryKind.PLAN, "\n".join(lines))
        case "input.requested":
            request = data["inputRequest"]
            words = [request["title"], request["detail"], *(question["text"] for question in request["questions"])]
            return _entry(event, Role.AGENT, EntryKind.INPUT, "\n".join(dict.fromkeys(word for word in words if word)))
        case "input.answered":
            answer = data["optionId"] or "answered"
            return _entry(event, Role.USER, EntryKind.INPUT, f"{answer} (by {data['by']})")
        case _:
            return None


_MARKS = {"completed": "x", "in_progress": "~"}
_HEADINGS = {Role.USER: "You", Role.AGENT: "Agent", Role.SYSTEM: "orch"}


def _entry(event: dict[str, Any], role: Role, kind: EntryKind, text: str) -> Entry:
    return Entry(seq=event["seq"], turn=event["turn"], role=role, kind=kind, text=text, at=event["at"])


def _section(entry: Entry) -> str:
    heading = _HEADINGS[entry.role]
    if entry.kind == EntryKind.MESSAGE:
        return f"\n## {heading}\n\n{entry.text.strip()}"
    fence = "```"
    while fence in entry.text:
        fence += "`"
    return f"\n### {heading}: {entry.kind}\n\n{fence}\n{entry.text.strip()}\n{fence}"
