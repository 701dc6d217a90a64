"""One client: a pygls language server over one accepted connection.

pygls keeps the LSP life cycle, and the requests that we send. In front of it stands a reader that answers whatever
comes exactly once, and behind it a writer that a client which does not read cannot make grow; `orch/*` requests go
straight to the register of methods, and what LSP has for editors to `language/`. (pygls's own reader leaves malformed
requests unanswered, its writer waits for nobody, and its `exit` ends the process.)
"""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Generator
from functools import cache, partial
from typing import Any, TypeGuard

import orjson
from cattrs import Converter
from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, default_converter, lsp_method

from orch_server import PROTOCOL_VERSION, __version__
from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.events import EVENT_TYPES
from orch_server.hub.language.editor import Editor
from orch_server.hub.language.features import ANSWERS
from orch_server.hub.progress import StartProgress
from orch_server.protocol.access import check_agent
from orch_server.protocol.methods import METHODS
from orch_server.protocol.registry import Dispatcher, error_of, schema_hash
from orch_server.services import sessions
from orch_server.services.context import Caller, Context, Environment
from orch_server.services.feed import Batch, Subscription
from orch_server.store.records import StoredEvent

log = logging.getLogger(__name__)
logging.getLogger("pygls").setLevel(logging.CRITICAL)  # it logs whole bodies, and tracebacks of what a client did wrong

_LARGEST_MESSAGE = 32 * 1024 * 1024
_LONGEST_HEADER = 4 * 1024
_MOST_BUFFERED = 96 * 1024 * 1024
_HIGH_WATER = 1024 * 1024
_MOST_IN_FLIGHT = 256
_DOCUMENT_NEWS = (types.TEXT_DOCUMENT_DID_OPEN, types.TEXT_DOCUMENT_DID_CHANGE, types.TEXT_DOCUMENT_DID_CLOSE)
_UNSET = object()
_PARSE_ERROR = -32700


class Connection(asyncio.Protocol):
    """The hub's end of one client's connection."""

    def __init__(
        self,
        context: Context,
        dispatcher: Dispatcher,
        environment: Environment,
        closed: "Callable[[Connection], None]",
        exit_pipe: int | None = None,
        agent_of: str | None = None,
    ) -> None:
        self.environment = environment
        self.agent_of = agent_of
        """The session whose agent this is; None for a client of the user's."""
        self.subscriptions: dict[str, Subscription] = {}
        self._context = context
        self._dispatcher = dispatcher
        self._closed = closed
        self._exit_pipe = exit_pipe
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._expected: int | None = None
        self._server = _OrchServer(self)
        self._editor = Editor(context, Caller(environment), self, _converter())
        self._initialized = False
        self._shut_down = False
        self._tasks: dict[str | int, asyncio.Task[None]] = {}
        self._asked: set[asyncio.Future[Any]] = set()
        self._after_reply: list[Callable[[], None]] = []
        self._progress: dict[str | int, StartProgress] = {}
        self._drained = asyncio.Event()
        self._drained.set()
        self._events: list[bytes] = []
        self._events_bytes = 0

    # -- the socket ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to speak."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._server.protocol.set_writer(_Writer(self))

    def data_received(self, data: bytes) -> None:
        """Take what came; answer every whole message in it."""
        self._buffer += data
        while self._transport is not None and not self._transport.is_closing():
            try:
                body = self._next_body()
            except ValueError as error:
                self._reply_error(
                    None, _PARSE_ERROR, f"{error}.", {"kind": "parse", "hint": "The connection is closed."}
                )
                self._tell_exit_code(1)
                self.close()
                return
            if body is None:
                return
            self._receive(body)

    def pause_writing(self) -> None:
        """Ask no more of a client that does not read: what it sends waits, too."""
        self._drained.clear()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on with a client that reads again."""
        self._drained.set()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def eof_received(self) -> None:
        """The client has ended its side without `exit`; the connection is closed."""
        self._tell_exit_code(0 if self._shut_down else 1)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client. Whatever it began to change is finished; what it only wanted to read is not."""
        del exc
        self._transport = None
        self._drained.set()
        for subscription in self.subscriptions.values():
            self._context.feed.unsubscribe(subscription)
        self.subscriptions.clear()
        for progress in self._progress.values():
            progress.stop()
        for task in self._tasks.values():
            if not getattr(task, "changes", False):
                task.cancel()
        self._editor.close()
        for future in tuple(self._asked):
            future.cancel()
        self._tell_exit_code(None)
        self._closed(self)

    def close(self) -> None:
        """End the connection once what was written is gone out."""
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def _next_body(self) -> bytes | None:
        buffer = self._buffer
        if self._expected is None:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(buffer) > _LONGEST_HEADER:
                    raise ValueError("The header of a message is too long")
                return None
            self._expected = _content_length(bytes(buffer[:end]))
            del buffer[: end + 4]
        if len(buffer) < self._expected:
            return None
        body = bytes(buffer[: self._expected])
        del buffer[: self._expected]
        self._expected = None
        return body

    # -- messages -----------------------------------------------------------------------------------------------

    def _receive(self, body: bytes) -> None:
        try:
            message = orjson.loads(body)
        except ValueError:
            self._reply_error(
                None, _PARSE_ERROR, "The message is no JSON.", {"kind": "parse", "hint": "Send UTF-8 JSON."}
            )
            return
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            self._refuse(
                None if not isinstance(message, dict) else message.get("id"), "That is no JSON-RPC 2.0 message."
            )
            return
        method, id_ = message.get("method"), message.get("id", _UNSET)
        if method is None and id_ is not _UNSET and ("result" in message or "error" in message):
            self._response(message)
        elif not isinstance(method, str) or not (id_ is _UNSET or _is_id(id_)):
            self._refuse(id_, "A request needs a method, and an id that is a text or a whole number.")
        elif "params" in message and not isinstance(message["params"], (dict, list, type(None))):
            self._refuse(id_, "params must be an object.", ErrorKind.INVALID_PARAMS)
        elif id_ is _UNSET:
            self._notification(method, message)
        else:
            self._request(id_, method, message)

    def _request(self, id_: Any, method: str, message: dict[str, Any]) -> None:
        if self._shut_down:
            self._refuse(id_, "The connection was shut down: only `exit` may follow.")
        elif id_ in self._tasks:
            self._refuse(id_, f"A request with the id {id_!r} is under way.")
        elif method == types.INITIALIZE:
            self._initialize(id_, message)
        elif not self._initialized:
            self._refuse(id_, "Send `initialize` first.", ErrorKind.NOT_INITIALIZED)
        elif self.agent_of is not None and method != types.SHUTDOWN and not self._may(id_, method, message):
            pass
        elif method.startswith("orch/"):
            self._orch_request(id_, method, message.get("params"))
        elif method in ANSWERS:
            self._language_request(id_, method, message.get("params"))
        elif not self._server.knows(method):
            self._refuse(id_, f"There is no method {method!r}.", ErrorKind.UNKNOWN_METHOD)
        else:
            self._lsp(id_, message)
            if method == types.SHUTDOWN:
                self._shut_down = True
                self._editor.close()

    def _may(self, id_: Any, method: str, message: dict[str, Any]) -> bool:
        """Tell whether an agent may ask this; refuse it where not."""
        assert self.agent_of is not None
        try:
            check_agent(self.agent_of, method, message.get("params"))
        except OrchError as error:
            log.warning("The agent of session %s was refused %s", self.agent_of or "?", method[:80])
            self._reply_error(id_, *error_of(error))
            return False
        return True

    def _initialize(self, id_: Any, message: dict[str, Any]) -> None:
        if self._initialized:
            self._refuse(id_, "The connection is initialized already.")
            return
        params = message.get("params")
        options = params.get("initializationOptions") if isinstance(params, dict) else None
        wanted = options.get("protocolVersion") if isinstance(options, dict) else None
        if wanted is not None and (isinstance(wanted, bool) or wanted != PROTOCOL_VERSION):
            self._reply_error(
                id_,
                ErrorKind.PROTOCOL_MISMATCH.code,
                f"This is orch protocol {PROTOCOL_VERSION}; the client wants {wanted}.",
                {
                    "kind": ErrorKind.PROTOCOL_MISMATCH.wire_name,
                    "hint": "Install the same version of orch-server and of the client.",
                    "protocolVersion": PROTOCOL_VERSION,
                },
            )
            return
        self._initialized = self._lsp(id_, message)

    def _notification(self, method: str, message: dict[str, Any]) -> None:
        if method == types.EXIT:
            self._tell_exit_code(0 if self._shut_down else 1)
            self.close()
        elif method == types.CANCEL_REQUEST:
            params = message.get("params")
            wanted = params.get("id") if isinstance(params, dict) else None
            if _is_id(wanted) and wanted in self._tasks:
                self._tasks[wanted].cancel()
        elif self.agent_of is not None:
            return
        elif method == types.WINDOW_WORK_DONE_PROGRESS_CANCEL:
            params = message.get("params")
            token = params.get("token") if isinstance(params, dict) else None
            progress = self._progress.get(token) if _is_id(token) else None
            if progress is not None:
                self._context.spawn(sessions.cancel(self._context, progress.session_id))
            elif _is_id(token):
                self._editor.cancelled(token)
        elif not self._initialized or self._shut_down:
            pass
        elif method in _DOCUMENT_NEWS:
            self._editor.take_document(method, message.get("params"))
        elif self._server.knows(method):
            self._lsp(None, message)
            if method == types.INITIALIZED:
                self._editor.begin()

    def _lsp(self, id_: Any, message: dict[str, Any]) -> bool:
        """Hand a message to pygls; answer ourselves where it cannot even be read."""
        message.setdefault("params", None)
        try:
            structured = self._server.protocol.structure_message(message)
        except Exception:  # whatever a client sends
            if id_ is not None:
                self._refuse(id_, f"The parameters of {message['method']} are wrong.", ErrorKind.INVALID_PARAMS)
            return False
        self._server.protocol.handle_message(structured)
        return True

    def _response(self, message: dict[str, Any]) -> None:
        try:
            self._server.protocol.handle_message(self._server.protocol.structure_message(message))
        except Exception as error:
            log.warning("A client's response could not be read: %s", error)

    def _orch_request(self, id_: Any, name: str, params: Any) -> None:
        method = METHODS.get(name)
        if method is None:
            self._refuse(id_, f"There is no method {name!r}.", ErrorKind.UNKNOWN_METHOD)
            return
        try:
            result = self._dispatcher.answer_now(method, params, self)
        except Exception as error:
            self._reply_error(id_, *error_of(error))
            return
        if result is not None:
            self._reply(id_, result)
        else:
            self._begin(id_, self._dispatcher.answer(method, params, self), changes=method.changes)

    def _language_request(self, id_: Any, method: str, params: Any) -> None:
        try:
            result = self._editor.answer(method, params)
        except Exception as error:
            self._reply_error(id_, *error_of(error))
            return
        if isinstance(result, bytes):
            self._reply(id_, result)
        else:
            self._begin(id_, result, changes=method == types.WORKSPACE_EXECUTE_COMMAND)

    def _begin(self, id_: Any, answer: Coroutine[Any, Any, bytes], *, changes: bool) -> None:
        """Answer a request in a task of its own; one that `changes` something is finished for a client that left."""
        if len(self._tasks) >= _MOST_IN_FLIGHT:
            answer.close()
            self._refuse(id_, f"{_MOST_IN_FLIGHT} requests are under way.", ErrorKind.BUSY)
            return
        task = asyncio.create_task(self._answer(id_, answer))
        task.changes = changes  # type: ignore[attr-defined]
        self._tasks[id_] = task
        task.add_done_callback(partial(self._answered, id_, answer))

    async def _answer(self, id_: Any, answer: Coroutine[Any, Any, bytes]) -> None:
        try:
            result = await answer
        except Exception as error:
            self._reply_error(id_, *error_of(error))
        else:
            self._reply(id_, result)

    def _answered(self, id_: Any, answer: Coroutine[Any, Any, bytes], task: "asyncio.Task[None]") -> None:
        self._tasks.pop(id_, None)
        if task.cancelled():  # perhaps before its first step, so it cannot say so itself
            answer.close()
            self._reply_error(id_, *error_of(asyncio.CancelledError()))
        elif (error := task.exception()) is not None:
            log.error("A request failed after its reply", exc_info=error)

    def introduction(self) -> dict[str, Any]:
        """Return what `initialize` tells of orch."""
        return {
            "protocolVersion": PROTOCOL_VERSION,
            "schemaHash": _schema_hash(),
            "methods": sorted(METHODS),
            "events": sorted(EVENT_TYPES),
            "agents": sorted(self._context.adapters),
        }

    def meet(self, params: types.InitializeParams, capabilities: types.ServerCapabilities) -> None:
        """Learn what the client can, and tell it what it may ask for."""
        workspace = self._server.protocol.workspace
        root = [workspace.root_uri] if workspace.root_uri is not None else []
        self._editor.meet(params, capabilities, lambda: [*(folder.uri for folder in workspace.folders.values()), *root])

    # -- what goes out ------------------------------------------------------------------------------------------

    def notify(self, method: str, params: Any) -> None:
        """Send a notification of LSP."""
        self._server.protocol.notify(method, params)

    def request(self, method: str, params: Any, id_: str | None = None) -> "asyncio.Future[Any]":
        """Send a request of LSP; the future has its result, or the error that the client replied.

        It is cancelled when the client leaves.
        """
        future = asyncio.wrap_future(self._server.protocol.send_request(method, params, msg_id=id_))
        self._asked.add(future)
        future.add_done_callback(self._was_asked)
        return future

    def withdraw(self, id_: str) -> None:
        """Tell the client that the reply to a request is not needed any more."""
        self._server.protocol.notify(types.CANCEL_REQUEST, types.CancelParams(id_))

    async def execute(self, method: str, params: dict[str, Any]) -> bytes:
        """Carry out an `orch/*` request as if the client had sent it; returns its result as JSON."""
        return await self._dispatcher.answer(METHODS[method], params, self)

    def _was_asked(self, future: "asyncio.Future[Any]") -> None:
        self._asked.discard(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            log.info("A client refused what it was asked: %s", error)

    def after_reply(self, action: Callable[[], None]) -> None:
        """Do something once the reply of the present request is on its way."""
        self._after_reply.append(action)

    def report_start(self, token: str | int, session_id: str, after: int) -> None:
        """Report a session's start as `$/progress`."""
        progress = StartProgress(token, session_id, self.write, self._progress.pop)
        self._progress[token] = progress
        progress.begin(self._context.feed, self._context.store, after)

    def send_events(self, subscription: str, batch: Batch) -> None:
        """Put events into the buffer as notifications; what is sent in one step leaves in one write."""
        if batch.frames is None:
            batch.frames = [_event_frame(event, len(subscription)) for event in batch.events]
        end = b'%s"}}' % subscription.encode()
        data = end.join((*batch.frames, b""))  # each frame but for its end, which alone is the subscription's own
        self._events.append(data)
        self._events_bytes += len(data)

    def send_lost(self, subscription: str, resume_after: int) -> None:
        """Say that events were dropped."""
        self.subscriptions.pop(subscription, None)
        self.write(
            b'{"jsonrpc":"2.0","method":"orch/event/lost","params":{"subscription":"%s","resumeAfter":%d}}'
            % (subscription.encode(), resume_after)
        )

    def buffered(self) -> int:
        """Return how many bytes the client has not taken."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size() + self._events_bytes

    async def drained(self) -> None:
        """Return once the client has taken most of what was written."""
        self.flush()
        await self._drained.wait()

    def write(self, body: bytes) -> None:
        """Write one message, behind the events before it."""
        self.flush()
        self._write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def flush(self) -> None:
        """Write the events that were gathered."""
        if self._events:
            data = self._events[0] if len(self._events) == 1 else b"".join(self._events)
            self._events.clear()
            self._events_bytes = 0
            self._write(data)

    def _write(self, data: bytes) -> None:
        """Write bytes. A client that lets too much pile up is disconnected."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > _MOST_BUFFERED:
            log.warning("A client that does not read was disconnected")
            transport.abort()
            return
        transport.write(data)

    def _reply(self, id_: Any, result: bytes) -> None:
        self.write(b'{"jsonrpc":"2.0","id":%s,"result":%s}' % (orjson.dumps(id_), result))
        actions, self._after_reply = self._after_reply, []
        for action in actions:
            action()

    def _refuse(self, id_: Any, message: str, kind: ErrorKind = ErrorKind.INVALID_REQUEST) -> None:
        if id_ is not _UNSET:
            self._reply_error(id_ if _is_id(id_) else None, kind.code, message, {"kind": kind.wire_name, "hint": ""})

    def _reply_error(self, id_: Any, code: int, message: str, data: dict[str, Any]) -> None:
        error = {"code": code, "message": message, "data": data}
        self.write(orjson.dumps({"jsonrpc": "2.0", "id": id_, "error": error}))

    def _tell_exit_code(self, code: int | None) -> None:
        """Tell the bridge with which code it is to exit; None lets it know only that nothing more comes."""
        if self._exit_pipe is not None:
            if code is not None:
                try:
                    os.write(self._exit_pipe, bytes([code]))
                except OSError:
                    pass  # the bridge is gone
            os.close(self._exit_pipe)
            self._exit_pipe = None


class _OrchProtocol(LanguageServerProtocol):
    """pygls's protocol, with the connection's writer and without its power over the process."""

    _server: "_OrchServer"

    @lsp_method(types.INITIALIZE)
    def lsp_initialize(self, params: types.InitializeParams) -> Generator[Any, Any, types.InitializeResult]:
        """Say what orch is and can."""
        result = yield from super().lsp_initialize(params)
        result.capabilities.experimental = {"orch": self._server.connection.introduction()}
        self._server.connection.meet(params, result.capabilities)
        return result

    @lsp_method(types.EXIT)
    def lsp_exit(self, *_: object) -> None:  # type: ignore[override]
        """Never reached: the connection takes `exit` itself."""

    def _send_data(self, data: Any) -> None:
        self._server.connection.write(orjson.dumps(data, default=self._serialize_message))


class _OrchServer(LanguageServer):
    """pygls's server object of one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        super().__init__("orch-server", __version__, protocol_cls=_OrchProtocol, converter_factory=_converter)

    def knows(self, method: str) -> bool:
        """Whether pygls or a feature of ours handles a method."""
        manager = self.protocol.fm
        return method in manager.builtin_features or method in manager.features

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Log what went wrong; the client got its reply already."""
        log.warning("%s: %s", getattr(source, "__name__", source), error)


class _Writer:
    """What pygls writes to and closes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def write(self, data: bytes) -> None:
        """Write one whole message without its header."""
        self._connection.write(data)

    def close(self) -> None:
        """Leave the connection to the client."""


@cache
def _converter() -> Converter:
    """Return the one converter of all connections: making it costs 17 ms and 240 KB."""
    converter: Converter = default_converter()  # type: ignore[no-untyped-call]
    return converter


@cache
def _schema_hash() -> str:
    return schema_hash()


def _content_length(header: bytes) -> int:
    for line in header.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            digits = value.strip()
            if not digits.isdigit() or len(digits) > 12:
                raise ValueError("Content-Length is no number")
            if int(digits) > _LARGEST_MESSAGE:
                raise ValueError(f"The message is larger than {_LARGEST_MESSAGE} bytes")
            return int(digits)
    raise ValueError("A message has no Content-Length")


def _event_frame(event: StoredEvent, id_length: int) -> bytes:
    """Return the notification of an event with its header, up to the id of the subscription, which stands last."""
    message = b'{"jsonrpc":"2.0","method":"orch/event","params":{"event":%s,"subscription":"' % event.json
    return b"Content-Length: %d\r\n\r\n%s" % (len(message) + id_length + len(b'"}}'), message)


def _is_id(value: object) -> TypeGuard[str | int]:
    return isinstance(value, (str, int)) and not isinstance(value, bool)
