"""What an agent asks, as a person sees and answers it on the command line."""

from typing import Any

import click
import pytest

from orch_server.endpoints.cli.asking import answers_of, chosen_option, show_request

QUESTIONS: list[dict[str, Any]] = [
    {
        "id": "1",
        "header": "Colour",
        "text": "Which colours?",
        "options": [{"id": "red", "label": "Deep red"}, {"id": "blue", "label": "Blue"}],
        "multiSelect": True,
        "allowsText": True,
    },
    {"id": "2", "header": "", "text": "Which name?", "options": [], "multiSelect": False, "allowsText": True},
]
APPROVAL: dict[str, Any] = {
    "id": "r1",
    "title": "make",
    "detail": "\n".join(["make all", *(f"line {number}" for number in range(60))]),
    "options": [
        {"id": "o1", "label": "Allow once", "kind": "allow_once"},
        {"id": "o2", "label": "No", "kind": "reject_once"},
    ],
    "questions": [],
}


def test_several_questions_are_answered_by_options_and_texts() -> None:
    assert answers_of(QUESTIONS, ["1=deep red", "colour=blue", "2=a=b"]) == [
        {"questionId": "1", "optionIds": ["red", "blue"], "text": None},
        {"questionId": "2", "optionIds": [], "text": "a=b"},
    ]
    assert answers_of(QUESTIONS, ["1=Green"]) == [{"questionId": "1", "optionIds": [], "text": "Green"}]


@pytest.mark.parametrize("word", ["3=red", "red", "=red"])
def test_an_answer_to_no_question_is_refused(word: str) -> None:
    with pytest.raises(click.BadParameter, match="1, 2"):
        answers_of(QUESTIONS, [word])


@pytest.mark.parametrize(
    ("word", "option"), [("o1", "o1"), ("allow once", "o1"), ("allow", "o1"), ("No", "o2"), ("deny", "o2"), ("x", "x")]
)
def test_an_option_is_meant_by_its_id_its_label_or_its_meaning(word: str, option: str) -> None:
    assert chosen_option(APPROVAL, word) == option


def test_what_would_be_done_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show_request(APPROVAL)
    shown = capsys.readouterr().out
    assert "make all" in shown
    assert "line 38" in shown
    assert "21 more lines" in shown
    show_request({**APPROVAL, "detail": "", "options": [], "questions": QUESTIONS})
    assert "1: Which colours? (several, or a text)" in capsys.readouterr().out
