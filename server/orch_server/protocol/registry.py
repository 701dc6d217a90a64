"""The register of methods, and what happens around each of them: validation, request keys, one reply."""

import asyncio
import hashlib
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, get_type_hints

import orjson
from pydantic import BaseModel, ValidationError

from orch_server.domain.errors import ErrorKind, OrchError, of_the_disk
from orch_server.domain.ids import random_id
from orch_server.domain.wire import Params
from orch_server.services.context import Caller, Context, Environment, RequestKey
from orch_server.services.feed import Listener, Subscription
from orch_server.settings.crashpoint import crashpoint
from orch_server.store.records import SessionRecord

log = logging.getLogger(__name__)


class Empty(Params):
    """No parameters, or an empty result."""


class Client(Listener, Protocol):
    """The connection a request came by, as handlers see it."""

    environment: Environment
    subscriptions: dict[str, Subscription]

    def after_reply(self, action: Callable[[], None]) -> None:
        """Do something once the reply of the present request is on its way."""

    def report_start(self, token: str | int, session_id: str, after: int) -> None:
        """Report a session's start as `$/progress`, from the events after a number."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A result that is JSON of the declared type already."""

    json: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the hub's parts, who asks, and by which connection."""

    context: Context
    caller: Caller
    client: Client


Result = BaseModel | Encoded
Handler = Callable[[Call, Any], Awaitable[Result] | Result]
HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Method:
    """One `orch/*` method."""

    name: str
    params: type[Params]
    result: type[BaseModel]
    handler: Handler
    changes: bool
    """Whether it changes something, and so takes a `requestKey`."""
    is_async: bool
    recall: "Callable[[Context, SessionRecord], BaseModel] | None" = None
    """Makes the reply anew of the session that the request started, where the hub died before it could answer."""


METHODS: dict[str, Method] = {}


def request(
    name: str,
    *,
    changes: bool = False,
    result: type[BaseModel] | None = None,
    recall: Callable[[Context, SessionRecord], BaseModel] | None = None,
) -> Callable[[HandlerT], HandlerT]:
    """Register a function `(call, params) -> result` as the method `name`; its annotations are the wire's types.

    `result` names the type where the function returns it encoded already; `recall` makes the reply of a session that
    the request had started, where that is not the session itself.
    """

    def register(handler: HandlerT) -> HandlerT:
        hints = get_type_hints(handler)
        returned = result or hints["return"]
        is_async = inspect.iscoroutinefunction(handler)
        METHODS[name] = Method(name, hints["params"], returned, handler, changes, is_async, recall)
        return handler

    return register


class Dispatcher:
    """Answers requests by the register. One for the hub; it remembers the keys that are under way."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._under_way: dict[str, asyncio.Future[None]] = {}

    def answer_now(self, method: Method, params: Any, client: Client) -> bytes | None:
        """Answer a quick read without a task: the result as JSON, or None where the method needs one."""
        if method.is_async or method.changes:
            return None
        call = Call(self._context, Caller(client.environment), client)
        result = method.handler(call, _validate(method.params, params))
        assert not inspect.isawaitable(result)
        return encode(method, result)

    async def answer(self, method: Method, params: Any, client: Client) -> bytes:
        """Return the result as JSON. Raises OrchError for everything that a client is to be told."""
        key = None
        if method.changes and isinstance(params, dict) and "requestKey" in params:
            params = dict(params)
            key = _read_key(method.name, params)
        checked = _validate(method.params, params)
        if key is None:
            return await self._run(method, checked, Caller(client.environment), client)
        return await self._run_once(method, checked, key, client)

    async def _run(self, method: Method, params: Params, caller: Caller, client: Client) -> bytes:
        result = method.handler(Call(self._context, caller, client), params)
        if inspect.isawaitable(result):
            result = await result
        return encode(method, result)

    async def _run_once(self, method: Method, params: Params, key: RequestKey, client: Client) -> bytes:
        while (other := self._under_way.get(key.key)) is not None:
            await asyncio.shield(other)
        done = self._under_way[key.key] = asyncio.get_running_loop().create_future()
        try:
            kept = await self._context.store.write(lambda transaction: transaction.kept_reply(key.key))
            if kept is not None:
                if (kept.method, kept.digest) != (key.method, key.digest):
                    raise OrchError(
                        ErrorKind.REQUEST_KEY_REUSED,
                        "This requestKey was used for another request.",
                        hint="Make a new key for each request; repeat one only with the same params.",
                    )
                if kept.reply is not None:
                    return kept.reply
                session = self._context.store.session(kept.session_id or "")
                if session is not None:  # it had its effect, and the hub died before it could answer
                    return (
                        encode(method, method.recall(self._context, session)) if method.recall else session.wire_bytes()
                    )
            reply = await self._run(method, params, Caller(client.environment, key), client)
            crashpoint("request.done")
            await self._context.store.write(
                lambda transaction: transaction.claim_key(key.key, key.method, key.digest, None, reply)
            )
            crashpoint("request.kept")
            return reply
        finally:
            del self._under_way[key.key]
            done.set_result(None)


def encode(method: Method, result: Result) -> bytes:
    """Return a result as its declared type travels: what only the hub knows of it stays here."""
    if isinstance(result, Encoded):
        return result.json
    return method.result.__pydantic_serializer__.to_json(result, by_alias=True)


def error_of(error: BaseException) -> tuple[int, str, dict[str, Any]]:
    """Return code, message and data of the JSON-RPC error for an exception; never a traceback."""
    if isinstance(error, OrchError):
        return error.kind.code, error.message, error.wire_data()
    if isinstance(error, asyncio.CancelledError):
        return (
            ErrorKind.CANCELLED.code,
            "The request was cancelled.",
            {"kind": ErrorKind.CANCELLED.wire_name, "hint": ""},
        )
    if (refused := of_the_disk(error)) is not None:
        log.warning("The disk refused", exc_info=error)
        return error_of(refused)
    reference = random_id(8)
    log.error("Internal error %s", reference, exc_info=error)
    return (
        ErrorKind.INTERNAL.code,
        f"Something went wrong inside orch (reference {reference}).",
        {
            "kind": ErrorKind.INTERNAL.wire_name,
            "hint": "The hub's log has the details under this reference; please report it.",
            "reference": reference,
        },
    )


def schema_hash() -> str:
    """Return a short digest of all methods and their types, for information."""
    text = orjson.dumps(
        {
            name: [method.params.model_json_schema(by_alias=True), method.result.model_json_schema(by_alias=True)]
            for name, method in sorted(METHODS.items())
        },
        option=orjson.OPT_SORT_KEYS,
    )
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def _validate(model: type[Params], params: Any) -> Params:
    try:
        # Lua writes an empty object as an empty list.
        return model.model_validate({} if params is None or params == [] else params, by_name=False, by_alias=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        where = [".".join(str(part) for part in problem["loc"]) or "params" for problem in problems]
        said = "; ".join(f"{place}: {problem['msg']}" for place, problem in zip(where, problems, strict=True))
        raise OrchError(
            ErrorKind.INVALID_PARAMS,
            f"The parameters are wrong: {said}.",
            hint="docs/protocol.md has the fields of every method.",
            errors=[
                {"path": place, "type": problem["type"], "message": problem["msg"]}
                for place, problem in zip(where, problems, strict=True)
            ],
        ) from error


def _read_key(method: str, params: dict[str, Any]) -> RequestKey:
    key = params.pop("requestKey")
    if not isinstance(key, str) or not 1 <= len(key) <= 200:
        raise OrchError(
            ErrorKind.INVALID_PARAMS, "requestKey must be a text of 1 to 200 characters.", hint="A UUID will do."
        )
    try:
        digest = hashlib.blake2b(orjson.dumps(params, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
    except TypeError as error:
        raise OrchError(ErrorKind.INVALID_PARAMS, "The parameters are nested too deeply.") from error
    return RequestKey(key, method, digest)
