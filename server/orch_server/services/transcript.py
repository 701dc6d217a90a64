"""A session's conversation as entries: what was said, thought, done and asked, put together from its events."""

import io
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
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
LARGE = 1024 * 1024
"""Characters from which on a piece ends at the next place where nothing is half told."""
LARGEST = 4 * LARGE
"""Characters at which a piece ends wherever it is."""
_ENTRY_WEIGHT = 1024
"""What an entry weighs in memory besides its text."""


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


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a conversation: its entries, and the number of the event up to which they tell it."""

    entries: list[Entry]
    seq: int


async def read(context: Context, session_id: str) -> list[Entry]:
    """Return all entries of a session."""
    assembler = _Assembler()
    after = 0
    while page := await context.store.events(after, session_id=session_id, types=TYPES):
        assembler.take(page)
        after = page[-1].seq
    return assembler.finish()


async def pieces(context: Context, session_id: str, *, after: int, until: int) -> AsyncIterator[Piece]:
    """Yield what a session's events after one and up to another tell, in pieces that fit into memory.

    An entry that is longer than a piece goes on in the next one as a further entry. The last piece ends at `until`.
    """
    assembler = _Assembler()
    while after < until and (
        page := await context.store.events(after, session_id=session_id, types=TYPES, page_bytes=LARGE)
    ):
        for event in page:
            if event.seq > until:
                break
            assembler.take((event,))
            if event.seq < until and assembler.weight >= (LARGEST if assembler.is_amid_an_entry else LARGE):
                yield Piece(assembler.finish(), event.seq)
                assembler = _Assembler()
        after = page[-1].seq
    yield Piece(assembler.finish(), until)


def as_markdown(title: str, entries: Iterable[Entry]) -> str:
    """Return a conversation as a page to read."""
    return "\n".join([f"# {title}", *(_section(entry) for entry in entries)]) + "\n"


def as_json_lines(entries: Iterable[Entry]) -> bytes:
    """Return a conversation as one JSON document a line."""
    return b"".join(entry.json_bytes() + b"\n" for entry in entries)


class _Assembler:
    """Joins the pieces of messages, and tools with their results."""

    def __init__(self) -> None:
        self.weight = 0
        """About how many bytes it holds."""
        self._entries: list[Entry] = []
        self._open: dict[str, tuple[Entry, io.StringIO]] = {}
        """Each with what is known of its text: a message may come in hundreds of thousands of pieces."""

    @property
    def is_amid_an_entry(self) -> bool:
        """Whether more may come of what was begun."""
        return bool(self._open)

    def take(self, events: Iterable[StoredEvent]) -> None:
        """Take the next events."""
        for stored in events:
            event = orjson.loads(stored.json)
            data = event["data"]
            if not data:
                continue  # the session was purged
            match stored.type:
                case "agent.message" | "agent.thought":
                    kind = EntryKind.MESSAGE if stored.type == "agent.message" else EntryKind.THOUGHT
                    self._add(data["messageId"], event, kind, data["text"])
                    if data["final"]:
                        self._close(data["messageId"])
                case "agent.tool_started":
                    self._open.pop(data["toolId"], None)
                    self._add(data["toolId"], event, EntryKind.TOOL, data["title"] or data["name"])
                case "agent.tool_finished":
                    outcome = data["output"].rstrip() if data["ok"] else f"failed: {data['output'].rstrip()}"
                    self._add(data["toolId"], event, EntryKind.TOOL, f"\n{outcome}")
                    self._close(data["toolId"])
                case _:
                    if (whole := _whole(event)) is not None:
                        self._entries.append(whole)
                        self.weight += _ENTRY_WEIGHT + len(whole.text)

    def finish(self) -> list[Entry]:
        """Return all entries in order; those that are not complete end here."""
        for name in list(self._open):
            self._close(name)
        self._entries.sort(key=lambda entry: entry.seq)
        return self._entries

    def _add(self, name: str, event: dict[str, Any], kind: EntryKind, text: str) -> None:
        if name not in self._open:
            self._open[name] = _entry(event, Role.AGENT, kind, ""), io.StringIO()
            self.weight += _ENTRY_WEIGHT
        self._open[name][1].write(text)
        self.weight += len(text)

    def _close(self, name: str) -> None:
        entry, words = self._open.pop(name)
        text = words.getvalue()
        entry.text = text.strip() if entry.kind == EntryKind.TOOL else text
        if text.strip():
            self._entries.append(entry)


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
