"""What sessions changed in files, as values: which files, which lines, and what is known of it so far."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from orch_server.domain.collision import LineRange
from orch_server.git.diff import FileStatus
from orch_server.services.feed import Subscription
from orch_server.store.records import SessionRecord

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


@dataclass(frozen=True, slots=True)
class TouchedLines:
    """Lines that a session changed; a side without lines ends before it begins, at the line it lies behind."""

    base: LineRange
    """As they are counted where the session began."""
    session: LineRange
    """As they are counted in the session's worktree."""


@dataclass(frozen=True, slots=True)
class Touch:
    """What one session changed in one file."""

    path: str
    status: FileStatus
    insertions: int = 0
    deletions: int = 0
    lines: tuple[TouchedLines, ...] = ()
    """Empty for a file that has no lines, or too many."""


@dataclass(frozen=True, slots=True)
class SessionTouch:
    """A session that changed a file which someone looks at."""

    session: SessionRecord
    touch: Touch
    in_worktree: bool
    """Whether the file looked at is the session's own."""

    def covers(self, line: int) -> bool:
        """Whether the session changed a line, counted from 1; every line of a file without known lines."""
        ranges = [item.session if self.in_worktree else item.base for item in self.touch.lines]
        return not ranges or any(_covers(found, line) for found in ranges)


def _covers(found: LineRange, line: int) -> bool:
    """Whether a range holds a line; one without lines holds those beside the place where some were taken away."""
    first, last = sorted((found.start_line, found.end_line))
    return first <= line <= last


Listener = Callable[[str, frozenset[str]], None]
"""Told a project's id and the files in it, from its top, of which is known anew who changed them."""


@dataclass(slots=True)
class Touches:
    """What is known so far. One for the hub."""

    files: dict[str, dict[str, Touch]] = field(default_factory=dict)
    """By session and path."""
    listeners: set[Listener] = field(default_factory=set)
    due: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    looking: set[str] = field(default_factory=set)
    again: set[str] = field(default_factory=set)
    known_projects: set[str] = field(default_factory=set)
    follower: Subscription | None = None


def lines_of(patch: str) -> tuple[TouchedLines, ...]:
    """Return the lines that a unified patch of one file changes, without its context."""
    found: list[TouchedLines] = []
    old = new = gone = added = 0
    inside = False
    for line in [*patch.split("\n"), " "]:
        header = _HUNK.match(line)
        if header is None and (not inside or line[:1] in {"-", "+", "\\"}):
            gone += inside and line[:1] == "-"
            added += inside and line[:1] == "+"
            continue
        if gone or added:
            found.append(TouchedLines(_range(old, gone), _range(new, added)))
        old, new, gone, added = old + gone + 1, new + added + 1, 0, 0
        if header is not None:
            inside = True
            old, new = _first(header[1], header[2]), _first(header[3], header[4])
    return tuple(found)


def _first(start: str, count: str | None) -> int:
    """Return the first line of a hunk's side; git names the line before where the side has none."""
    return int(start) + (1 if count == "0" else 0)


def _range(start: int, count: int) -> LineRange:
    return LineRange(start_line=start, end_line=start + count - 1)
