"""The figures that the runs give, kept for docs/reliability.md: one JSON file, written where FIGURES names it."""

import fcntl
import json
import os
from typing import Any


def record(family: str, **figures: Any) -> None:
    """Print the figures of a family, and add them to those of the run."""
    print(f"{family}: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items()))
    path = os.environ.get("FIGURES")
    if path is None:
        return
    with open(path, "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        kept: dict[str, dict[str, Any]] = json.loads(file.read() or "{}")
        kept.setdefault(family, {}).update(figures)
        file.truncate(0)
        file.write(json.dumps(kept, indent=1, sort_keys=True) + "\n")
