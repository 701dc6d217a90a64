"""`python -m tests.bench [--quick | --full] [--json FILE] [--write-docs] [ROW ...]`."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench import (
    broadcast,
    collisions,
    endurance,
    footprint,
    get,
    ingest,
    orchestrator,
    queries,
    report,
    sessions,
    start,
    stream,
)
from tests.bench.measure import Line, Scale

ROWS: dict[str, Callable[[Scale], Iterator[Line]]] = {
    "start-warm": start.warm,
    "start-cold": start.cold,
    "get": get.run,
    "stream": stream.run,
    "ingest": ingest.run,
    "broadcast": broadcast.run,
    "footprint": footprint.run,
    "session-start": sessions.start,
    "worktree": sessions.worktree,
    "query": queries.run,
    "collisions": collisions.run,
    "orchestrator": orchestrator.run,
    "endurance": endurance.run,
}
QUICK = ("start-warm", "get", "ingest")
FULL_ALONE = ("endurance",)


def main() -> int:
    """Measure the rows that were asked for; exit 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="three rows, under three minutes")
    size.add_argument(
        "--full", action="store_true", help="100 agents, 100 k files, a million events, ten minutes of 50 agents"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON, too")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/performance.md")
    arguments = parser.parse_args()
    if unknown := set(arguments.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    scale = Scale("quick", 5) if arguments.quick else Scale("full", 30) if arguments.full else Scale("default", 12)
    lines: list[Line] = []
    usual = [name for name in ROWS if scale.full or name not in FULL_ALONE]
    for name in arguments.rows or (QUICK if scale.quick else usual):
        began = time.monotonic()
        lines.extend(ROWS[name](scale))
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(report.table(lines))
    if arguments.json:
        arguments.json.write_text(report.as_json(lines, scale) + "\n")
    if arguments.write_docs:
        report.write_docs(lines, scale)
    return int(any(line.verdict == "short" for line in lines))


if __name__ == "__main__":
    sys.exit(main())
