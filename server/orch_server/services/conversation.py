"""What an agent's facts do to its session. No I/O: the hub's pump and `orch replay` both stand on it."""

from collections.abc import Sequence
from typing import Protocol

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
    TurnEnded,
    UsageSeen,
    Withdrawn,
)
from orch_server.domain.events import (
    AgentToolStarted,
    AgentUsage,
    EventData,
    FollowUpDelivered,
    FollowUpUncertain,
    InputAnswered,
    InputRequested,
    InputWithdrawn,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
)
from orch_server.domain.session import (
    ENDED,
    LIVE,
    FollowUp,
    FollowUpStatus,
    InputRequest,
    InputRequestKind,
    Policy,
    Reason,
    State,
    Usage,
)
from orch_server.services.ends import told
from orch_server.services.policy import decide
from orch_server.store.records import SessionRecord

_CHANGING = frozenset({"edit", "delete", "move"})
_BY_FORCE = frozenset({Reason.USER_STOPPED, Reason.KILLED, Reason.EXITED_WITHOUT_RESULT, Reason.LOST})
"""Ends that say nothing by themselves where the run was ended from outside."""


class Ledger(Protocol):
    """Where a conversation's consequences are written down: the hub's transaction, or a list in a replay."""

    now: str

    def emit(self, data: EventData) -> None:
        """Append an event of the session."""

    def move(self, state: State, reason: Reason | None, message: str = "") -> None:
        """Change the session's state."""

    def post(self, line: Line) -> None:
        """Send a line to the agent."""

    def contested(self, paths: Sequence[str]) -> str | None:
        """Return, in words, who else wants a path for itself that is about to be changed; None where nobody does."""


class Conversation:
    """A session, its dialogue, and the ledger that takes what follows."""

    def __init__(
        self,
        session: SessionRecord,
        dialogue: Dialogue,
        ledger: Ledger,
        *,
        root: str,
        usage_before: Usage | None = None,
        ending: Reason | None = None,
    ) -> None:
        self.session = session
        self.dialogue = dialogue
        self.ledger = ledger
        self._root = root
        self._usage_before = usage_before or Usage()
        self.ending = ending
        """Why the run is ended from outside; None while it is not."""
        self._lost = False
        self._unanswered = ""

    def begin(self, prompt: Prompt | None) -> None:
        """Begin a run: the handshake, and the first text if there is one."""
        self._take(self.dialogue.begin())
        if prompt is not None:
            self._take(self.dialogue.prompt(prompt))

    def receive(self, line: str) -> None:
        """Take one line of the agent's output."""
        output = self.dialogue.receive(line)
        if output.facts or output.lines:
            self._take(output)

    def send_next(self) -> bool:
        """Hand the oldest queued text to the agent; false where none waits."""
        waiting = next((item for item in self.session.queued if item.status == FollowUpStatus.QUEUED), None)
        if waiting is None:
            return False
        self.send(waiting)
        return True

    def send(self, item: FollowUp) -> None:
        """Hand a queued text to the agent now: it begins a turn, or joins the one that runs."""
        self._replace(item.id, item.model_copy(update={"status": FollowUpStatus.SENT}))
        if self.session.state in ENDED:
            self.ledger.move(State.RUNNING, None)
        self._take(self.dialogue.prompt(Prompt(item.id, item.text)))

    def answer(self, request: InputRequest, answer: Answer, by: str) -> None:
        """Answer an open request."""
        self._close(request.id)
        self.ledger.emit(InputAnswered(input_request_id=request.id, by=by, option_id=answer.option_id))
        self._take(self.dialogue.answer(request.id, answer))
        self._settle()

    def interrupt(self) -> None:
        """Ask the agent to end its turn."""
        self._take(self.dialogue.interrupt())

    def ended(self, end: Exit) -> None:
        """The process is gone, and all of its output was taken."""
        self._unanswered = "; ".join(request.title for request in self.session.input_requests)
        self._take(self.dialogue.ended(end))
        for request in list(self.session.input_requests):
            self.withdraw(request.id, "the agent ended")
        for item in list(self.session.queued):
            if item.status == FollowUpStatus.SENT:
                self._replace(item.id, item.model_copy(update={"status": FollowUpStatus.UNCERTAIN}))
                self.ledger.emit(FollowUpUncertain(id=item.id, text=item.text, mode=item.mode))

    def withdraw(self, request_id: str, reason: str) -> None:
        """Take an open request back."""
        if any(request.id == request_id for request in self.session.input_requests):
            self._close(request_id)
            self.ledger.emit(InputWithdrawn(input_request_id=request_id, reason=reason))

    def _take(self, output: Output) -> None:
        for line in output.lines:
            self.ledger.post(line)
        for fact in output.facts:
            self._apply(fact)

    def _apply(self, fact: Fact) -> None:
        match fact:
            case EventData():
                self.ledger.emit(fact)
                if isinstance(fact, AgentToolStarted) and fact.kind in _CHANGING and fact.paths:
                    self.ledger.contested(fact.paths)
            case ConversationNamed(conversation_id):
                self.session.agent_session_id = conversation_id
            case ConversationLost():
                self._lost = True
            case PromptAccepted():
                self._accepted(fact)
            case UsageSeen(usage):
                self._used(usage)
            case Asked(request, subject):
                self._asked(request, subject)
            case Withdrawn(request_id, reason):
                self.withdraw(request_id, reason)
                self._settle()
            case TurnEnded():
                self._turn_ended(fact)

    def _accepted(self, fact: PromptAccepted) -> None:
        session = self.session
        item = next((item for item in session.queued if item.id == fact.prompt_id), None)
        text = item.text if item else session.prompt if fact.prompt_id == session.prompt_id else ""
        if fact.begins_turn:
            session.turns += 1
            self.ledger.emit(TurnStarted(prompt=text))
        if item is not None:
            session.queued = [other for other in session.queued if other.id != item.id]
            self.ledger.emit(FollowUpDelivered(id=item.id, text=item.text, mode=item.mode))
        elif fact.prompt_id == session.prompt_id:
            session.prompt_delivered = True

    def _used(self, usage: Usage) -> None:
        before = self._usage_before
        cost = None
        if usage.cost_usd is not None or before.cost_usd is not None:
            cost = round((usage.cost_usd or 0) + (before.cost_usd or 0), 6)
        total = Usage(
            input_tokens=before.input_tokens + usage.input_tokens,
            output_tokens=before.output_tokens + usage.output_tokens,
            cost_usd=cost,
        )
        if total != self.session.usage:
            self.session.usage = total
            self.ledger.emit(AgentUsage(usage=total))

    def _asked(self, request: InputRequest, subject: Subject) -> None:
        held = self.ledger.contested(subject.paths) if subject.effect != "read" and subject.paths else None
        detail = "\n".join(part for part in (request.detail, held) if part)
        request = request.model_copy(update={"asked_at": self.ledger.now, "detail": detail})
        self.session.input_requests = [*self.session.input_requests, request]
        self.ledger.emit(InputRequested(input_request=request))
        if request.kind == InputRequestKind.APPROVAL:
            # What another wants for itself is not waved through.
            policy = Policy.ASK if held and self.session.policy == Policy.AUTO_EDIT else self.session.policy
            option = decide(policy, self.session.action, self._root, subject, request.options)
            if option is not None:
                self.answer(request, Answer(option_id=option.id), by="policy")
                return
        if self.session.state in ENDED:
            self.ledger.move(State.RUNNING, None)
        self._settle()

    def _turn_ended(self, fact: TurnEnded) -> None:
        session = self.session
        for request in list(session.input_requests):
            self.withdraw(request.id, "the turn ended")
        if fact.reason is None:
            self.ledger.emit(TurnCompleted(text=fact.text, usage=session.usage))
            self._settle()
            if self.ending is None and not self.send_next() and session.state in LIVE:
                self.ledger.move(State.COMPLETED, Reason.TURN_ENDED)
            return
        reason = self.ending if self.ending is not None and fact.reason in _BY_FORCE else fact.reason
        self.ledger.emit(TurnFailed(reason=reason, message=fact.text))
        session.resumes_at = fact.resets_at if reason == Reason.USAGE_LIMIT else None
        self._settle()
        if session.state in LIVE and self.ending is None:
            if reason == Reason.USER_STOPPED:
                self.ledger.move(State.STOPPED, reason, fact.text)
            else:
                text = fact.text
                if self._unanswered:
                    text += f"\nIt had asked and was waiting for an answer: {self._unanswered}"
                message = told(reason, text, session.id, conversation_lost=self._lost)
                self.ledger.move(State.FAILED, reason, message)

    def _settle(self) -> None:
        """Let the state say whether the user is waited for."""
        if self.session.state in LIVE:
            self.ledger.move(State.WAITING_FOR_USER if self.session.input_requests else State.RUNNING, None)

    def _close(self, request_id: str) -> None:
        self.session.input_requests = [item for item in self.session.input_requests if item.id != request_id]

    def _replace(self, item_id: str, new: FollowUp) -> None:
        self.session.queued = [new if item.id == item_id else item for item in self.session.queued]
