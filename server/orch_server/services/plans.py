"""In which order to bring finished sessions home so that the fewest conflict. Pure."""

from collections.abc import Iterable, Sequence
from itertools import combinations

Pair = tuple[str, str]
MOST_EXACT = 16
"""Among so many sessions that collide with one another the best choice is found, among more a good one."""


def order(sessions: Sequence[str], colliding: Iterable[Pair], blocked: Iterable[str]) -> list[str]:
    """Return the sessions in the order in which to bring them home.

    First as many as go together, then those that collide with one of them, and last those that do not go with what
    is at home already (`blocked`); among equals the older comes first, and whoever collides least.
    """
    pairs = {frozenset(pair) for pair in colliding}
    closed = set(blocked)
    free = [each for each in sessions if each not in closed]
    first = _independent(free, pairs)
    rest = [each for each in free if each not in first]
    degree = {each: sum(each in pair for pair in pairs) for each in sessions}
    later = sorted(rest, key=lambda each: degree[each])
    return [*first, *later, *sorted((each for each in sessions if each in closed), key=lambda each: degree[each])]


def settle_first(sessions: Sequence[str], colliding: Sequence[Pair], blocked: Iterable[str]) -> list[Pair]:
    """Return the pairs that collide, first those without which more sessions would go home together."""
    closed = set(blocked)
    free = [each for each in sessions if each not in closed]
    among = [pair for pair in colliding if not closed & set(pair)]
    sets = [frozenset(pair) for pair in among]
    best = len(_independent(free, set(sets)))
    degree = {each: sum(each in pair for pair in sets) for each in free}

    def worth(pair: Pair) -> tuple[int, int]:
        without = {each for each in sets if each != frozenset(pair)}
        return best - len(_independent(free, without)), -(degree[pair[0]] + degree[pair[1]])

    return sorted(among, key=worth)


def _independent(sessions: Sequence[str], pairs: "set[frozenset[str]]") -> list[str]:
    """Return the most sessions of which no two collide, in their order."""
    entangled = [each for each in sessions if any(each in pair for pair in pairs)]
    chosen = _largest(entangled, pairs) if len(entangled) <= MOST_EXACT else _greedy(entangled, pairs)
    return [each for each in sessions if each not in entangled or each in chosen]


def _largest(sessions: Sequence[str], pairs: "set[frozenset[str]]") -> set[str]:
    for size in range(len(sessions), 0, -1):
        for chosen in combinations(sessions, size):
            if not any(frozenset(pair) in pairs for pair in combinations(chosen, 2)):
                return set(chosen)
    return set()


def _greedy(sessions: Sequence[str], pairs: "set[frozenset[str]]") -> set[str]:
    chosen: set[str] = set()
    left = list(sessions)
    while left:
        least = min(left, key=lambda each: sum(frozenset((each, other)) in pairs for other in left))
        chosen.add(least)
        left = [each for each in left if each != least and frozenset((each, least)) not in pairs]
    return chosen
