"""Spawning `orch-server` until `initialize` is answered, with a warm hub and with none."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from tests.bench.measure import Line, Scale, at_most, compare, missing, take_in_turn
from tests.bench.scene import ORCH_SERVER, REFERENCE_PROGRAMS, REFERENCES, orch_home
from tests.bench.wire import Wire
from tests.home import OrchHome

MINIMAL_PYGLS = (sys.executable, str(REFERENCES / "minimal_pygls.py"))
OTHERS = {"python-lsp-server": (("pylsp",), 0.5), "basedpyright": (("basedpyright-langserver", "--stdio"), None)}


def warm(scale: Scale) -> Iterator[Line]:
    """Measure with a hub that runs."""
    with orch_home() as home:
        environment = home.environment
        subjects = {"orch": starter(ORCH_SERVER, environment), "pygls": starter(MINIMAL_PYGLS, environment)}
        lacking = []
        for name, (command, _) in OTHERS.items():
            program = shutil.which(command[0], path=f"{REFERENCE_PROGRAMS}:{os.environ['PATH']}")
            if program is None:
                lacking.append(name)
            else:
                subjects[name] = starter((program, *command[1:]), environment)
        keeper = Wire(ORCH_SERVER, environment)
        keeper.initialize()
        try:
            taken = take_in_turn(scale.rounds, subjects)
        finally:
            keeper.close()
        what = "spawn -> initialize answered, hub warm"
        yield compare("start-warm", what, "ms", taken["orch"], "minimal pygls", taken["pygls"], at_most(0.15))
        for name, (_, ratio) in OTHERS.items():
            if name in lacking:
                yield missing("start-warm", what, name, "not installed: `make bench` does it")
            else:
                target = at_most(ratio) if ratio is not None else None
                yield compare("start-warm", what, "ms", taken["orch"], name, taken[name], target)


def cold(scale: Scale) -> Iterator[Line]:
    """Measure with no hub running and the database at the present schema."""
    with orch_home() as home:
        environment = home.environment
        subjects = {"orch": lambda: _start_cold(home), "pygls": starter(MINIMAL_PYGLS, environment)}
        taken = take_in_turn(max(3, scale.rounds // 2), subjects)
        what = "the same, no hub running"
        yield compare("start-cold", what, "ms", taken["orch"], "minimal pygls", taken["pygls"], at_most(4))


def starter(command: Sequence[str], environment: Mapping[str, str]) -> Callable[[], float]:
    """Return a function that starts a server, waits for its first answer, ends it, and returns the milliseconds."""

    def start() -> float:
        began = time.perf_counter()
        server = Wire(command, environment)
        server.initialize()
        took = time.perf_counter() - began
        server.close()
        return took * 1000

    return start


def _start_cold(home: OrchHome) -> float:
    home.cli("hub", "stop")
    return starter(ORCH_SERVER, home.environment)()
