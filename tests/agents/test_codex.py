"""The dialogue with Codex, line by line, without a process; what real ones write is in the recordings."""

import json
import random
from typing import Any

import pytest

from orch_server.agents.adapter import (
    Answer,
    Asked,
    ConversationLost,
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
from orch_server.agents.codex import CodexAdapter
from orch_server.agents.codex_items import change_paths, finished, plain_command, started
from orch_server.domain.events import (
    AgentLog,
    AgentMessage,
    AgentPlan,
    AgentThought,
    AgentToolFinished,
    AgentToolStarted,
    PlanEntry,
)
from orch_server.domain.session import Action, InputRequestKind, Policy, QuestionAnswer, Reason, Usage

THREAD = "t1"
COMMAND = {"type": "commandExecution", "id": "c1", "command": "/bin/bash -lc 'make all'", "status": "inProgress"}


class Client:
    """A dialogue that goes through the store after each line; speaks for the program."""

    def __init__(self, **task: Any) -> None:
        fields: dict[str, Any] = {"action": Action.IMPLEMENT, "policy": Policy.ASK, "cwd": "/project", **task}
        self.task = Task("s1", "r1", **fields)
        self.dialogue: Dialogue = CodexAdapter().dialogue(self.task)
        self.written: list[dict[str, Any]] = []

    def take(self, output: Output) -> list[Fact]:
        """Keep the lines; return the facts."""
        for line in output.lines:
            self.written.append(json.loads(line.text))
        self.dialogue = CodexAdapter().dialogue(self.task, json.loads(json.dumps(self.dialogue.state)))
        return output.facts

    def hear(self, **message: Any) -> list[Fact]:
        """The program writes a message."""
        return self.take(self.dialogue.receive(json.dumps(message)))

    def tell(self, method: str, **params: Any) -> list[Fact]:
        """The program tells something of the thread."""
        return self.hear(method=method, params={"threadId": THREAD, **params})

    def answer_last(self, **response: Any) -> list[Fact]:
        """The program answers our last request."""
        return self.hear(id=self.written[-1]["id"], **response)

    def prompt(self, text: str = "do it", prompt_id: str = "p1") -> list[Fact]:
        """The user hands in a text."""
        return self.take(self.dialogue.prompt(Prompt(prompt_id, text)))

    def open(self) -> list[Fact]:
        """Go through the handshake."""
        self.take(self.dialogue.begin())
        self.answer_last(result={"userAgent": "x"})
        return self.answer_last(result={"thread": {"id": THREAD}, "model": "m1"})

    def start(self) -> "Client":
        """Go on until a turn runs."""
        self.open()
        self.prompt()
        self.answer_last(result={"turn": {"id": "u1"}})
        self.tell("turn/started", turn={"id": "u1"})
        return self

    def item(self, stage: str, **item: Any) -> list[Fact]:
        """An item begins or ends."""
        return self.tell(f"item/{stage}", item=item)

    def end(self, status: str = "completed", **fields: Any) -> list[Fact]:
        """The turn ends."""
        return self.tell("turn/completed", turn={"id": "u1", "status": status, **fields})

    def ask(self, method: str, number: int = 0, **params: Any) -> Asked:
        """The program asks."""
        [asked] = self.hear(method=method, id=number, params={"threadId": THREAD, **params})
        assert isinstance(asked, Asked)
        return asked


def test_the_handshake() -> None:
    client = Client(model="gpt-x")
    client.prompt("too early")
    assert client.open() == [ConversationNamed(THREAD)]
    initialize, initialized, start, turn = client.written
    assert initialize["method"] == "initialize"
    assert initialize["params"]["capabilities"]["experimentalApi"] is True
    assert initialized == {"method": "initialized"}
    # Started read-only whatever follows: else Codex trusts the project from then on.
    assert start["method"] == "thread/start"
    assert start["params"] == {
        "cwd": "/project",
        "sandbox": "read-only",
        "approvalPolicy": "untrusted",
        "model": "gpt-x",
    }
    assert (turn["method"], turn["params"]["input"][0]["text"]) == ("turn/start", "too early")


@pytest.mark.parametrize(
    ("action", "policy", "approval", "sandbox"),
    [
        (Action.ANALYZE, Policy.AUTO_ALL, "never", "readOnly"),
        (Action.REVIEW, Policy.DENY, "never", "readOnly"),
        (Action.PLAN, Policy.ASK, "never", "readOnly"),
        (Action.IMPLEMENT, Policy.DENY, "on-request", "readOnly"),
        (Action.IMPLEMENT, Policy.ASK, "untrusted", "workspaceWrite"),
        (Action.IMPLEMENT, Policy.AUTO_EDIT, "untrusted", "workspaceWrite"),
        (Action.IMPLEMENT, Policy.AUTO_ALL, "on-request", "workspaceWrite"),
    ],
)
def test_every_turn_carries_its_rules(action: Action, policy: Policy, approval: str, sandbox: str) -> None:
    client = Client(action=action, policy=policy, conversation_id=THREAD)
    client.open()
    resume = client.written[-1]
    assert (resume["method"], resume["params"]["threadId"]) == ("thread/resume", THREAD)
    assert (resume["params"]["sandbox"], resume["params"]["approvalPolicy"]) == ("read-only", approval)
    client.prompt()
    params = client.written[-1]["params"]
    assert (params["approvalPolicy"], params["sandboxPolicy"]["type"]) == (approval, sandbox)
    mode = params.get("collaborationMode")
    assert (mode is not None) == (action == Action.PLAN)
    if mode:
        assert (mode["mode"], mode["settings"]["model"]) == ("plan", "m1")


def test_a_handshake_that_fails() -> None:
    client = Client(conversation_id="gone")
    client.take(client.dialogue.begin())
    client.prompt()
    client.answer_last(result={})
    facts = client.answer_last(error={"code": -32600, "message": "no rollout found for thread id gone"})
    ended = TurnEnded(Reason.AGENT_ERROR, "Codex could not resume it: no rollout found for thread id gone")
    assert facts == [ConversationLost(), ended]
    assert client.prompt(prompt_id="p2") == [ended]
    assert not client.dialogue.busy


def test_messages_stream_and_are_not_repeated() -> None:
    client = Client().start()
    first = client.tell("item/agentMessage/delta", itemId="m", delta="Hel")
    second = client.item("completed", type="agentMessage", id="m", text="Hello")
    assert first + second == [
        AgentMessage(message_id="r1-m1", text="Hel", final=False),
        AgentMessage(message_id="r1-m1", text="lo", final=True),
    ]
    thoughts = client.tell("item/reasoning/summaryTextDelta", itemId="r", delta="Hm", summaryIndex=0)
    thoughts += client.item("completed", type="reasoning", id="r", summary=["Hmm", "So"], content=[])
    assert [(fact.message_id, fact.text, fact.final) for fact in thoughts if isinstance(fact, AgentThought)] == [
        ("r1-m2", "Hm", False),
        ("r1-m2", "m", True),
        ("r1-m3", "So", True),
    ]
    client.tell("item/agentMessage/delta", itemId="m2", delta="cut")
    closed, ended = client.end()
    assert closed == AgentMessage(message_id="r1-m4", text="", final=True)
    assert ended == TurnEnded(text="Hello")
    assert not client.dialogue.busy


def test_a_plan_is_the_last_word() -> None:
    client = Client(action=Action.PLAN).start()
    client.tell("item/plan/delta", itemId="p", delta="# Pl")
    assert client.item("completed", type="plan", id="p", text="# Plan") == [
        AgentMessage(message_id="r1-m1", text="# Plan", final=True)
    ]
    client.item("completed", type="agentMessage", id="m", text="Here it is.")
    assert client.end()[-1] == TurnEnded(text="# Plan")


def test_a_list_of_steps_is_the_plan_of_the_agent() -> None:
    client = Client().start()
    plan = [{"step": "a", "status": "completed"}, {"step": "b", "status": "inProgress"}]
    assert client.tell("turn/plan/updated", turnId="u1", plan=plan) == [
        AgentPlan(entries=[PlanEntry(text="a", status="completed"), PlanEntry(text="b", status="in_progress")])
    ]


def test_a_text_joins_the_running_turn() -> None:
    client = Client()
    client.open()
    client.prompt("first", "p1")
    client.prompt("second", "p2")
    assert client.written[-1]["params"]["input"][0]["text"] == "first"  # no turn to join yet
    assert client.tell("turn/started", turn={"id": "u1"}) == [PromptAccepted("p1")]
    steer = client.written[-1]
    assert (steer["method"], steer["params"]["expectedTurnId"]) == ("turn/steer", "u1")
    assert client.answer_last(result={"turnId": "u1"}) == [PromptAccepted("p2", begins_turn=False)]
    assert client.end() == [TurnEnded()]
    assert not client.dialogue.busy


def test_a_text_that_could_not_join_begins_the_next_turn() -> None:
    client = Client().start()
    client.prompt("late", "p2")
    assert client.answer_last(error={"code": -32600, "message": "no active turn to steer"}) == []
    assert client.dialogue.busy
    assert client.end() == [TurnEnded()]
    assert (client.written[-1]["method"], client.written[-1]["params"]["input"][0]["text"]) == ("turn/start", "late")
    assert client.tell("turn/started", turn={"id": "u2"}) == [PromptAccepted("p2")]


def test_an_interrupt() -> None:
    client = Client().start()
    client.item("started", **COMMAND)
    client.take(client.dialogue.interrupt())
    assert client.written[-1]["params"] == {"threadId": THREAD, "turnId": "u1"}
    assert client.answer_last(result={}) == []
    assert client.end("interrupted") == [
        AgentToolFinished(tool_id="c1", ok=False, output="", truncated=False),
        TurnEnded(Reason.USER_STOPPED),
    ]
    # The command went on and ends later: it is told as cut off already.
    assert client.item("completed", **{**COMMAND, "status": "completed", "exitCode": 0}) == []


def test_an_interrupt_before_the_turn_runs() -> None:
    client = Client()
    client.open()
    client.prompt()
    client.take(client.dialogue.interrupt())
    assert client.written[-1]["method"] == "turn/start"
    client.tell("turn/started", turn={"id": "u1"})
    assert client.written[-1]["method"] == "turn/interrupt"

    client = Client()
    client.prompt()
    assert client.take(client.dialogue.interrupt()) == [TurnEnded(Reason.USER_STOPPED)]


def test_a_command_is_asked_for() -> None:
    client = Client().start()
    [tool] = client.item("started", **COMMAND)
    assert isinstance(tool, AgentToolStarted)
    assert (tool.name, tool.kind, tool.title, tool.input) == ("shell", "execute", "make all", "make all")
    amendment = {"acceptWithExecpolicyAmendment": {"execpolicy_amendment": ["make", "all"]}}
    asked = client.ask(
        "item/commandExecution/requestApproval",
        itemId="c1",
        command=COMMAND["command"],
        reason="to build",
        availableDecisions=["accept", amendment, "cancel"],
    )
    assert asked.subject == Subject("execute")
    assert (asked.request.title, asked.request.detail) == ("make all", "make all\n\nto build")
    assert [(option.id, option.kind) for option in asked.request.options] == [
        ("accept", "allow_once"),
        ("acceptWithExecpolicyAmendment", "allow_always"),
        ("decline", "reject_once"),  # understood, though it is not offered
        ("cancel", "reject_once"),
    ]
    client.take(client.dialogue.answer(asked.request.id, Answer(option_id="acceptWithExecpolicyAmendment")))
    assert client.written[-1] == {"id": 0, "result": {"decision": amendment}}
    assert client.tell("serverRequest/resolved", requestId=0) == []
    client.take(client.dialogue.answer(asked.request.id, Answer(option_id="accept")))
    assert len(client.written) == 5  # answered once


def test_an_edit_is_asked_for_with_its_paths() -> None:
    client = Client().start()
    kind = {"type": "update", "move_path": "/project/b.txt"}
    changes = [{"path": "/project/a.txt", "kind": kind, "diff": "@@ -1 +1 @@\n-a\n+b\n"}]
    client.item("started", type="fileChange", id="f1", changes=changes, status="inProgress")
    asked = client.ask("item/fileChange/requestApproval", number=3, itemId="f1")
    assert asked.subject == Subject("edit", ("/project/a.txt", "/project/b.txt"))
    assert asked.request.title == "Edit a.txt, b.txt"
    assert "+b" in asked.request.detail
    client.take(client.dialogue.answer(asked.request.id, Answer(option_id="decline")))
    assert client.written[-1] == {"id": 3, "result": {"decision": "decline"}}
    [tool] = client.item("completed", type="fileChange", id="f1", changes=changes, status="declined")
    assert tool == AgentToolFinished(tool_id="f1", ok=False, output="declined", truncated=False)
    wide = client.ask("item/fileChange/requestApproval", itemId="f2", grantRoot="/")
    assert wide.subject == Subject("edit", ("/",))


def test_questions() -> None:
    client = Client(action=Action.PLAN).start()
    options = [{"label": "Red", "description": "r"}]
    question = {"id": "colour", "header": "C", "question": "Which?", "isOther": True, "options": options}
    secret = {"id": "key", "header": "K", "question": "The key?", "isSecret": True, "options": None}
    asked = client.ask("item/tool/requestUserInput", itemId="q", questions=[question, secret], isBlocking=True)
    assert asked.request.kind == InputRequestKind.QUESTION
    assert [(q.id, q.allows_text, q.secret) for q in asked.request.questions] == [
        ("colour", True, False),
        ("key", True, True),
    ]
    answers = [
        QuestionAnswer(question_id="colour", option_ids=["Red"]),
        QuestionAnswer(question_id="key", text="xyzzy"),
    ]
    output = client.dialogue.answer(asked.request.id, Answer(answers=answers))
    assert output.lines[0].secret
    client.take(output)
    assert client.written[-1]["result"] == {"answers": {"colour": {"answers": ["Red"]}, "key": {"answers": ["xyzzy"]}}}
    asked = client.ask("item/tool/requestUserInput", itemId="q", questions=[question])
    client.take(client.dialogue.answer(asked.request.id, Answer(text="Green")))
    assert client.written[-1]["result"] == {"answers": {"colour": {"answers": ["Green"]}}}


def test_permissions_and_elicitations() -> None:
    client = Client().start()
    permissions = {"network": {"enabled": True}, "fileSystem": None}
    asked = client.ask("item/permissions/requestApproval", itemId="x", permissions=permissions, reason="to fetch")
    client.take(client.dialogue.answer(asked.request.id, Answer(option_id="session")))
    assert client.written[-1]["result"] == {"permissions": {"network": {"enabled": True}}, "scope": "session"}
    asked = client.ask("item/permissions/requestApproval", itemId="x", permissions=permissions)
    client.take(client.dialogue.answer(asked.request.id, Answer(option_id="reject")))
    assert client.written[-1]["result"] == {"permissions": {}, "scope": "turn"}

    form: dict[str, Any] = {"mode": "form", "serverName": "github", "message": "Allow create_issue?"}
    meta = {"persist": ["session", "always"]}
    asked = client.ask("mcpServer/elicitation/request", **form, requestedSchema={"properties": {}}, _meta=meta)
    assert [option.id for option in asked.request.options] == ["accept", "session", "decline"]
    client.take(client.dialogue.answer(asked.request.id, Answer(option_id="session")))
    assert client.written[-1]["result"] == {"action": "accept", "content": {}, "_meta": {"persist": "session"}}

    schema = {"properties": {"name": {"type": "string"}}}
    asked = client.ask("mcpServer/elicitation/request", **form, requestedSchema=schema)
    assert asked.request.kind == InputRequestKind.QUESTION
    client.take(client.dialogue.answer(asked.request.id, Answer(text="x")))
    assert client.written[-1]["result"]["content"] == {"name": "x"}


def test_what_is_not_offered_is_refused() -> None:
    client = Client().start()
    assert client.hear(method="currentTime/read", id=7, params={}) == []
    assert client.written[-1]["error"]["code"] == -32601
    [log] = client.hear(method="unheard/of", id=8, params={})
    assert isinstance(log, AgentLog)
    assert client.written[-1]["id"] == 8


def test_a_request_may_be_taken_back() -> None:
    client = Client().start()
    asked = client.ask("item/commandExecution/requestApproval", number=5, command="ls", availableDecisions=None)
    [withdrawn] = client.tell("serverRequest/resolved", requestId=5)
    assert withdrawn == Withdrawn(asked.request.id, "withdrawn by the agent")
    second = client.ask("item/commandExecution/requestApproval", number=6, command="ls")
    assert client.end("interrupted")[0] == Withdrawn(second.request.id, "the turn ended")


def test_tokens_of_earlier_runs_do_not_count() -> None:
    def usage(total: int, last: int) -> dict[str, Any]:
        return {"total": {"inputTokens": total, "outputTokens": 10}, "last": {"inputTokens": last, "outputTokens": 0}}

    client = Client(conversation_id=THREAD)
    client.open()
    assert client.tell("thread/tokenUsage/updated", tokenUsage=usage(500, 100)) == []
    client.prompt()
    client.tell("turn/started", turn={"id": "u1"})
    assert client.tell("thread/tokenUsage/updated", tokenUsage=usage(600, 100)) == [
        UsageSeen(Usage(input_tokens=100, output_tokens=0))
    ]
    assert client.tell("thread/tokenUsage/updated", tokenUsage=usage(600, 100)) == []
    # Where the past was never told, all but the last request is the past.
    client = Client(conversation_id=THREAD).start()
    [seen] = client.tell("thread/tokenUsage/updated", tokenUsage=usage(900, 150))
    assert seen == UsageSeen(Usage(input_tokens=150, output_tokens=0))
    # A subagent's thread counts as well.
    params = {"threadId": "sub", "tokenUsage": usage(30, 30)}
    assert client.hear(method="thread/tokenUsage/updated", params=params) == [
        UsageSeen(Usage(input_tokens=180, output_tokens=10))
    ]


@pytest.mark.parametrize(
    ("info", "message", "reason"),
    [
        ("usageLimitExceeded", "You've hit your usage limit.", Reason.USAGE_LIMIT),
        ("unauthorized", "no", Reason.NOT_LOGGED_IN),
        ({"responseStreamConnectionFailed": {"httpStatusCode": 401}}, "no", Reason.NOT_LOGGED_IN),
        ({"responseTooManyFailedAttempts": {"httpStatusCode": 429}}, "no", Reason.USAGE_LIMIT),
        ({"httpConnectionFailed": {"httpStatusCode": None}}, "no", Reason.API_ERROR),
        ("internalServerError", "high demand", Reason.API_ERROR),
        ("contextWindowExceeded", "too long", Reason.AGENT_ERROR),
        ("cyberPolicy", "no", Reason.REFUSED),
        ("other", "unexpected status 401 Unauthorized", Reason.NOT_LOGGED_IN),
        (None, "odd", Reason.API_ERROR),
        ("brandNew", "odd", Reason.API_ERROR),
    ],
)
def test_failures(info: Any, message: str, reason: Reason) -> None:
    client = Client().start()
    limits = {"primary": {"usedPercent": 100, "resetsAt": 1795345085}, "secondary": None}
    client.tell("account/rateLimits/updated", rateLimits=limits)
    [ended] = client.end("failed", error={"message": message, "codexErrorInfo": info, "additionalDetails": None})
    assert isinstance(ended, TurnEnded)
    assert ended.reason == reason
    assert ended.text.startswith(message)
    assert ended.resets_at == ("2026-11-22T10:58:05.000Z" if reason == Reason.USAGE_LIMIT else None)


def test_a_retry_is_told_and_is_no_end() -> None:
    client = Client().start()
    error = {"message": "Reconnecting... 1/5", "additionalDetails": "high demand"}
    assert client.tell("error", error=error, willRetry=True) == [
        AgentLog(stream="stderr", text="Reconnecting... 1/5\nhigh demand")
    ]
    assert client.tell("error", error={"message": "gave up"}, willRetry=False) == []
    assert client.end("failed") == [TurnEnded(Reason.API_ERROR, "gave up")]


def test_subagents_are_heard_and_end_nothing() -> None:
    client = Client().start()
    told = client.hear(
        method="item/completed",
        params={"threadId": "sub", "item": {"type": "agentMessage", "id": "m", "text": "found"}},
    )
    assert told == [AgentThought(message_id="r1-m1", text="[subagent] found", final=True)]
    [tool] = client.hear(method="item/started", params={"threadId": "sub", "item": COMMAND})
    assert isinstance(tool, AgentToolStarted)
    assert tool.title == "[subagent] make all"
    turn = {"id": "u9", "status": "completed"}
    assert client.hear(method="turn/completed", params={"threadId": "sub", "turn": turn}) == []
    assert client.dialogue.busy


def test_the_program_ends_in_the_middle() -> None:
    client = Client().start()
    client.item("started", **COMMAND)
    facts = client.take(client.dialogue.ended(Exit(signal=9)))
    assert facts[-1] == TurnEnded(Reason.KILLED, "Codex was ended by signal 9.")
    assert not client.dialogue.busy
    client = Client().start()
    client.take(client.dialogue.interrupt())
    assert client.take(client.dialogue.ended(Exit(code=1))) == [TurnEnded(Reason.USER_STOPPED)]
    client = Client().start()
    client.end()
    assert client.take(client.dialogue.ended(Exit(code=1))) == []


@pytest.mark.parametrize(
    ("item", "kind", "title"),
    [
        ({"type": "mcpToolCall", "server": "gh", "tool": "list", "arguments": {"a": 1}}, "other", "gh.list"),
        ({"type": "dynamicToolCall", "tool": "look", "arguments": {}}, "other", "look"),
        ({"type": "collabAgentToolCall", "tool": "spawnAgent", "prompt": "go\non"}, "think", "spawnAgent go …"),
        ({"type": "webSearch", "query": "x"}, "fetch", "Search x"),
        ({"type": "webSearch", "query": "", "action": {"type": "openPage", "url": "u"}}, "fetch", "Open u"),
        ({"type": "imageView", "path": "/project/a.png"}, "read", "View a.png"),
        ({"type": "imageGeneration", "revisedPrompt": "a cat"}, "other", "Make an image a cat"),
        ({"type": "sleep", "durationMs": 1500}, "other", "Sleep 1.5 s"),
        ({**COMMAND, "commandActions": [{"type": "read", "path": "a"}]}, "read", "make all"),
        ({**COMMAND, "commandActions": [{"type": "search"}, {"type": "listFiles"}]}, "search", "make all"),
    ],
)
def test_every_kind_of_item_is_a_tool(item: dict[str, Any], kind: str, title: str) -> None:
    tool = started({"id": "x", **item}, "/project")
    assert tool is not None
    assert (tool.kind, tool.title) == (kind, title)


def test_how_items_end() -> None:
    content = [{"type": "text", "text": "a"}, {"type": "image"}]
    assert finished("x", {"type": "mcpToolCall", "result": {"content": content}}).output == "a\n[image]"
    failed = finished("x", {"type": "mcpToolCall", "status": "failed", "error": {"message": "no"}})
    assert (failed.ok, failed.output) == (False, "no")
    assert not finished("x", {"type": "commandExecution", "status": "completed", "exitCode": 2}).ok
    assert finished("x", {"type": "commandExecution", "aggregatedOutput": "y" * 100_000}).truncated
    assert plain_command("bash -c 'a | b'") == "a | b"
    assert plain_command("it's") == "it's"
    assert change_paths({"changes": [{"path": "a", "kind": "add"}]}) == ["a"]


@pytest.mark.parametrize(
    ("line", "stream"),
    [
        ("no JSON", "raw"),
        ("[1]", "raw"),
        ('{"method":"brand/new","params":{}}', "unknown"),
        ('{"id":99,"result":{}}', "unknown"),
        ('{"method":"turn/completed","params":{}}', "unknown"),
        ('{"method":"item/started","params":{"item":{"type":"hologram","id":"h"}}}', "unknown"),
        ('{"type":"brand.new"}', "unknown"),
    ],
)
def test_what_is_not_understood_is_shown(line: str, stream: str) -> None:
    client = Client().start()
    assert client.take(client.dialogue.receive(line)) == [AgentLog(stream=stream, text=line)]


def test_nonsense_raises_nothing() -> None:
    chance = random.Random(7)
    values: list[Any] = [None, 1, "x", [], {}, {"id": "x"}, ["x"], {"type": "text"}]
    methods = ["turn/started", "turn/completed", "item/started", "item/completed", "error", "thread/tokenUsage/updated"]
    keys = ["item", "turn", "threadId", "tokenUsage", "error", "plan", "rateLimits", "requestId", "questions", "itemId"]
    client = Client().start()
    for number in range(3000):
        params = {chance.choice(keys): chance.choice(values) for _ in range(3)}
        message: dict[str, Any] = {"method": chance.choice(methods), "params": params}
        if chance.random() < 0.3:
            message["id"] = number
            message["method"] = "item/" + chance.choice(["fileChange/requestApproval", "tool/requestUserInput"])
        client.dialogue.receive(json.dumps(message))
        client.dialogue.observe(json.dumps({"id": number, "result": chance.choice(values)}))
    json.dumps(client.dialogue.state)
