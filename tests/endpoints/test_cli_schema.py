"""docs/cli-json.schema.json says what is in an event of each type."""

import json

import pytest

from orch_server.domain.events import EVENT_TYPES
from tests.generate import ROOT

SCHEMA = json.loads((ROOT / "docs" / "cli-json.schema.json").read_text("utf-8"))
CASES = {case["properties"]["type"]["const"]: case for case in SCHEMA["$defs"]["Event"]["oneOf"]}


def test_an_event_is_of_exactly_one_of_the_known_types() -> None:
    assert list(CASES) == list(EVENT_TYPES)
    assert len(SCHEMA["$defs"]["Event"]["oneOf"]) == len(CASES)


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_the_data_of_an_event_is_what_the_schema_of_its_type_says(name: str) -> None:
    told, purged = CASES[name]["properties"]["data"]["anyOf"]
    payload = SCHEMA["$defs"][told["$ref"].removeprefix("#/$defs/")]
    golden = json.loads((ROOT / "tests" / "domain" / "events" / f"{name}.json").read_text("utf-8"))
    assert set(payload.get("required", ())) <= set(golden) == set(payload["properties"])
    assert purged["maxProperties"] == 0
