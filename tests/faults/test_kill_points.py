"""The hub is killed at every named place, in its recovery from that too, and at random; nothing is lost (C.1)."""

import itertools
import random
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import orch_server
from tests.faults.driver import Driver, Zygote
from tests.faults.figures import record
from tests.faults.scenario import CHAPTERS, new_home
from tests.marks import FULL

pytestmark = pytest.mark.timeout(3000)

SOURCE = Path(orch_server.__file__).parent
RUNS_A_CHAPTER = 4
KILLS = 500 if FULL else 40
PAIRS = 30 if FULL else 3
# What only a hub comes to that recovers from a kill at another place.
RECOVERY = {
    "working": [
        ["worktree.registered", "worktree.recovering"],
        ["worktree.registered", "worktree.aside"],
        ["launch.recorded", "recovery.abandoned"],
        ["runs.bundle_made", "runs.claiming"],
        ["launch.running:2", "recovery.adopting"],  # the second session asks, so its agent is there to be adopted
        ["launch.running:2", "recovery.adopted"],
    ],
    "away": [["delete.pinned", "delete.undone"]],
}
# In which run of the chapter `working` a runner comes to the place.
RUNNERS = {"runner.partial": 3}


def places() -> list[str]:
    """Return all places that the source names, each once."""
    found = []
    for file in sorted(SOURCE.rglob("*.py")):
        prefix = "runner." if file.name == "runner.py" else ""
        found += [prefix + name for name in re.findall(r"\bcrashpoint\(\"([\w.-]+)\"\)", file.read_text())]
    return found


def test_every_place_has_a_name_of_its_own() -> None:
    found = places()
    assert sorted(set(found)) == sorted(found)
    assert len(found) >= 60


def play(chapter: str, crashes: list[str], root: Path, zygote: Zygote, trace: Path | None = None) -> Driver:
    """Play a chapter with hubs that end at these places, one after the other; check the world at its end."""
    with Driver(new_home(root), zygote, trace=trace) as driver:
        driver.crash = list(crashes)
        try:
            driver.settle(CHAPTERS[chapter](driver))
            driver.note_dead_runners()
        except BaseException as error:
            error.add_note(f"chapter {chapter}, hubs killed at {driver.kills}, armed {crashes}")
            raise
    return driver


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> dict[str, list[str]]:
    """For each chapter the places that it comes to, in their order."""
    found = {}
    for chapter in CHAPTERS:
        root = tmp_path_factory.mktemp(chapter)
        play(chapter, [], root, zygote, trace=root / "trace")
        found[chapter] = (root / "trace").read_text().split()
    return found


def test_a_hub_killed_at_any_place_loses_nothing(
    order: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory, zygote: Zygote
) -> None:
    """Each run of a chapter has its hub killed at every fourth place, so most kills meet a hub that has just recovered.

    A place that one of these runs did not come to any more has a run of its own.
    """
    killed: set[str] = set()
    kills = 0
    alone: list[tuple[str, list[str]]] = [(chapter, pair) for chapter, pairs in RECOVERY.items() for pair in pairs]
    for chapter, names in order.items():
        wanted = [name for name in names if name not in killed]
        for first in range(RUNS_A_CHAPTER):
            crashes = wanted[first::RUNS_A_CHAPTER]
            driver = play(chapter, crashes, tmp_path_factory.mktemp("run"), zygote)
            reached = {name for name in driver.kills if name is not None}
            kills += len(driver.kills)
            killed |= reached
            alone += [(chapter, [name]) for name in crashes if name not in reached]
    for chapter, crashes in alone:
        if crashes[-1] in killed:
            continue
        driver = play(chapter, crashes, tmp_path_factory.mktemp("run"), zygote)
        kills += len(driver.kills)
        killed |= {name for name in driver.kills if name is not None}
    expected = {name for name in places() if not name.startswith("runner.")}
    assert expected - killed == set(), "no run of any chapter ever comes to these places"
    record("kill points", places=len(places()), kills_at_places=kills, violations=0, network_sockets=0)


@pytest.mark.parametrize("place", [name for name in places() if name.startswith("runner.")])
def test_a_runner_killed_at_any_place_loses_nothing(place: str, tmp_path: Path, zygote: Zygote) -> None:
    driver = play("working", [f"{place}:{RUNNERS.get(place, 1)}"], tmp_path, zygote)
    assert driver.dead_runners, f"no runner came to {place}"


def test_a_hub_killed_again_in_its_recovery_loses_nothing(
    order: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory, zygote: Zygote
) -> None:
    chance = random.Random(1)
    kills = 0
    for number in range(PAIRS):
        chapter = sorted(order)[number % len(order)]
        first, *more = chance.sample(order[chapter], 3)
        driver = play(chapter, [first, *more, first], tmp_path_factory.mktemp("pair"), zygote)
        kills += len(driver.kills)
    record("kill points", kills_in_recovery=kills)


@contextmanager
def killed_at_random(driver: Driver, chance: random.Random, limit: int) -> Iterator[None]:
    """Kill the hub at random moments, at most `limit` times, until left."""
    over = threading.Event()

    def strike() -> None:
        for _ in range(limit):
            if over.wait(chance.expovariate(1 / 0.25)):
                return
            driver.strike()

    thread = threading.Thread(target=strike)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_hub_killed_at_random_moments_loses_nothing(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> None:
    chance = random.Random(2)
    kills = 0
    for chapter in itertools.cycle(CHAPTERS):
        if kills >= KILLS:
            break
        with Driver(new_home(tmp_path_factory.mktemp("random")), zygote) as driver:
            with killed_at_random(driver, chance, min(25, KILLS - kills)):
                known = CHAPTERS[chapter](driver)
            driver.settle(known)
        kills += len(driver.kills)
    record("kill points", random_kills=kills)
