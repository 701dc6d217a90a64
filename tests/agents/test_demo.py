"""The demo agent as a real process under its adapter: every directive, resuming, cancelling, leaving."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from acp import schema
from pydantic import BaseModel

from orch_server.agents import demo_agent
from orch_server.agents.adapter import Answer, Asked, ConversationNamed, Fact, Task, TurnEnded, UsageSeen, Withdrawn
from orch_server.agents.demo import DemoAdapter
from orch_server.domain.events import AgentLog, AgentMessage, AgentPlan, AgentThought, AgentToolStarted
from orch_server.domain.session import Action, InputRequestKind, Policy, QuestionAnswer, Reason
from tests.agents.driver import Driver, choose, ended, events, said, tools
from tests.waiting import wait_until

Start = Callable[..., Driver]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project."""
    path = tmp_path / "project"
    path.mkdir()
    (path / "README.md").write_text("A project.\n")
    return path


@pytest.fixture
def start(tmp_path: Path, project: Path) -> Iterator[Start]:
    """A function that starts the demo agent; all of its processes are gone afterwards."""
    drivers: list[Driver] = []

    def begin(action: Action = Action.IMPLEMENT, resume: str | None = None, **environment: str) -> Driver:
        adapter = DemoAdapter(sys.executable, str(tmp_path / "state"))
        run_id = f"run{len(drivers)}"
        task = Task("session", run_id, action, Policy.ASK, str(project), conversation_id=resume)
        driver = Driver(adapter, adapter.programs[0], task, environment)
        drivers.append(driver)
        return driver

    yield begin
    for driver in drivers:
        driver.stop()


@pytest.fixture
def agent(start: Start) -> Driver:
    """A demo agent in an implement session."""
    return start()


@pytest.fixture
def children() -> Iterator[list[int]]:
    """Processes that a test started behind the agent's back, to be killed after it."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_every_directive_is_in_the_table_and_the_other_way_round() -> None:
    assert demo_agent.__doc__ is not None
    documented = set(re.findall(r"^\| `\[\[([a-z-]+)", demo_agent.__doc__, re.MULTILINE))
    known = {name.removeprefix("do_").replace("_", "-") for name in vars(demo_agent.Turn) if name.startswith("do_")}
    assert documented == known


def test_it_starts_quickly() -> None:
    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-I", "-S", demo_agent.__file__, "--version"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(once() for _ in range(5)) < 0.1  # 0.03 when it was written


def test_an_unknown_argument_is_refused() -> None:
    done = subprocess.run([sys.executable, "-I", "-S", demo_agent.__file__, "--what"], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (2, b"demo agent: unknown argument --what\n")


def test_it_speaks_the_protocol_of_the_schema(start: Start) -> None:
    first = start()
    first.run("Please make it nice.")
    work = "[[think a]][[plan a; b]][[edit-approved a b]][[ask c? | d]][[ask e?]][[usage 1 2]][[fail x]]"
    first.run(work, lambda asked: Answer(option_id=asked.request.options[0].id) if asked.request.options else Answer())
    conversation = first.dialogue.state["conversation"]
    second = start(resume=conversation)
    second.run("[[say x]]")
    requests: dict[str, type[BaseModel]] = {
        "session/request_permission": schema.RequestPermissionRequest,
        "elicitation/create": schema.CreateFormSessionElicitationRequest,
        "session/update": schema.SessionNotification,
    }
    results: dict[str, type[BaseModel]] = {
        "protocolVersion": schema.InitializeResponse,
        "sessionId": schema.NewSessionResponse,
        "stopReason": schema.PromptResponse,
    }
    seen = set()
    for line in first.lines + second.lines:
        message = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        if "method" in message:
            requests[message["method"]].model_validate(message["params"])
            seen.add(message["method"])
        elif "result" in message:
            for key in results.keys() & message["result"].keys():
                results[key].model_validate(message["result"])
                seen.add(key)
    assert seen == {*requests, *results}


def test_a_prompt_without_directives_gets_a_friendly_answer(agent: Driver, project: Path) -> None:
    facts = agent.run("Please make it nice.")

    end = ended(facts)
    assert end.reason is None
    assert end.text == said(facts)[-1]
    assert "Please make it nice." in end.text
    assert "Please make it nice." in (project / "NOTES-1.md").read_text()
    assert "".join(thought.text for thought in events(facts, AgentThought)) != ""
    assert [entry.status for entry in events(facts, AgentPlan)[-1].entries] == ["completed"] * 3
    assert [tool.kind for tool in events(facts, AgentToolStarted)] == ["search", "read", "edit"]
    assert all(tool.ok for tool in tools(facts))

    agent.run("And again.")
    assert (project / "NOTES-2.md").exists()


def test_a_read_only_session_writes_nothing(start: Start, project: Path) -> None:
    agent = start(Action.ANALYZE)
    facts = agent.run("What is this?")
    assert ended(facts).reason is None
    facts = agent.run(
        "[[write a.txt x]][[append README.md x]][[commit x]][[edit-approved b.txt x]]", choose("allow_once")
    )
    assert [tool.ok for tool in tools(facts)] == [False] * 4
    assert sorted(os.listdir(project)) == ["README.md"]
    assert (project / "README.md").read_text() == "A project.\n"

    agent.run("[[write-anyway a.txt x]]")
    assert (project / "a.txt").read_text() == "x\n"


def test_words(agent: Driver) -> None:
    facts = agent.run("[[think Hm.]] [[say One.]] [[say Two\\nlines.]] [[plan A; B; C]]")
    assert said(facts) == ["One.", "Two\nlines."]
    assert [thought.text for thought in events(facts, AgentThought)] == ["Hm.", ""]
    (plan,) = events(facts, AgentPlan)
    assert [(entry.text, entry.status) for entry in plan.entries] == [
        ("A", "completed"),
        ("B", "in_progress"),
        ("C", "pending"),
    ]
    assert ended(facts) == TurnEnded(text="Two\nlines.")
    assert said(agent.run("[[nonsense]]")) == ["There is no directive nonsense."]


def test_files(agent: Driver, project: Path) -> None:
    facts = agent.run("[[write sub/a.txt one]] [[append sub/a.txt two]] [[read sub/a.txt]] [[read missing]]")
    assert (project / "sub" / "a.txt").read_text() == "one\ntwo\n"
    assert [(tool.ok, tool.output) for tool in tools(facts)][2:] == [
        (True, "one\ntwo\n"),
        (False, "No such file or directory"),
    ]
    assert [tool.paths for tool in events(facts, AgentToolStarted)][:1] == [[str(project / "sub" / "a.txt")]]
    assert ended(facts).text == "Done."


@pytest.mark.parametrize(("kind", "written"), [("allow_once", True), ("allow_always", True), ("reject_once", False)])
def test_an_edit_asks_and_then_writes(agent: Driver, project: Path, kind: str, written: bool) -> None:
    facts = agent.run("[[edit-approved README.md new]]", choose(kind))
    (asked,) = [fact for fact in facts if isinstance(fact, Asked)]
    assert asked.request.kind is InputRequestKind.APPROVAL
    assert asked.subject.effect == "edit"
    assert asked.subject.paths == (str(project / "README.md"),)
    assert "-A project.\n+new" in asked.request.detail
    assert [tool.ok for tool in tools(facts)] == [written]
    assert (project / "README.md").read_text() == ("new\n" if written else "A project.\n")
    assert ended(facts).reason is None


def test_an_approval_tells_which_option_came(agent: Driver) -> None:
    facts = agent.run("[[approve rm -r /tmp/x]]", choose("reject_once"))
    (asked,) = [fact for fact in facts if isinstance(fact, Asked)]
    assert (asked.subject.effect, asked.request.title, asked.request.detail) == ("execute", *["rm -r /tmp/x"] * 2)
    assert ended(facts).text == "The answer was reject."


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(answers=[QuestionAnswer(question_id="answer", option_ids=["Blue"])]), "You answered: Blue"),
        (Answer(answers=[QuestionAnswer(question_id="answer", text="Green")]), "You answered: Green"),
        (Answer(text="Grey"), "You answered: Grey"),
        (Answer(option_id="Red"), "You answered: Red"),
        (Answer(), "You did not answer."),
    ],
)
def test_a_question(agent: Driver, answer: Answer, expected: str) -> None:
    facts = agent.run("[[ask Which colour? | Red | Blue]]", lambda asked: answer)
    (asked,) = [fact for fact in facts if isinstance(fact, Asked)]
    (question,) = asked.request.questions
    assert (asked.request.kind, question.text) == (InputRequestKind.QUESTION, "Which colour?")
    assert [option.label for option in question.options] == ["Red", "Blue"]
    assert question.allows_text
    assert ended(facts).text == expected


def test_a_question_without_options(agent: Driver) -> None:
    assert ended(agent.run("[[ask Your name?]]", lambda asked: Answer(text="Ada"))).text == "You answered: Ada"


def test_tool_env_stderr_and_usage(start: Start) -> None:
    agent = start(COLOUR="blue")
    facts = agent.run("[[tool compile]][[env COLOUR]][[env NOT_THERE]][[usage 700 30]][[stderr oops]]")
    assert said(facts) == ["COLOUR is set: blue", "NOT_THERE is not set."]
    assert [tool.name for tool in events(facts, AgentToolStarted)] == ["compile"]
    assert [(fact.usage.input_tokens, fact.usage.output_tokens) for fact in facts if isinstance(fact, UsageSeen)] == [
        (700, 30)
    ]
    agent.run("[[usage 1 1]]")
    (*_, total) = [fact for fact in agent.facts if isinstance(fact, UsageSeen)]
    assert (total.usage.input_tokens, total.usage.output_tokens) == (701, 31)
    agent.close_input()
    end = agent.finish()
    assert (end.code, end.stderr_tail) == (0, "oops\n")


def test_commit(agent: Driver, project: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    facts = agent.run("[[write a.txt x]][[commit A first step]]")
    log = subprocess.run(["git", "log", "--format=%s %an", "--stat"], cwd=project, check=True, capture_output=True)
    assert log.stdout.decode().startswith("A first step Demo agent")
    assert "a.txt" in log.stdout.decode()
    assert ended(facts).text.endswith("A first step")
    assert [tool.ok for tool in tools(agent.run("[[commit nothing new]]"))] == [False]


def test_count_and_flood_and_bigline(agent: Driver) -> None:
    facts = agent.run("[[count 700 0]]")
    assert said(facts) == ["".join(f"line {number}\n" for number in range(1, 701))]
    assert len(said(agent.run("[[flood 100000]]"))[0]) == 100_000
    (line,) = [fact for fact in agent.run("[[bigline 3000000]]") if isinstance(fact, AgentMessage) and not fact.final]
    assert line.text == "x" * 3_000_000
    assert said(agent.run("[[count 3 1]]")) == ["line 1\nline 2\nline 3\n"]


def test_garbage_is_shown_and_hurts_nobody(agent: Driver) -> None:
    facts = agent.run("[[garbage]][[say Still here.]]")
    assert [log.stream for log in events(facts, AgentLog)] == ["raw", "raw", "unknown", "unknown"]
    assert ended(facts).text == "Still here."


def test_wait_and_silent(agent: Driver) -> None:
    facts = agent.run("[[wait 0.02]][[silent 0.02]]")
    assert [tool.output for tool in tools(facts)] == ["Waited 0.02 s."]


@pytest.mark.parametrize(
    "work", ["[[hang]]", "[[wait 60]]", "[[silent 60]]", "[[count 0 1]]", "[[count 0]]", "[[approve x]]", "[[ask x]]"]
)
def test_a_turn_can_be_interrupted_at_any_point(agent: Driver, work: str) -> None:
    agent.prompt(f"[[say Here.]]{work}")
    agent.until(lambda fact: said([fact]) == ["Here."])
    asks = "approve" in work or "ask" in work
    while asks and not agent.dialogue.state["asked"]:
        agent.read()
    agent.take(agent.dialogue.interrupt())
    end = agent.until(lambda fact: isinstance(fact, TurnEnded))
    assert isinstance(end, TurnEnded)
    assert end.reason is Reason.USER_STOPPED
    assert [fact for fact in agent.facts if isinstance(fact, Withdrawn)] == [
        Withdrawn(fact.request.id, "interrupted") for fact in agent.facts if isinstance(fact, Asked)
    ]
    assert not agent.dialogue.busy
    assert ended(agent.run("[[say And on.]]")).text == "And on."


@pytest.mark.parametrize(
    ("work", "reason", "text"),
    [
        ("[[fail It broke.]]", Reason.API_ERROR, "It broke."),
        ("[[soft-fail It broke softly.]]", Reason.API_ERROR, "Error: It broke softly."),
        ("[[error 401]]", Reason.NOT_LOGGED_IN, "Authentication required: run `demo login` first."),
        ("[[error 429]]", Reason.USAGE_LIMIT, "429 Too many requests: the usage limit is reached."),
        ("[[error 500]]", Reason.API_ERROR, "API Error: 500 from the model's server."),
        ("[[error -32603]]", Reason.API_ERROR, "The demo agent was told to fail with -32603."),
    ],
)
def test_failures_have_their_reason(agent: Driver, work: str, reason: Reason, text: str) -> None:
    assert ended(agent.run(work)) == TurnEnded(reason, text)
    assert ended(agent.run("[[say On.]]")) == TurnEnded(text="On.")


@pytest.mark.parametrize(
    ("work", "code", "number", "reason"),
    [
        ("[[stderr bad luck]][[exit 3]]", 3, None, Reason.EXITED_WITHOUT_RESULT),
        ("[[exit 0]]", 0, None, Reason.EXITED_WITHOUT_RESULT),
        ("[[crash SEGV]]", None, signal.SIGSEGV, Reason.KILLED),
        ("[[crash 9]]", None, signal.SIGKILL, Reason.KILLED),
        ("[[crash sigterm]]", None, signal.SIGTERM, Reason.KILLED),
    ],
)
def test_an_agent_that_dies(agent: Driver, work: str, code: int | None, number: int | None, reason: Reason) -> None:
    agent.prompt(f"[[say Before.]]{work}")
    end = agent.finish()
    assert (end.code, end.signal) == (code, number)
    told = ended(agent.facts)
    assert told.reason is reason
    assert ("bad luck" in told.text) == ("bad luck" in work)


def test_it_remembers_a_conversation_in_another_process(start: Start) -> None:
    first = start()
    first.run("[[say One.]]")
    first.run("[[recall]]")
    (named,) = [fact for fact in first.facts if isinstance(fact, ConversationNamed)]
    first.process.kill()
    assert first.finish().signal == signal.SIGKILL

    second = start(resume=named.conversation_id)
    facts = second.run("[[recall]]")
    assert json.loads(ended(facts).text) == ["[[say One.]]", "[[recall]]", "[[recall]]"]
    assert said(facts) == [ended(facts).text], "the history is not told again"
    assert [fact for fact in second.facts if isinstance(fact, ConversationNamed)] == [named]


def test_an_unknown_conversation_cannot_be_resumed(start: Start) -> None:
    end = ended(start(resume="00000000-0000-0000-0000-000000000000").run("[[recall]]"))
    assert end.reason is Reason.AGENT_ERROR
    assert "could not resume" in end.text


@pytest.mark.parametrize("work", ["[[hang]]", "[[count 0 1]]", "[[approve x]]"])
def test_it_leaves_when_its_input_ends(agent: Driver, work: str) -> None:
    agent.prompt(f"[[say Here.]]{work}")
    agent.until(lambda fact: said([fact]) == ["Here."])
    agent.close_input()
    assert agent.finish().code == 0
    assert ended(agent.facts).reason is Reason.EXITED_WITHOUT_RESULT


def test_it_finishes_the_turn_when_its_input_ends(agent: Driver) -> None:
    agent.prompt("[[say Here.]][[wait 0.05]][[say Done.]]")
    agent.until(lambda fact: said([fact]) == ["Here."])
    agent.close_input()
    assert agent.finish().code == 0
    assert ended(agent.facts) == TurnEnded(text="Done.")


def test_it_ignores_signals_and_the_end_of_input_when_told_to(agent: Driver) -> None:
    agent.prompt("[[ignore-signals]][[say Stubborn.]][[count 0 1]]")
    agent.until(lambda fact: said([fact]) == ["Stubborn."])
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        agent.process.send_signal(number)
    agent.close_input()
    agent.until(lambda fact: said([fact]) == ["line 20\n"])
    agent.process.kill()
    assert agent.finish().signal == signal.SIGKILL


def test_spawn(agent: Driver, children: list[int]) -> None:
    pid = spawned(agent.run("[[spawn]]"), children)
    assert parent_of(pid) == agent.process.pid


def test_spawn_detached(start: Start, children: list[int]) -> None:
    agent = start(COOKIE="chocolate")
    pid = spawned(agent.run("[[spawn-detached]]"), children)
    assert parent_of(pid) != agent.process.pid
    assert os.getsid(pid) != os.getsid(agent.process.pid)
    wait_until(lambda: b"time.sleep" in Path(f"/proc/{pid}/cmdline").read_bytes())
    assert b"chocolate" not in Path(f"/proc/{pid}/environ").read_bytes()
    ignored = int(re.findall(r"^SigIgn:\s*(\S+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[0], 16)
    assert ignored & 1 << (signal.SIGTERM - 1)
    agent.process.kill()
    assert agent.finish().signal == signal.SIGKILL, "its pipes are not held by the child"
    os.kill(pid, 0)


def spawned(facts: list[Fact], children: list[int]) -> int:
    """The pid that the agent told."""
    pid = int(ended(facts).text.removeprefix("spawned "))
    children.append(pid)
    return pid


def parent_of(pid: int) -> int:
    """The parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
