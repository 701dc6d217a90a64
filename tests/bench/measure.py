"""Numbers: samples taken in turn, their medians and spread, and whether a target is met."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    name: str
    rounds: int
    """How often each subject of a row is measured."""

    @property
    def quick(self) -> bool:
        """Whether only the gist is wanted."""
        return self.name == "quick"

    @property
    def full(self) -> bool:
        """Whether time does not matter."""
        return self.name == "full"


@dataclass(slots=True)
class Samples:
    """Measurements of one subject, in the order they were taken."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def percentile(self, share: float) -> float:
        """Return the value that a share of the samples does not exceed."""
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def spread(self) -> tuple[float, float]:
        """Return the first and the third quartile."""
        return self.percentile(0.25), self.percentile(0.75)


@dataclass(frozen=True, slots=True)
class Target:
    """What a row is to reach, in words and as a test of the measured value and the reference's."""

    text: str
    met: Callable[[float, float], bool]


def at_most(ratio: float, plus: float = 0.0, unit: str = "") -> Target:
    """Return the target of at most so many times the reference."""
    extra = f" + {plus:g} {unit}" if plus else ""
    return Target(f"<= {ratio:g} x{extra}", lambda measured, reference: measured <= ratio * reference + plus)


def at_least(ratio: float) -> Target:
    """Return the target of at least so many times the reference."""
    return Target(f">= {ratio:g} x", lambda measured, reference: measured >= ratio * reference)


def below(value: float, unit: str) -> Target:
    """Return the target of an absolute value; its reference is there to compare with."""
    return Target(f"<= {value:g} {unit}", lambda measured, _: measured <= value)


@dataclass(slots=True)
class Line:
    """One line of the table."""

    row: str
    what: str
    unit: str
    measured: float | None
    spread: tuple[float, float] | None
    against: str
    reference: float | None
    target: Target | None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times the reference."""
        if self.measured is None or not self.reference:
            return None
        return self.measured / self.reference

    @property
    def verdict(self) -> str:
        """Whether the target is met."""
        if self.measured is None or self.target is None or self.reference is None:
            return "-"
        return "pass" if self.target.met(self.measured, self.reference) else "short"


def take_in_turn(rounds: int, subjects: Mapping[str, Callable[[], float]]) -> dict[str, Samples]:
    """Measure every subject once a round, each round beginning with another one; one round before is thrown away."""
    names = list(subjects)
    taken = {name: Samples() for name in names}
    for number in range(-1, rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            value = subjects[name]()
            if number >= 0:
                taken[name].values.append(value)
    return taken


def compare(
    row: str,
    what: str,
    unit: str,
    measured: Samples,
    against: str,
    reference: Samples,
    target: Target | None,
    note: str = "",
) -> Line:
    """Return the line that holds the medians of two subjects against each other."""
    return Line(row, what, unit, measured.median, measured.spread(), against, reference.median, target, note)


def missing(row: str, what: str, against: str, why: str) -> Line:
    """Return the line for a reference that is not there."""
    return Line(row, what, "", None, None, against, None, None, why)


def joined(parts: Sequence[Samples]) -> Samples:
    """Return all samples of several rounds together."""
    return Samples([value for part in parts for value in part.values])
