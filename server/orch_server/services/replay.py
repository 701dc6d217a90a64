"""A recorded conversation as the session it would have been: the hub's own rules, on a list instead of a store."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from orch_server.agents.adapter import Adapter, Exit, Line, Output, Prompt, PromptAccepted, Task
from orch_server.agents.replay import TASK, Step, read_journal, read_recording
from orch_server.agents.texts import rfc3339
from orch_server.domain.events import Event, EventData, InputAnswered, InputRequested, SessionStateChanged
from orch_server.domain.session import ENDED, LIVE, InputRequest, Reason, Session, State, Usage, check_transition
from orch_server.runtime.bundle import Bundle
from orch_server.services.conversation import Conversation
from orch_server.services.live import RUNNER_LIMITS, ending
from orch_server.store.records import SessionRecord

UNRECORDED = Prompt("replayed-1", "(not recorded)")
_STDERR_TAIL = 2000


@dataclass(frozen=True, slots=True)
class Recording:
    """What is known of a run of an agent program."""

    steps: Sequence[Step]
    end: Exit | None = None
    """How the program ended, where that is known."""
    ending: Reason | None = None
    """Why orch ended it, if it did."""
    stderr_tail: str = ""


@dataclass(slots=True)
class Replayed:
    """A session after a replay."""

    session: SessionRecord
    events: list[Event] = field(default_factory=list)
    now: str = rfc3339(0)

    @property
    def input_requests(self) -> list[InputRequest]:
        """Everything the agent asked, answered or not."""
        return [event.data.input_request for event in self.events if isinstance(event.data, InputRequested)]

    # As a ledger.

    def emit(self, data: EventData) -> None:
        """Append an event."""
        seq = len(self.events) + 1
        session = self.session
        self.events.append(
            Event(
                seq=seq,
                id=f"replay-{seq}",
                type=data.type,
                at=self.now,
                project_id=session.project_id,
                session_id=session.id,
                run_id=session.id,
                turn=session.turns or None,
                data=data,
            )
        )

    def move(self, state: State, reason: Reason | None, message: str = "") -> None:
        """Change the session's state, by the rules of the hub."""
        session = self.session
        if (state, reason, message) == (session.state, session.reason, session.message):
            return
        if state != session.state:
            check_transition(session.state, state)
        before = session.state
        session.state, session.reason, session.message = state, reason, message
        session.version += 1
        snapshot = Session.model_validate(session.model_dump(include=set(Session.model_fields)))
        self.emit(SessionStateChanged(from_state=before, to_state=state, reason=reason, session=snapshot))

    def post(self, line: Line) -> None:
        """Drop a line: nobody is there to read it."""

    def contested(self, paths: Sequence[str]) -> str | None:
        """Return None: there are no leases in a recording."""
        del paths
        return None


class _ReplayedConversation(Conversation):
    """A conversation in which somebody else spoke for the user."""

    def observe(self, line: str) -> None:
        """Take a line that was written to the agent."""
        output = self.dialogue.observe(line)
        for fact in output.facts:
            if isinstance(fact, InputAnswered):
                self._close(fact.input_request_id)
        self._take(output)
        self._settle()
        self.take_up()

    def receive(self, line: str) -> None:
        """Take a line of the agent; a text that it accepts brings an ended session back to work."""
        output = self.dialogue.receive(line)
        for fact in output.facts:
            if isinstance(fact, PromptAccepted) and self.session.state in ENDED:
                self.ledger.move(State.RUNNING, None)
            self._take(Output([fact]))

    def take_up(self) -> None:
        """Let an ended session run again when a text was handed in."""
        if self.dialogue.busy and self.session.state in ENDED:
            self.ledger.move(State.RUNNING, None)


def replay_session(adapter: Adapter, recording: Recording, task: Task = TASK) -> Replayed:
    """Return the session that a recording amounts to.

    Without the program's end the session is as the last line left it: at work perhaps, or waiting for the user.
    """
    replayed = Replayed(_session(adapter, task))
    dialogue = adapter.dialogue(task)
    conversation = _ReplayedConversation(replayed.session, dialogue, replayed, root=task.cwd, usage_before=Usage())
    if not any(step.written for step in recording.steps):
        conversation.begin(UNRECORDED)
    for step in recording.steps:
        replayed.now = rfc3339(step.at)
        if step.written:
            conversation.observe(step.line)
        else:
            conversation.receive(step.line)
    session, end = replayed.session, recording.end
    if end is None and recording.ending is None:
        return replayed
    last = _ReplayedConversation(
        session, dialogue, replayed, root=task.cwd, usage_before=Usage(), ending=recording.ending
    )
    end = end or Exit()
    last.ended(Exit(end.code, end.signal, end.stderr_tail or recording.stderr_tail))
    if session.state in LIVE:
        if recording.ending == Reason.USER_STOPPED:
            replayed.move(State.STOPPED, recording.ending)
        else:
            reason = Reason.KILLED if end.signal is not None else Reason.EXITED_WITHOUT_RESULT
            replayed.move(State.FAILED, recording.ending or reason, "The agent ended without a result.")
    return replayed


def read(path: str) -> Recording:
    """Return what a file tells, or the bundle of a run: a directory with out.log and in.jsonl.

    A file's standard error may lie beside it: `<case>.stderr`.
    """
    if not os.path.isdir(path):
        case = path.removesuffix(".jsonl").removesuffix(".io")
        return Recording(read_recording(_bytes(path)), stderr_tail=_tail(f"{case}.stderr"))
    bundle = Bundle(path)
    journal = _bytes(bundle.journal) if os.path.exists(bundle.journal) else b""
    steps = read_journal(_bytes(bundle.out_log), journal)
    record = bundle.read_exit()
    if record is None:
        return Recording(steps, stderr_tail=_tail(bundle.err_log))
    why = RUNNER_LIMITS.get(record.why or "") or ending(record.why)
    return Recording(steps, Exit(record.code, record.signal), why, _tail(bundle.err_log))


def _session(adapter: Adapter, task: Task) -> SessionRecord:
    return SessionRecord(
        id=task.session_id,
        project_id="replay",
        project_slug="replay",
        command_id="replay",
        agent=adapter.name,
        action=task.action,
        title="Replay",
        prompt=UNRECORDED.text,
        prompt_id=UNRECORDED.id,
        policy=task.policy,
        model=task.model,
        state=State.RUNNING,
        created_at=rfc3339(0),
        updated_at=rfc3339(0),
    )


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _tail(path: str) -> str:
    return _bytes(path)[-_STDERR_TAIL:].decode("utf-8", "replace") if os.path.exists(path) else ""
