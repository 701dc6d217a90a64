"""Whatever is sent is answered once, disturbs no other connection, and shows nobody a traceback (C.9)."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from orch_server.protocol.methods import METHODS
from tests.faults.driver import Driver, Zygote
from tests.faults.figures import record
from tests.faults.scenario import complete, new_home
from tests.lsp import RawClient, frame
from tests.marks import FULL
from tests.world import LARGEST_HUB, inet_sockets, resident

pytestmark = pytest.mark.timeout(1200)

BATCH = 50
MUTATED = 90_000 if FULL else 3_000
BY_SCHEMA = 15_000 if FULL else 3_000
# These end the hub or the connection, as they should.
LEFT_OUT = frozenset({"orch/hub/shutdown"})
CODES = {-32700, -32600, -32601, -32602, -32800, -32002, *range(-32023, -32009)}
"""What a client may be told; -32603 (internal) is not among them."""
INSERTED = (b"\xff", b"null", b"[", b"}", b'"', b"1e999", b"\\ud800", b"\0", b",", b"[" * 300)
Json = dict[str, Any]


class Range:
    """A hub with a session to shoot at and another that must not change, a connection for each."""

    def __init__(self, driver: Driver, session: str, watched: str) -> None:
        self.driver = driver
        self.session = session
        self.watched = watched
        self.client = RawClient(driver.home, patience=60)
        self.witness = RawClient(driver.home, patience=60)
        self.ids = iter(range(1000, 1 << 60))
        self.inputs = 0
        self.codes: Counter[int] = Counter()

    def shoot(self, bodies: list[bytes]) -> None:
        """Send bodies in one write, and see that each gets the one reply that it must get."""
        expected: Counter[str] = Counter(reply for body in bodies if (reply := expected_reply(body)) is not None)
        last = json.dumps(next(self.ids))
        self.client.send_raw(b"".join(map(frame, bodies)) + frame(request(int(last), "orch/hub/status")))
        expected[last] += 1
        got: Counter[str] = Counter()
        while got != expected:
            message = self.client.read()
            assert message is not None, f"the hub closed the connection on {bodies}"
            if "method" in message:
                continue
            id_ = json.dumps(message.get("id"))
            got[id_] += 1
            assert got[id_] <= expected[id_], f"{message} was not to come for {bodies}"
            if "error" in message:
                code = message["error"]["code"]
                self.codes[code] += 1
                assert code in CODES, (message, bodies)
                assert "Traceback" not in json.dumps(message), message
        self.inputs += len(bodies)

    def check(self) -> None:
        """See that the watching connection is as ever, and that the hub is small and without a network."""
        assert self.witness.request("orch/hub/status")["pid"] == self.driver.hub
        assert self.witness.request("orch/session/get", {"session": self.watched})["state"] == "completed"
        assert self.driver.hub is not None
        assert resident(self.driver.hub) <= LARGEST_HUB
        assert inet_sockets(self.driver.hub) == []
        assert "Internal error" not in (self.driver.home.path / "hub.log").read_text()

    def close(self) -> None:
        self.client.close()
        self.witness.close()


@pytest.fixture(scope="module")
def shooting(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Iterator[Range]:
    with Driver(new_home(tmp_path_factory.mktemp("protocol")), zygote) as driver:
        driver.call("orch/project/add", path=str(driver.home.root / "shop"))
        what = {"agent": "demo", "action": "implement", "project": "shop", "prompt": "[[write a.txt x]] [[say hi]]"}
        session, watched = (driver.call("orch/session/start", **what)["id"] for _ in range(2))
        for each in (session, watched):
            complete(driver, each)
        shooting = Range(driver, session, watched)
        try:
            yield shooting
        finally:
            shooting.close()


def request(id_: Any, method: str, params: Any = None) -> bytes:
    """Return the body of a request."""
    return json.dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}).encode()


def expected_reply(body: bytes) -> str | None:
    """Return the id, as JSON, of the one reply that a body must get; None where it is to get none."""
    try:
        message = orjson.loads(body)
    except ValueError:
        return "null"
    if not isinstance(message, dict):
        return "null"
    id_ = message.get("id")
    valid = isinstance(id_, (str, int)) and not isinstance(id_, bool)
    shown = json.dumps(id_) if valid else "null"
    if message.get("jsonrpc") != "2.0":
        return shown
    if "id" not in message or (message.get("method") is None and ("result" in message or "error" in message)):
        return None
    return shown


def recorded(session: str) -> list[bytes]:
    """Return frames as editors send them: every method with all of its fields."""
    chance = random.Random(3)
    bodies = [
        request(1, name, {key: some_value(chance, field, session) for key, field in fields(name).items()})
        for name in sorted(METHODS.keys() - LEFT_OUT)
        for _ in range(4)
    ]
    bodies += [
        request(2, "workspace/executeCommand", {"command": "x", "arguments": []}),
        request(3, "initialize", {"processId": None, "rootUri": None, "capabilities": {}}),
        b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":99}}',
        b'{"jsonrpc":"2.0","method":"$/setTrace","params":{"value":"verbose"}}',
        b'{"jsonrpc":"2.0","method":"window/workDoneProgress/cancel","params":{"token":"t"}}',
        b'{"jsonrpc":"2.0","id":7,"result":{}}',
    ]
    return bodies


def fields(name: str) -> dict[str, Json]:
    """Return the fields of a method's parameters, each with its schema."""
    schema = METHODS[name].params.model_json_schema(by_alias=True)
    found: dict[str, Json] = schema.get("properties", {})
    return {key: {**field, "$defs": schema.get("$defs", {})} for key, field in found.items()}


def some_value(chance: random.Random, field: Json, session: str) -> Any:
    """Return a value that a field of this schema may have."""
    kinds = field.get("anyOf", [field])
    kind = chance.choice(kinds)
    if "$ref" in kind:
        kind = field["$defs"][kind["$ref"].rpartition("/")[2]]
    if "enum" in kind:
        return chance.choice(kind["enum"])
    values: dict[str, list[Any]] = {
        "string": [session, session[:3], "nobody", "x" * 300, "é\n\x1b", "/etc", ""],
        "integer": [0, 1, -1, 10, 2**53],
        "number": [0.5, -1],
        "boolean": [True, False],
        "array": [[], ["README.md"], [{}]],
        "object": [{}, {"a": 1}],
        "null": [None],
    }
    return chance.choice(values.get(kind.get("type", "null"), [None]))


def mutated(chance: random.Random, body: bytes) -> bytes:
    """Return a body with some of its bytes changed."""
    data = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0 if data:
                data[place % len(data)] = chance.randrange(256)
            case 1:
                del data[place : place + chance.randint(1, 8)]
            case 2:
                data[place:place] = chance.choice(
                    [b"\xff", b"null", b"[", b"}", b'"', b"1e999", b"\\ud800", b"\0", b",", b"[" * 300]
                )
            case 3:
                data[place:place] = data[max(0, place - 20) : place]
            case 4:
                del data[place:]
            case _:
                data[place : place + 4] = bytes(chance.randrange(32, 127) for _ in range(4))
    return bytes(data)


def ends_the_connection(body: bytes) -> bool:
    """Tell whether a body is, by chance, one that ends the hub or the connection."""
    return any(word in body for word in (b'"shutdown"', b'"exit"', b"orch/hub/shutdown"))


def test_mutated_frames(shooting: Range) -> None:
    chance = random.Random(4)
    frames = recorded(shooting.session)
    while shooting.inputs < MUTATED:
        bodies = [mutated(chance, chance.choice(frames)) for _ in range(BATCH)]
        shooting.shoot([body for body in bodies if not ends_the_connection(body)])
    shooting.check()
    record("protocol", mutated_frames=shooting.inputs)


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def of_schema(field: Json) -> st.SearchStrategy[Any]:
    """Return values that a field's schema allows, by and large, and some that it does not."""
    chosen = []
    for kind in field.get("anyOf", [field]):
        if "$ref" in kind:
            kind = field["$defs"][kind["$ref"].rpartition("/")[2]]  # noqa: PLW2901
        if "enum" in kind:
            chosen.append(st.sampled_from(kind["enum"]))
            continue
        chosen.append(
            {
                "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
                "integer": st.integers(-10, 2**53),
                "boolean": st.booleans(),
                "null": st.none(),
                "array": st.lists(JUNK, max_size=3),
            }.get(kind.get("type", ""), JUNK)
        )
    return st.one_of(*chosen, *chosen, *chosen, JUNK)


def params_of(name: str) -> st.SearchStrategy[Any]:
    known = {key: of_schema(field) for key, field in fields(name).items()}
    whole = st.fixed_dictionaries({}, optional={**known, "requestKey": JUNK, "extra": JUNK})
    return whole if name != "orch/session/start" else whole | JUNK


REQUESTS = st.one_of(
    *(st.tuples(st.just(name), params_of(name)) for name in sorted(METHODS.keys() - LEFT_OUT)),
    st.tuples(st.text(max_size=20), JUNK),
)


def test_requests_by_the_schema_of_every_method(shooting: Range) -> None:
    begun = shooting.inputs

    @settings(
        max_examples=BY_SCHEMA // BATCH,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(REQUESTS, min_size=BATCH, max_size=BATCH))
    def shoot(requests: list[tuple[str, Any]]) -> None:
        shooting.shoot([orjson.dumps(_message(next(shooting.ids), *each)) for each in requests])

    shoot()
    shooting.check()
    record("protocol", by_schema=shooting.inputs - begun, disturbed=0, internal_errors=0)


def _message(id_: int, method: str, params: Any) -> Json:
    method = "x" if method in {"shutdown", "exit", "initialize"} else method
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
