"""Names as people write them: in any case, with spaces for hyphens, and with typing mistakes where none is possible."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from orch_server.services.words import AGENT_SYNONYMS, MODEL_BEGINNINGS, MODEL_FAMILIES, PLAIN_WORDS

_ENDINGS = ("s", "es", "'s", "ed", "er", "ers", "ing")
_VERSION = re.compile(r"v?\d[\w.]*")
_MODEL = re.compile(r"[a-z0-9][a-z0-9._:-]*")
_JOINED = re.compile(r"[/+&]")
"""What may join two names without a space: "claude/codex"."""


@dataclass(frozen=True, slots=True)
class AgentName:
    """What an agent is called."""

    name: str
    display_name: str


@dataclass(frozen=True, slots=True)
class ProjectName:
    """What a project is called, and where it is."""

    slug: str
    name: str
    path: str


class Names:
    """Some things and everything they are called."""

    def __init__(self, called: Iterable[tuple[str, Iterable[str]]]) -> None:
        self._fitting: dict[str, tuple[str, ...]] = {}
        self.all: tuple[str, ...] = ()
        for name, aliases in called:
            self.all += (name,)
            for alias in dict.fromkeys(fold(alias) for alias in aliases):
                if alias:
                    self._fitting[alias] = (*self._fitting.get(alias, ()), name)
        self.longest = max((alias.count(" ") + 1 for alias in self._fitting), default=0)

    def exact(self, text: str) -> tuple[str, ...]:
        """Return all that are called exactly so; both of "claude/codex"."""
        if text in self._fitting:
            return self._fitting[text]
        parts = [self._fitting.get(part, ()) for part in _JOINED.split(text)]
        return tuple(dict.fromkeys(name for names in parts for name in names)) if all(parts) else ()

    def near(self, text: str) -> tuple[str, ...]:
        """Return what `text` may be a typing mistake of: the nearest, several where they are equally near."""
        if not text or text in PLAIN_WORDS or all(word in PLAIN_WORDS for word in text.split()):
            return ()
        slips = {alias: _slip(text, alias) for alias in self._fitting}
        best = min((slip for slip in slips.values() if slip is not None), default=None)
        found = (
            name for alias, slip in slips.items() if slip is not None and slip == best for name in self.exact(alias)
        )
        return tuple(dict.fromkeys(found))

    def with_part(self, text: str) -> tuple[str, ...]:
        """Return all in whose names `text` is a word: `app` in `my-app`."""
        found = (names for alias, names in self._fitting.items() if text in re.split(r"[ _-]", alias))
        return tuple(dict.fromkeys(name for names in found for name in names))


def agent_names(agents: Iterable[AgentName]) -> Names:
    """Return what agents are called: their names, what they are shown as, and what else people say."""
    return Names(
        (agent.name, (agent.name, agent.display_name, *AGENT_SYNONYMS.get(agent.name, ()))) for agent in agents
    )


def project_names(projects: Iterable[ProjectName]) -> Names:
    """Return what projects are called: slug, name, the folder, the path; a hyphen may be a space."""
    return Names(
        (project.slug, [spelled for known in _known(project) for spelled in (known, known.replace("-", " "))])
        for project in projects
    )


def _known(project: ProjectName) -> tuple[str, ...]:
    return project.slug, project.name, project.path.rstrip("/").rpartition("/")[2], project.path


def fold(text: str) -> str:
    """Return words as they are compared."""
    return " ".join(text.replace("’", "'").replace("(", " ").replace(")", " ").casefold().split())


def model_of(word: str, behind: str, *, named: bool) -> tuple[str, int]:
    """Return the model that begins with `word`, and how many words it takes (0: it is none).

    `named`: the text says that it is a model, so that any word is one. A version may stand apart: "gpt 5.5".
    """
    plain = word.casefold()
    tail = plain.rpartition("/")[2]
    bare = plain in MODEL_FAMILIES
    known = bare or _in_a_family(tail)
    if not known and not named:
        return "", 0
    spelled = plain if _MODEL.fullmatch(plain) and known else word
    if bare and _VERSION.fullmatch(behind):
        return f"{spelled}-{behind.casefold()}", 2
    return spelled, 1


def _in_a_family(word: str) -> bool:
    if not _MODEL.fullmatch(word):
        return False
    for family in MODEL_FAMILIES:
        rest = word.removeprefix(family)
        if rest != word and rest and not rest[0].isalpha():
            return True
    return any(word.startswith(beginning) for beginning in MODEL_BEGINNINGS) and word.strip("-") not in PLAIN_WORDS


def _slip(text: str, name: str) -> int | None:
    """Return how many slips of the finger make `text` of `name`, None where it is too far or another word.

    A short name forgives a letter that is missing, doubled or swapped, but not another letter: `ship` is no `shop`.
    """
    if text == name or len(name) < 4 or abs(len(text) - len(name)) > 2:
        return None
    if set(_JOINED.findall(text)) - set(name):
        return None
    if any(text == name + ending or name == text + ending for ending in _ENDINGS):
        return None
    most = 2 if len(name) >= 8 else 1
    slips = _distance(text, name)
    if slips > most:
        return None
    other_letter = len(text) == len(name) and sorted(text) != sorted(name)
    return None if other_letter and len(name) < 6 else slips


def _distance(left: str, right: str) -> int:
    """Return how many letters are to be put in, left out, changed, or swapped with their neighbour."""
    before: list[int] = []
    above = list(range(len(right) + 1))
    for row, letter in enumerate(left, 1):
        line = [row]
        for column, other in enumerate(right, 1):
            cost = min(above[column] + 1, line[column - 1] + 1, above[column - 1] + (letter != other))
            if row > 1 and column > 1 and letter == right[column - 2] and left[row - 2] == other:
                cost = min(cost, before[column - 2] + 1)
            line.append(cost)
        before, above = above, line
    return above[-1]
