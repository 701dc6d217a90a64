"""`orch/session/get` through the bridge: one at a time, and many at once."""

import json
import time
from collections.abc import Iterator

from tests.bench.measure import Line, Samples, Scale, at_least, at_most, compare, take_in_turn
from tests.bench.scene import ORCH_SERVER, orch_home
from tests.bench.start import MINIMAL_PYGLS
from tests.bench.wire import Wire, frame

AT_ONCE = 1_000


def run(scale: Scale) -> Iterator[Line]:
    """Measure against a stock pygls handler that returns the same session as a constant."""
    with orch_home() as home:
        session_id = home.send("demo", "analyze", "shop", "[[say hello]]")
        session = home.wait(session_id)
        stock_environment = {**home.environment, "BENCH_ANSWER": json.dumps(session)}
        orch, stock = Wire(ORCH_SERVER, home.environment), Wire(MINIMAL_PYGLS, stock_environment)
        try:
            for server in (orch, stock):
                server.initialize()
            asks = {
                "orch": (orch, _request("orch/session/get", {"session": session_id})),
                "pygls": (stock, _request("bench/get", {"session": session_id})),
            }
            rounds = scale.rounds * 2
            single = {name: Samples() for name in asks}
            for number in range(-1, rounds):
                for name, (server, ask) in asks.items():
                    values = _one_by_one(server, ask, 100)
                    if number >= 0:
                        single[name].values.extend(values)
            rates = take_in_turn(
                rounds,
                {name: lambda server=server, ask=ask: _rate(server, ask) for name, (server, ask) in asks.items()},  # type: ignore[misc]
            )
        finally:
            orch.close()
            stock.close()
        note = f"p99 {single['orch'].percentile(0.99):.2f} against {single['pygls'].percentile(0.99):.2f}"
        against = "stock pygls handler"
        yield compare("get", "session/get, p50", "ms", single["orch"], against, single["pygls"], at_most(0.5), note)
        yield compare("get", "session/get, pipelined", "1/s", rates["orch"], against, rates["pygls"], at_least(4))


def _request(method: str, params: object) -> bytes:
    return frame({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})


def _one_by_one(server: Wire, request: bytes, count: int) -> list[float]:
    values = []
    for _ in range(count):
        began = time.perf_counter()
        server.exchange(request)
        values.append((time.perf_counter() - began) * 1000)
    return values


def _rate(server: Wire, request: bytes) -> float:
    began = time.perf_counter()
    server.pipeline(request * AT_ONCE, AT_ONCE)
    return AT_ONCE / (time.perf_counter() - began)
