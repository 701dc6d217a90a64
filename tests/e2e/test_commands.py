"""Commands in natural language over the wire and over `orch do`."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from tests.home import OrchHome
from tests.lsp import Failed, RawClient
from tests.repositories import make_repository


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrchHome]:
    """One hub with two projects for all of it."""
    root = tmp_path_factory.mktemp("commands")
    home = OrchHome(root)
    try:
        for name in ("shop", "my-app"):
            make_repository(root / name, files={"README.md": "# It\n", "src/cart.py": "total = 0\n"})
            home.cli("projects", "add", str(root / name))
        yield home
    finally:
        home.close()


@pytest.fixture
def client(home: OrchHome) -> Iterator[RawClient]:
    """An initialized connection."""
    with RawClient(home) as client:
        yield client


def _sessions(client: RawClient) -> int:
    return len(client.request("orch/session/list")["items"])


def test_parse_says_what_it_understood_and_starts_nothing(client: RawClient) -> None:
    before = _sessions(client)
    parsed = client.request("orch/command/parse", {"text": "ask demo to review src/cart.py in shop"})
    assert parsed == {
        "agent": "demo",
        "action": "review",
        "project": "shop",
        "scopePath": "src/cart.py",
        "prompt": None,
        "model": None,
        "problems": [],
        "candidates": [],
    }
    assert _sessions(client) == before


def test_a_path_outside_of_the_project_is_no_scope(client: RawClient) -> None:
    for path in ("../my-app/README.md", "/etc/passwd", "src/none.py"):
        assert client.request("orch/command/parse", {"text": f"demo review {path} in shop"})["scopePath"] is None


def test_a_text_starts_a_session_once_and_is_kept(client: RawClient) -> None:
    text = 'tell demo to implement "[[say hello]]" in shop'
    params = {"text": text, "requestKey": "once", "title": "Hello"}
    submitted = client.request("orch/command/submit", params)
    assert client.request("orch/command/submit", params) == submitted
    command, session = submitted["command"], submitted["session"]
    assert command["text"] == text
    assert command["prompt"] == session["prompt"] == "[[say hello]]"
    assert (command["sessionId"], session["commandId"], session["title"]) == (session["id"], command["id"], "Hello")


def test_a_reply_that_was_lost_with_the_hub_is_made_anew(home: OrchHome, client: RawClient) -> None:
    params = {"text": 'demo analyze "[[say hello]]" in shop', "requestKey": "lost"}
    submitted = client.request("orch/command/submit", params)
    with sqlite3.connect(home.path / "orchestrator.db") as database:  # as after a crash between effect and reply
        changed = database.execute(
            "UPDATE request_keys SET reply = NULL, session_id = ? WHERE key = 'lost'", (submitted["session"]["id"],)
        )
        assert changed.rowcount == 1
    database.close()
    again = client.request("orch/command/submit", params)
    assert again["command"] == submitted["command"]
    assert again["session"]["id"] == submitted["session"]["id"]


def test_fields_start_a_session_as_well(client: RawClient) -> None:
    fields = {"agent": "demo", "action": "analyze", "project": "shop", "prompt": "[[say hello]]"}
    submitted = client.request("orch/command/submit", {**fields, "text": "look at it"})
    assert submitted["command"]["text"] == "look at it"
    assert client.request("orch/command/submit", fields)["command"]["text"] is None


def test_an_unclear_text_is_refused_with_its_parse_and_told(home: OrchHome, client: RawClient) -> None:
    before = _sessions(client)
    for text, field in (("fix the login in shop", "agent"), ("demo, fix the login", "project"), ("", "action")):
        with pytest.raises(Failed) as refused:
            client.request("orch/command/submit", {"text": text})
        assert refused.value.code == -32602
        assert field in {item["field"] for item in refused.value.data["candidates"]}
        event = home.events("command.rejected")[-1]
        assert event["data"] == {"text": text, "problems": refused.value.data["problems"]}
    assert _sessions(client) == before


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"agent": "demo", "project": "shop"},
        {"text": "demo fix it in shop", "prompt": "x"},
        {"text": "x" * 20_001},
        {"text": "demo fix it in shop", "fromNowhere": True},
    ],
)
def test_params_that_cannot_be_meant_are_refused(client: RawClient, params: dict[str, Any]) -> None:
    with pytest.raises(Failed) as refused:
        client.request("orch/command/submit", params)
    assert refused.value.code == -32602


def test_commands_are_listed_in_pages_newest_first(client: RawClient) -> None:
    for number in range(3):
        client.request("orch/command/submit", {"text": f'demo analyze "[[say {number}]]" in my-app'})
    first = client.request("orch/command/list", {"project": "my-app", "limit": 2})
    rest = client.request("orch/command/list", {"project": "my-app", "limit": 2, "cursor": first["nextCursor"]})
    assert [item["prompt"] for item in first["items"] + rest["items"]] == ["[[say 2]]", "[[say 1]]", "[[say 0]]"]
    assert rest["nextCursor"] is None


def test_do_says_what_it_understood_and_sees_it_through(home: OrchHome) -> None:
    text = 'demo, analyze "[[say hello]]" please'
    said = home.cli("do", text, "--project", "shop", "--wait").splitlines()
    assert said[0] == 'demo analyze in shop: "[[say hello]]"'
    assert "completed" in said[2]
    done = home.json("do", text, "--project", "shop", "--wait")
    assert done["session"]["state"] == "completed"
    assert done["command"]["text"] == text
    assert text in home.cli("commands", "list", "--project", "shop", "--limit", "1")


def test_do_asks_where_something_is_open_and_starts_nothing(home: OrchHome) -> None:
    before = len(home.json("sessions", "list")["items"])
    assert "demo implement in ?" in home.cli("do", "demo fix the login", expect=2)
    assert home.json("do", "demo fix the login", "--dry-run", expect=2)["candidates"][0]["field"] == "project"
    assert home.json("do", "demo fix the login in shop", "--dry-run")["problems"] == []
    assert len(home.json("sessions", "list")["items"]) == before
