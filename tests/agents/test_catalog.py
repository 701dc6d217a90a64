"""The catalog: which agents there are, and what may be wrong with a table of the config."""

import dataclasses
from typing import Any

import pytest

from orch_server.agents.acp import AcpAdapter
from orch_server.agents.adapter import Task
from orch_server.agents.catalog import AgentConfig, build_catalog
from orch_server.agents.command import CommandAdapter
from orch_server.agents.demo import DEMO_FILE, DemoAdapter
from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.ids import AGENT_NAME
from orch_server.domain.session import Action, Policy

TASK = Task("s1", "r1", Action.IMPLEMENT, Policy.ASK, "/project", model="big")


def catalog(**config: AgentConfig) -> dict[str, Any]:
    """The catalog with a user's tables."""
    return dict(build_catalog(config, python="/usr/bin/python3", demo_state="/state/demo"))


def test_what_orch_knows_is_complete() -> None:
    agents = catalog()
    assert {"claude", "demo"} <= set(agents)
    for name, adapter in agents.items():
        assert AGENT_NAME.fullmatch(name)
        assert adapter.name == name
        assert adapter.display_name
        assert adapter.protocol in {"acp", "stream-json", "app-server", "command"}
        assert adapter.install_hint
        assert adapter.capabilities.follow_up in {"queue", "steer", "none"}
        assert adapter.programs
        assert adapter.launch(dataclasses.replace(TASK, new_conversation_id="5d5d1c1e-0000-4000-8000-000000000000"))


def test_the_demo_agent_is_started_with_the_python_that_is_given() -> None:
    demo = catalog()["demo"]
    assert isinstance(demo, DemoAdapter)
    assert list(demo.programs) == ["/usr/bin/python3"]
    launch = demo.launch(dataclasses.replace(TASK, action=Action.REVIEW))
    assert launch.arguments == ["-I", "-S", DEMO_FILE, "--state", "/state/demo", "--read-only", "--model", "big"]


def test_an_acp_program_of_the_user() -> None:
    mine = catalog(mine=AgentConfig("acp", ["my-agent", "--acp", "-m", "{model}"], {"LEVEL": "1"}))["mine"]
    assert isinstance(mine, AcpAdapter)
    assert (mine.name, mine.display_name, mine.programs) == ("mine", "mine", ("my-agent",))
    launch = mine.launch(TASK)
    assert launch.arguments == ["--acp", "-m", "big"]
    assert launch.environment == {"LEVEL": "1"}


def test_any_command_of_the_user() -> None:
    agents = catalog(
        mine=AgentConfig("command", ["/opt/do", "{prompt}"]), other=AgentConfig("command", ["do", "--model={model}"])
    )
    mine, other = agents["mine"], agents["other"]
    assert isinstance(mine, CommandAdapter)
    assert (mine.name, mine.programs, mine.takes_argument) == ("mine", ("/opt/do",), True)
    assert (mine.capabilities.model, other.capabilities.model) == (False, True)
    assert mine.capabilities.follow_up == "none"
    assert not CommandAdapter.capabilities.model


def test_a_table_takes_the_place_of_a_known_agent() -> None:
    agents = catalog(claude=AgentConfig("acp", ["my-claude"]))
    assert agents["claude"].programs == ("my-claude",)


@pytest.mark.parametrize(
    ("name", "table", "words"),
    [
        ("Mine", AgentConfig("acp", ["x"]), "name"),
        ("", AgentConfig("acp", ["x"]), "name"),
        ("mine", AgentConfig("http", ["x"]), "'http'"),
        ("mine", AgentConfig("acp", []), "command"),
        ("mine", AgentConfig("acp", "x y"), "command"),
        ("mine", AgentConfig("acp", ["x", ""]), "command"),
        ("mine", AgentConfig("acp", ["x", 3]), "command"),  # type: ignore[list-item]
        ("mine", AgentConfig("acp", ["./x"]), "relative"),
        ("mine", AgentConfig("acp", ["x", "{prompt}"]), "{prompt}"),
        ("mine", AgentConfig("command", ["x"], {"A": 1}), "env"),  # type: ignore[dict-item]
    ],
)
def test_a_table_that_cannot_be_meant_says_what_to_fix(name: str, table: AgentConfig, words: str) -> None:
    with pytest.raises(OrchError) as caught:
        catalog(**{name: table})
    assert caught.value.kind is ErrorKind.INVALID_PARAMS
    assert f"[agents.{name}]" in caught.value.message
    assert words in caught.value.message
    assert caught.value.hint
