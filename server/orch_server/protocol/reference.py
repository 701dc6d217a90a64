"""docs/protocol.md: the reference of the wire for whoever writes a client, made from the register and the models.

Everything that is declared elsewhere is taken from there: methods, fields, objects, events, error codes, states. What
is said here alone is how a connection behaves, what the kinds of errors mean, and which of them a method answers
with; a kind without a meaning, or a meaning for a method that does not exist, is an error of the generator.
"""

import types
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from orch_server import PROTOCOL_VERSION
from orch_server.domain.errors import ErrorKind
from orch_server.domain.events import EVENT_TYPES, Event
from orch_server.domain.session import TRANSITIONS
from orch_server.protocol.declared import NOTIFICATIONS, PRIMITIVES, docstring, methods_in_order, objects, wire_name
from orch_server.protocol.methods import METHODS
from orch_server.protocol.registry import Method

INTRODUCTION = f"""\
# Protocol

What a client of orch sends and receives. This is protocol version {PROTOCOL_VERSION}.
[docs/architecture.md](architecture.md) says how the hub behind it works, and [README.md](../README.md) how an editor
or a script is connected.

## Transport

* The base protocol is that of language servers: JSON-RPC 2.0 in UTF-8, each message behind a `Content-Length` header.
  Start `orch-server` and speak on its standard input and output. A message may have 32 MiB. A header that cannot be
  read ends the connection after an error reply with the id null; a body that is no JSON is answered the same way and
  the connection goes on.
* The life of a connection is that of LSP: `initialize`, `initialized`, requests, `shutdown`, `exit`. Before
  `initialize` every request is answered with `notInitialized`, after `shutdown` with `invalidRequest`. `exit` ends
  this one connection: `orch-server` then leaves with code 0 after a `shutdown` and 1 without. It leaves with 75 if
  the hub died or left under it. Then start it again, initialize, and subscribe to events after the last `seq` you saw;
  the agents have not noticed. It leaves with 6 if no hub could be reached or started.
* `InitializeResult.capabilities.experimental.orch` holds `protocolVersion`, `schemaHash`, `methods`, `events` and
  `agents`. A client that needs a version says so in `initializationOptions.protocolVersion`; another one is refused
  with `protocolMismatch`. Fields, methods and event types may be added within a version, so ignore what you do not
  know; only a breaking change moves the number. The hash changes with every change of the methods, for information.
* Beside `orch/*` the server has what LSP itself has for editors: commands, code actions, lenses, hovers, symbols,
  progress. [editors.md](editors.md) lists it with the `initializationOptions`. A client that names a
  `protocolVersion` counts as made for orch, and gets commands, actions, lenses and progress where it asks for them.
* Every request gets exactly one reply. At most 256 requests of a connection may be under way; one more gets `busy`.
* A field of the parameters that is not known is an error (`invalidParams`, with the field's name), so that typing
  mistakes show. An optional field may be left out or null.
* Methods marked *changes* take a `requestKey` beside their parameters: a text of 1 to 200 characters that you make
  anew for each request, such as a UUID. A request that is sent again with the same key and parameters has its effect
  once and gets the same reply, whatever became of the connection or the hub in between. The same key with other
  parameters gets `requestKeyReused`.
* `$/cancelRequest` answers a pending request with `cancelled`. What is committed by then is not undone; a session
  whose start is cancelled is stopped. `orch/session/start` reports its start as `$/progress` under a `workDoneToken`.
* Names are camelCase. Times are RFC 3339 in UTC with milliseconds. A field that has no value is null, not absent.
* What an agent wrote is passed on as text; nothing of it is interpreted. Show it with care in a terminal.
* Lists come in pages: `limit` (1 to 1000, 100 if left out) and `cursor` in, `items` and `nextCursor` out. The last page
  has `nextCursor` null.

## A client in six steps

1. Send `initialize`, look at `experimental.orch`, send `initialized`.
2. Send `orch/session/list` and keep the sessions by their ids.
3. Send `orch/event/subscribe`, and keep the greatest `seq` you have seen.
4. On `session.created`, `session.state_changed` and the others that carry a whole `session`, replace it; on
   `session.updated`, put the fields of `changed` over it. That is all it takes to have what `orch/session/list` says.
5. A session that is `waiting_for_user` has `inputRequests`: show them, and send `orch/session/respond`.
6. On `orch/event/lost`, and after a reconnection, subscribe again with `after`: what was missed comes first, nothing
   comes twice.

To miss nothing between steps 2 and 3, subscribe first and fold the events in after the list has come: every session
carries a `version` that grows with each change, so an older one is easily told.
"""

MEANINGS = {
    ErrorKind.INVALID_REQUEST: "No JSON-RPC request, an id that is under way, or a request after `shutdown`.",
    ErrorKind.UNKNOWN_METHOD: "There is no such method.",
    ErrorKind.INVALID_PARAMS: "The parameters cannot be meant. `errors` lists path, type and message of each problem.",
    ErrorKind.INTERNAL: "A mistake in orch. `reference` finds the details in the hub's log.",
    ErrorKind.CANCELLED: "The client cancelled the request.",
    ErrorKind.NOT_INITIALIZED: "`initialize` comes first.",
    ErrorKind.NOT_FOUND: "Nothing has this name. `candidates` may list what there is.",
    ErrorKind.ILLEGAL_TRANSITION: "The session or project is in a state that forbids it. `state`, `allowed`.",
    ErrorKind.AGENT_UNAVAILABLE: "No such agent, or it is not installed; the hint says what to install.",
    ErrorKind.GIT_FAILED: "git refused or failed; the message has its words.",
    ErrorKind.STALE_PREVIEW: "What was shown to the user is not true any more; show it anew.",
    ErrorKind.ALREADY_ANSWERED: "Somebody else was first, or the agent does not ask any more.",
    ErrorKind.BUSY: "Too much is under way, or the same thing already is. Try again.",
    ErrorKind.NOT_TRUSTED: "Only a project that its user trusts may do this.",
    ErrorKind.DISK_FULL: "There is no room left on the disk.",
    ErrorKind.DATABASE_UNUSABLE: "The database cannot be read or written.",
    ErrorKind.PROTOCOL_MISMATCH: "The client needs another protocol version. `protocolVersion` is the hub's.",
    ErrorKind.FORBIDDEN: "It is not allowed to whoever asks: an agent reads its own session, and nothing else.",
    ErrorKind.REQUEST_KEY_REUSED: "The `requestKey` was used with other parameters before.",
    ErrorKind.CONFLICT: "The world is not as the request needs it: files, branches or directories are in the way.",
}

# Beside what every method may answer with, and `notFound` where a project or a session is named.
REFUSALS: dict[str, tuple[ErrorKind, ...]] = {
    "orch/project/add": (ErrorKind.GIT_FAILED, ErrorKind.CONFLICT),
    "orch/project/update": (ErrorKind.GIT_FAILED, ErrorKind.CONFLICT),
    "orch/project/remove": (ErrorKind.ILLEGAL_TRANSITION,),
    "orch/command/submit": (ErrorKind.AGENT_UNAVAILABLE, ErrorKind.CONFLICT),
    "orch/session/start": (ErrorKind.AGENT_UNAVAILABLE, ErrorKind.CONFLICT),
    "orch/session/followUp": (ErrorKind.ILLEGAL_TRANSITION, ErrorKind.AGENT_UNAVAILABLE, ErrorKind.GIT_FAILED),
    "orch/session/unqueue": (ErrorKind.CONFLICT,),
    "orch/session/respond": (ErrorKind.ALREADY_ANSWERED, ErrorKind.ILLEGAL_TRANSITION),
    "orch/session/resume": (
        ErrorKind.ILLEGAL_TRANSITION,
        ErrorKind.CONFLICT,
        ErrorKind.AGENT_UNAVAILABLE,
        ErrorKind.GIT_FAILED,
    ),
    "orch/session/archive": (ErrorKind.ILLEGAL_TRANSITION,),
    "orch/session/unarchive": (ErrorKind.ILLEGAL_TRANSITION,),
    "orch/session/cleanupPreview": (ErrorKind.ILLEGAL_TRANSITION, ErrorKind.GIT_FAILED),
    "orch/session/delete": (
        ErrorKind.ILLEGAL_TRANSITION,
        ErrorKind.STALE_PREVIEW,
        ErrorKind.CONFLICT,
        ErrorKind.GIT_FAILED,
    ),
    "orch/session/restore": (ErrorKind.ILLEGAL_TRANSITION, ErrorKind.CONFLICT, ErrorKind.GIT_FAILED),
    "orch/session/diff": (ErrorKind.GIT_FAILED, ErrorKind.CONFLICT),
    "orch/session/fileBefore": (ErrorKind.GIT_FAILED, ErrorKind.CONFLICT),
    "orch/session/commit": (ErrorKind.GIT_FAILED, ErrorKind.CONFLICT, ErrorKind.ILLEGAL_TRANSITION),
    "orch/session/apply": (ErrorKind.GIT_FAILED, ErrorKind.CONFLICT, ErrorKind.ILLEGAL_TRANSITION),
}


def protocol_reference() -> str:
    """Return the whole of docs/protocol.md."""
    unknown = set(REFUSALS) - set(METHODS)
    if unknown:
        raise LookupError(f"REFUSALS names methods that do not exist: {sorted(unknown)}")
    parts = [
        INTRODUCTION,
        _methods(),
        _notifications(),
        _objects(),
        _states(),
        _events(),
        _errors(),
    ]
    return "\n".join(parts)


def _methods() -> str:
    methods = list(methods_in_order())
    rows = [[f"[`{item.name}`](#{_anchor(item.name)})", _first_sentence(docstring(item.handler))] for item in methods]
    lines = ["## Methods", "", *_table(("method", "what it does"), rows)]
    for method in methods:
        lines += ["", *_method(method)]
    return "\n".join(lines) + "\n"


def _method(method: Method) -> Iterator[str]:
    yield f"### `{method.name}`"
    yield ""
    yield docstring(method.handler) + (" *changes*" if method.changes else "")
    yield ""
    rows = [
        [f"`{wire_name(name, field)}`", _type(field.annotation), _need(field), _meaning(field)]
        for name, field in method.params.model_fields.items()
    ]
    if rows:
        yield from _table(("parameter", "type", "if left out", "meaning"), rows)
        yield ""
    if method.result.model_fields:
        yield f"Result: {_type(method.result)}."
    else:
        yield "Result: `{}`."
    named = {"project", "session"} & set(method.params.model_fields)
    kinds = [*([ErrorKind.NOT_FOUND] if named else []), *REFUSALS.get(method.name, ())]
    if kinds:
        yield ""
        yield f"Errors: {', '.join(f'`{kind.wire_name}`' for kind in kinds)}."


def _notifications() -> str:
    lines = ["## Notifications from the server", ""]
    for name, model in NOTIFICATIONS.items():
        said = docstring(model).removeprefix(f"`{name}`: ")
        lines += [f"### `{name}`", "", said[0].upper() + said[1:], "", *_fields(model), ""]
    return "\n".join(lines)


def _objects() -> str:
    lines = ["## Objects", "", "In alphabetical order. A field that is not marked otherwise is always there.", ""]
    for name, model in sorted(objects().items()):
        lines += [f"### {name}", "", docstring(model), ""]
        if issubclass(model, StrEnum):
            lines += ["One of " + ", ".join(f"`{member.value}`" for member in model) + ".", ""]
        elif issubclass(model, BaseModel):
            lines += [*_fields(model), ""]
    return "\n".join(lines)


def _states() -> str:
    rows = [
        [f"`{state.value}`", ", ".join(f"`{next_state.value}`" for next_state in sorted(after))]
        for state, after in TRANSITIONS.items()
    ]
    text = "A change that is not listed is refused with `illegalTransition`. `archived` and `deleted` lead back only to"
    return "\n".join(
        ["## States of a session", "", f"{text} the state before them.", "", *_table(("state", "may become"), rows), ""]
    )


def _events() -> str:
    lines = [
        "## Events",
        "",
        docstring(Event),
        "An event travels as [Event](#event); this table has its types and the fields of their `data`.",
        "`seq` is the only order; a filter of types takes `session.*` for all that begin so.",
        "",
    ]
    rows = []
    for name, model in EVENT_TYPES.items():
        fields = "<br>".join(_event_field(field_name, field) for field_name, field in model.model_fields.items())
        rows.append([f"`{name}`", docstring(model), fields])
    return "\n".join([*lines, *_table(("type", "when", "data"), rows), ""])


def _event_field(name: str, field: FieldInfo) -> str:
    described = f": {field.description}" if field.description else ""
    return f"`{wire_name(name, field)}` {_type(field.annotation)}{described}"


def _errors() -> str:
    lines = [
        "## Errors",
        "",
        "An error has a `message` for a person, and `data` with `kind`, `hint` (what to do, perhaps empty) and the",
        "fields named below. Every method may answer with `invalidParams`, `busy`, `databaseUnusable`, `diskFull`,",
        "`cancelled` and `internal`; the sections of the methods name what comes beside these.",
        "",
    ]
    rows = [["`parse`", "-32700", "The message could not be read."]]
    rows += [[f"`{kind.wire_name}`", str(kind.code), MEANINGS[kind]] for kind in ErrorKind]
    return "\n".join([*lines, *_table(("kind", "code", "meaning"), rows), ""])


# -- pieces -----------------------------------------------------------------------------------------------------


def _fields(model: type[BaseModel]) -> Iterator[str]:
    rows = [
        [f"`{wire_name(name, field)}`", _type(field.annotation), _meaning(field)]
        for name, field in model.model_fields.items()
    ]
    yield from _table(("field", "type", "meaning"), rows)


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    titles = list(headings)
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _first_sentence(text: str) -> str:
    return text.partition("; ")[0].rstrip(".") + "."


def _name(model: type) -> str:
    return model.__name__


def _anchor(method: str) -> str:
    return method.replace("/", "").lower()


def _type(annotation: Any) -> str:
    """Return a type in words, with links to the objects."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {Union, types.UnionType}:
        return " or ".join(_type(argument) for argument in arguments)
    if origin is Literal:
        return " or ".join(f"`{argument}`" for argument in arguments)
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"object of {_type(arguments[1])} by name"
    if origin is tuple:
        return f"list of {len(arguments)}: {', '.join(_type(argument) for argument in arguments)}"
    if annotation in PRIMITIVES:
        return PRIMITIVES[annotation]
    name = _name(annotation)
    return f"[{name}](#{name.lower()})"


def _need(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    default = field.get_default(call_default_factory=True)
    if default is None:
        return ""
    if isinstance(default, bool):
        return "`true`" if default else "`false`"
    return f"`{default.value if isinstance(default, StrEnum) else default}`"


def _meaning(field: FieldInfo) -> str:
    limits = {type(limit): limit for limit in field.metadata}
    said = []
    match limits.get(annotated_types.Ge), limits.get(annotated_types.Le):
        case annotated_types.Ge(ge=least), annotated_types.Le(le=most):
            said.append(f"{least} to {most}.")
        case annotated_types.Ge(ge=least), None:
            said.append(f"At least {least}.")
    match limits.get(annotated_types.MinLen), limits.get(annotated_types.MaxLen):
        case annotated_types.MinLen(min_length=least), annotated_types.MaxLen(max_length=most):
            said.append(f"{least} to {most} characters.")
        case annotated_types.MinLen(), None:
            said.append("Not empty.")
    return " ".join([*([field.description] if field.description else []), *said])
