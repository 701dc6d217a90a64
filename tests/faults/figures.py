"""The figures that the runs give, kept for docs/reliability.md: one JSON file, written where FIGURES names it."""

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Figures = dict[str, dict[str, Any]]


def record(family: str, **figures: Any) -> None:
    """Print the figures of a family, and put them to those of the run."""
    print(f"{family}: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items()))
    _change(lambda kept: kept.setdefault(family, {}).update(figures))


def count(family: str, name: str) -> None:
    """Add one to a figure of the run."""

    def add(kept: Figures) -> None:
        family_kept = kept.setdefault(family, {})
        family_kept[name] = family_kept.get(name, 0) + 1

    _change(add)


def take_over(other: Path) -> None:
    """Put the figures that another process kept in a file of its own to those of the run."""
    if not other.exists():
        return
    found: Figures = json.loads(other.read_text())

    def add(kept: Figures) -> None:
        for family, values in found.items():
            kept.setdefault(family, {}).update(values)

    _change(add)


def _change(change: Callable[[Figures], None]) -> None:
    path = os.environ.get("FIGURES")  # unset or empty: nobody wants them
    if not path:
        return
    with open(path, "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the tests run in several processes
        file.seek(0)
        kept: Figures = json.loads(file.read() or "{}")
        change(kept)
        file.truncate(0)
        file.write(json.dumps(kept, indent=1, sort_keys=True) + "\n")
