"""What an agent's facts do to its session."""

from collections.abc import Sequence
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
from orch_server.domain.events import EventData, TurnFailed
from orch_server.domain.session import (
    Action,
    ApprovalOption,
    FollowUp,
    FollowUpMode,
    FollowUpStatus,
    InputRequest,
    InputRequestKind,
    OptionKind,
    Policy,
    Reason,
    State,
    Usage,
    check_transition,
)
from orch_server.services.conversation import Conversation
from orch_server.store.records import SessionRecord
from tests.records import session_record

APPROVAL = InputRequest(
    id="a1",
    kind=InputRequestKind.APPROVAL,
    title="Run it",
    options=[
        ApprovalOption(id="yes", label="Allow", kind=OptionKind.ALLOW_ONCE),
        ApprovalOption(id="no", label="Deny", kind=OptionKind.REJECT_ONCE),
    ],
)


class Script(Dialogue):
    """A dialogue that gives back what the test says."""

    def __init__(self) -> None:
        super().__init__(Task("s", "r", Action.IMPLEMENT, Policy.ASK, "/tree"), {})
        self.next = Output()
        self.prompted: list[Prompt] = []
        self.answered: list[tuple[str, Answer]] = []

    @property
    def busy(self) -> bool:
        return False

    def begin(self) -> Output:
        return Output(lines=[Line("hello")])

    def receive(self, line: str) -> Output:
        return self.next

    def prompt(self, prompt: Prompt) -> Output:
        self.prompted.append(prompt)
        return Output(lines=[Line(prompt.text, prompt_id=prompt.id)])

    def answer(self, request_id: str, answer: Answer) -> Output:
        self.answered.append((request_id, answer))
        return Output(lines=[Line(f"answer {answer.option_id}")])

    def interrupt(self) -> Output:
        return Output()

    def observe(self, line: str) -> Output:
        return Output()

    def ended(self, end: Exit) -> Output:
        return self.next


class Book:
    """A ledger that remembers."""

    def __init__(self, session: SessionRecord) -> None:
        self.now = "2026-01-02T03:04:05.678Z"
        self.events: list[str] = []
        self.lines: list[str] = []
        self.held: set[str] = set()
        self.failures: list[Reason] = []
        self._session = session

    def emit(self, data: EventData) -> None:
        self.events.append(data.type)
        if isinstance(data, TurnFailed):
            self.failures.append(data.reason)

    def move(self, state: State, reason: Reason | None, message: str = "") -> None:
        if state != self._session.state:
            check_transition(self._session.state, state)
            self.events.append(f"-> {state}")
        self._session.state, self._session.reason, self._session.message = state, reason, message

    def post(self, line: Line) -> None:
        self.lines.append(line.text)

    def contested(self, paths: Sequence[str]) -> str | None:
        held = self.held & set(paths)
        return f"{min(held)} is claimed by the user." if held else None


class Scene:
    """A conversation under test."""

    def __init__(self, *, ending: Reason | None = None, **changed: Any) -> None:
        self.session = session_record(**{"state": State.RUNNING, "policy": Policy.ASK} | changed)
        self.book = Book(self.session)
        self.dialogue = Script()
        self.conversation = Conversation(self.session, self.dialogue, self.book, root="/tree", ending=ending)

    def hear(self, *facts: Fact) -> None:
        """Let the agent tell facts."""
        self.dialogue.next = Output(list(facts))
        self.conversation.receive("line")


def queued(text: str, status: FollowUpStatus = FollowUpStatus.QUEUED) -> FollowUp:
    return FollowUp(id=f"id-{text}", text=text, mode=FollowUpMode.QUEUE, at="t", status=status)


def test_a_turn_from_prompt_to_end() -> None:
    scene = Scene()
    scene.conversation.begin(Prompt("prompt-1", "Do it well"))
    assert scene.book.lines == ["hello", "Do it well"]
    scene.hear(ConversationNamed("c-9"), PromptAccepted("prompt-1"))
    assert (scene.session.agent_session_id, scene.session.turns, scene.session.prompt_delivered) == ("c-9", 1, True)
    scene.hear(TurnEnded(text="done"))
    assert (scene.session.state, scene.session.reason) == (State.COMPLETED, Reason.TURN_ENDED)
    assert scene.book.events == ["turn.started", "turn.completed", "-> completed"]


def test_the_next_queued_text_goes_out_when_a_turn_ends() -> None:
    scene = Scene(queued=[queued("one"), queued("two")])
    scene.hear(TurnEnded())
    assert [prompt.text for prompt in scene.dialogue.prompted] == ["one"]
    assert [item.status for item in scene.session.queued] == [FollowUpStatus.SENT, FollowUpStatus.QUEUED]
    assert scene.session.state == State.RUNNING
    scene.hear(PromptAccepted("id-one"))
    assert [item.text for item in scene.session.queued] == ["two"]
    assert "followup.delivered" in scene.book.events


@pytest.mark.parametrize(
    ("fact", "ending", "state", "reason"),
    [
        (TurnEnded(Reason.API_ERROR, "500"), None, State.FAILED, Reason.API_ERROR),
        (TurnEnded(Reason.USER_STOPPED), None, State.STOPPED, Reason.USER_STOPPED),
        (TurnEnded(Reason.API_ERROR, "500"), Reason.USER_STOPPED, State.RUNNING, None),
        (TurnEnded(), Reason.USER_STOPPED, State.RUNNING, None),
        (TurnEnded(Reason.USER_STOPPED), Reason.SILENT_LIMIT, State.RUNNING, None),
    ],
)
def test_how_a_turn_ends_decides_the_state(
    fact: TurnEnded, ending: Reason | None, state: State, reason: Reason | None
) -> None:
    scene = Scene(ending=ending, queued=[queued("later")])
    scene.hear(fact)
    assert (scene.session.state, scene.session.reason) == (state, reason)
    assert scene.dialogue.prompted == [], "what failed or is stopped is not followed by the queue"


def test_a_conversation_that_is_lost_is_told_with_what_to_do() -> None:
    scene = Scene()
    scene.hear(ConversationLost(), TurnEnded(Reason.AGENT_ERROR, "No such conversation"))
    assert scene.session.state == State.FAILED
    assert scene.session.message.startswith("No such conversation\n")
    assert f"orch resume {scene.session.id} --anew" in scene.session.message


def test_an_end_while_a_question_is_open_is_told_with_the_question() -> None:
    scene = Scene()
    scene.hear(Asked(APPROVAL))
    scene.dialogue.next = Output([Withdrawn("a1", "gone"), TurnEnded(Reason.EXITED_WITHOUT_RESULT, "It left.")])
    scene.conversation.ended(Exit(code=0))
    assert (scene.session.state, scene.session.reason) == (State.FAILED, Reason.EXITED_WITHOUT_RESULT)
    assert "waiting for an answer: Run it" in scene.session.message


def test_what_was_ended_from_outside_failed_for_that_reason() -> None:
    scene = Scene(ending=Reason.OUTPUT_LIMIT)
    scene.dialogue.next = Output([TurnEnded(Reason.KILLED, "signal 15")])
    scene.conversation.ended(Exit(signal=15))
    assert scene.book.failures == [Reason.OUTPUT_LIMIT]
    assert scene.session.state == State.RUNNING, "whoever ended it says so"


def test_an_approval_waits_for_the_user_and_the_answer_goes_on() -> None:
    scene = Scene()
    scene.hear(Asked(APPROVAL, Subject("execute")))
    assert scene.session.state == State.WAITING_FOR_USER
    assert scene.session.input_requests[0].asked_at == scene.book.now
    scene.conversation.answer(scene.session.input_requests[0], Answer(option_id="yes"), by="user")
    assert (scene.session.state, scene.session.input_requests) == (State.RUNNING, [])
    assert scene.book.lines == ["answer yes"]
    assert scene.book.events == ["input.requested", "-> waiting_for_user", "input.answered", "-> running"]


def test_a_policy_answers_without_waiting() -> None:
    scene = Scene(policy=Policy.AUTO_ALL)
    scene.hear(Asked(APPROVAL, Subject("execute")))
    assert scene.session.state == State.RUNNING
    assert scene.book.events == ["input.requested", "input.answered"]


@pytest.mark.parametrize(
    ("policy", "held", "asks"),
    [
        (Policy.AUTO_EDIT, {"a.py"}, True),
        (Policy.AUTO_EDIT, {"b.py"}, False),
        (Policy.AUTO_ALL, {"a.py"}, False),
    ],
)
def test_what_another_wants_for_itself_is_not_waved_through(policy: Policy, held: set[str], asks: bool) -> None:
    scene = Scene(policy=policy)
    scene.book.held = held
    scene.hear(Asked(APPROVAL, Subject("edit", ("a.py",))))
    assert (scene.session.state == State.WAITING_FOR_USER) == asks
    if asks:
        assert "a.py is claimed by the user." in scene.session.input_requests[0].detail


def test_the_user_is_waited_for_as_long_as_anything_is_open() -> None:
    scene = Scene()
    scene.hear(Asked(APPROVAL), Asked(APPROVAL.model_copy(update={"id": "a2"})))
    scene.hear(Withdrawn("a1", "cancelled"))
    states = [scene.session.state]
    scene.hear(Withdrawn("a2", "cancelled"))
    states.append(scene.session.state)
    assert states == [State.WAITING_FOR_USER, State.RUNNING]


def test_a_question_after_the_turn_is_a_question() -> None:
    scene = Scene(state=State.COMPLETED)
    scene.hear(Asked(APPROVAL, Subject("execute")))
    assert scene.book.events == ["input.requested", "-> running", "-> waiting_for_user"]


def test_usage_adds_to_what_earlier_runs_used() -> None:
    scene = Scene()
    before = Usage(input_tokens=10, output_tokens=1, cost_usd=0.5)
    scene.conversation = Conversation(scene.session, scene.dialogue, scene.book, root="/tree", usage_before=before)
    scene.hear(UsageSeen(Usage(input_tokens=5, output_tokens=2)))
    scene.hear(UsageSeen(Usage(input_tokens=5, output_tokens=2)))
    assert scene.session.usage == Usage(input_tokens=15, output_tokens=3, cost_usd=0.5)
    assert scene.book.events == ["agent.usage"]


def test_the_end_withdraws_what_is_open_and_returns_what_was_not_acknowledged() -> None:
    scene = Scene(queued=[queued("sent", FollowUpStatus.SENT), queued("later")])
    scene.hear(Asked(APPROVAL))
    scene.dialogue.next = Output([TurnEnded(Reason.EXITED_WITHOUT_RESULT, "gone")])
    scene.conversation.ended(Exit(code=1))
    assert scene.session.input_requests == []
    assert [item.status for item in scene.session.queued] == [FollowUpStatus.UNCERTAIN, FollowUpStatus.QUEUED]
    assert scene.book.events[-1] == "followup.uncertain"
    assert scene.session.state == State.FAILED
