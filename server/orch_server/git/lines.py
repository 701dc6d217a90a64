"""Which lines of each side a conflict is made of. Pure: texts and differences in, line numbers out.

git's merge puts the changes of both sides that touch one another into one conflict, and then takes out what the sides
have in common. So the merged text, with "ours" taken in every conflict, is made of lines whose origin is known one by
one from the two differences; and a conflict that git marks in it begins where its first line comes from. What is
found so is checked against the merged text; where git went another way, the texts themselves are compared.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from orch_server.domain.collision import CollisionHunk, LineRange

HUNK = re.compile(rb"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", re.MULTILINE)
FILE = re.compile(rb"^diff --git a/(\d+) b/\d+$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Change:
    """Lines of an old text that others of a new text stand for. Counted from 0, the ends not included."""

    old: int
    old_end: int
    new: int
    new_end: int


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the common ancestor that one side or both changed, with what each side has there."""

    old: int
    old_end: int
    ours: tuple[int, int]
    theirs: tuple[int, int]
    by_us: bool
    by_them: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """What git made of a file with conflicts in it, what went in, and the names of the two sides in its marks."""

    merged: bytes
    ours: bytes
    theirs: bytes
    by_us: Sequence[Change]
    by_them: Sequence[Change]
    labels: tuple[bytes, bytes]


def read_patch(patch: bytes) -> Iterator[tuple[int, tuple[Change, ...]]]:
    """Yield the changes of each file of a patch without context whose files are called by numbers."""
    heads = list(FILE.finditer(patch))
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        part = patch[head.end() : following.start() if following else len(patch)]
        yield int(head[1]), tuple(_read_hunk(match) for match in HUNK.finditer(part))


def regions(by_us: Sequence[Change], by_them: Sequence[Change]) -> list[Region]:
    """Return the parts of the ancestor that were changed; changes of both sides that touch are one part."""
    events = sorted([(change.old, change.old_end, 0, change) for change in by_us], key=lambda event: event[:3])
    events = sorted(
        [*events, *((change.old, change.old_end, 1, change) for change in by_them)], key=lambda event: event[:3]
    )
    found: list[Region] = []
    shift = [0, 0]  # how far each side is ahead of the ancestor
    position = 0
    while position < len(events):
        start, end, _, _ = events[position]
        group: tuple[list[Change], list[Change]] = ([], [])
        while position < len(events) and (events[position][0] <= end):
            group[events[position][2]].append(events[position][3])
            end = max(end, events[position][1])
            position += 1
        spans = []
        for side, changes in enumerate(group):
            grown = sum((change.new_end - change.new) - (change.old_end - change.old) for change in changes)
            spans.append((start + shift[side], end + shift[side] + grown))
            shift[side] += grown
        found.append(Region(start, end, spans[0], spans[1], bool(group[0]), bool(group[1])))
    return found


def hunks(conflict: Conflict, marker_size: int) -> tuple[CollisionHunk, ...]:
    """Return the conflicts that git marked, in the line numbers of both sides."""
    ours, theirs = split(conflict.ours), split(conflict.theirs)
    taken, marked = _parse(conflict.merged, conflict.labels, marker_size)
    parts = regions(conflict.by_us, conflict.by_them)
    origins = (_origins(parts, len(ours), 0), _origins(parts, len(theirs), 1))
    ranges: list[list[LineRange]] = []
    for side, own in enumerate((ours, theirs)):
        origin = origins[side]
        if not _agrees(taken[side], own, origin):
            origin = _compared(taken[side], own)
        ranges.append([_range(origin, *mark[side]) for mark in marked])
    return tuple(CollisionHunk(sides=(mine, other)) for mine, other in zip(ranges[0], ranges[1], strict=True))


def split(text: bytes) -> list[bytes]:
    """Return the lines of a text as git counts them, without their ends."""
    found = [line.removesuffix(b"\r") for line in text.split(b"\n")]
    return found[:-1] if not found[-1] else found


def as_range(start: int, end: int) -> LineRange:
    """Return lines counted from 0, the end not included, as they travel."""
    return LineRange(start_line=start + 1, end_line=end)


def _read_hunk(match: "re.Match[bytes]") -> Change:
    old, old_count, new, new_count = (1 if part is None else int(part) for part in match.groups())
    # Of nothing git names the line before.
    old, new = old - (old_count > 0), new - (new_count > 0)
    return Change(old, old + old_count, new, new + new_count)


Mark = tuple[tuple[int, int], tuple[int, int]]


def _parse(merged: bytes, labels: tuple[bytes, bytes], size: int) -> tuple[tuple[list[bytes], list[bytes]], list[Mark]]:
    """Return the merged text with ours, and with theirs, in every conflict; and where the conflicts are in these."""
    # git makes the marks longer where it merges what comes from merges.
    begin = re.compile(rb"<{%d,} %b" % (size, labels[0]))
    middle = re.compile(rb"={%d,}$" % size)
    end = re.compile(rb">{%d,} %b" % (size, labels[1]))
    taken: tuple[list[bytes], list[bytes]] = ([], [])
    marked: list[Mark] = []
    starts = (0, 0)
    ends = 0
    side = -1  # both
    for line in split(merged):
        if side < 0 and begin.match(line):
            side, starts = 0, (len(taken[0]), len(taken[1]))
        elif side == 0 and middle.match(line):
            side, ends = 1, len(taken[0])
        elif side == 1 and end.match(line):
            side = -1
            marked.append(((starts[0], ends), (starts[1], len(taken[1]))))
        elif side < 0:
            taken[0].append(line)
            taken[1].append(line)
        else:
            taken[side].append(line)
    return taken, marked


def _origins(parts: Sequence[Region], length: int, side: int) -> list[int | None]:
    """Return of each line of the merged text, with this side taken in conflicts, which of the side's lines it is."""
    found: list[int | None] = []
    position = 0
    for part in parts:
        (start, end), (other, other_end) = (part.ours, part.theirs) if side == 0 else (part.theirs, part.ours)
        found += range(position, start)
        if part.by_us if side == 0 else part.by_them:
            found += range(start, end)
        else:
            found += [None] * (other_end - other)
        position = end
    return [*found, *range(position, length)]


def _agrees(taken: Sequence[bytes], own: Sequence[bytes], origin: Sequence[int | None]) -> bool:
    return len(taken) == len(origin) and all(
        number is None or (number < len(own) and own[number] == line)
        for line, number in zip(taken, origin, strict=True)
    )


def _compared(taken: Sequence[bytes], own: Sequence[bytes]) -> list[int | None]:
    found: list[int | None] = [None] * len(taken)
    for mine, theirs, size in SequenceMatcher(None, taken, own, autojunk=False).get_matching_blocks():
        found[mine : mine + size] = range(theirs, theirs + size)
    return found


def _range(origin: Sequence[int | None], start: int, end: int) -> LineRange:
    inside = [number for number in origin[start:end] if number is not None]
    if inside:
        return as_range(inside[0], inside[-1] + 1)
    before = next((number + 1 for number in reversed(origin[:start]) if number is not None), 0)
    return as_range(before, before)
