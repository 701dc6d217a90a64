"""What is declared of the wire, in the order in which it is told: what every generated file is made from."""

import inspect
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from orch_server.domain.events import EVENT_TYPES
from orch_server.protocol.event import EventLostNotification, EventNotification
from orch_server.protocol.methods import METHODS, NOUNS
from orch_server.protocol.registry import Method

NOTIFICATIONS: dict[str, type[BaseModel]] = {"orch/event": EventNotification, "orch/event/lost": EventLostNotification}

PRIMITIVES = {str: "string", int: "integer", float: "number", bool: "boolean", Any: "any JSON", type(None): "null"}


def methods_in_order() -> Iterator[Method]:
    """Yield the methods noun by noun: the order of the register depends on what was imported first."""
    for noun in NOUNS:
        yield from (method for method in METHODS.values() if method.handler.__module__ == noun.__name__)


def objects() -> dict[str, type]:
    """Return every object that methods give back or that parameters, notifications and events mention, by its name."""
    found: dict[str, type] = {}
    for method in METHODS.values():
        if method.result.model_fields:
            _collect(method.result, found)
    holders: list[type[BaseModel]] = [method.params for method in METHODS.values()]
    for holder in (*holders, *NOTIFICATIONS.values(), *EVENT_TYPES.values()):
        for field in holder.model_fields.values():
            _collect(field.annotation, found)
    return found


def anything_named() -> dict[str, type]:
    """Return the objects, and beside them what holds parameters and what notifications carry."""
    found = objects()
    for method in METHODS.values():
        if method.params.model_fields:
            _collect(method.params, found)
    for model in NOTIFICATIONS.values():
        _collect(model, found)
    return found


def docstring(thing: Any) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def wire_name(name: str, field: FieldInfo) -> str:
    """Return how a field is called on the wire."""
    return field.alias or name


def _collect(annotation: Any, found: dict[str, type]) -> None:
    """Add every object that an annotation mentions, and those that it mentions itself."""
    for argument in get_args(annotation):
        _collect(argument, found)
    if not isinstance(annotation, type) or annotation in PRIMITIVES or get_origin(annotation) is not None:
        return
    name = annotation.__name__
    if name in found:
        if found[name] is not annotation:
            raise LookupError(f"Two objects are called {name}")
        return
    found[name] = annotation
    if issubclass(annotation, BaseModel):
        for field in annotation.model_fields.values():
            _collect(field.annotation, found)
