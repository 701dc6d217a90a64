"""Bringing a session's changes of one text into another version of it, without git and without touching a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher


@dataclass(frozen=True, slots=True)
class LineEdit:
    """Lines, counted from 0, that others take the place of; `end` is not among them."""

    start: int
    end: int
    lines: tuple[str, ...]


def edits_for(base: Sequence[str], theirs: Sequence[str], ours: Sequence[str]) -> list[LineEdit] | None:
    """Return the edits that bring what `theirs` changed since `base` into `ours`; None where the two collide.

    Two changes collide where they touch the same or neighbouring lines and are not the same change.
    """
    own = _changes(base, ours)
    edits: list[LineEdit] = []
    for start, end, new in _changes(base, theirs):
        shift = 0
        same = False
        for own_start, own_end, own_new in own:
            if (own_start, own_end, own_new) == (start, end, new):
                same = True
            elif own_start <= end and start <= own_end:
                return None
            elif own_end <= start:
                shift += len(own_new) - (own_end - own_start)
        if not same:
            edits.append(LineEdit(start + shift, end + shift, new))
    return edits


def _changes(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int, tuple[str, ...]]]:
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    return [
        (start, end, tuple(new[new_start:new_end]))
        for tag, start, end, new_start, new_end in matcher.get_opcodes()
        if tag != "equal"
    ]
