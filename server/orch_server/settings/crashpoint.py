"""Named places at which a test may end the process, to prove that whoever is killed there loses nothing.

Without the variables below nothing ever happens here. Standard library only, and below all other rooms.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping

CRASH = "ORCH_TEST_CRASH"
"""`NAME` or `NAME:N`: this process kills itself when it comes to that place (for the Nth time).

A name that begins with `runner.` is a place in the Nth runner that this process starts.
"""
TRACE = "ORCH_TEST_CRASH_TRACE"
"""A file to which the name of each place is appended that is reached, once each."""
RUNNER = "runner."

_reached: Callable[[str], None] | None = None
_for_runner: tuple[str, int] | None = None


def crashpoint(name: str) -> None:
    """Do nothing: a test may have the process end here."""
    if _reached is not None:
        _reached(name)


def arm(reached: Callable[[str], None] | None) -> None:
    """Have a function called with the name of each place that is reached; None for nothing."""
    global _reached  # noqa: PLW0603 - one switch for the process
    _reached = reached


def arm_from(environment: Mapping[str, str]) -> None:
    """Arm what the variables ask for."""
    global _for_runner  # noqa: PLW0603
    wanted, _, count = environment.get(CRASH, "").partition(":")
    trace = environment.get(TRACE)
    _for_runner = (wanted.removeprefix(RUNNER), int(count or 1)) if wanted.startswith(RUNNER) else None
    arm(_Watch(wanted, int(count or 1), trace) if wanted or trace else None)


def take_for_runner() -> str | None:
    """Return the place at which the runner that is started now is to end, if it is the one that was named."""
    global _for_runner  # noqa: PLW0603
    if _for_runner is None:
        return None
    place, number = _for_runner
    _for_runner = (place, number - 1) if number > 1 else None
    return place if number == 1 else None


class _Watch:
    def __init__(self, wanted: str, count: int, trace: str | None) -> None:
        self._wanted = wanted
        self._count = count
        self._trace = trace
        self._times: Counter[str] = Counter()

    def __call__(self, name: str) -> None:
        self._times[name] += 1
        if self._trace is not None and self._times[name] == 1:
            descriptor = os.open(self._trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            os.write(descriptor, f"{name}\n".encode())
            os.close(descriptor)
        if name == self._wanted and self._times[name] == self._count:
            os.kill(os.getpid(), signal.SIGKILL)


arm_from(os.environ)
