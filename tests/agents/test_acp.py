"""The Agent Client Protocol dialogue, line by line, without a process.

What we write is held against the models of the package `agent-client-protocol`; what programs write is in the
recordings.
"""

import json
import random
import time
from typing import Any

import pytest
from acp import schema
from pydantic import TypeAdapter

from orch_server.agents.acp import AcpAdapter, AcpDialogue
from orch_server.agents.acp_content import approval_detail, block_text, form_content, questions_of, tool_paths
from orch_server.agents.adapter import (
    Answer,
    Asked,
    ConversationNamed,
    Dialogue,
    Exit,
    Fact,
    Output,
    Prompt,
    PromptAccepted,
    Subject,
    Task,
    TurnEnded,
    UsageSeen,
    Withdrawn,
)
from orch_server.agents.gemini import GeminiAdapter
from orch_server.agents.texts import capped, error_reason, error_text, text_reason
from orch_server.domain.events import (
    AgentLog,
    AgentMessage,
    AgentPlan,
    AgentThought,
    AgentToolFinished,
    AgentToolStarted,
    EventData,
    InputAnswered,
    PlanEntry,
)
from orch_server.domain.session import Action, OptionKind, Policy, QuestionAnswer, Reason, Usage

OUTGOING: dict[str, Any] = {
    "initialize": schema.InitializeRequest,
    "session/new": schema.NewSessionRequest,
    "session/load": schema.LoadSessionRequest,
    "session/resume": schema.ResumeSessionRequest,
    "session/prompt": schema.PromptRequest,
    "session/cancel": schema.CancelNotification,
    "session/set_mode": schema.SetSessionModeRequest,
    "session/set_config_option": schema.SetSessionConfigOptionSelectRequest,
}
PERMISSION = schema.RequestPermissionResponse
ELICITATION: Any = TypeAdapter(
    schema.AcceptElicitationResponse | schema.DeclineElicitationResponse | schema.CancelElicitationResponse
)
OPTIONS = [
    {"optionId": "yes", "name": "Yes", "kind": "allow_once"},
    {"optionId": "no", "name": "No", "kind": "reject_once"},
]


class Client:
    """A dialogue whose lines are checked, and that speaks for the program."""

    def __init__(self, adapter: AcpAdapter | None = None, **task: Any) -> None:
        fields: dict[str, Any] = {"action": Action.IMPLEMENT, "policy": Policy.ASK, "cwd": "/project", **task}
        self.task = Task("s1", "r1", **fields)
        self.adapter = adapter or AcpAdapter()
        self.dialogue: Dialogue = self.adapter.dialogue(self.task)
        self.written: list[dict[str, Any]] = []

    def take(self, output: Output) -> list[Fact]:
        """Check and keep the lines; return the facts. The state goes through the store each time."""
        for line in output.lines:
            assert "\n" not in line.text
            message = json.loads(line.text)
            assert message.pop("jsonrpc") == "2.0"
            if message.get("method") in OUTGOING:
                TypeAdapter(OUTGOING[message["method"]]).validate_python(message["params"])
            assert (line.prompt_id is not None) == (message.get("method") == "session/prompt")
            self.written.append(message)
        self.dialogue = self.adapter.dialogue(self.task, json.loads(json.dumps(self.dialogue.state)))
        return output.facts

    def hear(self, **message: Any) -> list[Fact]:
        """The program writes a message."""
        return self.take(self.dialogue.receive(json.dumps({"jsonrpc": "2.0", **message})))

    def update(self, update_kind: str, /, **fields: Any) -> list[Fact]:
        """The program tells something of the session."""
        params = {"sessionId": "c1", "update": {"sessionUpdate": update_kind, **fields}}
        return self.hear(method="session/update", params=params)

    def chunk(self, text: str, kind: str = "agent_message_chunk", **fields: Any) -> list[Fact]:
        """The program says something."""
        return self.update(kind, content={"type": "text", "text": text}, **fields)

    def answer_last(self, **response: Any) -> list[Fact]:
        """The program answers our last request."""
        return self.hear(id=self.written[-1]["id"], **response)

    def open(self, result: dict[str, Any] | None = None, **capabilities: Any) -> list[Fact]:
        """Go through the handshake up to the first line after the session is there."""
        self.take(self.dialogue.begin())
        self.answer_last(result={"protocolVersion": 1, "agentCapabilities": capabilities})
        return self.answer_last(result={"sessionId": "c1"} if result is None else result)

    def start(self, text: str = "Hello") -> "Client":
        """Go through the handshake and hand in a prompt."""
        self.open()
        self.take(self.dialogue.prompt(Prompt("p1", text)))
        return self

    def end(self, reason: str = "end_turn", **result: Any) -> list[Fact]:
        """The program ends the turn."""
        number = next(int(key) for key, call in self.dialogue.state["calls"].items() if call == "session/prompt")
        return self.hear(id=number, result={"stopReason": reason, **result})

    def ask(self, number: Any = 0, **call: Any) -> list[Fact]:
        """The program asks for leave."""
        tool = {"toolCallId": "t1", "title": "Write a.txt", "kind": "edit", **call}
        params = {"sessionId": "c1", "toolCall": tool, "options": OPTIONS}
        return self.hear(id=number, method="session/request_permission", params=params)


def ended(facts: list[Fact]) -> TurnEnded:
    """The one end of a turn in `facts`."""
    (end,) = [fact for fact in facts if isinstance(fact, TurnEnded)]
    return end


# The handshake.


def test_the_handshake_and_a_turn() -> None:
    client = Client()
    client.take(client.dialogue.prompt(Prompt("p1", "Hello")))
    assert client.written == [], "nothing is sent before the handshake"
    assert client.dialogue.busy
    assert client.open() == [ConversationNamed("c1")]
    assert [message["method"] for message in client.written] == ["initialize", "session/new", "session/prompt"]
    assert [message["id"] for message in client.written] == [1, 2, 3]
    assert client.written[0]["params"]["clientCapabilities"] == {
        "fs": {"readTextFile": False, "writeTextFile": False},
        "terminal": False,
        "elicitation": {"form": {}},
    }
    assert client.written[1]["params"] == {"cwd": "/project", "mcpServers": []}
    assert client.written[2]["params"]["prompt"] == [{"type": "text", "text": "Hello"}]

    assert client.chunk("Hi") == [PromptAccepted("p1"), AgentMessage(message_id="r1-m1", text="Hi", final=False)]
    assert client.chunk(" there") == [AgentMessage(message_id="r1-m1", text=" there", final=False)]
    assert client.end(usage={"inputTokens": 5, "outputTokens": 2}) == [
        AgentMessage(message_id="r1-m1", text="", final=True),
        UsageSeen(Usage(input_tokens=5, output_tokens=2)),
        TurnEnded(text="Hi there"),
    ]
    assert not client.dialogue.busy
    assert client.dialogue.ended(Exit(code=0)) == Output()


def test_a_turn_without_a_word_acknowledges_its_prompt_at_its_end() -> None:
    assert Client().start().end() == [PromptAccepted("p1"), TurnEnded()]


class Joining(AcpAdapter):
    """A program that takes a further prompt into the turn that runs."""

    joins = True


def test_a_text_that_joins_a_turn_ends_with_it() -> None:
    client = Client(Joining()).start()
    client.chunk("Hi")
    facts = client.take(client.dialogue.prompt(Prompt("p2", "And this")))
    assert facts == [AgentMessage(message_id="r1-m1", text="", final=True)]
    assert [message["method"] for message in client.written[-2:]] == ["session/prompt", "session/prompt"]
    used = {"inputTokens": 5, "outputTokens": 2}
    assert client.end(usage=used) == [], "the turn goes on"
    assert client.dialogue.busy
    facts = client.end(usage=used)
    assert facts[0] == PromptAccepted("p2", begins_turn=False)
    assert facts[-2:] == [UsageSeen(Usage(input_tokens=5, output_tokens=2)), TurnEnded(text="Hi")]
    assert not client.dialogue.busy


def test_an_interrupt_ends_a_turn_with_all_that_joined_it() -> None:
    client = Client(Joining()).start()
    client.take(client.dialogue.prompt(Prompt("p2", "And this")))
    client.take(client.dialogue.interrupt())
    client.take(client.dialogue.prompt(Prompt("p3", "Then that")))
    assert client.written[-1]["method"] == "session/cancel", "what comes after the interrupt is another turn"
    assert client.end("cancelled") == [PromptAccepted("p1")]
    facts = client.end("cancelled")
    assert facts[0] == PromptAccepted("p2", begins_turn=False)
    assert ended(facts).reason == Reason.USER_STOPPED
    assert client.written[-1]["params"]["prompt"][0]["text"] == "Then that"
    assert ended(client.end()).reason is None


def test_a_conversation_is_resumed_and_its_history_is_no_news() -> None:
    client = Client(conversation_id="c0")
    client.take(client.dialogue.prompt(Prompt("p1", "Go on")))
    client.take(client.dialogue.begin())
    client.answer_last(result={"protocolVersion": 1, "agentCapabilities": {"loadSession": True}})
    assert client.written[-1]["method"] == "session/load"
    assert client.written[-1]["params"] == {"sessionId": "c0", "cwd": "/project", "mcpServers": []}
    assert client.chunk("old prompt", "user_message_chunk") == []
    assert client.chunk("old answer") == []
    assert client.update("tool_call", toolCallId="t0", title="old", kind="edit", status="completed") == []
    assert client.update("usage_update", used=1, size=2, cost={"amount": 0.5, "currency": "USD"}) == []
    assert client.answer_last(result={}) == [ConversationNamed("c0")]
    assert client.written[-1]["method"] == "session/prompt"
    assert client.update("usage_update", used=1, size=2, cost={"amount": 0.75, "currency": "USD"}) == [
        UsageSeen(Usage(cost_usd=0.25))
    ]
    assert client.chunk("new")[-1] == AgentMessage(message_id="r1-m1", text="new", final=False)
    assert ended(client.end()).text == "new"


def test_a_program_that_resumes_without_history() -> None:
    client = Client(conversation_id="c0")
    client.take(client.dialogue.begin())
    client.answer_last(result={"protocolVersion": 1, "agentCapabilities": {"sessionCapabilities": {"resume": {}}}})
    assert client.written[-1]["method"] == "session/resume"
    assert client.answer_last(result={}) == [ConversationNamed("c0")]


def test_a_program_that_cannot_resume_says_so() -> None:
    client = Client(conversation_id="c0")
    client.take(client.dialogue.begin())
    client.take(client.dialogue.prompt(Prompt("p1", "Go on")))
    facts = client.answer_last(result={"protocolVersion": 1, "agentCapabilities": {"loadSession": False}})
    assert ended(facts).reason is Reason.AGENT_ERROR
    assert "cannot resume" in ended(facts).text
    assert not client.dialogue.busy
    assert ended(client.take(client.dialogue.prompt(Prompt("p2", "Again")))) == ended(facts)


@pytest.mark.parametrize(
    ("step", "error", "reason", "words"),
    [
        (0, {"code": -32603, "message": "Boom"}, Reason.AGENT_ERROR, "Boom"),
        (1, {"code": -32000, "message": "Authentication required"}, Reason.NOT_LOGGED_IN, "It offers: Browser."),
        (1, {"code": -32603, "message": "Disk"}, Reason.API_ERROR, "Disk"),
        (1, {"code": -32603, "message": "Internal error", "data": {"details": "429 quota"}}, Reason.USAGE_LIMIT, "429"),
        (2, {"code": -32602, "message": "No such mode"}, Reason.AGENT_ERROR, "refused session/set_mode: No such mode"),
    ],
)
def test_a_handshake_that_fails(step: int, error: dict[str, Any], reason: Reason, words: str) -> None:
    client = Client(action=Action.REVIEW)
    client.take(client.dialogue.begin())
    client.take(client.dialogue.prompt(Prompt("p1", "Hello")))
    session = {"sessionId": "c1", "modes": {"currentModeId": "x", "availableModes": [{"id": "plan", "name": "Plan"}]}}
    results = [{"protocolVersion": 1, "authMethods": [{"id": "b", "name": "Browser"}]}, session]
    for result in results[:step]:
        client.answer_last(result=result)
    facts = client.answer_last(error=error)
    assert ended(facts).reason is reason
    assert words in ended(facts).text
    assert not client.dialogue.busy


@pytest.mark.parametrize(
    "results",
    [
        ["nonsense"],
        [{"protocolVersion": 1, "agentCapabilities": 5}],
        [{"protocolVersion": 1}, 7],
        [{"protocolVersion": 1}, {"sessionId": "c1", "modes": "none"}],
        [{"protocolVersion": 1}, {"sessionId": "c1", "configOptions": [3]}],
    ],
)
def test_a_handshake_that_makes_no_sense_fails_the_prompt(results: list[Any]) -> None:
    client = Client(action=Action.ANALYZE, conversation_id="c0" if results[0] != {"protocolVersion": 1} else None)
    client.take(client.dialogue.begin())
    client.take(client.dialogue.prompt(Prompt("p1", "Hello")))
    facts: list[Fact] = []
    for result in results:
        facts = client.answer_last(result=result)
    assert ended(facts).reason is Reason.AGENT_ERROR or ended(facts).reason is Reason.API_ERROR
    assert not client.dialogue.busy


@pytest.mark.parametrize("response", [{"result": 7}, {"result": []}, {"error": "no"}, {"error": {"data": [1]}}, {}])
def test_a_turn_ends_whatever_the_response_says(response: dict[str, Any]) -> None:
    client = Client().start()
    assert ended(client.hear(id=3, **response)).reason is not None
    assert not client.dialogue.busy


def test_another_version_of_the_protocol_is_refused() -> None:
    client = Client()
    client.take(client.dialogue.begin())
    client.take(client.dialogue.prompt(Prompt("p1", "Hello")))
    facts = client.answer_last(result={"protocolVersion": 2})
    assert "version 2" in ended(facts).text


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        ({}, []),
        (
            {"modes": {"availableModes": [{"id": "plan"}, {"id": "read-only"}]}},
            [("session/set_mode", {"sessionId": "c1", "modeId": "read-only"})],
        ),
        (
            {"modes": {"availableModes": [{"id": "https://x#agent"}, {"id": "https://x#plan"}]}},
            [("session/set_mode", {"sessionId": "c1", "modeId": "https://x#plan"})],
        ),
        (
            {"configOptions": [{"id": "mode", "category": "mode", "options": [{"value": "build"}, {"value": "plan"}]}]},
            [("session/set_config_option", {"sessionId": "c1", "configId": "mode", "value": "plan"})],
        ),
    ],
)
def test_a_read_only_action_chooses_a_mode(session: dict[str, Any], expected: list[Any]) -> None:
    client = Client(action=Action.ANALYZE)
    client.take(client.dialogue.prompt(Prompt("p1", "Look")))
    client.open({"sessionId": "c1", **session})
    for _ in expected:
        assert client.written[-1]["method"] != "session/prompt", "the prompt waits for the mode"
        client.answer_last(result={})
    assert [(message["method"], message["params"]) for message in client.written[2:-1]] == expected
    assert client.written[-1]["method"] == "session/prompt"


def test_a_model_is_chosen() -> None:
    option = {"id": "model", "category": "model", "options": [{"value": "big"}]}
    client = Client(model="big")
    client.open({"sessionId": "c1", "configOptions": [option]})
    assert client.written[-1]["params"] == {"sessionId": "c1", "configId": "model", "value": "big"}
    client = Client(model="big")
    client.open({"sessionId": "c1", "models": {"availableModels": [{"modelId": "big"}]}})
    assert client.written[-1]["method"] == "session/set_model"

    class WithFlag(AcpAdapter):
        arguments = ("--acp", "--model", "{model}")
        read_only_arguments = ("--deny",)

    client = Client(WithFlag(), model="big")
    client.open()
    assert client.written[-1]["method"] == "session/new"
    assert client.adapter.launch(client.task).arguments == ["--acp", "--model", "big"]
    task = Task("s", "r", Action.PLAN, Policy.DENY, "/")
    assert WithFlag().launch(task).arguments == ["--acp", "--deny"]


# News.


def test_messages_and_thoughts_follow_one_another() -> None:
    client = Client().start()
    facts = [
        *client.chunk("Hm", "agent_thought_chunk"),
        *client.chunk("a", messageId="1"),
        *client.chunk("b", messageId="1"),
        *client.chunk("", messageId="1"),
        *client.chunk("c", messageId="2"),
        *client.update("agent_message_chunk", messageId="2", content={"type": "image", "data": "", "mimeType": "x"}),
    ]
    assert facts[1:] == [
        AgentThought(message_id="r1-m1", text="Hm", final=False),
        AgentThought(message_id="r1-m1", text="", final=True),
        AgentMessage(message_id="r1-m2", text="a", final=False),
        AgentMessage(message_id="r1-m2", text="b", final=False),
        AgentMessage(message_id="r1-m2", text="", final=True),
        AgentMessage(message_id="r1-m3", text="c", final=False),
        AgentMessage(message_id="r1-m3", text="[image]", final=False),
    ]
    assert ended(client.end()).text == "c[image]"


def test_a_tool_that_is_announced_before_its_input() -> None:
    client = Client().start()
    assert client.update("tool_call", toolCallId="t1", title="Write", kind="edit", status="pending", rawInput={}) == [
        PromptAccepted("p1")
    ]
    assert client.update(
        "tool_call_update",
        toolCallId="t1",
        title="Write a.txt",
        rawInput={"file_path": "/project/a.txt"},
        locations=[{"path": "/project/a.txt"}],
        _meta={"claudeCode": {"toolName": "Write"}},
    ) == [
        AgentToolStarted(
            tool_id="t1",
            name="Write",
            kind="edit",
            title="Write a.txt",
            paths=["/project/a.txt"],
            input='{"file_path":"/project/a.txt"}',
        )
    ]
    assert client.update("tool_call_update", toolCallId="t1", status="completed", rawOutput="Done") == [
        AgentToolFinished(tool_id="t1", ok=True, output="Done", truncated=False)
    ]
    assert client.update("tool_call_update", toolCallId="t1", status="completed") == []


def test_a_tool_that_stays_announced_is_told_when_the_agent_goes_on() -> None:
    client = Client().start()
    client.update("tool_call", toolCallId="t1", title="Think", kind="thunk", status="pending")
    started, message = client.chunk("Well")
    assert isinstance(started, AgentToolStarted)
    assert (started.kind, started.title) == ("other", "Think")
    assert isinstance(message, AgentMessage)
    _, finished, _ = client.end()
    assert finished == AgentToolFinished(tool_id="t1", ok=True, output="", truncated=False)


def test_a_tool_that_is_announced_twice_is_told_once() -> None:
    client = Client().start()
    for _ in range(2):
        client.update("tool_call", toolCallId="t1", title="Think", kind="think", status="pending")
    started, finished = client.update("tool_call_update", toolCallId="t1", status="completed")
    assert isinstance(started, AgentToolStarted)
    assert isinstance(finished, AgentToolFinished)
    (turn,) = client.take(client.dialogue.ended(Exit(code=0)))
    assert isinstance(turn, TurnEnded)


def test_the_output_of_a_tool_is_text_and_has_an_end() -> None:
    client = Client().start()

    def run(**update: Any) -> AgentToolFinished:
        client.dialogue.state["finished"] = []
        client.update("tool_call", toolCallId="t1", title="x", kind="execute", status="in_progress")
        (finished,) = client.update("tool_call_update", toolCallId="t1", status="completed", **update)
        assert isinstance(finished, AgentToolFinished)
        return finished

    text = {"type": "content", "content": {"type": "text", "text": "hello"}}
    assert run(content=[text, {"type": "diff", "path": "/a", "newText": "x"}]).output == "hello\n/a"
    assert run(content=[text], rawOutput="raw").output == "raw"
    assert run(rawOutput={"output": "from the field"}).output == "from the field"
    assert run(rawOutput={"exit": 0}).output == '{"exit":0}'
    assert run(content=[{"type": "terminal", "terminalId": "x"}]).output == ""
    big = run(rawOutput="ä" * 40_000)
    assert (len(big.output.encode()), big.truncated) == (65_536, True)

    client.update("tool_call", toolCallId="t2", title="x", kind="execute", status="in_progress")
    for part in ("one\n", "two\n"):
        client.update("tool_call_update", toolCallId="t2", _meta={"terminal_output_delta": {"data": part}})
    (finished,) = client.update("tool_call_update", toolCallId="t2", status="failed")
    assert finished == AgentToolFinished(tool_id="t2", ok=False, output="one\ntwo\n", truncated=False)


def test_plan_and_usage_and_what_is_of_no_interest() -> None:
    client = Client().start()
    (_, plan) = client.update("plan", entries=[{"content": "A", "status": "pending", "priority": "low"}])
    assert isinstance(plan, AgentPlan)
    assert [(entry.text, entry.status) for entry in plan.entries] == [("A", "pending")]
    assert client.update("usage_update", used=1, size=2) == []
    assert client.update("usage_update", used=1, size=2, cost={"amount": 1, "currency": "EUR"}) == []
    assert client.update("available_commands_update", availableCommands=[]) == []
    assert client.update("current_mode_update", currentModeId="x") == []
    assert client.update("config_option_update", configOptions=[]) == []
    assert client.update("session_info_update", title="x") == []
    assert client.hear(method="_vendor/thing", params={}) == []


def test_plans_come_in_several_forms() -> None:
    client = Client().start()
    steps = [{"content": "a", "priority": "low", "status": "completed"}, {"content": "b"}]
    shown = [PlanEntry(text="a", status="completed"), PlanEntry(text="b", status="pending")]
    assert client.update("plan", entries=steps)[-1] == AgentPlan(entries=shown)
    items = {"type": "items", "planId": "1", "entries": steps}
    assert client.update("plan_update", plan=items) == [AgentPlan(entries=shown)]
    markdown = {"type": "markdown", "planId": "1", "content": "# Plan"}
    expected = [AgentPlan(entries=[PlanEntry(text="# Plan", status="pending")])]
    assert client.update("plan_update", plan=markdown) == expected
    assert client.update("plan_update", plan={"type": "file", "planId": "1", "uri": "file:///x"}) == []
    assert client.update("plan_removed", planId="1") == [AgentPlan(entries=[])]


def test_history_may_follow_the_load() -> None:
    client = Client(GeminiAdapter(), conversation_id="c1")
    client.open({}, loadSession=True)
    client.take(client.dialogue.prompt(Prompt("p1", "go on")))
    assert client.chunk("the past", "user_message_chunk") == []
    assert client.chunk("an old answer") == []
    assert client.update("available_commands_update", availableCommands=[]) == []
    assert client.chunk("news")[0] == PromptAccepted("p1")


def test_a_cancelled_turn_may_end_as_if_it_had_ended_well() -> None:
    client = Client().start()
    client.take(client.dialogue.interrupt())
    facts = client.hear(id=client.written[-2]["id"], result={"stopReason": "end_turn", "usage": {"inputTokens": 0}})
    assert facts[-1] == TurnEnded(Reason.USER_STOPPED)


def test_gemini_tells_its_usage_elsewhere() -> None:
    client = Client(GeminiAdapter()).start()
    quota = {"quota": {"token_count": {"input_tokens": 100, "output_tokens": 20}}}
    facts = client.answer_last(result={"stopReason": "end_turn", "_meta": quota})
    assert UsageSeen(Usage(input_tokens=100, output_tokens=20)) in facts


@pytest.mark.parametrize(
    ("line", "stream"),
    [
        ("not JSON", "raw"),
        ("{", "raw"),
        ("[" * 100_000, "raw"),
        ("42", "unknown"),
        ("[]", "unknown"),
        ('{"jsonrpc":"2.0","method":"unheard/of"}', "unknown"),
        ('{"jsonrpc":"2.0","id":99,"result":{}}', "unknown"),
        ('{"jsonrpc":"2.0","method":"session/update","params":{}}', "unknown"),
        ('{"jsonrpc":"2.0","method":"session/update","params":{"update":{"sessionUpdate":"new_kind"}}}', "unknown"),
        ('{"jsonrpc":"2.0","method":"session/update","params":{"update":{"sessionUpdate":"tool_call"}}}', "unknown"),
    ],
)
def test_what_is_not_understood_is_shown(line: str, stream: str) -> None:
    client = Client().start()
    log = client.take(client.dialogue.receive(line))[-1]
    assert log == AgentLog(stream=stream, text=line[:65_536])
    assert client.take(client.dialogue.receive("  ")) == []


def test_half_of_a_surrogate_pair_does_not_lose_the_text() -> None:
    client = Client().start()
    facts = client.chunk("smile \ud83d")
    assert facts[-1] == AgentMessage(message_id="r1-m1", text="smile \ufffd", final=False)
    (log,) = client.take(client.dialogue.receive("raw \udcff"))
    assert log == AgentLog(stream="raw", text="raw \ufffd")


# What the program asks.


def test_an_approval_from_question_to_answer() -> None:
    client = Client().start()
    diff = {"type": "diff", "path": "/project/a.txt", "oldText": "old\n", "newText": "new\n"}
    facts = client.ask(content=[diff], locations=[{"path": "/project/a.txt"}], rawInput={"path": "/project/b.txt"})
    accepted, started, asked = facts
    assert accepted == PromptAccepted("p1")
    assert isinstance(started, AgentToolStarted)
    assert isinstance(asked, Asked)
    assert asked.subject == Subject("edit", ("/project/a.txt", "/project/b.txt"))
    assert asked.request.id == "r1-r1"
    assert asked.request.title == "Write a.txt"
    assert "-old\n+new" in asked.request.detail
    assert [(option.id, option.kind) for option in asked.request.options] == [
        ("yes", OptionKind.ALLOW_ONCE),
        ("no", OptionKind.REJECT_ONCE),
    ]
    client.take(client.dialogue.answer("r1-r1", Answer(option_id="yes")))
    assert client.written[-1] == {"id": 0, "result": {"outcome": {"outcome": "selected", "optionId": "yes"}}}
    PERMISSION.model_validate(client.written[-1]["result"])
    assert client.take(client.dialogue.answer("r1-r1", Answer(option_id="yes"))) == []
    assert len(client.written) == 4, "an answer goes out once"


@pytest.mark.parametrize(
    ("kind", "effect"),
    [
        ("edit", "edit"),
        ("delete", "edit"),
        ("move", "edit"),
        ("read", "read"),
        ("search", "read"),
        ("execute", "execute"),
        ("fetch", "other"),
        ("think", "other"),
        ("switch_mode", "other"),
        (None, "other"),
    ],
)
def test_what_an_approval_is_about(kind: str | None, effect: str) -> None:
    asked = Client().start().ask(kind=kind)[-1]
    assert isinstance(asked, Asked)
    assert asked.subject.effect == effect


def test_the_numbers_of_requests_are_the_programs_own() -> None:
    client = Client().start()
    for number in (3, "three", 0):  # 3 is also the number of our prompt
        asked = client.ask(number, toolCallId=str(number))[-1]
        assert isinstance(asked, Asked)
        client.take(client.dialogue.answer(asked.request.id, Answer(option_id="yes")))
        assert client.written[-1]["id"] == number
    assert client.end()[-1] == TurnEnded()


def test_a_refused_permission() -> None:
    client = Client().start()
    client.ask()
    client.take(client.dialogue.answer("r1-r1", Answer(option_id="no")))
    (finished, end) = client.end("cancelled")
    assert finished == AgentToolFinished(tool_id="t1", ok=False, output="", truncated=False)
    assert isinstance(end, TurnEnded)
    assert end.reason is Reason.REFUSED

    client.take(client.dialogue.prompt(Prompt("p2", "And now?")))
    client.ask(1, toolCallId="t2")
    client.take(client.dialogue.answer("r1-r2", Answer(option_id="no")))
    (finished, end) = client.end("end_turn", usage={"inputTokens": 0, "outputTokens": 0})  # Copilot, codex-acp
    assert finished == AgentToolFinished(tool_id="t2", ok=False, output="", truncated=False)
    assert end == TurnEnded()


def test_an_approval_without_a_known_option_cannot_be_asked() -> None:
    client = Client().start()
    params = {"toolCall": {"toolCallId": "t"}, "options": [{"optionId": "x", "name": "x", "kind": "perhaps"}]}
    assert client.hear(id=0, method="session/request_permission", params=params) == []
    assert client.written[-1]["error"]["code"] == -32601


@pytest.mark.parametrize(
    ("method", "logged"),
    [("fs/write_text_file", 0), ("terminal/create", 0), ("_vendor/ask", 0), ("unheard/of", 1)],
)
def test_requests_that_orch_does_not_offer(method: str, logged: int) -> None:
    client = Client().start()
    facts = client.hear(id=7, method=method, params={"path": "/x"})
    assert len(facts) == logged
    assert (client.written[-1]["id"], client.written[-1]["error"]["code"]) == (7, -32601)


def test_a_request_that_makes_no_sense_gets_an_error() -> None:
    client = Client().start()
    (log,) = client.hear(id=7, method="session/request_permission", params={"options": "none"})
    assert isinstance(log, AgentLog)
    assert client.written[-1]["error"]["code"] == -32602


SCHEMA = {
    "type": "object",
    "properties": {
        "question_0": {
            "type": "string",
            "title": "Colour",
            "oneOf": [
                {"const": "Red", "title": "Red — warm", "_meta": {"x": {"description": "warm"}}},
                {"const": "Blue", "title": "Blue"},
            ],
        },
        "question_0_custom": {"type": "string", "title": "Other"},
        "sizes": {"type": "array", "title": "Sizes", "items": {"enum": ["S", "M"], "enumNames": ["Small", "Medium"]}},
        "sure": {"type": "boolean", "title": "Sure?"},
        "count": {"type": "integer", "description": "How many?"},
        "ratio": {"type": "number"},
        "token": {"type": "string", "format": "password"},
    },
}


def test_the_questions_of_a_form() -> None:
    questions, form = questions_of("Tell me.", SCHEMA)
    assert [question.id for question in questions] == ["question_0", "sizes", "sure", "count", "ratio", "token"]
    colour, sizes, sure, count, ratio, token = questions
    assert [(option.id, option.label, option.description) for option in colour.options] == [
        ("Red", "Red", "warm"),
        ("Blue", "Blue", ""),
    ]
    assert colour.allows_text
    assert sizes.multi_select
    assert [option.label for option in sizes.options] == ["Small", "Medium"]
    assert not sizes.allows_text
    assert [option.label for option in sure.options] == ["Yes", "No"]
    assert (count.text, ratio.text) == ("How many?", "ratio")
    assert token.secret
    content = form_content(
        form,
        [
            QuestionAnswer(question_id="question_0", text="Green"),
            QuestionAnswer(question_id="sizes", option_ids=["S", "M"]),
            QuestionAnswer(question_id="sure", option_ids=["false"]),
            QuestionAnswer(question_id="count", text="3"),
            QuestionAnswer(question_id="ratio", text="a third"),
            QuestionAnswer(question_id="unheard", text="x"),
        ],
    )
    assert content == {
        "question_0_custom": "Green",
        "sizes": ["S", "M"],
        "sure": False,
        "count": 3,
        "ratio": "a third",
    }
    assert questions_of("?", None) == ([], {})
    assert questions_of("?", {"properties": {"a": "b"}}) == ([], {})


def test_a_question_from_form_to_answer() -> None:
    client = Client().start()
    params = {"mode": "form", "sessionId": "c1", "message": "Tell me.", "requestedSchema": SCHEMA}
    asked = client.hear(id=0, method="elicitation/create", params=params)[-1]
    assert isinstance(asked, Asked)
    assert asked.request.title == "Tell me."
    answers = [QuestionAnswer(question_id="question_0", option_ids=["Blue"])]
    output = client.dialogue.answer(asked.request.id, Answer(answers=answers))
    assert output.lines[0].secret, "one of the questions is secret"
    client.take(output)
    assert client.written[-1]["result"] == {"action": "accept", "content": {"question_0": "Blue"}}
    ELICITATION.validate_python(client.written[-1]["result"])

    asked = client.hear(id=1, method="elicitation/create", params=params)[-1]
    assert isinstance(asked, Asked)
    client.take(client.dialogue.answer(asked.request.id, Answer()))
    assert client.written[-1]["result"] == {"action": "decline"}
    ELICITATION.validate_python(client.written[-1]["result"])

    client.hear(id=2, method="elicitation/create", params={"mode": "url", "url": "https://x"})
    assert client.written[-1]["error"]["code"] == -32601


def test_the_program_takes_a_request_back() -> None:
    client = Client().start()
    client.ask()
    facts = client.hear(method="$/cancel_request", params={"requestId": 0})
    assert facts == [Withdrawn("r1-r1", "withdrawn by the agent")]
    assert client.written[-1]["error"]["code"] == -32800


def test_a_request_that_is_open_when_the_turn_ends_is_withdrawn() -> None:
    client = Client().start()
    client.ask()
    assert Withdrawn("r1-r1", "the turn ended") in client.end()


# How turns end.


def test_interrupting_withdraws_what_is_open() -> None:
    client = Client().start()
    client.ask()
    params = {"mode": "form", "message": "?", "requestedSchema": SCHEMA}
    client.hear(id=1, method="elicitation/create", params=params)
    facts = client.take(client.dialogue.interrupt())
    assert facts == [Withdrawn("r1-r1", "interrupted"), Withdrawn("r1-r2", "interrupted")]
    cancel, permission, question = client.written[-3:]
    assert cancel == {"method": "session/cancel", "params": {"sessionId": "c1"}}
    assert permission == {"id": 0, "result": {"outcome": {"outcome": "cancelled"}}}
    PERMISSION.model_validate(permission["result"])
    assert question == {"id": 1, "result": {"action": "cancel"}}
    ELICITATION.validate_python(question["result"])
    assert ended(client.end("cancelled")).reason is Reason.USER_STOPPED
    assert client.take(client.dialogue.interrupt()) == []
    assert client.written[-3:] == [cancel, permission, question]


def test_an_error_after_an_interrupt_is_the_interrupt() -> None:
    client = Client().start()
    client.take(client.dialogue.interrupt())
    facts = client.hear(id=3, error={"code": -32603, "message": "aborted"})
    assert ended(facts).reason is Reason.USER_STOPPED


def test_interrupting_before_the_prompt_was_sent() -> None:
    client = Client()
    client.take(client.dialogue.begin())
    client.take(client.dialogue.prompt(Prompt("p1", "Hello")))
    assert client.take(client.dialogue.interrupt()) == [TurnEnded(Reason.USER_STOPPED)]
    assert not client.dialogue.busy


def test_a_second_prompt_waits_for_the_end_of_the_first() -> None:
    client = Client().start()
    client.take(client.dialogue.prompt(Prompt("p2", "More")))
    assert len(client.written) == 3
    client.end()
    assert client.written[-1]["params"]["prompt"][0]["text"] == "More"
    assert client.dialogue.busy
    assert client.end() == [PromptAccepted("p2"), TurnEnded()]


@pytest.mark.parametrize(
    ("said", "result", "reason", "text"),
    [
        ("Fine.", {"stopReason": "end_turn"}, None, "Fine."),
        ("Fine.", {"stopReason": "end_turn", "usage": {"inputTokens": 1}}, None, "Fine."),
        ("Error: 500", {"stopReason": "end_turn"}, Reason.API_ERROR, "Error: 500"),
        ("Error: 500", {"stopReason": "end_turn", "usage": {"inputTokens": 1}}, None, "Error: 500"),
        ("Sorry", {"stopReason": "end_turn", "usage": None}, Reason.API_ERROR, "Sorry"),
        ("usage limit reached", {"stopReason": "end_turn", "usage": None}, Reason.USAGE_LIMIT, "usage limit reached"),
        ("", {"stopReason": "end_turn", "usage": None}, Reason.API_ERROR, "without an answer"),
        ("No.", {"stopReason": "refusal"}, Reason.REFUSED, "No."),
        ("", {"stopReason": "max_tokens"}, Reason.AGENT_ERROR, "token limit"),
        ("", {"stopReason": "max_turn_requests"}, Reason.AGENT_ERROR, "limit of model requests"),
        ("", {"stopReason": "boredom"}, Reason.AGENT_ERROR, "boredom"),
        ("", {}, Reason.AGENT_ERROR, "None"),
    ],
)
def test_how_a_turn_ends(said: str, result: dict[str, Any], reason: Reason | None, text: str) -> None:
    client = Client().start()
    client.chunk(said)
    end = ended(client.hear(id=3, result=result))
    assert end.reason is reason
    assert text in end.text


@pytest.mark.parametrize(
    ("error", "reason", "text"),
    [
        ({"code": -32000, "message": "Authentication required"}, Reason.NOT_LOGGED_IN, "Authentication required"),
        ({"code": -32000, "message": "429 too many"}, Reason.USAGE_LIMIT, "429 too many"),
        ({"code": 401, "message": '{"error":{"message":"bad key"}}'}, Reason.NOT_LOGGED_IN, "bad key"),
        ({"code": -32603, "message": "Internal error", "data": {"details": "why"}}, Reason.API_ERROR, "why"),
        ({"code": -32603, "message": "Internal error: You hit your usage limit"}, Reason.USAGE_LIMIT, "You hit your"),
        ({"code": -32603, "message": "x", "data": {"errorKind": "rate_limit"}}, Reason.USAGE_LIMIT, "x"),
        ({"code": -32602, "message": "Broken", "data": "here"}, Reason.API_ERROR, "Broken: here"),
        ({"code": 5}, Reason.API_ERROR, "error 5"),
    ],
)
def test_why_a_request_failed(error: dict[str, Any], reason: Reason, text: str) -> None:
    end = ended(Client().start().hear(id=3, error=error))
    assert end.reason is reason
    assert text in end.text
    assert error_reason(error, Reason.API_ERROR) is reason
    assert text in error_text(error)


def test_words_that_only_look_like_a_limit_or_a_login() -> None:
    assert text_reason("failed in line 4012, port 14290", Reason.API_ERROR) is Reason.API_ERROR
    assert text_reason("", Reason.API_ERROR) is Reason.API_ERROR


def test_notices_are_messages_of_their_own_and_no_answer() -> None:
    class Noticing(AcpAdapter):
        notices = ("Info: ", "Error: ")

    client = Client(Noticing()).start()
    client.chunk("Info: disabled tools")
    client.chunk("The answer")
    assert client.chunk("Info: bye") == [
        AgentMessage(message_id="r1-m2", text="", final=True),
        AgentMessage(message_id="r1-m3", text="Info: bye", final=True),
    ]
    assert client.end() == [TurnEnded(text="The answer")]


def test_usage_is_of_the_run() -> None:
    class Cumulative(AcpAdapter):
        usage_is_cumulative = True

    for adapter, expected in ((AcpAdapter(), [(1, 1), (3, 3)]), (Cumulative(), [(1, 1), (2, 2)])):
        client = Client(adapter).start()
        facts = client.end(usage={"inputTokens": 1, "outputTokens": 1})
        client.take(client.dialogue.prompt(Prompt("p2", "More")))
        facts += client.end(usage={"inputTokens": 2, "outputTokens": 2})
        seen = [fact.usage for fact in facts if isinstance(fact, UsageSeen)]
        assert [(usage.input_tokens, usage.output_tokens) for usage in seen] == expected


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (Exit(code=0), Reason.EXITED_WITHOUT_RESULT),
        (Exit(code=1, stderr_tail="boom"), Reason.EXITED_WITHOUT_RESULT),
        (Exit(code=1, stderr_tail="Please run /login"), Reason.NOT_LOGGED_IN),
        (Exit(code=1, stderr_tail="usage limit reached"), Reason.USAGE_LIMIT),
        (Exit(signal=9), Reason.KILLED),
        (Exit(code=143), Reason.KILLED),
        (Exit(), Reason.LOST),
    ],
)
def test_a_program_that_ends_in_the_middle(end: Exit, reason: Reason) -> None:
    client = Client().start()
    client.chunk("Half")
    client.ask()
    facts = client.take(client.dialogue.ended(end))
    assert facts[:2] == [
        AgentToolFinished(tool_id="t1", ok=False, output="", truncated=False),
        Withdrawn("r1-r1", "the program ended"),
    ]
    assert ended(facts).reason is reason
    assert end.stderr_tail in ended(facts).text
    assert client.take(client.dialogue.ended(end)) == []

    client = Client().start()
    client.take(client.dialogue.interrupt())
    assert ended(client.take(client.dialogue.ended(end))).reason is Reason.USER_STOPPED


def test_a_program_that_never_starts_to_speak() -> None:
    client = Client()
    client.take(client.dialogue.begin())
    client.take(client.dialogue.prompt(Prompt("p1", "Hello")))
    assert ended(client.take(client.dialogue.ended(Exit(code=127)))).reason is Reason.EXITED_WITHOUT_RESULT


# Another client's lines.


def test_a_dialogue_that_observes_writes_nothing_and_takes_the_others_numbers() -> None:
    client = Client()

    def told(**message: Any) -> list[Fact]:
        assert isinstance(client.dialogue, AcpDialogue)
        output = client.dialogue.observe(json.dumps({"jsonrpc": "2.0", **message}))
        assert output.lines == []
        return client.take(output)

    assert told(id="a", method="initialize", params={}) == []
    assert client.hear(id="a", result={"protocolVersion": 1, "agentCapabilities": {}}) == []
    told(id="b", method="session/new", params={"cwd": "/"})
    assert client.hear(id="b", result={"sessionId": "c1"}) == [ConversationNamed("c1")]
    told(id="c", method="session/prompt", params={"sessionId": "c1", "prompt": []})
    assert client.ask(0)[0] == PromptAccepted("observed-c")
    assert told(id=0, result={"outcome": {"outcome": "selected", "optionId": "no"}}) == [
        InputAnswered(input_request_id="r1-r1", by="user", option_id="no")
    ]
    assert client.hear(id=1, method="fs/read_text_file", params={}) == []
    told(id=1, error={"code": -32601, "message": "no"})
    client.ask(2, toolCallId="t2")
    assert told(method="session/cancel", params={"sessionId": "c1"}) == [Withdrawn("r1-r2", "interrupted")]
    told(id=2, result={"outcome": {"outcome": "cancelled"}})
    assert ended(client.hear(id="c", result={"stopReason": "cancelled"})).reason is Reason.USER_STOPPED
    assert client.written == []
    assert isinstance(client.dialogue, AcpDialogue)
    assert isinstance(client.take(client.dialogue.observe("not JSON"))[0], AgentLog)


# Pieces.


def test_texts_of_blocks() -> None:
    assert block_text({"type": "resource_link", "uri": "file:///a", "name": "a"}) == "[file:///a]"
    assert block_text({"type": "resource", "resource": {"uri": "file:///a", "text": "inside"}}) == "inside"
    assert block_text({"type": "resource", "resource": None}) == "[resource]"
    assert block_text("nonsense") == ""
    assert capped("äöü", 3) == ("ä", True)
    assert capped("abc", 3) == ("abc", False)


def test_paths_and_details() -> None:
    call = {"locations": [{"path": "/a"}, {}, 3], "rawInput": {"filePath": "/b", "path": "/a", "source": 3}}
    assert tool_paths(call) == ["/a", "/b"]
    assert approval_detail({"rawInput": {"command": ["ls", "-l"]}}) == "ls -l"
    assert approval_detail({"rawInput": {"diff": "--- a"}}) == "--- a"
    huge = {"type": "diff", "path": "/a", "oldText": "x" * 90_000, "newText": "y"}
    assert approval_detail({"content": [huge]}) == "/a: 90000 characters become 1"


class Nonsense:
    """Messages that are nearly right, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, depth: int = 0) -> Any:
        """Any JSON value, more often one that could be meant."""
        pick = self.random.choice
        plain: list[Any] = [None, True, -1, 3.5, "", "t1", "text", "/a", "pending", "completed", "edit", "USD", [], {}]
        if depth > 2 or self.random.random() < 0.5:
            return pick(plain)
        if self.random.random() < 0.4:
            return [self.value(depth + 1) for _ in range(self.random.randrange(3))]
        names = ["type", "text", "path", "content", "properties", "kind", "optionId", "usage", "stopReason", "title"]
        return {pick(names): self.value(depth + 1) for _ in range(self.random.randrange(4))}

    def fields(self, *names: str) -> dict[str, Any]:
        """Some of the fields, each with any value."""
        return {name: self.value() for name in names if self.random.random() < 0.6}

    def message(self) -> Any:
        """An update, a request, a response, or anything."""
        pick = self.random.choice
        match self.random.randrange(5):
            case 0 | 1:
                kinds = ["tool_call", "tool_call_update", "plan", "agent_message_chunk", "usage_update"]
                names = "toolCallId title kind status content locations rawInput rawOutput _meta name entries cost"
                update = {"sessionUpdate": pick(kinds), **self.fields(*names.split(), "messageId")}
                return {"method": "session/update", "params": {"update": update}}
            case 2:
                methods = ["session/request_permission", "elicitation/create", "$/cancel_request", "x"]
                params = self.fields("toolCall", "options", "requestedSchema", "message", "requestId")
                return {"id": self.value(), "method": pick(methods), "params": params}
            case 3:
                return {"id": self.random.randrange(5), **self.fields("result", "error")}
            case _:
                return self.value()


@pytest.mark.parametrize("seed", range(0, 2000, 100))
def test_whatever_a_program_writes_nothing_breaks(seed: int) -> None:
    for offset in range(100):
        nonsense = Nonsense(seed + offset)
        client = Client().start()
        for _ in range(nonsense.random.randrange(8)):
            for fact in client.take(client.dialogue.receive(json.dumps(nonsense.message()))):
                if isinstance(fact, EventData):
                    fact.json_bytes()
        client.take(client.dialogue.interrupt())
        client.take(client.dialogue.ended(Exit(code=1)))
        assert not client.dialogue.busy


def test_it_is_quick() -> None:
    client = Client().start()
    update = {
        "sessionUpdate": "agent_message_chunk",
        "content": {"type": "text", "text": "some words "},
        "messageId": "m",
    }
    line = json.dumps({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "c1", "update": update}})
    receive = client.dialogue.receive

    def rate(lines: int = 20_000) -> float:
        begin = time.process_time()
        for _ in range(lines):
            receive(line)
        return lines / (time.process_time() - begin)

    assert max(rate() for _ in range(5)) > 60_000  # 200,000 when it was written
