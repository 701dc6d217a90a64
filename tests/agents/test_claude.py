"""Claude Code's adapter: what is started, what its lines mean, and what is written to it.

Whole conversations are in tests/recordings/claude/; here is what a recording does not reach.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, TypeVar

import pytest

from orch_server.agents.adapter import (
    Answer,
    Asked,
    ConversationNamed,
    Exit,
    Fact,
    Line,
    Output,
    Prompt,
    PromptAccepted,
    Subject,
    Task,
    TurnEnded,
    UsageSeen,
    Withdrawn,
)
from orch_server.agents.claude import CAP, ClaudeAdapter, ClaudeDialogue
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
from orch_server.domain.session import Action, InputRequestKind, Policy, QuestionAnswer, Reason, Usage

Json = dict[str, Any]
Kind = TypeVar("Kind")

RECORDINGS = Path(__file__).parent.parent / "recordings" / "claude"
PROMPT = Prompt("00000000-0000-4000-8000-000000000001", "Do it")
RUNNING: Json = {"type": "system", "subtype": "session_state_changed", "state": "running"}
IDLE: Json = {"type": "system", "subtype": "session_state_changed", "state": "idle"}
STEER = Prompt("00000000-0000-4000-8000-000000000002", "And that")


def a_task(action: Action = Action.IMPLEMENT, **more: Any) -> Task:
    return Task("session", "run", action, Policy.ASK, cwd="/home/dev/project", new_conversation_id="new-id", **more)


class Talk:
    """A dialogue whose lines and facts are kept; it is saved and loaded again after every step."""

    def __init__(self, action: Action = Action.IMPLEMENT, *, prompted: bool = True) -> None:
        self.dialogue = ClaudeAdapter().dialogue(a_task(action))
        self.facts: list[Fact] = []
        self.lines: list[Line] = []
        if prompted:
            self.take(self.dialogue.prompt(PROMPT))
            self.hears(an_echo(PROMPT))
            self.lines.clear()
            self.facts.clear()

    def hears(self, *lines: Json | str) -> list[Fact]:
        """Feed lines and return what they told."""
        before = len(self.facts)
        for line in lines:
            self.take(self.dialogue.receive(line if isinstance(line, str) else json.dumps(line)))
        return self.facts[before:]

    def take(self, output: Output) -> list[Fact]:
        """Keep what a dialogue gave back."""
        self.facts += output.facts
        self.lines += output.lines
        saved = json.loads(json.dumps(self.dialogue.state))
        self.dialogue = ClaudeAdapter().dialogue(self.dialogue.task, saved)
        return output.facts

    def written(self) -> Json:
        """Return the only line that was written."""
        [line] = self.lines
        written: Json = json.loads(line.text)
        return written

    def response(self) -> Json:
        """Return the answer in the only line that was written."""
        response: Json = self.written()["response"]["response"]
        return response


def an_echo(prompt: Prompt) -> Json:
    content = [{"type": "text", "text": prompt.text}]
    return {"type": "user", "message": {"role": "user", "content": content}, "uuid": prompt.id, "isReplay": True}


def says(*blocks: Json, message: str = "msg", parent: str | None = None) -> Json:
    return {
        "type": "assistant",
        "message": {"id": message, "model": "m", "content": list(blocks)},
        "parent_tool_use_id": parent,
    }


def uses(name: str, tool: str = "tool", **values: Any) -> Json:
    return {"type": "tool_use", "id": tool, "name": name, "input": values}


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def returns(content: Any, tool: str = "tool", *, is_error: bool = False, **more: Any) -> Json:
    block = {"type": "tool_result", "tool_use_id": tool, "content": content, "is_error": is_error}
    return {"type": "user", "message": {"role": "user", "content": [block]}, **more}


def streams(**event: Any) -> Json:
    return {"type": "stream_event", "event": event, "parent_tool_use_id": None}


def asks(name: str, request_id: str = "ask", **values: Any) -> Json:
    request = {"subtype": "can_use_tool", "tool_name": name, "input": values, "tool_use_id": "tool"}
    return {"type": "control_request", "request_id": request_id, "request": request}


def a_result(result: str = "Done.", **more: Any) -> Json:
    return {"type": "result", "subtype": "success", "is_error": False, "result": result, **more}


def only(facts: list[Fact], kind: type[Kind]) -> Kind:
    [fact] = [fact for fact in facts if isinstance(fact, kind)]
    return fact


# What is started.


def test_implement_is_started_to_ask_about_everything() -> None:
    arguments = list(ClaudeAdapter().launch(a_task(model="opus")).arguments)
    assert arguments[arguments.index("--permission-mode") + 1] == "default"
    assert arguments[arguments.index("--permission-prompt-tool") + 1] == "stdio"
    assert arguments[arguments.index("--model") + 1] == "opus"
    assert arguments[-2:] == ["--session-id", "new-id"]
    assert "--tools" not in arguments


@pytest.mark.parametrize("resumed", [None, "an-id"])
@pytest.mark.parametrize("action", [Action.ANALYZE, Action.REVIEW])
def test_read_only_runs_have_only_tools_that_read(action: Action, resumed: str | None) -> None:
    arguments = list(ClaudeAdapter().launch(a_task(action, conversation_id=resumed)).arguments)
    assert arguments[arguments.index("--permission-mode") + 1] == "dontAsk"
    assert arguments[arguments.index("--tools") + 1] == "Read,Grep,Glob"
    assert "--strict-mcp-config" in arguments
    assert arguments[-2:] == (["--resume", "an-id"] if resumed else ["--session-id", "new-id"])


def test_plan_has_no_tool_that_writes() -> None:
    arguments = list(ClaudeAdapter().launch(a_task(Action.PLAN)).arguments)
    assert arguments[arguments.index("--permission-mode") + 1] == "plan"
    tools = arguments[arguments.index("--tools") + 1].split(",")
    assert not {"Write", "Edit", "Bash", "NotebookEdit", "Task"} & set(tools)


def test_no_argument_is_swallowed_by_a_flag_that_takes_several() -> None:
    for action in Action:
        arguments = list(ClaudeAdapter().launch(a_task(action)).arguments)
        for place, argument in enumerate(arguments):
            if argument == "--tools":
                assert arguments[place + 2].startswith("--")


# Texts and turns.


def test_a_text_is_handed_in_under_its_own_id() -> None:
    talk = Talk(prompted=False)
    talk.take(talk.dialogue.prompt(PROMPT))
    assert talk.written() == {
        "type": "user",
        "message": {"role": "user", "content": [{"type": "text", "text": "Do it"}]},
        "parent_tool_use_id": None,
        "session_id": "",
        "uuid": PROMPT.id,
    }
    assert talk.lines[0].prompt_id == PROMPT.id
    assert talk.dialogue.busy


def test_a_text_with_half_a_character_is_handed_in() -> None:
    talk = Talk(prompted=False)
    talk.take(talk.dialogue.prompt(Prompt(PROMPT.id, "half \ud83d of it\nand more")))
    assert talk.written()["message"]["content"][0]["text"] == "half ? of it\nand more"
    assert "\n" not in talk.lines[0].text


def test_a_text_is_acknowledged_once_by_whichever_word_comes_first() -> None:
    talk = Talk(prompted=False)
    talk.take(talk.dialogue.prompt(PROMPT))
    lifecycle = {"type": "command_lifecycle", "command_uuid": PROMPT.id}
    assert not talk.hears({**lifecycle, "state": "queued"})
    assert talk.hears({**lifecycle, "state": "started"}) == [PromptAccepted(PROMPT.id)]
    assert not talk.hears(an_echo(PROMPT))
    talk.hears(a_result())
    assert not talk.hears({**lifecycle, "state": "completed"})
    assert not talk.dialogue.busy


def test_a_text_that_comes_after_the_turn_begins_its_own() -> None:
    talk = Talk()
    talk.take(talk.dialogue.prompt(STEER))
    assert talk.hears(a_result("first")) == [TurnEnded(text="first")]
    assert talk.dialogue.busy
    assert talk.hears(an_echo(STEER)) == [PromptAccepted(STEER.id, begins_turn=True)]


def test_a_refused_text_fails() -> None:
    talk = Talk(prompted=False)
    talk.take(talk.dialogue.prompt(PROMPT))
    ended = only(talk.hears({"type": "command_lifecycle", "command_uuid": PROMPT.id, "state": "refused"}), TurnEnded)
    assert ended.reason == Reason.AGENT_ERROR
    assert not talk.dialogue.busy


def test_nothing_is_interrupted_where_nothing_runs() -> None:
    assert Talk(prompted=False).dialogue.interrupt() == Output()


def test_an_interrupt_is_no_failure() -> None:
    talk = Talk()
    talk.take(talk.dialogue.interrupt())
    assert talk.written()["request"] == {"subtype": "interrupt"}
    failed = {"type": "result", "subtype": "error_during_execution", "is_error": True, "errors": ["internal"]}
    assert talk.hears(failed) == [TurnEnded(Reason.USER_STOPPED, "The turn was interrupted.")]


def test_a_turn_lasts_until_the_program_is_idle() -> None:
    talk = Talk()
    talk.hears(RUNNING)
    assert not talk.hears(a_result("I sent a subagent."))
    assert talk.dialogue.busy
    assert not talk.hears(a_result("It found nothing."))
    assert talk.hears(IDLE) == [TurnEnded(text="It found nothing.")]
    assert not talk.dialogue.busy
    assert not talk.hears(RUNNING, IDLE)


def test_a_further_text_ends_a_turn_that_waits_for_subagents() -> None:
    talk = Talk()
    talk.hears(RUNNING, a_result("I sent a subagent."))
    talk.take(talk.dialogue.prompt(STEER))
    assert talk.hears(an_echo(STEER)) == [TurnEnded(text="I sent a subagent."), PromptAccepted(STEER.id)]


def test_an_interrupt_of_subagents_is_a_stop() -> None:
    talk = Talk()
    talk.hears(RUNNING, a_result("I sent a subagent."))
    talk.take(talk.dialogue.interrupt())
    assert only(talk.hears(IDLE), TurnEnded).reason == Reason.USER_STOPPED


@pytest.mark.parametrize(("end", "reason"), [(Exit(code=0), None), (Exit(signal=9), Reason.KILLED)])
def test_a_program_that_leaves_its_subagents(end: Exit, reason: Reason | None) -> None:
    talk = Talk()
    talk.hears(RUNNING, a_result("I sent a subagent."))
    assert only(talk.take(talk.dialogue.ended(end)), TurnEnded).reason == reason


# Messages.


def test_a_streamed_message_is_not_repeated() -> None:
    talk = Talk()
    facts = talk.hears(
        streams(type="message_start", message={"id": "msg"}),
        streams(type="content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}),
        streams(type="content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}),
        streams(type="content_block_delta", index=0, delta={"type": "signature_delta", "signature": "x"}),
        says({"type": "thinking", "thinking": "hm"}),
        streams(type="content_block_stop", index=0),
        streams(type="content_block_start", index=1, content_block={"type": "text", "text": ""}),
        streams(type="content_block_delta", index=1, delta={"type": "text_delta", "text": "Hel"}),
        streams(type="content_block_delta", index=1, delta={"type": "text_delta", "text": "lo"}),
        says(text("Hello!")),
        streams(type="content_block_stop", index=1),
        streams(type="message_stop"),
    )
    assert facts == [
        AgentThought(message_id="msg:1", text="hm", final=False),
        AgentThought(message_id="msg:1", text="", final=True),
        AgentMessage(message_id="msg:2", text="Hel", final=False),
        AgentMessage(message_id="msg:2", text="lo", final=False),
        AgentMessage(message_id="msg:2", text="!", final=True),
    ]


def test_a_message_that_was_cut_is_ended() -> None:
    talk = Talk()
    talk.hears(
        streams(type="message_start", message={"id": "msg"}),
        streams(type="content_block_start", index=0, content_block={"type": "text", "text": ""}),
        streams(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "Hel"}),
    )
    facts = talk.take(talk.dialogue.ended(Exit(signal=9)))
    assert facts[0] == AgentMessage(message_id="msg:1", text="", final=True)


def test_blocks_of_one_message_have_their_own_ids() -> None:
    facts = Talk().hears(says(text("one")), says(uses("Read", file_path="/x")), says(text("two")), says(text(" ")))
    messages = [fact for fact in facts if isinstance(fact, AgentMessage)]
    assert [(message.message_id, message.text) for message in messages] == [("msg:1", "one"), ("msg:2", "two")]


def test_a_subagent_is_heard_with_its_name() -> None:
    talk = Talk()
    talk.hears(says(uses("Task", "agent", description="Find callers", prompt="...")))
    facts = talk.hears(
        says(text("I look."), message="sub", parent="agent"),
        says(uses("Grep", "grep", pattern="call\\("), message="sub", parent="agent"),
    )
    assert facts[0] == AgentThought(message_id="sub:1", text="[Find callers] I look.", final=True)
    assert only(facts, AgentToolStarted).title == "[Find callers] Grep call\\("


def test_half_a_character_from_the_program_is_no_failure() -> None:
    line = json.dumps(says(text("cut: X"))).replace("X", "\\ud83d")
    assert Talk().hears(line) == [AgentMessage(message_id="msg:1", text="cut: ?", final=True)]


# Tools.


@pytest.mark.parametrize(
    ("name", "values", "kind", "title", "paths"),
    [
        ("Edit", {"file_path": "/home/dev/project/a.py"}, "edit", "Edit a.py", ["/home/dev/project/a.py"]),
        ("Read", {"file_path": "/etc/hosts"}, "read", "Read /etc/hosts", ["/etc/hosts"]),
        ("Bash", {"command": "make\nmake check"}, "execute", "Bash make …", []),
        ("Grep", {"pattern": "x", "path": "src"}, "search", "Grep src", ["src"]),
        ("WebFetch", {"url": "https://example.org"}, "fetch", "WebFetch https://example.org", []),
        ("mcp__tracker__close", {"issue": 7}, "other", "mcp__tracker__close", []),
    ],
)
def test_a_tool_is_described(name: str, values: Json, kind: str, title: str, paths: list[str]) -> None:
    started = only(Talk().hears(says(uses(name, **values))), AgentToolStarted)
    assert (started.kind, started.title, started.paths) == (kind, title, paths)
    assert json.loads(started.input) == values


def test_what_a_tool_says_is_capped() -> None:
    finished = only(Talk().hears(returns("ä" * CAP)), AgentToolFinished)
    assert finished.truncated
    assert len(finished.output.encode()) == CAP


def test_what_a_tool_says_may_have_parts() -> None:
    parts = [text("one"), {"type": "image", "source": {}}, text("two")]
    assert only(Talk().hears(returns(parts)), AgentToolFinished).output == "one\n[image]\ntwo"


def test_a_tool_that_runs_when_the_program_dies_is_ended() -> None:
    talk = Talk()
    talk.hears(says(uses("Bash", command="sleep 100")))
    facts = talk.take(talk.dialogue.ended(Exit(signal=9)))
    assert only(facts, AgentToolFinished) == AgentToolFinished(tool_id="tool", ok=False, output="", truncated=False)


def test_a_list_of_things_to_do_is_a_plan() -> None:
    todos = [{"content": "Read", "status": "completed"}, {"content": "Write", "status": "pending"}]
    facts = Talk().hears(says(uses("TodoWrite", todos=todos)), returns("Todos have been modified"))
    entries = [PlanEntry(text="Read", status="completed"), PlanEntry(text="Write", status="pending")]
    assert facts == [AgentPlan(entries=entries)]


def test_tasks_are_a_plan() -> None:
    talk = Talk()
    talk.hears(says(uses("TaskCreate", subject="Read")), returns("ok", tool_use_result={"task": {"id": "7"}}))
    talk.hears(says(uses("TaskUpdate", taskId="7", status="in_progress")), returns("ok"))
    assert talk.facts[-1] == AgentPlan(entries=[PlanEntry(text="Read", status="in_progress")])
    talk.hears(says(uses("TaskUpdate", taskId="7", status="deleted")), returns("ok"))
    assert talk.facts[-1] == AgentPlan(entries=[])


# What it asks.


def test_always_is_kept_for_the_run_alone() -> None:
    talk = Talk()
    rules = [{"toolName": "Bash", "ruleContent": "make:*"}]
    suggestion = {"type": "addRules", "rules": rules, "behavior": "allow", "destination": "localSettings"}
    line = asks("Bash", command="make check", description="Run the tests")
    line["request"]["permission_suggestions"] = [suggestion]
    asked = only(talk.hears(line), Asked)
    assert asked.subject == Subject("execute")
    assert asked.request.detail == "make check\n\nRun the tests"
    assert asked.request.options[1].label == "Always allow Bash(make:*) in this run"
    talk.take(talk.dialogue.answer("ask", Answer(option_id="allow_always")))
    assert talk.response() == {
        "behavior": "allow",
        "updatedInput": {"command": "make check", "description": "Run the tests"},
        "updatedPermissions": [{**suggestion, "destination": "session"}],
    }


def test_without_suggestions_there_is_no_always() -> None:
    asked = only(Talk().hears(asks("Edit", file_path="/x", old_string="a", new_string="b")), Asked)
    assert [option.id for option in asked.request.options] == ["allow_once", "reject_once"]
    assert asked.subject == Subject("edit", ("/x",))
    assert asked.request.detail == "/x\n\n-a\n+b\n"


def test_a_blocked_path_belongs_to_the_subject() -> None:
    line = asks("Bash", command="cat ../x")
    line["request"]["blocked_path"] = "/home/dev/x"
    assert only(Talk().hears(line), Asked).subject == Subject("execute", ("/home/dev/x",))


@pytest.mark.parametrize("option", ["reject_once", None, "no such option"])
def test_whatever_is_not_leave_is_a_refusal(option: str | None) -> None:
    talk = Talk()
    talk.hears(asks("Bash", command="make"))
    talk.take(talk.dialogue.answer("ask", Answer(option_id=option)))
    assert talk.response()["behavior"] == "deny"


def test_an_answer_to_what_is_not_asked_is_nothing() -> None:
    assert Talk().dialogue.answer("other", Answer(option_id="allow_once")) == Output()


def test_questions_are_answered_by_their_texts() -> None:
    talk = Talk()
    choices = [{"label": "Red"}, {"label": "Blue", "description": "b"}]
    questions = [
        {"question": "Which?", "header": "Colour", "options": choices, "multiSelect": True},
        {"question": "Why?", "options": []},
        {"question": "Else?", "options": []},
    ]
    asked = only(talk.hears(asks("AskUserQuestion", questions=questions)), Asked)
    assert asked.request.kind == InputRequestKind.QUESTION
    assert [question.multi_select for question in asked.request.questions] == [True, False, False]
    given = [
        QuestionAnswer(question_id="1", option_ids=["Red", "Blue"], text="both"),
        QuestionAnswer(question_id="2", text="because"),
    ]
    talk.take(talk.dialogue.answer("ask", Answer(answers=given)))
    assert talk.response() == {
        "behavior": "allow",
        "updatedInput": {"questions": questions, "answers": {"Which?": "Red, Blue, both", "Why?": "because"}},
    }


def test_a_request_is_withdrawn() -> None:
    talk = Talk()
    talk.hears(asks("Bash", command="make"))
    facts = talk.hears({"type": "control_cancel_request", "request_id": "ask"})
    assert only(facts, Withdrawn).request_id == "ask"
    assert talk.dialogue.answer("ask", Answer(option_id="allow_once")) == Output()


def test_an_answer_of_somebody_else_withdraws_the_request() -> None:
    talk = Talk()
    talk.hears(asks("Bash", command="make"))
    echo = {"type": "control_response", "response": {"subtype": "success", "request_id": "ask", "response": {}}}
    assert only(talk.hears(echo), Withdrawn).request_id == "ask"
    assert not talk.hears(echo)


def test_open_requests_end_with_the_program() -> None:
    talk = Talk()
    talk.hears(asks("Bash", command="make"))
    assert only(talk.take(talk.dialogue.ended(Exit(code=0))), Withdrawn).request_id == "ask"


def test_a_request_that_is_not_known_is_refused_rather_than_left_waiting() -> None:
    talk = Talk()
    line = {"type": "control_request", "request_id": "x", "request": {"subtype": "hook_callback"}}
    assert isinstance(talk.hears(line)[0], AgentLog)
    assert talk.written()["response"]["subtype"] == "error"


# Read-only runs, and plans.


@pytest.mark.parametrize("action", [Action.ANALYZE, Action.REVIEW, Action.PLAN])
@pytest.mark.parametrize("name", ["Write", "Bash", "mcp__files__write", "EnterWorktree"])
def test_no_policy_can_let_a_read_only_run_write(action: Action, name: str) -> None:
    talk = Talk(action)
    assert not talk.hears(asks(name, file_path="/home/dev/project/x", command="touch x"))
    assert talk.response()["behavior"] == "deny"


def test_a_read_only_run_may_ask_to_read() -> None:
    asked = only(Talk(Action.PLAN).hears(asks("Read", file_path="/etc/hosts")), Asked)
    assert asked.subject == Subject("read", ("/etc/hosts",))


def test_a_plan_is_told_once_and_ends_the_turn() -> None:
    talk = Talk(Action.PLAN)
    facts = talk.hears(says(uses("ExitPlanMode", plan="# Plan")), asks("ExitPlanMode"))
    assert [fact.text for fact in facts if isinstance(fact, AgentMessage)] == ["# Plan"]
    assert not any(isinstance(fact, Asked) for fact in facts)
    assert talk.response()["behavior"] == "deny"
    assert "interrupt" not in talk.response()
    assert talk.hears(a_result("I stop here."))[-1] == TurnEnded(text="# Plan")


def test_an_agent_that_insists_on_leaving_the_plan_is_interrupted() -> None:
    talk = Talk(Action.PLAN)
    talk.hears(asks("ExitPlanMode", plan="# Plan"))
    talk.lines.clear()
    talk.hears(asks("ExitPlanMode", plan="# Plan"))
    assert talk.response()["interrupt"] is True
    aborted = {"type": "result", "subtype": "error_during_execution", "is_error": True}
    ended = talk.hears({**aborted, "terminal_reason": "aborted_tools"})[-1]
    assert ended == TurnEnded(text="# Plan")


def test_a_plan_without_a_text_is_asked_for_as_an_answer() -> None:
    talk = Talk(Action.PLAN)
    talk.hears(asks("ExitPlanMode"))
    assert "final answer" in talk.response()["message"]
    assert talk.hears(a_result("# Plan"))[-1] == TurnEnded(text="# Plan")


def test_a_plan_does_not_hide_a_failure() -> None:
    talk = Talk(Action.PLAN)
    talk.hears(asks("ExitPlanMode", plan="# Plan"))
    ended = only(talk.hears(a_result("API Error: 500", is_error=True, api_error_status=500)), TurnEnded)
    assert ended.reason == Reason.API_ERROR


# Results.


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (a_result("API Error: 529 overloaded", is_error=True, api_error_status=529), Reason.API_ERROR),
        (a_result("Request rejected", is_error=True, api_error_status=429), Reason.USAGE_LIMIT),
        (a_result("You've hit your session limit · resets 3pm", is_error=True), Reason.USAGE_LIMIT),
        (a_result("Failed to authenticate", is_error=True, api_error_status=401), Reason.NOT_LOGGED_IN),
        (a_result("Invalid API key · Fix external API key", is_error=True), Reason.NOT_LOGGED_IN),
        (a_result("Prompt is too long", is_error=True), Reason.AGENT_ERROR),
        ({"type": "result", "subtype": "error_max_turns", "is_error": False}, Reason.AGENT_ERROR),
        ({"type": "result", "subtype": "something_new", "is_error": True}, Reason.AGENT_ERROR),
    ],
)
def test_failures_are_told_apart(result: Json, reason: Reason) -> None:
    ended = only(Talk().hears(result), TurnEnded)
    assert ended.reason == reason
    assert ended.text


def test_an_error_of_the_api_is_not_a_message_of_the_agent() -> None:
    talk = Talk()
    synthetic = says(text("API Error: billing"))
    synthetic["message"]["model"] = "<synthetic>"
    assert not talk.hears({**synthetic, "error": "billing_error"})
    assert only(talk.hears(a_result("API Error: billing", is_error=True)), TurnEnded).reason == Reason.API_ERROR


def test_a_limit_says_when_it_ends() -> None:
    talk = Talk()
    info = {"status": "rejected", "resetsAt": 1795359600, "rateLimitType": "five_hour"}
    assert not talk.hears({"type": "rate_limit_event", "rate_limit_info": info})
    ended = only(talk.hears(a_result("You've hit your limit", is_error=True, api_error_status=429)), TurnEnded)
    assert ended.resets_at == "2026-11-22T15:00:00.000Z"


def test_a_limit_may_carry_its_end_in_the_text() -> None:
    ended = only(Talk().hears(a_result("Claude AI usage limit reached|1795359600", is_error=True)), TurnEnded)
    assert (ended.reason, ended.resets_at) == (Reason.USAGE_LIMIT, "2026-11-22T15:00:00.000Z")


def test_a_limit_that_is_near_is_told() -> None:
    info = {"status": "allowed_warning", "resetsAt": 1795359600, "rateLimitType": "seven_day"}
    [thought] = Talk().hears({"type": "rate_limit_event", "rate_limit_info": info})
    assert isinstance(thought, AgentThought)
    assert "seven_day" in thought.text


def test_usage_is_that_of_the_whole_run() -> None:
    talk = Talk()
    model = {"inputTokens": 10, "outputTokens": 5, "cacheReadInputTokens": 100, "cacheCreationInputTokens": 1}
    talk.hears(a_result(modelUsage={"a": model}, total_cost_usd=0.1))
    talk.hears(a_result(modelUsage={"a": model, "b": model}, total_cost_usd=0.3))
    seen = [fact.usage for fact in talk.facts if isinstance(fact, UsageSeen)]
    assert seen == [
        Usage(input_tokens=111, output_tokens=5, cost_usd=0.1),
        Usage(input_tokens=222, output_tokens=10, cost_usd=0.3),
    ]


def test_usage_without_models_is_summed() -> None:
    talk = Talk()
    used = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": None}
    talk.hears(a_result(usage=used), a_result(usage=used))
    assert only(talk.facts[-2:], UsageSeen).usage == Usage(input_tokens=20, output_tokens=10, cost_usd=None)


@pytest.mark.parametrize(
    ("counted", "used"),
    [
        ((50, 5), Usage(input_tokens=50, output_tokens=5, cost_usd=0.3)),  # the program forgot what was before
        ((150, 25), Usage(input_tokens=50, output_tokens=5, cost_usd=0.2)),  # it counts it again
        ((160, 27), Usage(input_tokens=60, output_tokens=7, cost_usd=0.2)),  # a subagent worked beside
    ],
)
def test_usage_of_a_resumed_run_is_its_own(counted: tuple[int, int], used: Usage) -> None:
    talk = Talk()
    before = Usage(input_tokens=100, output_tokens=20, cost_usd=0.1)
    talk.dialogue.task = dataclasses.replace(talk.dialogue.task, conversation_id="c", usage_before=before)
    model = {"inputTokens": counted[0], "outputTokens": counted[1]}
    turn = {"input_tokens": 50, "output_tokens": 5}
    talk.hears(a_result(modelUsage={"a": model}, usage=turn, total_cost_usd=0.3))
    assert only(talk.facts, UsageSeen).usage == used
    model = {"inputTokens": counted[0] + 50, "outputTokens": counted[1] + 5}
    talk.hears(a_result(modelUsage={"a": model}, usage=turn, total_cost_usd=0.3))
    assert only(talk.facts[-2:], UsageSeen).usage.input_tokens == used.input_tokens + 50


# The end of the program.


@pytest.mark.parametrize(
    ("end", "reason", "word"),
    [
        (Exit(code=0), Reason.EXITED_WITHOUT_RESULT, "code 0"),
        (Exit(code=1, stderr_tail="boom"), Reason.EXITED_WITHOUT_RESULT, "boom"),
        (Exit(signal=9), Reason.KILLED, "signal 9"),
        (Exit(code=143), Reason.KILLED, "signal 15"),
        (Exit(), Reason.LOST, "not known"),
        (Exit(code=1, stderr_tail="No conversation found with session ID: x"), Reason.AGENT_ERROR, "by directory"),
        (Exit(code=1, stderr_tail="Error: Session ID x is already in use."), Reason.AGENT_ERROR, "open"),
        (Exit(code=1, stderr_tail="cannot be used with root/sudo privileges"), Reason.AGENT_ERROR, "other than root"),
        (Exit(code=1, stderr_tail="Not logged in · Please run /login"), Reason.NOT_LOGGED_IN, "Log in"),
    ],
)
def test_an_end_without_a_result_is_told(end: Exit, reason: Reason, word: str) -> None:
    talk = Talk()
    ended = only(talk.take(talk.dialogue.ended(end)), TurnEnded)
    assert ended.reason == reason
    assert word in ended.text
    assert not talk.dialogue.busy


def test_an_end_after_the_result_is_nothing_to_tell() -> None:
    talk = Talk()
    talk.hears(a_result())
    assert not talk.take(talk.dialogue.ended(Exit(code=1)))


def test_an_end_after_an_interrupt_is_a_stop() -> None:
    talk = Talk()
    talk.take(talk.dialogue.interrupt())
    assert only(talk.take(talk.dialogue.ended(Exit(signal=15))), TurnEnded).reason == Reason.USER_STOPPED


def test_a_failed_resume_is_told_once() -> None:
    talk = Talk(prompted=False)
    talk.take(talk.dialogue.prompt(PROMPT))
    failed = {"type": "result", "subtype": "error_during_execution", "is_error": True}
    talk.hears({**failed, "errors": ["No conversation found with session ID: x"]})
    talk.take(talk.dialogue.ended(Exit(code=1, stderr_tail="No conversation found with session ID: x")))
    assert only(talk.facts, TurnEnded).reason == Reason.AGENT_ERROR


# Lines that are not understood.


@pytest.mark.parametrize(
    "line",
    ["not JSON", '{"half": ', "[1, 2]", '"text"', '{"no": "type"}', '{"type": 7}', "[" * 100_000, "\x00", "\udcff"],
)
def test_what_is_no_message_is_raw(line: str) -> None:
    [log] = Talk().hears(line)
    assert isinstance(log, AgentLog)
    assert log.stream == "raw"


@pytest.mark.parametrize(
    "line",
    [
        {"type": "something_new"},
        {"type": "system", "subtype": "something_new"},
        {"type": "system"},
        {"type": "assistant", "message": None},
        {"type": "assistant", "message": {"id": "m", "content": [{"type": "text"}]}},
        {"type": "user", "message": {"content": [{"type": "tool_result"}]}},
        {"type": "stream_event", "event": "x"},
        {"type": "control_request", "request": {}},
        {"type": "control_response"},
        {"type": "result", "subtype": "success", "modelUsage": {"m": 1}},
        {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": 1e30}},
    ],
)
def test_a_shape_never_seen_is_shown(line: Json) -> None:
    log = only(Talk().hears(line), AgentLog)
    assert log.stream == "unknown"
    assert json.loads(log.text) == line


@pytest.mark.parametrize("line", ["", "   ", '{"type":"keep_alive"}', '{"type":"system","subtype":"status"}'])
def test_noise_is_dropped(line: str) -> None:
    assert not Talk().hears(line)


def test_blocks_never_seen_are_passed_over() -> None:
    assert not Talk().hears(says({"type": "redacted_thinking", "data": "x"}))


# Recordings of other clients.


def test_what_another_client_wrote_is_observed() -> None:
    talk = Talk(prompted=False)
    talk.take(talk.dialogue.observe('{"type":"user","message":{"content":"x"}}'))
    assert talk.hears({**an_echo(PROMPT), "uuid": "given"}) == [PromptAccepted("given")]
    talk.hears(asks("Bash", command="make"))
    reply = {"subtype": "success", "request_id": "ask", "response": {"behavior": "allow", "updatedInput": {}}}
    facts = talk.take(talk.dialogue.observe(json.dumps({"type": "control_response", "response": reply})))
    assert facts == [InputAnswered(input_request_id="ask", by="user", option_id="allow_once")]
    talk.take(talk.dialogue.observe('{"type":"control_request","request":{"subtype":"interrupt"}}'))
    failed = {"type": "result", "subtype": "error_during_execution", "is_error": True}
    assert only(talk.hears(failed), TurnEnded).reason == Reason.USER_STOPPED
    assert talk.take(talk.dialogue.observe("not JSON")) == []


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.jsonl")), ids=lambda path: path.name)
def test_recordings_are_understood_whole(path: Path) -> None:
    """Nothing in them is unknown, every event can be stored, and none of their turns is left open."""
    talk = Talk(prompted=False)
    for line in path.read_text().splitlines():
        way, _, rest = line.split(" ", 2) if path.name.endswith(".io.jsonl") else ("<", "", line)
        talk.take((talk.dialogue.observe if way == ">" else talk.dialogue.receive)(rest))
    talk.take(talk.dialogue.ended(Exit(code=0)))
    assert not [fact for fact in talk.facts if isinstance(fact, AgentLog)]
    for fact in talk.facts:
        if isinstance(fact, EventData):
            assert type(fact).model_validate_json(fact.json_bytes()) == fact
    accepted = [fact for fact in talk.facts if isinstance(fact, PromptAccepted) and fact.begins_turn]
    ended = [fact for fact in talk.facts if isinstance(fact, TurnEnded)]
    assert len(ended) >= max(len(accepted), path.stat().st_size > 0)
    assert not talk.dialogue.busy
    said: dict[str, str] = {}
    for fact in talk.facts:
        if isinstance(fact, AgentMessage):
            said[fact.message_id] = said.get(fact.message_id, "") + fact.text
    assert {turn.text for turn in ended if turn.reason is None} <= set(said.values())
    named = [fact for fact in talk.facts if isinstance(fact, ConversationNamed)]
    assert len(named) <= 1


def test_forty_thousand_words_a_second_pass() -> None:
    talk = Talk()
    talk.hears(
        streams(type="message_start", message={"id": "msg"}),
        streams(type="content_block_start", index=0, content_block={"type": "text", "text": ""}),
    )
    dialogue: ClaudeDialogue = talk.dialogue
    line = json.dumps(streams(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "some words"}))
    best = min(_seconds_for(dialogue, line, 4000) for _ in range(5))
    assert best < 0.1


def _seconds_for(dialogue: ClaudeDialogue, line: str, times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        dialogue.receive(line)
    return time.process_time() - started
