"""The matrix as a table in docs/agents.md, written from what a run of all its cells showed."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.agents_real.matrix import CELLS, ROWS
from tests.agents_real.surroundings import REALS

PAGE = Path(__file__).parents[2] / "docs" / "agents.md"
BEGIN, END = "<!-- written by `make test-agents` -->", "<!-- until here -->"

Cell = Mapping[str, Any]


def is_whole(cells: Sequence[Cell]) -> bool:
    """Whether every cell of the matrix was run."""
    return {(cell["program"], cell["row"]) for cell in cells} == set(CELLS)


def written(page: str, cells: Sequence[Cell]) -> str:
    """Return the page with the table of these cells in its place."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table(cells)}\n{END}{rest.split(END)[1]}"


def table(cells: Sequence[Cell]) -> str:
    """Return the table, and below it what is to be said about some cells."""
    found = {(cell["program"], cell["row"]): cell for cell in cells}
    notes: list[str] = []
    names = [real.adapter.display_name for real in REALS.values()]
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for row in ROWS:
        marks = [_mark(found[program, row.__name__], notes) for program in REALS]
        lines.append(f"| **{row.__name__.replace('_', ' ')}**: {_what(row)} | {' | '.join(marks)} |")
    passed = sum(cell["passed"] for cell in cells)
    summary = (
        f"{passed} of {len(cells)} cells pass; in the other {len(cells) - passed} the program shows that it cannot."
    )
    return "\n".join([*lines, "", summary, "", *notes, ""])


def _mark(cell: Cell, notes: list[str]) -> str:
    mark = "yes" if cell["passed"] else "no"
    if not cell["remark"]:
        return mark
    notes.append(f"{len(notes) + 1}. {REALS[cell['program']].adapter.display_name}: {cell['remark']}.")
    return f"{mark} ({len(notes)})"


def _what(row: Any) -> str:
    text = re.sub(r"\s+", " ", row.__doc__).strip().rstrip(".")
    return text[0].lower() + text[1:]
