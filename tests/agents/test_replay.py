"""Recordings: how they are read, and how a conversation in them is summed up."""

import json

from orch_server.agents.acp import AcpAdapter
from orch_server.agents.adapter import Asked, Exit, TurnEnded, Withdrawn
from orch_server.agents.command import CommandAdapter
from orch_server.agents.replay import Step, read_recording, replay, summarize
from orch_server.domain.events import AgentMessage, InputAnswered
from orch_server.domain.session import InputRequest, InputRequestKind, Reason, State, Usage


def test_both_forms_are_read() -> None:
    assert read_recording(b'> 0.25 {"a":1}\n< 1.5 not JSON \xff\n') == [
        Step('{"a":1}', True, 0.25),
        Step("not JSON \ufffd", False, 1.5),
    ]
    assert read_recording(b'{"a":1}\n\n{"b":2}') == [Step('{"a":1}'), Step(""), Step('{"b":2}')]
    assert read_recording(b"") == []


def test_of_one_direction_the_dialogue_drives_by_itself() -> None:
    update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "Hi"}}
    lines = [
        '{"id":1,"result":{"protocolVersion":1}}',
        '{"id":2,"result":{"sessionId":"c1"}}',
        json.dumps({"method": "session/update", "params": {"update": update}}),
        '{"id":3,"result":{"stopReason":"end_turn"}}',
    ]
    summary = summarize(replay(AcpAdapter(), [Step(line) for line in lines], Exit(code=0)))
    assert (summary.state, summary.reason, summary.message) == (State.COMPLETED, Reason.TURN_ENDED, "Hi")
    assert (summary.agent_session_id, summary.turns, summary.usage) == ("c1", 1, Usage())

    summary = summarize(replay(CommandAdapter(), [Step("Hi")], Exit(code=1)))
    assert (summary.state, summary.reason) == (State.FAILED, Reason.AGENT_ERROR)
    assert [event.type for event in summary.events] == ["agent.message", "agent.message"]


def test_a_command_s_prompt_may_be_recorded() -> None:
    summary = summarize(replay(CommandAdapter(), [Step("Hello", True), Step("Hi")], Exit(code=0)))
    assert (summary.state, summary.message) == (State.COMPLETED, "Hi")


def test_where_a_conversation_stands() -> None:
    asked = Asked(InputRequest(id="r1", kind=InputRequestKind.QUESTION, title="?"))
    answered = InputAnswered(input_request_id="r1", by="user")
    message = AgentMessage(message_id="m", text="x", final=True)
    assert summarize([]).state is State.RUNNING
    assert summarize([message, asked]).state is State.WAITING_FOR_USER
    assert summarize([asked, answered]).state is State.RUNNING
    assert summarize([asked, Withdrawn("r1", "")]).state is State.RUNNING
    assert summarize([asked, answered, TurnEnded()]).input_requests == [asked.request]
    assert summarize([TurnEnded(Reason.USER_STOPPED)]).state is State.STOPPED
    assert summarize([TurnEnded(), TurnEnded(Reason.KILLED)]).state is State.FAILED
