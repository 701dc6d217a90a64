"""The contract between orch and an agent program: what to run, and how to talk.

To add an agent, write one file in this folder with a subclass of Adapter, name that class `ADAPTER` in it, and put
recordings of the program under tests/recordings/. Nothing else names it: agents/catalog.py finds it.

A dialogue is one run's protocol machine. The caller feeds it every complete line of the program's standard
output, tells it what the user wants, and does what it returns: facts become events, lines go to the program's
standard input, in order. All of its memory is in `state`, a JSON value that is saved with the events.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from orch_server.domain.events import EventData
from orch_server.domain.session import Action, InputRequest, Policy, QuestionAnswer, Reason, Usage
from orch_server.domain.wire import WireModel


class Capabilities(WireModel):
    """What an agent program can do, as `orch/agent/list` tells it."""

    resume: bool
    follow_up: Literal["queue", "steer", "none"]
    """`queue`: one prompt after the other; `steer`: a text can reach the running turn; `none`: one prompt a run."""
    approvals: bool
    questions: bool
    read_only: bool
    """Whether the program has hard means of its own against writing (tool lists, a sandbox)."""
    model: bool


@dataclass(frozen=True, slots=True)
class Task:
    """What a run is for: everything an adapter may need to start a program or go on with a conversation."""

    session_id: str
    run_id: str
    action: Action
    policy: Policy
    cwd: str
    model: str | None = None
    conversation_id: str | None = None
    """The agent's own name of the conversation to resume; None begins one."""
    new_conversation_id: str = ""
    """A random UUID for programs that let the caller choose the name of a new conversation."""
    prompt: str = ""
    """The text the run begins with, for programs that take it as an argument; the dialogue gets it by `prompt`."""
    as_root: bool = False
    usage_before: Usage = field(default_factory=Usage)
    """What the session had used before this run, for programs that count it again when they resume."""

    @property
    def read_only(self) -> bool:
        """Whether nothing may be written."""
        return self.action != Action.IMPLEMENT


@dataclass(frozen=True, slots=True)
class Launch:
    """How a program is started: arguments after its path, and environment variables beside the client's."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    close_input: bool = False
    """Whether the program's standard input is closed at once, after the lines of `begin`."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line for the program's standard input, without its newline."""

    text: str
    prompt_id: str | None = None
    """The user's text that this line carries, if it carries one."""
    secret: bool = False
    """Whether it must be kept out of every file (a secret answer)."""


@dataclass(frozen=True, slots=True)
class ConversationNamed:
    """The program told, or took, its own name of the conversation; it can be resumed by it."""

    conversation_id: str


@dataclass(frozen=True, slots=True)
class ConversationLost:
    """The program cannot go on with the conversation that it was to resume; the turn fails for that reason."""


@dataclass(frozen=True, slots=True)
class PromptAccepted:
    """The program acknowledged a user's text: it will be (or was) read by the model."""

    prompt_id: str
    begins_turn: bool = True
    """False where the text joined the turn that was running."""


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The program's last word on a turn: success, or failure with its reason."""

    reason: Reason | None = None
    """None: success. Otherwise why it failed; `user_stopped` where it was interrupted."""
    text: str = ""
    """The final answer, or the error message for a person."""
    resets_at: str | None = None
    """When a usage limit ends (RFC 3339), where the program tells."""


@dataclass(frozen=True, slots=True)
class UsageSeen:
    """What this run has used up to now, cumulative over the run (the adapter subtracts what a program counts twice)."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Subject:
    """What an approval is about, as far as the program tells; the policy decides by it."""

    effect: str
    """`edit`, `read`, `execute`, or `other`."""
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """The program asks the user and waits. `request.asked_at` is filled in by the caller."""

    request: InputRequest
    subject: Subject = Subject("other")


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The program does not wait for the answer any more."""

    request_id: str
    reason: str


Fact = ConversationNamed | ConversationLost | PromptAccepted | TurnEnded | UsageSeen | Asked | Withdrawn | EventData
"""What a program told. Of the events a dialogue gives `agent.*` (but no AgentUsage), in a replay InputAnswered too."""


@dataclass(slots=True)
class Output:
    """What a dialogue gives back: facts in the order they happened, and lines to write in order."""

    facts: list[Fact] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    def extend(self, other: "Output") -> None:
        """Append what `other` holds."""
        self.facts.extend(other.facts)
        self.lines.extend(other.lines)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text of the user for the agent. `id` is unique over all time and fit for a program's message id (a UUID)."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A user's or a policy's answer to an input request; already checked against the request's options."""

    option_id: str | None = None
    text: str | None = None
    answers: Sequence[QuestionAnswer] = ()


@dataclass(frozen=True, slots=True)
class Exit:
    """How the process ended. Both None: not known (the runner died)."""

    code: int | None = None
    signal: int | None = None
    stderr_tail: str = ""
    """The last few lines of standard error, for the message."""


class Dialogue(ABC):
    """One run's conversation with a program; see the module's description."""

    def __init__(self, task: Task, state: dict[str, Any]) -> None:
        self.task = task
        self.state = state
        """All memory of the dialogue, JSON only; saved after every batch, handed to `load` after a crash."""

    @property
    @abstractmethod
    def busy(self) -> bool:
        """Whether a prompt was handed in whose turn has not ended."""

    @abstractmethod
    def begin(self) -> Output:
        """Return the first lines (a handshake), before anything was read. Called once in a run's life."""

    @abstractmethod
    def receive(self, line: str) -> Output:
        """Take one complete line of standard output. Never raises: what is not understood becomes an AgentLog."""

    @abstractmethod
    def prompt(self, prompt: Prompt) -> Output:
        """Hand in a user's text: it begins a turn, or joins the running one where the program can (`steer`).

        Before the handshake is through, the dialogue keeps the text in its state and sends it when it may.
        """

    @abstractmethod
    def answer(self, request_id: str, answer: Answer) -> Output:
        """Answer an open input request."""

    @abstractmethod
    def interrupt(self) -> Output:
        """Ask the program to end the running turn by its own means; nothing if it has none or no turn runs."""

    @abstractmethod
    def observe(self, line: str) -> Output:
        """Take note of a line that another client wrote to the program, as if the dialogue had written it.

        For replays: from then on it only listens, and its facts are those a caller of `answer` and `interrupt` would
        know (InputAnswered, Withdrawn).
        """

    @abstractmethod
    def ended(self, end: Exit) -> Output:
        """The process is gone and all of its output was received: give the facts that follow.

        If a turn was running (or a text waits in the state) this holds a TurnEnded with the honest reason.
        """


class Adapter(ABC):
    """What orch knows of one agent program."""

    name: str = ""
    display_name: str = ""
    rank: int = 1000
    """Where it stands in lists, the lowest first."""
    protocol: str = ""
    """How it is talked to: `stream-json`, `acp`, `app-server` or `command`."""
    programs: Sequence[str] = ()
    """What to start: absolute paths, or names that are looked for on the client's PATH; the best first."""
    install_hint: str = ""
    version_arguments: Sequence[str] = ("--version",)
    capabilities: Capabilities

    @abstractmethod
    def launch(self, task: Task) -> Launch:
        """Say how the program is started for `task`. Read-only and sandbox flags are here, also on every resume."""

    @abstractmethod
    def dialogue(self, task: Task, state: dict[str, Any] | None = None) -> Dialogue:
        """Return a dialogue: a new one, or with `state` the one that was saved."""
