"""The page about adapters says how one is added: this does what it says, to the letter."""

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from orch_server import agents
from orch_server.agents.adapter import Adapter, Answer, Asked, Exit, Prompt, PromptAccepted, Task, TurnEnded
from orch_server.agents.catalog import AgentConfig, build_catalog
from orch_server.domain.session import Action, Policy, Reason
from orch_server.endpoints.cli.main import run
from orch_server.settings.options import UserConfig

PAGE = (Path(__file__).parents[2] / "docs" / "adapter-architecture.md").read_text("utf-8")
TASK = Task("s1", "r1", Action.IMPLEMENT, Policy.ASK, "/project")


def block(language: str, holding: str) -> str:
    """The block of the page in a language that holds a text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    [found] = [text for text in blocks if holding in text]
    return str(found)


def catalog(**config: AgentConfig) -> dict[str, Adapter]:
    """The agents there are."""
    return build_catalog(config, python=sys.executable, demo_state="/nowhere")


@pytest.fixture
def parrot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Adapter]:
    """The page's adapter, as one more file of the folder."""
    (tmp_path / "parrot.py").write_text(block("python", "ParrotAdapter"))
    monkeypatch.setattr(agents, "__path__", [*agents.__path__, str(tmp_path)])
    yield catalog()["parrot"]
    sys.modules.pop("orch_server.agents.parrot", None)


def test_a_table_is_an_agent() -> None:
    tables = UserConfig.model_validate(tomllib.loads(block("toml", "[agents."))).agents
    found = catalog(**{name: AgentConfig(table.protocol, table.command, table.env) for name, table in tables.items()})
    assert found["my-agent"].launch(TASK).arguments == ["--acp"]
    assert found["shout"].launch(TASK).environment == {"LOUDNESS": "11"}


def test_one_file_is_an_agent(parrot: Adapter) -> None:
    assert list(catalog())[:2] == ["claude", "codex"]
    assert "parrot" in catalog()
    dialogue = parrot.dialogue(TASK)
    assert not dialogue.begin().lines
    [line] = dialogue.prompt(Prompt("p1", "hello")).lines
    assert (json.loads(line.text), line.prompt_id) == ({"say": "hello"}, "p1")
    assert dialogue.receive('{"hears": "hello"}').facts == [PromptAccepted("p1")]
    dialogue = parrot.dialogue(TASK, json.loads(json.dumps(dialogue.state)))
    [asked] = dialogue.receive('{"may": "SHOUT"}').facts
    assert isinstance(asked, Asked)
    [line] = dialogue.answer(asked.request.id, Answer(option_id="no")).lines
    assert json.loads(line.text) == {"may": False}
    assert not dialogue.prompt(Prompt("p2", "again")).lines
    output = dialogue.receive('{"done": "hello"}')
    assert output.facts == [TurnEnded(text="hello")]
    assert output.lines[0].prompt_id == "p2"
    assert dialogue.interrupt().lines
    assert dialogue.ended(Exit(signal=15)).facts == [TurnEnded(Reason.USER_STOPPED)]
    assert not dialogue.busy


@pytest.mark.usefixtures("parrot")
def test_its_recording_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "shout.io.jsonl"
    file.write_text(block("text", '{"perch"'))
    assert run(["replay", "parrot", str(file), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["state"], result["reason"], result["agentSessionId"]) == ("completed", "turn_ended", "p-1")
    assert [request["title"] for request in result["inputRequests"]] == ["SHOUT hello"]
    assert not [event for event in result["events"] if event["type"] == "agent.log"]


def test_the_table_of_agents_is_whole() -> None:
    named = set(re.findall(r"`([a-z-]+)`", " ".join(re.findall(r"^\| (`[^|]*) \|", PAGE, re.MULTILINE))))
    assert named == set(catalog())
