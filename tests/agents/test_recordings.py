"""Every recording of a real agent program, through its adapter, against the facts written beside it.

`tests/recordings/<agent>/<case>.jsonl` (or `.io.jsonl`, both directions) has its `<case>.expected.json`. After a change
that is meant, `pytest tests/agents/test_recordings.py --update-expected` writes them anew: read the diff, then commit.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from orch_server.agents.acp import AcpAdapter
from orch_server.agents.adapter import Adapter, Exit, Fact, Subject
from orch_server.agents.catalog import build_catalog
from orch_server.agents.replay import TASK, read_recording, replay
from orch_server.domain.events import AgentLog
from orch_server.domain.wire import WireModel
from orch_server.services.replay import Recording, replay_session

RECORDINGS = Path(__file__).parents[1] / "recordings"


# The folders whose name is not the agent's.
FOLDERS = {"codex-app-server": "codex", "copilot-acp": "copilot", "gemini-acp": "gemini", "opencode-acp": "opencode"}
AGENTS = build_catalog({}, python=sys.executable, demo_state="/nowhere")
ADAPTERS: dict[str, Adapter] = {
    folder.name: AGENTS[FOLDERS.get(folder.name, folder.name)] for folder in RECORDINGS.iterdir() if folder.is_dir()
}
# How the program ended, where it did not simply leave with 0; its standard error is in `<case>.stderr`.
ENDS = {
    "claude-agent-acp/killed": Exit(signal=9),
    "codex/api-error": Exit(code=1),
    "codex/api-error-400": Exit(code=1),
    "codex/api-error-401": Exit(code=1),
    "codex/killed": Exit(signal=15),
    "codex/killed-121": Exit(signal=15),
    "codex/killed-122": Exit(signal=15),
    "codex/killed-123": Exit(signal=15),
    "codex/killed-124": Exit(signal=15),
    "codex/killed-125": Exit(signal=15),
    "codex/killed-SIGINT": Exit(code=1),
    "codex/killed-SIGKILL": Exit(signal=9),
    "codex/nokey": Exit(code=1),
    "codex/nologin": Exit(signal=15),
    "codex/resume-missing": Exit(code=1),
    "copilot-acp/killed": Exit(signal=9),
    "claude/330-terminated": Exit(code=143),
    "claude/bypass-root": Exit(code=1),
    "claude/killed": Exit(signal=9),
    "claude/killed-SIGKILL": Exit(signal=9),
    "claude/killed-SIGTERM": Exit(code=143),
    "claude/killpg-TERM": Exit(code=143),
    "claude/readonly-tools": Exit(code=1),
    "claude/resume-other-cwd": Exit(code=1),
    "claude/sessionid-dup": Exit(code=1),
}


def cases() -> list[Path]:
    """Every recording of an agent that has an adapter."""
    return sorted(path for agent in ADAPTERS for path in (RECORDINGS / agent).glob("*.jsonl"))


def case_name(path: Path) -> str:
    """`killed` of `killed.io.jsonl`."""
    return path.name.removesuffix(".jsonl").removesuffix(".io")


@pytest.mark.parametrize("path", cases(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_recording_gives_the_expected_facts(path: Path, update_expected: bool) -> None:
    adapter = ADAPTERS[path.parent.name]
    facts = replay(adapter, read_recording(path.read_bytes()), end_of(path))
    assert not [fact for fact in facts if isinstance(fact, AgentLog) and fact.stream in {"unknown", "raw"}]

    found = {"summary": summary_of(adapter, path), "facts": [plain(fact) for fact in facts]}
    expected_file = path.with_name(case_name(path) + ".expected.json")
    if update_expected:
        expected_file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    assert found == json.loads(expected_file.read_text("utf-8")), "pytest --update-expected writes it anew"


def test_state_survives_a_hub_that_dies_between_any_two_lines() -> None:
    path = RECORDINGS / "claude-agent-acp" / "needs-permission.io.jsonl"
    steps = read_recording(path.read_bytes())
    adapter = AcpAdapter()
    whole = replay(adapter, steps, Exit(code=0))

    facts: list[Fact] = []
    state: dict[str, Any] | None = None
    for step in steps:
        dialogue = adapter.dialogue(TASK, state)
        facts += (dialogue.observe(step.line) if step.written else dialogue.receive(step.line)).facts
        state = json.loads(json.dumps(dialogue.state))
    facts += adapter.dialogue(TASK, state).ended(Exit(code=0)).facts
    assert facts == whole


def end_of(path: Path) -> Exit:
    """How the program of a recording ended."""
    stderr = path.with_name(case_name(path) + ".stderr")
    tail = stderr.read_text("utf-8", "replace")[-2000:] if stderr.exists() else ""
    end = ENDS.get(f"{path.parent.name}/{case_name(path)}", Exit(code=0))
    return dataclasses.replace(end, stderr_tail=tail)


def summary_of(adapter: Adapter, path: Path) -> dict[str, Any]:
    """Where the session stands at the end."""
    replayed = replay_session(adapter, Recording(read_recording(path.read_bytes()), end_of(path)))
    session = replayed.session
    return {
        "state": session.state,
        "reason": session.reason,
        "turns": session.turns,
        "agentSessionId": session.agent_session_id,
        "usage": session.usage.model_dump(by_alias=True),
        "inputRequests": [request.title for request in replayed.input_requests],
    }


def plain(fact: Fact) -> dict[str, Any]:
    """A fact as JSON, its name first."""
    if isinstance(fact, WireModel):
        return {"fact": type(fact).__name__, **fact.model_dump(mode="json", by_alias=True)}
    values = {name: getattr(fact, name) for name in fact.__dataclass_fields__}
    for name, value in values.items():
        if isinstance(value, WireModel):
            values[name] = value.model_dump(mode="json", by_alias=True)
        elif isinstance(value, Subject):
            values[name] = {"effect": value.effect, "paths": list(value.paths)}
    return {"fact": type(fact).__name__, **values}
