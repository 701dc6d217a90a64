"""Commands in natural language: a small grammar that finds out who is to do what, where and with which model.

There is no model in it and no guess: the same sentence always means the same, and what fits several things is a
question. A sentence is a task with a frame around it. The frame says who, where and with what ("ask codex to ... in
my-app with gpt-5.5"); it is taken off from both ends, and out of the middle where a phrase is plainly whole. What
remains is the user's own words, and becomes the prompt. docs/command-system.md shows it by examples.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orch_server.domain.session import READ_ONLY_ACTIONS, Action
from orch_server.domain.wire import WireModel
from orch_server.services.names import (
    AgentName,
    Names,
    ProjectName,
    agent_names,
    model_of,
    project_names,
)
from orch_server.services.sentence import DASHES, PAUSES, pause_of, tokens_of
from orch_server.services.words import (
    ADVERBS,
    AROUND,
    ARTICLES,
    ASKING,
    AT_THE_START,
    BARE,
    CONTINUES,
    IN,
    IN_OR_OF,
    INTRODUCING,
    JOINTS,
    LEADS_ON,
    LIGHT_VERBS,
    LINKS,
    MODEL_WORDS,
    NEAR_PLACES,
    NOBODY,
    NOUNS,
    PATH_WORDS,
    PLACES,
    PLAIN_WORDS,
    POLITE,
    POLITE_ENDS,
    QUESTIONS,
    SAYS_NOTHING,
    SHALLOW,
    TAKES_WITH,
    UNDER,
    VERBS,
    WITH,
    WITH_MODEL,
    WORKS,
)

PathExists = Callable[[str, str], bool]

_LONGEST_PHRASE = 6


class Choice(WireModel):
    """Something that the text leaves open, and what it may be."""

    field: str
    options: list[str]


class Parsed(WireModel):
    """What was understood of a text, and what was not."""

    agent: str | None = None
    action: Action | None = None
    project: str | None = None
    scope_path: str | None = None
    prompt: str | None = None
    model: str | None = None
    problems: list[str] = []
    candidates: list[Choice] = []


def parse(
    text: str,
    *,
    agents: Sequence[AgentName],
    projects: Sequence[ProjectName],
    path_exists: PathExists,
    default_project: str | None = None,
) -> Parsed:
    """Return what a text asks for, with a problem for everything that is missing or may mean several things.

    `default_project` is a slug, meant where the text names no project; without it, the only project is.
    """
    return _Reader(text, agent_names(agents), project_names(projects), path_exists, default_project).read()


@dataclass(slots=True)
class _Frame:
    """A phrase of the frame: how many words it takes, and what it names."""

    length: int
    agents: list[tuple[str, ...]] = field(default_factory=list)
    projects: list[tuple[str, ...]] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    unknown: tuple[str, str] | None = None
    """A field and a name in it that means nothing here."""

    def after(self, words: int) -> "_Frame":
        """Return it with so many more words before it."""
        self.length += words
        return self


@dataclass(frozen=True, slots=True)
class _Task:
    """The words that say what is to be done."""

    words: str
    actions: tuple[Action, ...]
    at: int
    length: int


class _Reader:
    """One text on its way to being understood. Words that are taken off are marked as cut."""

    def __init__(
        self, text: str, agents: Names, projects: Names, path_exists: PathExists, default_project: str | None
    ) -> None:
        self.text = text
        self.tokens = tokens_of(text)
        self.words = [token.word for token in self.tokens]
        self.cut = [False] * len(self.tokens)
        self.agents, self.projects = agents, projects
        self.path_exists = path_exists
        self.default_project = default_project
        self.first, self.last = 0, len(self.tokens)
        self.found_agents: list[tuple[str, ...]] = []
        self.found_projects: list[tuple[str, ...]] = []
        self.found_models: list[str] = []
        self.unknown: dict[str, str] = {}
        self.place_words: set[int] = set()
        self.only_by_the_way = False
        self.spoken: _Task | None = None  # a verb of the frame, where the task behind it needs none
        self.parsed = Parsed()

    def read(self) -> Parsed:
        """Return what was understood."""
        for near in (False, True):  # a typing mistake is looked for only where nothing fits as it is written
            self._take_front(near)
            self._take_back(near)
            self._take_middle()
            self._take_object(near)
        tasks = self.tasks()
        self._settle_agent()
        self._settle_project()
        self._settle_model()
        scope = self._settle_scope(tasks)
        self._settle_action(tasks)
        self._settle_prompt(tasks, scope)
        return self.parsed

    # -- looking ------------------------------------------------------------------------------------------------

    def _word(self, at: int) -> str:
        return self.words[at] if 0 <= at < len(self.words) and not self.cut[at] else ""

    def _pause_before(self, at: int) -> bool:
        return at <= 0 or at >= len(self.tokens) or self.cut[at - 1] or self.tokens[at - 1].pauses

    def _whole_at(self, at: int) -> bool:
        """Whether a phrase that ends before `at` is whole."""
        if at >= self.last or self.cut[at] or self._pause_before(at):
            return True
        return self.words[at] in CONTINUES or self.tokens[at].quoted or self.tokens[at].bracketed

    def _phrase(self, at: int, table: "frozenset[str] | Mapping[str, object]") -> tuple[str, int]:
        """Return the longest phrase of a table that stands here, and how many words it has."""
        for length in range(min(_LONGEST_PHRASE, len(self.words) - at), 0, -1):
            words = self.words[at : at + length]
            if not all(words) or any(self.tokens[inner].pauses for inner in range(at, at + length - 1)):
                continue
            if (phrase := " ".join(words)) in table:
                return phrase, length
        return "", 0

    def _name(self, at: int, names: Names, *, near: bool) -> tuple[tuple[str, ...], int]:
        """Return what a name that stands here may mean, and how many words it has."""
        for look in (names.exact, names.near) if near else (names.exact,):
            for length in range(min(names.longest, len(self.tokens) - at), 0, -1):
                inner = range(at, at + length)
                if any(self.cut[index] for index in inner) or any(self.tokens[index].pauses for index in inner[:-1]):
                    continue
                if found := look(" ".join(self.tokens[index].key for index in inner)):
                    return found, length
        return (), 0

    def _listed(self, at: int, names: Names, *, near: bool) -> tuple[list[tuple[str, ...]], int]:
        """Return the names in a list like "claude and codex", and how many words it has."""
        listed: list[tuple[str, ...]] = []
        length = 0
        found, taken = self._name(at, names, near=near)
        while found:
            listed.append(found)
            length += taken
            joint = at + length
            joined = self._phrase(joint, JOINTS)[1]
            if joint >= len(self.tokens) or not (joined or self._pause_before(joint)):
                break
            found, taken = self._name(joint + joined, names, near=False)
            taken += joined
        return listed, length

    # -- phrases of the frame -----------------------------------------------------------------------------------

    def _place(self, at: int, *, near: bool) -> _Frame | None:
        """Return the project named here: "my-app", "the my-app repository", "project my-app"."""
        start = at
        article = self._word(at) in ARTICLES and not self._name(at, self.projects, near=False)[1]
        at += article
        announced = self._word(at) in PLACES
        at += announced
        found, length = self._listed(at, self.projects, near=near)
        if found:
            after = self._word(at + length) in PLACES and not self._pause_before(at + length)
            if article and not (announced or after):
                return None
            return _Frame(at + length + after - start, projects=found)
        word = self._word(at) or (self.tokens[at].value if at < self.last and self.tokens[at].quoted else "")
        if announced and near and word and word not in PLAIN_WORDS:
            return _Frame(at + 1 - start, unknown=("project", self.tokens[at].value))
        return None

    def _model(self, at: int) -> _Frame | None:
        """Return the model named here: "gpt-5.5", "the opus model", "model x"."""
        start = at
        at += self._word(at) == "the"
        announced = self._word(at) in MODEL_WORDS
        at += announced
        if at >= len(self.tokens) or self.cut[at] or self.tokens[at].value.startswith("@"):
            return None
        behind = "" if self.tokens[at].pauses else self._word(at + 1)
        said = announced or (at > start and behind in MODEL_WORDS)
        named = said and self._word(at) not in PLAIN_WORDS
        model, length = model_of(self.tokens[at].value, behind, named=named)
        if not length:
            return None
        after = self._word(at + length) in MODEL_WORDS and not self.tokens[at + length - 1].pauses
        return _Frame(at + length + after - start, models=[model])

    def _helper(self, at: int, *, near: bool) -> _Frame | None:
        """Return the agent named here, with the model that may stand behind it: "claude opus"."""
        found, length = self._listed(at, self.agents, near=near)
        if not found:
            return None
        frame = _Frame(length, agents=found)
        model = None if self._pause_before(at + length) else self._model(at + length)
        if model is not None:
            frame.length += model.length
            frame.models = model.models
        return frame

    def _around(self, at: int, near_agent: bool, near_project: bool) -> _Frame | None:
        """Return the phrase that begins here and says where, by whom or with which model."""
        word = self._word(at)
        if word in IN and (place := self._place(at + 1, near=near_project)) is not None:
            return place.after(1)
        if word in WITH and (helper := self._helper(at + 1, near=near_agent)) is not None:
            return self._and_model(at, helper.after(1))
        if word in WITH_MODEL and (model := self._model(at + 1)) is not None:
            return self._and_model(at, model.after(1))
        return self._model(at) if word in MODEL_WORDS else None

    def _and_model(self, at: int, frame: _Frame) -> _Frame:
        """Return a phrase with what "and" may join to it: "with codex and gpt-5.5"."""
        behind = at + frame.length
        if self._word(behind) == "and":
            more = self._helper(behind + 1, near=False) or self._model(behind + 1)
            if more is not None:
                more.agents, more.models = frame.agents + more.agents, frame.models + more.models
                return more.after(behind + 1 - at)
        return frame

    def _introduction(self, at: int, *, near: bool) -> _Frame | None:
        """Return the phrase that begins here and gives the task to an agent: "ask codex to", "@claude", "claude:"."""
        word = self._word(at)
        if word in INTRODUCING:
            name_at = at + 1 + (self._word(at + 1) == "to")
            frame = self._helper(name_at, near=near)
            if frame is not None and (not near or self._leads_on(name_at + frame.length)):
                return frame.after(name_at - at)
            if word in ASKING and near and self._word(at + 2) == "to" and self._word(at + 1) not in NOBODY:
                return _Frame(2, unknown=("agent", self.tokens[at + 1].value))
        frame = self._helper(at, near=near)
        marked = at < len(self.tokens) and self.tokens[at].value.startswith("@")
        if frame is not None and (marked or self._leads_on(at + frame.length)):
            return frame
        return None

    def _leads_on(self, at: int) -> bool:
        """Whether a task may begin at `at`, so that the name before it is that of who is to do it."""
        if self._pause_before(at) or self._phrase(at, LINKS)[1] or self._phrase(at, POLITE)[1]:
            return True
        if self.tokens[at].quoted or self._around(at, False, False) is not None:
            return True
        return self._verb(at) is not None or self._noun(at) is not None

    # -- taking the frame off -----------------------------------------------------------------------------------

    def _take_front(self, near: bool) -> None:
        while self.first < self.last:
            if self.cut[self.first]:
                self.first += 1
            elif (length := self._front_length(near)) > 0:
                self._cut(self.first, length)
            else:
                return

    def _front_length(self, near: bool) -> int:
        at = self.first
        near_agent, near_project = near and not self.found_agents, near and not self.found_projects
        frame = self._introduction(at, near=near_agent)
        if frame is not None:
            self._take(frame)
            return frame.length + self._link_length(at + frame.length)
        if at > 0 and self._word(at) in {"to", "and", "should"}:  # what is left of "ask claude, with opus, to"
            return 1
        if (length := self._phrase(at, POLITE)[1]) > 0:
            return length
        frame = self._around(at, near_agent, near_project)
        if frame is None and self._word(at) in AT_THE_START:
            frame = self._place(at + 1, near=near_project)
            frame = frame and frame.after(1)
        if frame is None and self._word(at) == "use":
            frame = self._model(at + 1)
            frame = frame and frame.after(1 + (self._word(at + 1 + frame.length) in {"to", "for"}))
        if frame is None:
            frame = self._place(at, near=near_project)
            if frame is not None and not self._pause_before(at + frame.length):
                frame = None
        elif near and frame.projects and not self._pause_before(at + frame.length):
            frame = None  # a name with a mistake that no comma sets apart is more likely a word of the task
        if frame is None or at + frame.length > self.last:
            return 0
        self._take(frame)
        return frame.length

    def _link_length(self, at: int) -> int:
        """Return how many words join an agent to its task."""
        if self._around(at, False, False) is not None or self._place_behind(at):
            return 0
        length = self._phrase(at, LINKS)[1] if at < self.last else 0
        return length if length >= self._phrase(at, POLITE)[1] else 0  # "can you" is no "can"

    def _place_behind(self, at: int) -> bool:
        return self._word(at) in AT_THE_START and self._place(at + 1, near=False) is not None

    def _take_back(self, near: bool) -> None:
        while self.last > self.first:
            if self.cut[self.last - 1]:
                self.last -= 1
            elif (length := self._back_length(near)) > 0:
                self._cut(self.last - length, length)
            else:
                return

    def _back_length(self, near: bool) -> int:
        near_agent, near_project = near and not self.found_agents, near and not self.found_projects
        for at in range(max(self.first, self.last - _LONGEST_PHRASE), self.last):
            length = self.last - at
            if self._phrase(at, POLITE_ENDS)[1] == length:
                return length
            if at == self.first or (self._word(at) in WITH and self._belongs_to_verb()):
                continue
            frame = self._around(at, near_agent, near_project) or self._called(at, near_agent)
            if frame is None and self._word(at) in IN_OR_OF:
                frame = self._place(at + 1, near=near_project)
                frame = frame and frame.after(1)
            if frame is not None and frame.length == length:
                self._take(frame)
                return length
        return 0

    def _called(self, at: int, near: bool) -> _Frame | None:
        """Return the agent that is called at the end: "review my-app, claude", "why does it fail? ask claude"."""
        if self._pause_before(at) or self.tokens[at].value.startswith("@"):
            asked = self._word(at) in ASKING
            helper = self._helper(at + asked, near=near)
            return helper and helper.after(asked)
        return None

    def _belongs_to_verb(self) -> bool:
        verb = self._verb(self.first)
        return verb is not None and verb.words in TAKES_WITH

    def _take_middle(self) -> None:
        """Take phrases out of the middle that are exact and whole."""
        at = self.first + 1
        while at < self.last:
            frame = None
            if not self.cut[at] and not (self._word(at) in WITH and self._belongs_to_verb()):
                frame = self._around(at, False, False)
            if frame is not None and self._whole_at(at + frame.length):
                self.only_by_the_way = bool(frame.projects) and not self.found_projects
                self._take(frame)
                self._cut(at, frame.length)
            elif not self.cut[at] and self.tokens[at - 1].pauses:
                self._take_introduction(at)
            at += 1

    def _take_introduction(self, at: int) -> None:
        """Take an introduction behind a first part: "the login is broken, ask claude to fix it"."""
        frame = self._introduction(at, near=False)
        if frame is not None and at + frame.length < self.last:
            self._take(frame)
            self._cut(at, frame.length + self._link_length(at + frame.length))

    def _take_object(self, near: bool) -> None:
        """Take the project that a verb is about: "review my-app". Its words stay."""
        verb = self._verb(self.first)
        if verb is None or self.found_projects:
            return
        at = verb.at + verb.length
        at += self._word(at) == "of"
        frame = self._place(at, near=near and verb.words in BARE)
        if frame is None or not self._whole_at(at + frame.length):
            return
        self._take(frame)
        self.place_words |= set(range(at, at + frame.length))
        behind = at + frame.length
        if verb.words in set(Action) and behind < self.last and self.tokens[behind - 1].pauses:
            self._cut(self.first, behind - self.first)  # "implement my-app: ..." is the frame of what follows
            self.spoken = verb

    def _take(self, frame: _Frame) -> None:
        self.found_agents += frame.agents
        self.found_projects += frame.projects
        self.found_models += frame.models
        if frame.unknown is not None:
            what, name = frame.unknown
            self.unknown.setdefault(what, name)

    def _cut(self, at: int, length: int) -> None:
        for index in range(at, min(at + length, len(self.cut))):
            self.cut[index] = True

    # -- the task -----------------------------------------------------------------------------------------------

    def tasks(self) -> list[_Task]:
        """Return what is to be done: what the task begins with, else what its parts begin with."""
        if self.spoken is not None:
            return [self.spoken]
        left = self._left()
        if not left:
            return []
        if len(left) == 1 and self.tokens[left[0]].quoted:
            return _tasks_inside(self.tokens[left[0]].value)
        found = self._task_at(left[0])
        if found is not None:
            return [found, *self._joined(found)]
        starts = [at for at in left[1:] if self._pause_before(at)]
        later = (self._task_at(self._behind_polite(at)) for at in starts)
        return [task for task in later if task is not None and task.words not in QUESTIONS]

    def _behind_polite(self, at: int) -> int:
        for table in (POLITE, frozenset(("and", "then", "but"))):
            at += self._phrase(at, table)[1] if at < self.last else 0
        return at

    def _task_at(self, at: int) -> _Task | None:
        if at >= len(self.tokens):
            return None
        while self._word(at) in ADVERBS and at + 1 < self.last:
            at += 1
        noun = self._noun(at)
        if noun is not None:
            return noun
        verb = self._verb(at)
        if verb is not None:
            return verb
        return _Task(self._word(at), (Action.ANALYZE,), at, 1) if self._word(at) in QUESTIONS else None

    def _verb(self, at: int) -> _Task | None:
        if at >= len(self.tokens) or self.cut[at]:
            return None
        phrase, length = self._phrase(at, VERBS)
        if length:
            return _Task(phrase, VERBS[phrase], at, length)
        for stem in _stems(self._word(at)):
            for verb, length in ((f"{stem} {self._word(at + 1)}", 2), (stem, 1)):
                if verb in VERBS:
                    return _Task(verb, VERBS[verb], at, length)
        return None

    def _noun(self, at: int) -> _Task | None:
        """Return a task that is said with a noun: "do a thorough review of", "my-app review"."""
        start = at
        light = self._phrase(at, LIGHT_VERBS)[1]
        at += light
        article = self._word(at) in ARTICLES
        named = self._name(at + article, self.projects, near=False)[1]
        for noun_at in range(at, min(at + 2 + article + named, self.last)):
            if self.cut[noun_at] or (noun_at > at and self._pause_before(noun_at)):
                break
            word = self._word(noun_at)
            ends = noun_at + 1 == self.last or self._pause_before(noun_at + 1) or self._whole_at(noun_at + 1)
            if word in NOUNS and (ends or self._word(noun_at + 1) in AROUND) and (light or noun_at > start):
                if self._verb(start) is not None and not (light and article):
                    return None  # "fix the review of ..." is said with its verb
                return _Task(word, (NOUNS[word],), start, noun_at + 1 - start)
        return None

    def _joined(self, task: _Task) -> list[_Task]:
        """Return the verbs that are joined to the first: "review and fix"."""
        found = []
        at = task.at + task.length
        if self._word(at) in {"and", "or", "then"}:
            second = self._verb(at + 1 + (self._word(at + 1) == "then"))
            if second is not None:
                found.append(second)
        elif not set(task.actions) & {Action.IMPLEMENT}:
            found += [
                _Task(self.words[at], (Action.IMPLEMENT,), at, 1)
                for at in self._left()
                if self.words[at] in WORKS and self._word(at - 1) in {"and", "then"} and at + 1 < len(self.words)
            ]
        return found

    def _left(self) -> list[int]:
        return [at for at in range(len(self.tokens)) if not self.cut[at] and self.words[at] not in DASHES]

    # -- settling -----------------------------------------------------------------------------------------------

    def _settle_agent(self) -> None:
        options = _distinct(self.found_agents)
        if len(options) == 1 and "agent" not in self.unknown:
            self.parsed.agent = options[0]
        elif "agent" in self.unknown:
            self._ask("agent", f"There is no agent {self.unknown['agent']!r}. Which one is to do it?", self.agents.all)
        elif options:
            self._ask("agent", f"Which agent is to do it: {_either(options)}?", options)
        else:
            self._ask("agent", "Which agent is to do it? None is named.", self.agents.all)

    def _settle_project(self) -> None:
        options = _distinct(self.found_projects)
        if "project" in self.unknown and not options:
            self._ask(
                "project", f"There is no project {self.unknown['project']!r}. Which one is it?", self.projects.all
            )
            return
        if self.only_by_the_way:  # "like the one in shop to my-app": the middle of a task is a weak place to say where
            options = _distinct([*self.found_projects, *self._by_the_way()])
        if not options:
            options = [self.default_project] if self.default_project else _distinct(self._by_the_way())
        if not options and len(self.projects.all) == 1:
            options = list(self.projects.all)
        if len(options) == 1:
            self.parsed.project = options[0]
        elif options:
            self._ask("project", f"Which project: {_either(options)}?", options)
        elif self.projects.all:
            likely = self._likely_projects()
            wrong = self._wrong_place()
            problem = f"There is no project {wrong!r}. Which one is it?" if wrong else "Which project? None is named."
            self._ask("project", problem, likely if len(likely) > 1 else self.projects.all)
        else:
            self._ask("project", "There is no project yet: `orch projects add PATH` registers one.", ())

    def _by_the_way(self) -> Iterator[tuple[str, ...]]:
        """Yield projects that the task speaks of: behind "to", "for", "from" ..., or by a name that is no word."""
        for at in self._left():
            found, length = self._name(at, self.projects, near=False)
            if not found and self.words[at].endswith("'s"):
                found, length = self.projects.exact(self.tokens[at].key.removesuffix("'s")), 1
            spelled = "".join(self.tokens[index].key for index in range(at, at + length))
            if found and (self._word(at - 1) in NEAR_PLACES or not spelled.isalpha()):
                self.place_words |= set(range(at, at + length))
                yield found

    def _likely_projects(self) -> list[str]:
        """Return the projects that single words of the text may mean."""
        found: list[tuple[str, ...]] = []
        for at in self._left():
            key = self.tokens[at].key
            led = self._word(at - 1) in IN | NEAR_PLACES
            found.append(
                self.projects.exact(key) or (self.projects.near(key) or self.projects.with_part(key)) if led else ()
            )
        return [name for name in self.projects.all if name in _distinct(found)]

    def _wrong_place(self) -> str | None:
        """Return what stands where a project is named and is none: "in nowhere"."""
        for at in self._left():
            value = self.tokens[at].value
            named = self._word(at - 1) in IN and self._word(at) not in PLAIN_WORDS and self._whole_at(at + 1)
            if named and not set(value) & {"/", "."}:
                return value
        return None

    def _settle_model(self) -> None:
        options = list(dict.fromkeys(self.found_models))
        if len(options) == 1:
            self.parsed.model = options[0]
        elif options:
            self._ask("model", f"Which model: {_either(options)}?", options)

    def _settle_scope(self, tasks: Sequence[_Task]) -> set[int]:
        """Find the path that the work keeps to; return which words name paths. They stay in the prompt."""
        if self.parsed.project is None:
            return set()
        found = [at for at in self._left() if at not in self.place_words and self._is_scope(at, tasks)]
        paths = list(dict.fromkeys(self.tokens[at].value for at in found))
        if len(paths) == 1:
            self.parsed.scope_path = paths[0]
        return set(found)

    def _is_scope(self, at: int, tasks: Sequence[_Task]) -> bool:
        token = self.tokens[at]
        looks_like_one = "/" in token.value or "." in token.value.strip(".") or token.quoted
        reads = bool(tasks) and all(set(task.actions) <= READ_ONLY_ACTIONS for task in tasks)
        leader = at - 1
        while leader >= at - 3 and self._word(leader) in ARTICLES | PATH_WORDS:
            leader -= 1
        is_object = any(leader + 1 == task.at + task.length for task in tasks) or leader < self.first
        led = self._word(leader) in (AROUND if reads else UNDER) or self._word(leader) in {"scope", "and"}
        plainly = looks_like_one or (leader == at - 1 and (led or (is_object and reads)) and self._whole_at(at + 1))
        if not plainly or not (led or is_object) or "://" in token.value or len(token.value) > 1000:
            return False
        assert self.parsed.project is not None
        return self.path_exists(self.parsed.project, token.value)

    def _settle_action(self, tasks: Sequence[_Task]) -> None:
        if len(tasks) > 1 and tasks[0].words in LEADS_ON:
            tasks = tasks[1:]
        actions = [action for action in Action if any(action in task.actions for task in tasks)]
        if len(actions) == 1:
            self.parsed.action = actions[0]
        else:
            names = [action.value for action in actions or Action]
            self._ask("action", f"What is the agent to do: {_either(names)}?", names)

    def _settle_prompt(self, tasks: Sequence[_Task], scope: set[int]) -> None:
        left = self._left()
        action = self.parsed.action
        said = {at for task in tasks if task is not self.spoken for at in range(task.at, task.at + task.length)}
        if len(left) == 1 and self.tokens[left[0]].quoted and left[0] not in scope:
            self.parsed.prompt = self.tokens[left[0]].value
            return
        said -= {at for task in tasks if task.words in NOUNS for at in self._qualities(task)}
        told = [at for at in left if at not in scope | self.place_words | said and self.words[at] not in SAYS_NOTHING]
        by_name = any(task.words in set(Action) for task in tasks)
        if len(told) == 1 and by_name and self.tokens[told[0]].quoted:
            self.parsed.prompt = self.tokens[told[0]].value
            return
        bare = not told and all(task.words in BARE for task in tasks)
        if action in {Action.ANALYZE, Action.REVIEW} and bare and len(scope) < 2:
            return
        missing = not told and (not (set(left) - said) or by_name) and not scope
        if action in {Action.IMPLEMENT, Action.PLAN} and missing:
            self.parsed.problems.append(f"What is to be done? {action} needs a prompt.")
            self.parsed.candidates.append(Choice(field="prompt", options=[]))
            return
        self.parsed.prompt = self._own_words(left) or None

    def _qualities(self, task: _Task) -> Iterator[int]:
        """Yield the words of a task that say what to look for: "security" in "do a security review"."""
        first = task.at + self._phrase(task.at, LIGHT_VERBS)[1]
        for at in range(first, task.at + task.length):
            if self.words[at] != task.words and self.words[at] not in ARTICLES | ADVERBS | SHALLOW:
                yield at

    def _own_words(self, left: Sequence[int]) -> str:
        """Return what remains of the text, each piece as it was written."""
        said, behind = "", 0
        for at in left:
            token = self.tokens[at]
            cut = [index for index in range(behind, at) if self.cut[index]]
            if said and not cut:
                said += self.text[self.tokens[behind - 1].end : token.start]
            elif said:  # a comma behind what was cut parts these words as well
                pauses = [pause_of(self.text, self.tokens[index]) for index in cut if self.tokens[index].pauses]
                said += " " if said.endswith(PAUSES) or not pauses else pauses[-1] + " "
            said += self.text[token.start : token.end]
            behind = at + 1
        return said.rstrip(",;: \t\r\n")

    def _ask(self, what: str, problem: str, options: Sequence[str]) -> None:
        self.parsed.problems.append(problem)
        self.parsed.candidates.append(Choice(field=what, options=list(options)))


def _tasks_inside(text: str) -> list[_Task]:
    """Return what a task in quotes begins with."""
    inner = _Reader(text, Names(()), Names(()), lambda _project, _path: False, None)
    return [] if len(inner.tokens) == 1 and inner.tokens[0].quoted else inner.tasks()


def _stems(word: str) -> tuple[str, ...]:
    """Return what may be the verb of a word like "fixing", "writing" or "running"."""
    root = word.removesuffix("ing")
    return () if root == word or len(root) < 2 else (root, root + "e", root[:-1])


def _distinct(found: "Sequence[tuple[str, ...]] | Iterator[tuple[str, ...]]") -> list[str]:
    return list(dict.fromkeys(name for names in found for name in names))


def _either(options: Sequence[str]) -> str:
    *some, last = options
    return f"{', '.join(some)} or {last}" if some else last
