"""What the command line prints: short and aligned for people, JSON for programs, and harmless on any terminal."""

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from orch_server.domain.readable import harmless


def line(text: str) -> None:
    """Print a line of text that may come from anywhere."""
    print(harmless(text, keep="\t"), flush=True)


def block(text: str) -> None:
    """Print lines of text that may come from anywhere."""
    print(harmless(text, keep="\t\n"), flush=True)


def as_json(value: Any) -> None:
    """Print one JSON document on a line."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def note(text: str) -> None:
    """Print a message for the person, on standard error."""
    print(harmless(text, keep="\n"), file=sys.stderr, flush=True)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], empty: str = "") -> None:
    """Print rows under headings: drawn by rich on a terminal, plain columns elsewhere.

    Where there are none, `empty` says on standard error what that means.
    """
    if not rows and empty:
        note(f"orch: {empty}")
        return
    clean = [[harmless(cell) for cell in row] for row in rows]
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        drawn = Table(box=None, header_style="bold", pad_edge=False)
        for heading in headings:
            drawn.add_column(heading, overflow="fold")
        for row in clean:
            drawn.add_row(*(Text(cell) for cell in row))
        Console().print(drawn)
        return
    widths = [max(len(cell) for cell in column) for column in zip(headings, *clean, strict=True)]
    for row in (list(headings), *clean):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), flush=True)


def age(time: str | None) -> str:
    """Return how long ago a time of the hub is, in one word."""
    if time is None:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()
    for size, letter in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{letter}"
    return f"{max(0, int(seconds))}s"


def state(session: dict[str, Any]) -> str:
    """Return a session's state with its reason, or with the state it was put away in."""
    reason = session["stateBefore"] or session["reason"]
    return session["state"] if reason in {None, "turn_ended", "user_stopped"} else f"{session['state']} ({reason})"
