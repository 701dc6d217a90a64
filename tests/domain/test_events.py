"""Every kind of event has a golden JSON: what clients of today read, clients of tomorrow must be able to read.

A new field, or a new kind, is written by `pytest tests/domain --update-expected`; a golden that changes otherwise
breaks clients.
"""

import enum
import types
import typing
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from orch_server.domain.events import EVENT_TYPES, EventData

GOLDEN = Path(__file__).parent / "events"


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_the_golden_json_is_what_the_event_says(name: str, update_expected: bool) -> None:
    model = EVENT_TYPES[name]
    path = GOLDEN / f"{name}.json"
    if update_expected:
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(sample(model).model_dump_json(by_alias=True, indent=2) + "\n")
    golden = path.read_text()
    assert model.model_validate_json(golden).model_dump_json(by_alias=True, indent=2) + "\n" == golden


def test_no_golden_is_left_of_an_event_that_is_gone() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(EVENT_TYPES)


def sample(model: type[EventData]) -> EventData:
    """Return an event with a value in every field."""
    made: EventData = _value(model, model.__name__)
    return made


def _value(kind: Any, name: str) -> Any:
    arguments = [argument for argument in typing.get_args(kind) if argument is not types.NoneType]
    match typing.get_origin(kind):
        case None if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind(**{field: _value(info.annotation, field) for field, info in kind.model_fields.items()})
        case None if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return next(iter(kind))
        case None:
            return {str: name, int: 7, float: 1.5, bool: True, Any: name}[kind]
        case typing.Union | types.UnionType:
            return _value(arguments[0], name)
        case origin if origin is list:
            return [_value(arguments[0], name)]
        case origin if origin is tuple:
            return tuple(_value(argument, name) for argument in arguments)
        case origin if origin is dict:
            return {name: name}
        case _:
            raise TypeError(kind)
