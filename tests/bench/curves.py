"""What things cost as they grow, as one small plot: `python -m tests.bench.curves [--small] [--write-docs]`.

A cost that grows as fast as its work has a slope of 1 where both axes count in powers of ten; one that does not depend
on the size has 0.
"""

import argparse
import asyncio
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import plot
from tests.bench.broadcast import publish
from tests.bench.crowd import fill
from tests.bench.footprint import SLEEPER
from tests.bench.ingest import hub_here
from tests.bench.measure import Samples
from tests.bench.queries import PAGE_OF_EVENTS, Client
from tests.bench.report import machine
from tests.bench.scene import ORCH_SERVER, orch_home
from tests.bench.sessions import files_of, orch_worktree
from tests.bench.wire import INITIALIZE, Wire
from tests.repositories import make_repository
from tests.waiting import wait_until

PLOT = Path(__file__).parents[2] / "docs" / "scale.svg"

Points = list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Curve:
    """One cost at growing sizes."""

    title: str
    size: str
    unit: str
    measure: Callable[[Sequence[int]], Points]
    sizes: Sequence[int]
    small: Sequence[int]
    steepest: float
    """The slope above which the cost grows faster than its work."""


def sessions(sizes: Sequence[int]) -> Points:
    """Start one session after another, their agents living on; the cost of a further one."""
    taken: list[float] = []
    with orch_home(SLEEPER) as home:
        client = Wire(ORCH_SERVER, home.environment)
        client.initialize()
        params = {"agent": "sleeper", "action": "analyze", "project": "shop", "prompt": "sleep"}
        while len(taken) < sizes[-1]:
            began = time.perf_counter()
            named = {"session": client.call("orch/session/start", params)["id"]}
            wait_until(lambda: client.call("orch/session/get", named)["state"] == "running", timeout=60)  # noqa: B023
            taken.append((time.perf_counter() - began) * 1000)
        client.close()
    return [(size, statistics.median(taken[max(0, size - max(3, size // 5)) : size])) for size in sizes]


def events(sizes: Sequence[int]) -> Points:
    """Read a page of events out of more and more of them, in the server."""
    return [(size, asyncio.run(_page_of(size))) for size in sizes]


async def _page_of(size: int) -> float:
    with orch_home() as home:
        fill(home, sessions=100, events=size)
        async with hub_here(home) as (hub, _):
            client = Client(hub)
            await client.ask("initialize", INITIALIZE)
            taken = Samples()
            for _ in range(60):
                after = random.randrange(max(1, size - PAGE_OF_EVENTS))
                taken.values.append(await client.ask("orch/event/list", {"after": after, "limit": PAGE_OF_EVENTS}))
            client.close()
    return taken.median


def clients(sizes: Sequence[int]) -> Points:
    """Tell events to more and more subscribers."""

    async def measure() -> Points:
        with orch_home() as home:
            home.cli("hub", "stop")
            async with hub_here(home) as (hub, context):
                return [(size, min([await publish(hub, context, size) for _ in range(3)]) / 1000) for size in sizes]

    return asyncio.run(measure())


def files(sizes: Sequence[int]) -> Points:
    """Make worktrees of bigger and bigger repositories."""
    found: Points = []
    for size in sizes:
        with orch_home() as home:
            make_repository(home.root / "big", files=files_of(size))
            home.cli("projects", "add", str(home.root / "big"))
            client = Wire(ORCH_SERVER, home.environment)
            client.initialize()
            client.call("orch/event/subscribe", {"types": ["worktree.*"]})
            found.append((size, statistics.median(orch_worktree(client) for _ in range(3))))
            client.close()
    return found


CURVES = (
    Curve("start of one more session", "living sessions", "ms", sessions, (1, 5, 10, 20, 50, 100, 200), (1, 5), 0.5),
    Curve(
        "page of 1,000 events", "events stored", "ms", events, (1_000, 10_000, 100_000, 1_000_000), (1_000, 4_000), 0.3
    ),
    Curve("one event told to all", "clients", "ms", clients, (1, 2, 5, 10, 20, 50, 100), (1, 5), 1.15),
    Curve("new worktree", "files in the repository", "ms", files, (1_000, 10_000, 100_000), (100, 400), 1.15),
)


def slope(points: Points) -> float:
    """Return how steeply a cost grows, both axes counted in powers of ten."""
    xs, ys = [math.log10(x) for x, _ in points], [math.log10(y) for _, y in points]
    return statistics.linear_regression(xs, ys).slope


def main() -> int:
    """Measure the curves; exit 1 where a cost grows faster than its work."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.curves", description=__doc__)
    parser.add_argument("--small", action="store_true", help="small sizes only, to see that it works")
    parser.add_argument("--write-docs", action="store_true", help=f"write {PLOT.name}")
    arguments = parser.parse_args()
    panels, steep = [], False
    for curve in CURVES:
        points = curve.measure(curve.small if arguments.small else curve.sizes)
        steepness = slope(points)
        steep = steep or steepness > curve.steepest
        said = f"slope {steepness:.2f}, at most {curve.steepest:g}"
        print(f"{curve.title}, {said}: " + ", ".join(f"{size:,}: {cost:.3g} {curve.unit}" for size, cost in points))
        panels.append(plot.Panel(curve.title, curve.size, curve.unit, points, f"slope {steepness:.2f}"))
    if arguments.write_docs:
        PLOT.write_text(plot.svg(panels, machine() + ("; small sizes only" if arguments.small else "")))
    return int(steep and not arguments.small)


if __name__ == "__main__":
    sys.exit(main())
