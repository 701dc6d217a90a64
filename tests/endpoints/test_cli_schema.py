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


def test_what_a_verb_prints_with_an_option_that_changes_it_is_said() -> None:
    with_option = {name: verb["withOption"] for name, verb in SCHEMA["properties"].items() if "withOption" in verb}
    assert with_option == {
        "orch do": {"--dry-run": {"$ref": "#/$defs/Parsed", "oneALine": False}},
        "orch events": {"--output": {"$ref": "#/$defs/Exported", "oneALine": False}},
        "orch logs": {"--follow": {"$ref": "#/$defs/Event", "oneALine": True}},
    }
    assert all(
        option["$ref"].removeprefix("#/$defs/") in SCHEMA["$defs"]
        for verb in with_option.values()
        for option in verb.values()
    )


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_the_data_of_an_event_is_what_the_schema_of_its_type_says(name: str) -> None:
    told, purged = CASES[name]["properties"]["data"]["anyOf"]
    payload = SCHEMA["$defs"][told["$ref"].removeprefix("#/$defs/")]
    golden = json.loads((ROOT / "tests" / "domain" / "events" / f"{name}.json").read_text("utf-8"))
    assert set(payload.get("required", ())) <= set(golden) == set(payload["properties"])
    assert purged["maxProperties"] == 0
