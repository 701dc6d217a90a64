"""The grammar of commands: the examples of docs/command-system.md, and what holds for every text."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orch_server.domain.session import Action
from orch_server.services import language, words
from orch_server.services.language import Parsed
from orch_server.services.names import AgentName, ProjectName
from tests.generate import ROOT

PAGE = (ROOT / "docs" / "command-system.md").read_text("utf-8")


def _rows(page: str, first: str, number: int = 0) -> list[list[str]]:
    """Return the rows of the page's table whose first heading is `first`."""
    tables = [part for part in page.split("\n\n") if part.startswith(f"| {first} |")]
    lines = tables[number].strip().splitlines()[2:]
    return [[cell.strip().replace("\\|", "|") for cell in line.strip("|").split(" |")] for line in lines]


AGENTS = [AgentName(*row) for row in _rows(PAGE, "agent", 0)]
PROJECTS = [ProjectName(slug, name, path) for slug, name, path, _ in _rows(PAGE, "project", 0)]
PATHS = {slug: set(paths.split(", ")) for slug, _, _, paths in _rows(PAGE, "project", 0)}
MANY = _rows(PAGE, "text", 0)
ALONE = _rows(PAGE, "text", 1)


def parse(text: str, *, alone: bool = False, default: str | None = None) -> Parsed:
    """Parse a text in the world of the page."""
    return language.parse(
        text,
        agents=AGENTS,
        projects=PROJECTS[:1] if alone else PROJECTS,
        path_exists=lambda project, path: path in PATHS[project],
        default_project=default,
    )


def _asks(parsed: Parsed, *, alone: bool) -> str:
    everything = {
        "agent": [agent.name for agent in AGENTS],
        "project": [project.slug for project in (PROJECTS[:1] if alone else PROJECTS)],
    }
    return "; ".join(
        item.field
        + (f": {', '.join(item.options)}" if item.options and item.options != everything.get(item.field) else "")
        for item in parsed.candidates
    )


def test_there_are_many_examples() -> None:
    assert len(MANY) + len(ALONE) >= 60


@pytest.mark.parametrize(("row", "alone"), [*((row, False) for row in MANY), *((row, True) for row in ALONE)], ids=str)
def test_an_example_of_the_page(row: list[str], alone: bool) -> None:
    parsed = parse(row[0], alone=alone)
    found = [parsed.agent, parsed.action, parsed.project, parsed.scope_path, parsed.model, parsed.prompt]
    assert [str(value or "") for value in found] == row[1:7]
    assert _asks(parsed, alone=alone) == row[7]
    assert len(parsed.problems) == len(parsed.candidates)


def test_the_project_of_the_caller_counts_where_the_text_names_none() -> None:
    assert parse("claude fix the login", default="shop").project == "shop"
    assert parse("claude fix the login in my-app", default="shop").project == "my-app"


def test_without_a_project_the_question_says_how_to_add_one() -> None:
    parsed = language.parse("claude fix it", agents=AGENTS, projects=[], path_exists=lambda *_: False)
    assert "orch projects add" in parsed.problems[0]


def test_a_synonym_is_no_name_of_an_agent_that_is_not_there() -> None:
    parsed = language.parse(
        "Claude Code: fix it", agents=[AgentName("codex", "Codex")], projects=PROJECTS[:1], path_exists=lambda *_: False
    )
    assert parsed.agent is None


@pytest.mark.parametrize(
    "word", ["a ", "claude, ", "'", '"x ', "in ", "and then ", "the ", "in my-app with gpt-5 and "]
)
def test_a_long_text_is_read_quickly(word: str) -> None:
    begun = time.process_time()
    parse((word * 20_000)[:20_000])
    assert time.process_time() - begun < 5


VOCABULARY = sorted(
    {
        *words.VERBS, *words.NOUNS, *words.LIGHT_VERBS, *words.POLITE, *words.INTRODUCING, *words.LINKS, *words.WITH,
        *words.AROUND, *words.MODEL_FAMILIES, *words.CONTINUES, *words.ARTICLES, *words.PLACES, "model", "'", '"', ",",
        *(agent.name for agent in AGENTS), *(agent.display_name for agent in AGENTS), "@claude", "cluade", "claude:",
        *(project.slug for project in PROJECTS), "My App,", '"My App"', "my-ap", "src", "src/cart.py", "src/cart.py,",
        "gpt-5.5", "header", "cart", "login.", "“fix it”", "don't", "(in shop)", "shop's",
    }
)  # fmt: skip
SENTENCES = st.lists(st.sampled_from(VOCABULARY), max_size=14).map(" ".join)
TASKS = st.sampled_from([row[0].rstrip("?!") for row in MANY if row[1] and row[2]])


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=200), SENTENCES), st.booleans())
def test_every_text_is_understood_or_asked_about(text: str, alone: bool) -> None:
    parsed = parse(text, alone=alone)
    asked = {item.field for item in parsed.candidates}
    assert (parsed.agent is None) == ("agent" in asked)
    assert (parsed.action is None) == ("action" in asked)
    assert (parsed.project is None) == ("project" in asked)
    if not parsed.problems and parsed.action in {Action.IMPLEMENT, Action.PLAN}:
        assert (parsed.prompt or "").strip()
    assert all(item.options or item.field == "prompt" for item in parsed.candidates)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=200), SENTENCES), st.booleans())
def test_the_prompt_is_cut_out_of_the_text(text: str, alone: bool) -> None:
    at = 0
    for word in (parse(text, alone=alone).prompt or "").split():
        at = text.find(word, at) + len(word)
        assert at >= len(word), f"{word!r} is not the user's, or not in the user's order"


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=100), SENTENCES), st.text(" \t\n", max_size=4), st.text(" \t\n", max_size=4))
def test_space_around_a_text_means_nothing(text: str, before: str, behind: str) -> None:
    assert parse(before + text + behind) == parse(text)


@settings(max_examples=200, deadline=None)
@given(
    TASKS,
    st.sampled_from(["please ", "hey, could you please ", "Hi! ", "ok, "]),
    st.sampled_from([" please", ", thanks!"]),
)
def test_politeness_means_nothing(text: str, before: str, behind: str) -> None:
    assert parse(before + text + behind) == parse(text)


@settings(max_examples=100, deadline=None)
@given(TASKS)
def test_case_means_nothing_for_the_frame(text: str) -> None:
    loud, quiet = parse(text.upper()), parse(text)
    assert (loud.agent, loud.action, loud.project) == (quiet.agent, quiet.action, quiet.project)


def test_the_words_of_the_grammar_are_its_own() -> None:
    assert all(word == word.casefold().strip() and word for word in _all_words())


def _all_words() -> Iterator[str]:
    for table in (words.VERBS, words.NOUNS, words.POLITE, words.LINKS, words.PLAIN_WORDS, words.INTRODUCING):
        yield from table


def test_a_project_that_there_is_not_is_named_in_the_question() -> None:
    assert parse("fix the tests in nowhere with claude").problems == ["There is no project 'nowhere'. Which one is it?"]
    assert parse("fix the tests with claude").problems == ["Which project? None is named."]
