"""What an agent asks, as the command line shows it and as a user answers it there."""

from collections.abc import Iterable, Sequence
from typing import Any

import click

from orch_server.endpoints.cli import show

_MEANINGS = {"allow": "allow_once", "yes": "allow_once", "deny": "reject_once", "no": "reject_once"}
_DETAIL_LINES = 40


def show_request(request: dict[str, Any]) -> None:
    """Print what an agent asks, with all that it would do as far as that fits."""
    show.line(f"  asks      {request['id']}  {request['title']}")
    lines = request["detail"].splitlines()
    for text in lines[:_DETAIL_LINES]:
        show.line(f"            {text}")
    if len(lines) > _DETAIL_LINES:
        show.line(f"            ... {len(lines) - _DETAIL_LINES} more lines, in `orch sessions show --json`")
    _show_options(request["options"])
    for question in request["questions"]:
        kinds = [("several", question["multiSelect"]), ("or a text", question["options"] and question["allowsText"])]
        more = ", ".join(word for word, holds in kinds if holds)
        show.line(f"            {question['id']}: {question['text']}{f' ({more})' if more else ''}")
        _show_options(question["options"])


def chosen_option(request: dict[str, Any], wanted: str) -> str:
    """Return the id of the option that is meant: by its id, its label, or `allow` and `deny`; else the word itself."""
    options = request["options"] or [option for question in request["questions"] for option in question["options"]]
    return _option(options, wanted) or wanted


def answers_of(questions: Sequence[dict[str, Any]], given: Iterable[str]) -> list[dict[str, Any]]:
    """Return what `QUESTION=ANSWER` words say: an option where there is such a one, else a text."""
    answers: dict[str, dict[str, Any]] = {}
    for word in given:
        name, found, value = word.partition("=")
        question = next((one for one in questions if _is_called(one, name)), None)
        if not found or question is None:
            known = ", ".join(str(one["id"]) for one in questions)
            raise click.BadParameter(f"{word!r} answers none of: {known}.", param_hint="--answer QUESTION=ANSWER")
        answer = answers.setdefault(question["id"], {"questionId": question["id"], "optionIds": [], "text": None})
        option = _option(question["options"], value)
        if option is not None:
            answer["optionIds"].append(option)
        else:
            answer["text"] = value
    return list(answers.values())


def _is_called(question: dict[str, Any], name: str) -> bool:
    return bool(name) and name.casefold() in {str(question[field]).casefold() for field in ("id", "header")}


def _option(options: Iterable[dict[str, Any]], wanted: str) -> str | None:
    options = list(options)
    meaning = _MEANINGS.get(wanted.lower())
    tests = (
        lambda option: wanted in {option["id"], option["label"]},
        lambda option: meaning is not None and option.get("kind") == meaning,
        lambda option: wanted.casefold() in {option["id"].casefold(), option["label"].casefold()},
    )
    return next((str(option["id"]) for test in tests for option in options if test(option)), None)


def _show_options(options: Iterable[dict[str, Any]]) -> None:
    for option in options:
        show.line(f"              {option['id']:<16} {option['label']}")
