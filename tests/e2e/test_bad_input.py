"""Whatever a client sends is answered exactly once with the right code, and disturbs nobody."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.home import OrchHome
from tests.lsp import Failed, RawClient, frame
from tests.repositories import make_repository

PARSE, INVALID_REQUEST, UNKNOWN_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602
NOT_INITIALIZED, NOT_FOUND, BUSY, PROTOCOL_MISMATCH, KEY_REUSED = -32002, -32010, -32016, -32020, -32022
INFO: dict[str, Any] = {"processId": None, "rootUri": None, "capabilities": {}}
Another = Callable[..., RawClient]
MANY = 300
LETTERS = 32
SERVED_AT_ONCE = 256


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrchHome]:
    """One hub for all of it: nothing below may hurt it."""
    root = tmp_path_factory.mktemp("bad-input")
    home = OrchHome(root)
    make_repository(root / "shop")
    try:
        home.cli("projects", "add", str(root / "shop"))
        with RawClient(home) as client:  # so that some beginning of an id is not unique
            params = {"agent": "demo", "action": "analyze", "project": "shop", "prompt": "[[exit 0]]"}
            for _ in range(LETTERS + 1):
                client.request("orch/session/start", params)
        yield home
    finally:
        home.close()


@pytest.fixture
def client(home: OrchHome) -> Iterator[RawClient]:
    """An initialized connection; when the test is over, another one that was there before works as ever."""
    hub = home.hub_pid()
    with RawClient(home) as witness, RawClient(home) as client:
        yield client
        assert witness.request("orch/hub/status")["pid"] == hub


@pytest.fixture
def another(home: OrchHome) -> Iterator[Another]:
    """A function that connects; all is closed with the test."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(RawClient(home, **settings))


@dataclass(frozen=True)
class Case:
    """Something that is sent, and the error reply; `code` None: it is not to be answered."""

    name: str
    sent: Any
    code: int | None
    id: Any = 1

    @property
    def bytes(self) -> bytes:
        """What goes over the wire."""
        if isinstance(self.sent, str):
            return frame(self.sent.encode())
        return self.sent if isinstance(self.sent, bytes) else frame(json.dumps(self.sent).encode())


def request(method: str, params: Any = ..., **more: Any) -> dict[str, Any]:
    """Return a request with the id 1."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, **({} if params is ... else {"params": params}), **more}


def nested(depth: int) -> dict[str, Any]:
    """Return objects in objects."""
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"in": value}
    return value


START = {"agent": "demo", "action": "implement", "project": "shop", "prompt": "[[say hello]]"}

NO_MESSAGES = [
    Case("bad JSON", '{"jsonrpc": "2.0", "id": 1,', PARSE, None),
    Case("empty body", b"Content-Length: 0\r\n\r\n", PARSE, None),
    Case("invalid UTF-8", frame(b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe"}'), PARSE, None),
    Case("UTF-16", frame('{"jsonrpc":"2.0","id":1,"method":"shutdown"}'.encode("utf-16")), PARSE, None),
    Case("very deep nesting", "[" * 100_000 + "]" * 100_000, PARSE, None),
    Case("unclosed nesting", '{"a":' * 50_000, PARSE, None),
    Case("NaN", '{"jsonrpc": "2.0", "id": NaN, "method": "shutdown"}', PARSE, None),
    Case("lone surrogate", '{"jsonrpc": "2.0", "id": 1, "method": "\\ud800"}', PARSE, None),
    Case("id of 400 digits", f'{{"jsonrpc": "2.0", "id": {10**400}, "method": "shutdown"}}', PARSE, None),
    Case(
        "huge float",
        '{"jsonrpc": "2.0", "id": 1, "method": "orch/event/list", "params": {"after": 1e999}}',
        PARSE,
        None,
    ),
    Case("batch", [request("shutdown"), request("shutdown")], INVALID_REQUEST, None),
    Case("empty batch", [], INVALID_REQUEST, None),
    Case("number", 42, INVALID_REQUEST, None),
    Case("text", '"hello"', INVALID_REQUEST, None),
    Case("null", "null", INVALID_REQUEST, None),
    Case("true", "true", INVALID_REQUEST, None),
    Case("empty object", {}, INVALID_REQUEST, None),
    Case("no jsonrpc", {"id": 1, "method": "orch/hub/status"}, INVALID_REQUEST),
    Case("other jsonrpc", {"jsonrpc": "1.0", "id": 1, "method": "orch/hub/status"}, INVALID_REQUEST),
    Case("numeric jsonrpc", {"jsonrpc": 2.0, "id": 1, "method": "orch/hub/status"}, INVALID_REQUEST),
    Case("id null", request("orch/hub/status", id=None), INVALID_REQUEST, None),
    Case("id float", request("orch/hub/status", id=1.5), INVALID_REQUEST, None),
    Case("id bool", request("orch/hub/status", id=True), INVALID_REQUEST, None),
    Case("id object", request("orch/hub/status", id={"a": 1}), INVALID_REQUEST, None),
    Case("id list", request("orch/hub/status", id=[1]), INVALID_REQUEST, None),
    Case("id beyond 64 bits", request("orch/hub/status", id=2**70), INVALID_REQUEST, None),
    Case("no method", {"jsonrpc": "2.0", "id": 1}, INVALID_REQUEST),
    Case("method a number", {"jsonrpc": "2.0", "id": 1, "method": 5}, INVALID_REQUEST),
    Case("method null", {"jsonrpc": "2.0", "id": 1, "method": None}, INVALID_REQUEST),
    Case("params a text", request("orch/hub/status", "x"), INVALID_PARAMS),
    Case("params a number", request("orch/hub/status", 7), INVALID_PARAMS),
    Case("params false", request("orch/hub/status", False), INVALID_PARAMS),
]

WRONG_REQUESTS = [
    Case("unknown method", request("orch/hub/nothing"), UNKNOWN_METHOD),
    Case("unknown method with params", request("orch/hub/nothing", {"class": 1}), UNKNOWN_METHOD),
    Case("empty method", request(""), UNKNOWN_METHOD),
    Case("unknown LSP method", request("textDocument/nothing", {}), UNKNOWN_METHOD),
    Case("LSP method of others", request("textDocument/rename", {"textDocument": {"uri": "x"}}), UNKNOWN_METHOD),
    Case("hover without a position", request("textDocument/hover", {"textDocument": {"uri": "x"}}), INVALID_PARAMS),
    Case("unknown $ method", request("$/nothing", {}), UNKNOWN_METHOD),
    Case("LSP method with wrong params", request("workspace/executeCommand", {"arguments": 1}), INVALID_PARAMS),
    Case("second initialize", request("initialize", INFO), INVALID_REQUEST),
    Case("missing field", request("orch/session/get", {}), INVALID_PARAMS),
    Case("missing params", request("orch/session/get"), INVALID_PARAMS),
    Case("params null where a field is needed", request("orch/session/get", None), INVALID_PARAMS),
    Case("params a list", request("orch/session/get", ["x"]), INVALID_PARAMS),
    Case("params a deep list", request("orch/session/get", [nested(900)]), INVALID_PARAMS),
    Case("unknown field", request("orch/hub/status", {"colour": "red"}), INVALID_PARAMS),
    Case("snake_case field", request("orch/session/list", {"include_archived": True}), INVALID_PARAMS),
    Case("keys of other languages", request("orch/session/get", {"class": 1, "from": 2, "def": 3}), INVALID_PARAMS),
    Case("prototype", request("orch/session/list", {"__proto__": {"x": 1}, "constructor": 1}), INVALID_PARAMS),
    Case("a message as a field", request("orch/session/get", {"session": request("exit")}), INVALID_PARAMS),
    Case("deep field", request("orch/hub/status", nested(900)), INVALID_PARAMS),
    Case("deep field and a key", request("orch/session/start", {**nested(900), "requestKey": "a"}), INVALID_PARAMS),
    Case("session a number", request("orch/session/get", {"session": 5}), INVALID_PARAMS),
    Case("session null", request("orch/session/get", {"session": None}), INVALID_PARAMS),
    Case("session empty", request("orch/session/get", {"session": ""}), INVALID_PARAMS),
    Case("session unknown", request("orch/session/get", {"session": "nothing-like-it"}), NOT_FOUND),
    Case("session very long", request("orch/session/get", {"session": "a" * 100_000}), NOT_FOUND),
    Case("session a pattern", request("orch/session/get", {"session": "%"}), NOT_FOUND),
    Case("session with NUL", request("orch/session/get", {"session": "a\0"}), NOT_FOUND),
    Case("project unknown", request("orch/session/list", {"project": "nothing"}), NOT_FOUND),
    Case("cursor a word", request("orch/session/list", {"cursor": "next"}), INVALID_PARAMS),
    Case("cursor negative", request("orch/session/list", {"cursor": "-1"}), INVALID_PARAMS),
    Case("cursor in other digits", request("orch/session/list", {"cursor": "\u0661"}), INVALID_PARAMS),
    Case("cursor too long", request("orch/session/list", {"cursor": "9" * 40}), INVALID_PARAMS),
    Case("cursor a number", request("orch/session/list", {"cursor": 3}), INVALID_PARAMS),
    Case("limit 0", request("orch/session/list", {"limit": 0}), INVALID_PARAMS),
    Case("limit 1001", request("orch/project/list", {"limit": 1001}), INVALID_PARAMS),
    Case("limit 1.5", request("orch/event/list", {"limit": 1.5}), INVALID_PARAMS),
    Case("limit a word", request("orch/event/list", {"limit": "ten"}), INVALID_PARAMS),
    Case("after negative", request("orch/event/list", {"after": -1}), INVALID_PARAMS),
    Case("after 2^63", request("orch/event/list", {"after": 2**63}), INVALID_PARAMS),
    Case("subscribe after 2^63", request("orch/event/subscribe", {"after": 2**63}), INVALID_PARAMS),
    Case("after 2^70", request("orch/event/list", {"after": 2**70}), INVALID_PARAMS),
    Case("unknown event type", request("orch/event/subscribe", {"types": ["nothing.*"]}), INVALID_PARAMS),
    Case("no event types", request("orch/event/subscribe", {"types": []}), INVALID_PARAMS),
    Case("unknown subscription", request("orch/event/unsubscribe", {"subscription": "x"}), INVALID_PARAMS),
    Case("unknown state", request("orch/session/list", {"states": ["sleeping"]}), INVALID_PARAMS),
    Case("unknown action", request("orch/session/start", {**START, "action": "destroy"}), INVALID_PARAMS),
    Case("unknown agent", request("orch/session/start", {**START, "agent": "nobody"}), -32012),
    Case("no prompt", request("orch/session/start", {**START, "prompt": " "}), INVALID_PARAMS),
    Case("scope outside", request("orch/session/start", {**START, "scopePath": "../.."}), INVALID_PARAMS),
    Case("scope with NUL", request("orch/session/start", {**START, "scopePath": "a\0b"}), INVALID_PARAMS),
    Case("no such path", request("orch/project/add", {"path": "/nowhere/at/all"}), INVALID_PARAMS),
    Case("path with NUL", request("orch/project/add", {"path": "/tmp/a\0b"}), INVALID_PARAMS),
    Case("path very long", request("orch/project/add", {"path": "/a" * 50_000}), INVALID_PARAMS),
    Case("empty path", request("orch/project/add", {"path": ""}), INVALID_PARAMS),
    Case("requestKey a number", request("orch/session/start", {**START, "requestKey": 1}), INVALID_PARAMS),
    Case("requestKey empty", request("orch/session/start", {**START, "requestKey": ""}), INVALID_PARAMS),
    Case("requestKey too long", request("orch/session/start", {**START, "requestKey": "x" * 201}), INVALID_PARAMS),
    Case("requestKey of a read", request("orch/session/list", {"requestKey": "x"}), INVALID_PARAMS),
]

UNANSWERED = [
    Case("unknown notification", {"jsonrpc": "2.0", "method": "orch/nothing", "params": {"class": 1}}, None),
    Case("notification without params", {"jsonrpc": "2.0", "method": "nothing"}, None),
    Case("a request's method as a notification", {"jsonrpc": "2.0", "method": "orch/hub/shutdown"}, None),
    Case("cancel of an unknown id", {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 99}}, None),
    Case("cancel of no id", {"jsonrpc": "2.0", "method": "$/cancelRequest"}, None),
    Case("cancel of a strange id", {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": {}}}, None),
    Case("wrong LSP notification", {"jsonrpc": "2.0", "method": "textDocument/didOpen", "params": [1]}, None),
    Case("trace of nothing", {"jsonrpc": "2.0", "method": "$/setTrace", "params": {"value": "loud"}}, None),
    Case("progress of nothing", {"jsonrpc": "2.0", "method": "window/workDoneProgress/cancel", "params": {}}, None),
    Case("response to nothing", {"jsonrpc": "2.0", "id": 77, "result": {"jsonrpc": "2.0"}}, None),
    Case("error to nothing", {"jsonrpc": "2.0", "id": "x", "error": {"code": 1, "message": "no"}}, None),
    Case("malformed error", {"jsonrpc": "2.0", "id": 5, "error": "no"}, None),
]

FRAMING_LOST = [
    Case("no Content-Length", b"Content-Type: x\r\n\r\n{}", PARSE, None),
    Case("Content-Length a word", b"Content-Length: many\r\n\r\n{}", PARSE, None),
    Case("Content-Length negative", b"Content-Length: -5\r\n\r\n{}", PARSE, None),
    Case("Content-Length a fraction", b"Content-Length: 1.5\r\n\r\n{}", PARSE, None),
    Case("Content-Length huge", b"Content-Length: 99999999999\r\n\r\n{}", PARSE, None),
    Case("Content-Length beyond huge", b"Content-Length: " + b"9" * 400 + b"\r\n\r\n{}", PARSE, None),
    Case("header too long", b"X-Padding: " + b"x" * 10_000, PARSE, None),
    Case("no header at all", b"hello there\r\n\r\nhello", PARSE, None),
]


def by_name(cases: list[Case]) -> list[Any]:
    """Return cases as parameters."""
    return [pytest.param(case, id=case.name.replace(" ", "-")) for case in cases]


@pytest.mark.parametrize("case", by_name(NO_MESSAGES + WRONG_REQUESTS))
def test_one_error_reply_with_the_right_code(client: RawClient, case: Case) -> None:
    client.send_raw(case.bytes)
    reply = client.read()
    assert reply is not None, "the connection was closed"
    _check(reply, case)
    for _ in range(2):
        assert client.request("orch/project/list")["nextCursor"] is None


@pytest.mark.parametrize("case", by_name(UNANSWERED))
def test_no_reply_where_none_is_due(client: RawClient, case: Case) -> None:
    client.send_raw(case.bytes)
    for _ in range(2):
        assert client.request("orch/project/list")["nextCursor"] is None


@pytest.mark.parametrize("case", by_name(FRAMING_LOST))
def test_lost_framing_gets_one_error_and_an_end(client: RawClient, another: Another, case: Case) -> None:
    client.send_raw(case.bytes)
    reply = client.read()
    assert reply is not None
    _check(reply, case)
    assert client.read() is None
    assert another().request("orch/project/list")["nextCursor"] is None


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"content-length:  44 \r\n\r\n", id="lower case, spaces"),
        pytest.param(
            b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\nContent-Length: 44\r\n\r\n", id="type"
        ),
    ],
)
def test_unusual_frames_that_are_right_are_served_byte_by_byte(client: RawClient, sent: bytes) -> None:
    body = b'{"jsonrpc":"2.0","id":7,"method":"shutdown"}'
    assert len(body) == 44
    for number in range(len(sent + body)):
        client.send_raw((sent + body)[number : number + 1])
    assert client.read() == {"jsonrpc": "2.0", "id": 7, "result": None}


def test_before_initialize_and_after_shutdown(client: RawClient, another: Another) -> None:
    fresh = another(initialize=False)
    for method in ("orch/hub/status", "orch/nothing", "shutdown", "textDocument/hover"):
        assert _code(fresh, method) == NOT_INITIALIZED
    for wrong in ({"capabilities": 5}, [1]):
        assert _code(fresh, "initialize", wrong) == INVALID_PARAMS
    for version in (2, 0, "1", [1], {"a": 1}):
        wanted = {**INFO, "initializationOptions": {"protocolVersion": version}}
        assert _code(fresh, "initialize", wanted) == PROTOCOL_MISMATCH
    assert _code(fresh, "orch/hub/status") == NOT_INITIALIZED
    strange = {"class": 1, "from": 2, "": {"jsonrpc": "2.0", "id": 1, "method": "exit"}, "protocolVersion": 1}
    result = fresh.request("initialize", {**INFO, "initializationOptions": strange})
    assert result["serverInfo"]["name"] == "orch-server"
    assert fresh.request("orch/project/list")["items"]
    assert fresh.request("shutdown") is None
    for method in ("orch/hub/status", "initialize", "shutdown", "nothing"):
        assert _code(fresh, method) == INVALID_REQUEST
    fresh.send({"jsonrpc": "2.0", "method": "exit"})
    assert fresh.read() is None


def test_an_id_under_way_is_not_used_twice(client: RawClient) -> None:
    client.send(*[request("orch/event/list", {"limit": 1000})] * 3, request("orch/event/list", {}, id="1"))
    replies = [client.read() for _ in range(4)]
    assert all(reply is not None for reply in replies)
    codes = [reply["error"]["code"] if "error" in reply else None for reply in replies if reply is not None]
    assert sorted(codes, key=str) == [INVALID_REQUEST, INVALID_REQUEST, None, None]
    assert client.request("orch/project/list")


def test_a_request_that_is_cancelled_at_once_is_answered_once(client: RawClient) -> None:
    cancel = {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 1}}
    client.send(request("orch/event/list", {"limit": 1000}), cancel, cancel)
    reply = client.read()
    assert reply is not None
    assert (reply["id"], reply["error"]["code"]) == (1, -32800)
    assert client.request("orch/project/list")


def test_more_requests_at_once_than_are_served_are_each_answered_once(client: RawClient) -> None:
    client.send(*(request("orch/event/list", {"limit": 1}, id=number) for number in range(MANY)))
    replies = [client.read() for _ in range(MANY)]
    codes: dict[int, int | None] = {}
    for reply in replies:
        assert reply is not None
        assert reply["id"] not in codes
        codes[reply["id"]] = reply["error"]["code"] if "error" in reply else None
    assert set(codes) == set(range(MANY))
    assert set(codes.values()) <= {None, BUSY}
    assert sum(code is None for code in codes.values()) >= SERVED_AT_ONCE
    assert client.request("orch/project/list")


def test_an_ambiguous_beginning_of_an_id_names_the_candidates(client: RawClient) -> None:
    ids = [item["id"] for item in client.request("orch/session/list", {"limit": 1000})["items"]]
    beginning = next(one[:1] for one in ids if sum(other.startswith(one[:1]) for other in ids) > 1)
    with pytest.raises(Failed) as raised:
        client.request("orch/session/get", {"session": beginning})
    assert raised.value.code == INVALID_PARAMS
    assert set(raised.value.data["candidates"]) <= {one for one in ids if one.startswith(beginning)}
    assert len(raised.value.data["candidates"]) > 1
    assert client.request("orch/session/get", {"session": ids[0][:11]})["id"] == ids[0]


def test_the_names_of_unknown_fields_are_told(client: RawClient) -> None:
    with pytest.raises(Failed) as raised:
        client.request("orch/session/list", {"limits": 3, "class": 4})
    assert {error["path"] for error in raised.value.data["errors"]} == {"limits", "class"}


def test_half_a_message_and_a_client_that_leaves_harm_nobody(client: RawClient, another: Another) -> None:
    for data in (
        b"Content-Le",
        b"Content-Length: 100\r\n\r\n{",
        frame(b'{"jsonrpc":"2.0","id":1,"method":"orch/agent/list"}'),
    ):
        guest = another()
        guest.send_raw(data)
        guest.close()
    assert client.request("orch/project/list")


def test_a_request_key_has_one_effect(client: RawClient, another: Another) -> None:
    count = len(client.request("orch/session/list", {"limit": 1000})["items"])
    params = {**START, "action": "analyze", "requestKey": "key 1"}
    first = client.request("orch/session/start", params)
    other = another()
    assert client.request("orch/session/start", params) == first
    assert other.request("orch/session/start", dict(reversed(params.items()))) == first
    assert len(client.request("orch/session/list", {"limit": 1000})["items"]) == count + 1
    assert _code(other, "orch/session/start", {**params, "prompt": "another"}) == KEY_REUSED
    assert _code(client, "orch/session/stop", {"session": first["id"], "requestKey": "key 1"}) == KEY_REUSED
    assert len(client.request("orch/session/list", {"limit": 1000})["items"]) == count + 1


def test_a_request_key_of_what_was_refused_can_be_used_again(client: RawClient) -> None:
    params = {**START, "action": "analyze", "requestKey": "key 2"}
    assert _code(client, "orch/session/start", {**params, "agent": "nobody"}) == -32012
    assert client.request("orch/session/start", params)["agent"] == "demo"


def test_duplicates_at_once_have_one_effect_and_the_same_reply(client: RawClient, another: Another) -> None:
    count = len(client.request("orch/session/list", {"limit": 1000})["items"])
    params = {**START, "action": "analyze", "requestKey": "key 3"}
    connections = [another() for _ in range(6)]
    with ThreadPoolExecutor(len(connections)) as pool:
        replies = list(pool.map(lambda one: one.request("orch/session/start", params), connections))
    client.send(*(request("orch/session/start", params, id=number) for number in range(6)))
    for _ in range(6):
        reply = client.read()
        assert reply is not None
        replies.append(reply["result"])
    assert all(reply == replies[0] for reply in replies)
    assert len(client.request("orch/session/list", {"limit": 1000})["items"]) == count + 1


def test_a_request_key_outlives_the_hub(home: OrchHome, another: Another) -> None:
    before = another()
    params = {**START, "action": "analyze", "requestKey": "key 4"}
    first = before.request("orch/session/start", params)
    home.kill_hub()
    assert before.read() is None
    home.cli("health")
    after = another()
    assert after.request("orch/session/start", params) == first
    assert _code(after, "orch/session/start", {**params, "title": "other"}) == KEY_REUSED


def _code(client: RawClient, method: str, params: Any = None) -> int:
    with pytest.raises(Failed) as raised:
        client.request(method, params)
    return raised.value.code


def _check(reply: dict[str, Any], case: Case) -> None:
    assert set(reply) == {"jsonrpc", "id", "error"}, reply
    error = reply["error"]
    assert (reply["id"], error["code"]) == (case.id, case.code), error
    assert error["message"]
    assert error["data"]["kind"]
    text = json.dumps(reply)
    assert "Traceback" not in text
    assert 'File \\"' not in text
    assert "site-packages" not in text
