"""vscode-extension/src/protocol.ts: the wire's types for clients in TypeScript, made from the register and the models.

Beside the types there are two functions: `call` sends a request whose parameters and result are the method's, and `on`
hears a notification. They take anything that can send and hear, so that they know nothing of an editor.
"""

import types
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from orch_server import PROTOCOL_VERSION
from orch_server.domain.errors import ErrorKind
from orch_server.domain.events import EVENT_TYPES, Event
from orch_server.domain.session import TRANSITIONS
from orch_server.domain.wire import Params
from orch_server.protocol.declared import NOTIFICATIONS, anything_named, docstring, methods_in_order, wire_name

_PRIMITIVES = {str: "string", int: "number", float: "number", bool: "boolean", Any: "unknown", type(None): "null"}

_FUNCTIONS = """\
/** Whatever can send requests and hear notifications: a language client, or a test's own. */
export interface Connection {
  sendRequest(method: string, params: unknown): Promise<unknown>;
  onNotification(method: string, handler: (params: never) => void): { dispose(): void };
}

/** Send a request; one that changes something gets a key of its own, so that sending it again does nothing twice. */
export async function call<M extends MethodName>(
  connection: Connection,
  method: M,
  ...[params]: object extends Methods[M]["params"] ? [params?: Methods[M]["params"]] : [params: Methods[M]["params"]]
): Promise<Methods[M]["result"]> {
  const sent = CHANGING.has(method) ? { requestKey: crypto.randomUUID(), ...params } : (params ?? {});
  return (await connection.sendRequest(method, sent)) as Methods[M]["result"];
}

/** Hear a notification of the server. */
export function on<N extends keyof Notifications>(
  connection: Connection,
  name: N,
  handler: (params: Notifications[N]) => void,
): { dispose(): void } {
  return connection.onNotification(name, handler);
}
"""


def typescript() -> str:
    """Return the whole of protocol.ts."""
    return "\n".join([*_constants(), *_objects(), *_events(), *_methods(), *_notifications(), _FUNCTIONS])


def _constants() -> Iterator[str]:
    yield f"export const PROTOCOL_VERSION = {PROTOCOL_VERSION};"
    yield ""
    yield "/** The codes of errors by their kind, which is in an error's `data.kind`. */"
    yield "export const ERROR_CODES = {"
    yield from (f"  {kind.wire_name}: {kind.code}," for kind in ErrorKind)
    yield "} as const;"
    yield ""
    yield "/** Which state may follow which; anything else is refused with `illegalTransition`. */"
    yield "export const TRANSITIONS: Readonly<Record<State, readonly State[]>> = {"
    for state, after in TRANSITIONS.items():
        yield f"  {state.value}: [{', '.join(_quote(next_state) for next_state in sorted(after))}],"
    yield "};"
    yield ""


def _objects() -> Iterator[str]:
    for name, model in sorted(anything_named().items()):
        if model is Event or model in EVENT_TYPES.values():
            continue
        if issubclass(model, StrEnum):
            yield from _comment(docstring(model))
            yield f"export type {name} = {' | '.join(_quote(member.value) for member in model)};"
            yield ""
        elif issubclass(model, BaseModel):
            yield from _interface(name, model)


def _events() -> Iterator[str]:
    yield "/** What an event tells, by its type. */"
    yield "export interface EventData {"
    for name, model in EVENT_TYPES.items():
        yield from _comment(docstring(model), "  ")
        yield f"  {_quote(name)}: {{"
        yield from _fields(model, "    ")
        yield "  };"
    yield "}"
    yield ""
    yield "export type EventType = keyof EventData;"
    yield ""
    yield "/** An event of one type; `data` is empty once its session was purged. */"
    yield "export interface EventOf<T extends EventType> {"
    for name, field in Event.model_fields.items():
        declared = {"type": "T", "data": "EventData[T]"}.get(name) or _type(field.annotation)
        yield f"  {wire_name(name, field)}: {declared};"
    yield "}"
    yield ""
    yield from _comment(docstring(Event))
    yield "export type Event = { [T in EventType]: EventOf<T> }[EventType];"
    yield ""


def _methods() -> Iterator[str]:
    methods = list(methods_in_order())
    yield "/** What each method takes and gives. */"
    yield "export interface Methods {"
    for method in methods:
        yield from _comment(docstring(method.handler), "  ")
        params = method.params.__name__ if method.params.model_fields else "object"
        result = method.result.__name__ if method.result.model_fields else "object"
        yield f"  {_quote(method.name)}: {{ params: {params}; result: {result} }};"
    yield "}"
    yield ""
    yield "export type MethodName = keyof Methods;"
    yield ""
    yield "/** The methods that change something, and so take a `requestKey`. */"
    yield "export const CHANGING: ReadonlySet<MethodName> = new Set<MethodName>(["
    yield from (f"  {_quote(method.name)}," for method in methods if method.changes)
    yield "]);"
    yield ""


def _notifications() -> Iterator[str]:
    yield "/** What the server says by itself. */"
    yield "export interface Notifications {"
    for name, model in NOTIFICATIONS.items():
        yield f"  {_quote(name)}: {model.__name__};"
    yield "}"
    yield ""


def _interface(name: str, model: type[BaseModel]) -> Iterator[str]:
    yield from _comment(docstring(model))
    yield f"export interface {name} {{"
    yield from _fields(model, "  ")
    yield "}"
    yield ""


def _fields(model: type[BaseModel], indent: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if field.description:
            yield from _comment(field.description, indent)
        # A parameter with a default may be left out; in a result every field is there.
        mark = "?" if issubclass(model, Params) and not field.is_required() else ""
        yield f"{indent}{wire_name(name, field)}{mark}: {_type(field.annotation)};"


def _comment(text: str, indent: str = "") -> Iterator[str]:
    yield f"{indent}/** {text.replace('*/', '* /')} */"


def _quote(text: str) -> str:
    return f'"{text}"'


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {Union, types.UnionType}:
        return " | ".join(_type(argument) for argument in arguments)
    if origin is Literal:
        return " | ".join(_quote(argument) for argument in arguments)
    if origin is list:
        inner = _type(arguments[0])
        return f"({inner})[]" if " | " in inner else f"{inner}[]"
    if origin is dict:
        return f"Record<string, {_type(arguments[1])}>"
    if origin is tuple:
        return f"[{', '.join(_type(argument) for argument in arguments)}]"
    return _PRIMITIVES.get(annotation) or str(annotation.__name__)
