"""The table for people, for programs, and for the documentation."""

import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.bench.measure import Line, Scale
from tests.repositories import hermetic_environment

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- written by: python -m tests.bench --write-docs -->", "<!-- end of what the run wrote -->"
HEAD = ("row", "what", "orch", "p25 - p75", "reference", "", "ratio", "target", "")


def cells(line: Line) -> tuple[str, ...]:
    """Return one line of the table as texts."""
    spread = f"{number(line.spread[0])} - {number(line.spread[1])}" if line.spread else ""
    return (
        line.row,
        line.what,
        f"{number(line.measured)} {line.unit}" if line.measured is not None else "-",
        spread,
        f"{number(line.reference)} {line.unit}" if line.reference is not None else "-",
        line.against,
        f"{line.ratio:.2f}" if line.ratio is not None else "-",
        line.target.text if line.target else "",
        line.verdict,
    )


def table(lines: Sequence[Line]) -> str:
    """Return an aligned table; notes stand below their lines."""
    rows = [HEAD, *(cells(line) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    written = []
    for row, line in zip(rows, (None, *lines), strict=True):
        written.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if line is not None and line.note:
            written.append(f"{'':{widths[0]}}    ({line.note})")
    return "\n".join(written)


def as_json(lines: Sequence[Line], scale: Scale) -> str:
    """Return everything as one JSON document."""
    found = [
        {
            "row": line.row,
            "what": line.what,
            "unit": line.unit,
            "measured": line.measured,
            "spread": line.spread,
            "against": line.against,
            "reference": line.reference,
            "ratio": line.ratio,
            "target": line.target.text if line.target else None,
            "verdict": line.verdict,
            "note": line.note,
        }
        for line in lines
    ]
    return json.dumps({"machine": machine(), "scale": scale.name, "lines": found}, indent=2)


def machine() -> str:
    """Return what the numbers depend on, without naming the machine."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("pygls", "SQLAlchemy", "pydantic", "orjson"))
    system = f"{platform.system()} {platform.machine()}, {cores()} cores"
    return f"{datetime.now(UTC):%Y-%m-%d}, {system}, Python {platform.python_version()}, {packages}, {git_version()}"


def write_docs(lines: Sequence[Line], scale: Scale) -> None:
    """Put the table into docs/performance.md, between its markers."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    written = ["", f"{machine()}; `--{scale.name}`" if scale.name != "default" else machine(), ""]
    written.append("| " + " | ".join(name or " " for name in HEAD) + " |")
    written.append("|" + "---|" * len(HEAD))
    written += ["| " + " | ".join(cells(line)) + " |" for line in lines]
    notes = [f"* {line.row}, {line.what}: {line.note}" for line in lines if line.note]
    DOCUMENT.write_text(before + "\n".join([BEGIN, *written, "", *notes, "", END]) + after)


def number(value: float | None) -> str:
    """Return a number with three digits that mean something."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def cores() -> int:
    """Return how many processors the run may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def git_version() -> str:
    """Return what git calls itself."""
    import subprocess

    done = subprocess.run(
        ["git", "--version"], env=hermetic_environment(Path("/")), capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
