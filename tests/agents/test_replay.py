"""Recordings: how they are read, and the session that a conversation in them amounts to."""

import json
from pathlib import Path

import pytest

from orch_server.agents.acp import AcpAdapter
from orch_server.agents.adapter import Adapter, Exit
from orch_server.agents.command import CommandAdapter
from orch_server.agents.replay import Step, read_journal, read_recording
from orch_server.domain.session import Reason, State, Usage
from orch_server.endpoints.cli.main import run
from orch_server.services.replay import Recording, Replayed, read, replay_session

OPENING = (
    '> 0.1 {"id":1,"method":"initialize","params":{}}',
    '< 0.2 {"id":1,"result":{"protocolVersion":1}}',
    '> 0.3 {"id":2,"method":"session/new","params":{}}',
    '< 0.4 {"id":2,"result":{"sessionId":"c1"}}',
)
PROMPT = '> 0.5 {"id":%d,"method":"session/prompt","params":{}}'
ASK = (
    '< 0.6 {"id":0,"method":"session/request_permission","params":{"toolCall":{"toolCallId":"t1","title":"Edit"},'
    '"options":[{"optionId":"yes","name":"Yes","kind":"allow_once"}]}}'
)
ALLOW = '> 0.7 {"id":0,"result":{"outcome":{"outcome":"selected","optionId":"yes"}}}'
CANCEL = '> 0.7 {"method":"session/cancel"}'
END = '< 0.8 {"id":%d,"result":{"stopReason":"%s"}}'


def replayed(*lines: str, end: Exit | None = None, stopped: bool = False, adapter: Adapter | None = None) -> Replayed:
    """The session after these lines."""
    steps = read_recording("\n".join(lines).encode())
    return replay_session(adapter or AcpAdapter(), Recording(steps, end, Reason.USER_STOPPED if stopped else None))


def where(replayed: Replayed) -> tuple[State, Reason | None]:
    """State and reason."""
    return replayed.session.state, replayed.session.reason


def test_both_forms_are_read() -> None:
    assert read_recording(b'> 0.25 {"a":1}\n< 1.5 not JSON \xff\n') == [
        Step('{"a":1}', True, 0.25),
        Step("not JSON \ufffd", False, 1.5),
    ]
    assert read_recording(b'{"a":1}\n\n{"b":2}') == [Step('{"a":1}'), Step(""), Step('{"b":2}')]
    assert read_recording(b"") == []


def test_a_torn_line_does_not_change_the_form() -> None:
    steps = read_recording(b'0.1 {"method":"initial\n< 0.2 {}\n> 0.3 {}\n')
    assert steps == [Step("{}", at=0.2), Step("{}", written=True, at=0.3)]


def test_the_lines_of_a_bundle_are_put_where_their_writer_stood() -> None:
    journal = [
        {"id": "1", "seen": 0, "line": "hello", "at": 5.0},
        {"done": "1"},
        {"id": "2", "seen": 4, "line": "never arrived", "at": 6.0},
        {"failed": "2"},
        {"id": "3", "seen": 4, "line": "more", "at": 7.0},
        {"id": "4", "seen": 99, "line": "late", "at": 8.0},
    ]
    torn = b'{"id":"5","see'
    data = b"\n".join([*(json.dumps(entry).encode() for entry in journal), torn])
    assert [(step.line, step.written) for step in read_journal(b"one\ntwo\n", data)] == [
        ("hello", True),
        ("one", False),
        ("more", True),
        ("two", False),
        ("late", True),
    ]


def test_of_one_direction_the_dialogue_drives_by_itself() -> None:
    update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "Hi"}}
    lines = [
        '{"id":1,"result":{"protocolVersion":1}}',
        '{"id":2,"result":{"sessionId":"c1"}}',
        json.dumps({"method": "session/update", "params": {"update": update}}),
        '{"id":3,"result":{"stopReason":"end_turn"}}',
    ]
    found = replayed(*lines, end=Exit(code=0))
    assert where(found) == (State.COMPLETED, Reason.TURN_ENDED)
    session = found.session
    assert (session.agent_session_id, session.turns, session.usage) == ("c1", 1, Usage())

    found = replayed("Hi", end=Exit(code=1), adapter=CommandAdapter())
    assert where(found) == (State.FAILED, Reason.AGENT_ERROR)


def test_a_request_stays_open_where_the_recording_ends_with_it() -> None:
    found = replayed(*OPENING, PROMPT % 3, ASK)
    assert where(found) == (State.WAITING_FOR_USER, None)
    assert [request.title for request in found.input_requests] == ["Edit"]
    assert where(replayed(*OPENING, PROMPT % 3, ASK, end=Exit(signal=9))) == (State.FAILED, Reason.KILLED)


def test_how_the_program_ended_decides_about_a_turn_that_never_did() -> None:
    assert where(replayed(*OPENING)) == (State.RUNNING, None)
    assert where(replayed(*OPENING, PROMPT % 3)) == (State.RUNNING, None)
    assert where(replayed(*OPENING, PROMPT % 3, end=Exit())) == (State.FAILED, Reason.LOST)
    assert where(replayed(*OPENING, PROMPT % 3, end=Exit(code=2))) == (State.FAILED, Reason.EXITED_WITHOUT_RESULT)
    assert where(replayed(*OPENING, PROMPT % 3, end=Exit(code=2), stopped=True))[0] == State.STOPPED
    assert where(replayed(*OPENING, stopped=True)) == (State.STOPPED, Reason.USER_STOPPED)


def test_an_ended_session_runs_again_with_the_next_text() -> None:
    first = (*OPENING, PROMPT % 3, ASK, ALLOW, END % (3, "end_turn"))
    assert where(replayed(*first)) == (State.COMPLETED, Reason.TURN_ENDED)
    found = replayed(*first, PROMPT % 4, CANCEL, END % (4, "cancelled"))
    assert where(found) == (State.STOPPED, Reason.USER_STOPPED)
    assert found.session.turns == 2
    moves = [event.data.to_state for event in found.events if event.type == "session.state_changed"]
    assert moves == ["waiting_for_user", "running", "completed", "running", "stopped"]
    assert [event.seq for event in found.events] == list(range(1, len(found.events) + 1))


def test_the_command_line_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "case.io.jsonl"
    file.write_text("\n".join([*OPENING, PROMPT % 3, ASK]))
    assert run(["replay", "gemini-acp", str(file), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result) == ["events", "inputRequests", "state", "reason", "agentSessionId"]
    assert (result["state"], result["reason"], result["agentSessionId"]) == ("waiting_for_user", None, "c1")
    assert result["inputRequests"][0]["options"][0]["kind"] == "allow_once"
    assert result["events"][0]["type"] == "turn.started"

    assert run(["replay", "gemini", str(file), "--exit", "SIGKILL"]) == 0
    assert "state failed, reason killed" in capsys.readouterr().out.splitlines()
    assert run(["replay", "nobody", str(file)]) == 2
    assert "codex" in capsys.readouterr().err
    assert run(["replay", "gemini", str(file), "--exit", "boom"]) == 2
    assert run(["replay", "gemini", str(tmp_path)]) == 2
    assert "is to be that of a run" in capsys.readouterr().err


def test_a_bundle_is_a_recording(tmp_path: Path) -> None:
    lines = [line.split(" ", 2) for line in (*OPENING, PROMPT % 3, END % (3, "end_turn"))]
    output = [text for direction, _, text in lines if direction == "<"]
    seen = [0, len(output[0]) + 1, len(output[0]) + len(output[1]) + 2]
    inputs = [text for direction, _, text in lines if direction == ">"]
    (tmp_path / "out.log").write_text("".join(f"{line}\n" for line in output))
    journal = [{"id": str(n), "seen": seen[n], "line": text} for n, text in enumerate(inputs)]
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(entry)}\n" for entry in journal))
    recording = read(str(tmp_path))
    assert recording.end is None
    assert where(replay_session(AcpAdapter(), recording)) == (State.COMPLETED, Reason.TURN_ENDED)
    (tmp_path / "exit.json").write_text('{"code": null, "signal": 15, "why": "user_stopped"}')
    recording = read(str(tmp_path))
    assert (recording.end, recording.ending) == (Exit(signal=15), Reason.USER_STOPPED)
    (tmp_path / "exit.json").write_text('{"code": null, "signal": 15, "why": "disk_full"}')
    assert read(str(tmp_path)).ending == Reason.DISK_FULL
