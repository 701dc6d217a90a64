"""A conversation with one agent about one task: its state, and which state may follow which.

The rules of a session's life live here and nowhere else: TRANSITIONS is the whole of them, and a change that is
not listed is an error with a code.
"""

from enum import StrEnum

from pydantic import Field

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.wire import WireModel


class State(StrEnum):
    """Where a session is in its life."""

    CREATED = "created"
    RUNNING = "running"
    WAITING_FOR_USER = "waiting_for_user"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    ARCHIVED = "archived"
    DELETED = "deleted"


LIVE = frozenset({State.RUNNING, State.WAITING_FOR_USER})
ENDED = frozenset({State.COMPLETED, State.FAILED, State.STOPPED})

# From a state to those that may follow it. `archived` and `deleted` lead back to the state before them alone
# (unarchive, restore); that state is remembered beside the session.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.CREATED: frozenset({State.RUNNING, State.FAILED, State.STOPPED}),
    State.RUNNING: frozenset({State.WAITING_FOR_USER, State.COMPLETED, State.FAILED, State.STOPPED}),
    State.WAITING_FOR_USER: frozenset({State.RUNNING, State.COMPLETED, State.FAILED, State.STOPPED}),
    State.COMPLETED: frozenset({State.RUNNING, State.ARCHIVED, State.DELETED}),
    State.FAILED: frozenset({State.RUNNING, State.ARCHIVED, State.DELETED}),
    State.STOPPED: frozenset({State.RUNNING, State.ARCHIVED, State.DELETED}),
    State.ARCHIVED: frozenset({State.COMPLETED, State.FAILED, State.STOPPED, State.DELETED}),
    State.DELETED: frozenset({State.COMPLETED, State.FAILED, State.STOPPED, State.ARCHIVED}),
}


def check_transition(current: State, wanted: State) -> None:
    """Raise illegalTransition unless `wanted` may follow `current`."""
    allowed = TRANSITIONS[current]
    if wanted not in allowed:
        raise OrchError(
            ErrorKind.ILLEGAL_TRANSITION,
            f"A session that is {current} cannot become {wanted}.",
            hint=f"From {current} it can become: {', '.join(sorted(allowed)) or 'nothing'}.",
            state=current.value,
            allowed=sorted(state.value for state in allowed),
        )


class Reason(StrEnum):
    """Why a session is in its state."""

    PROVISIONING = "provisioning"
    STARTING = "starting"
    WAITING_FOR_CLIENT = "waiting_for_client"
    QUEUED_BY_LIMIT = "queued_by_limit"
    PARKED_UNTIL_RESET = "parked_until_reset"
    TURN_ENDED = "turn_ended"
    AGENT_ERROR = "agent_error"
    API_ERROR = "api_error"
    USAGE_LIMIT = "usage_limit"
    NOT_LOGGED_IN = "not_logged_in"
    AGENT_UNAVAILABLE = "agent_unavailable"
    WORKTREE_FAILED = "worktree_failed"
    EXITED_WITHOUT_RESULT = "exited_without_result"
    KILLED = "killed"
    LOST = "lost"
    MACHINE_RESTARTED = "machine_restarted"
    OUTPUT_LIMIT = "output_limit"
    SILENT_LIMIT = "silent_limit"
    DISK_FULL = "disk_full"
    USER_STOPPED = "user_stopped"
    REFUSED = "refused"


class Attention(StrEnum):
    """What happened behind our back: shown beside the state, never repaired by deleting."""

    WORKTREE_MISSING = "worktree_missing"
    WORKTREE_REPLACED = "worktree_replaced"
    WORKTREE_MOVED = "worktree_moved"
    BRANCH_MISSING = "branch_missing"
    BRANCH_MOVED = "branch_moved"
    PROJECT_MISSING = "project_missing"
    DISK_FULL = "disk_full"
    UNADOPTED = "unadopted"
    SILENT = "silent"
    SNAPSHOT_FAILED = "snapshot_failed"
    READ_ONLY_CHANGED = "read_only_changed"
    SETUP_FAILED = "setup_failed"


class Action(StrEnum):
    """What an agent is sent to do."""

    ANALYZE = "analyze"
    REVIEW = "review"
    IMPLEMENT = "implement"
    PLAN = "plan"


READ_ONLY_ACTIONS = frozenset({Action.ANALYZE, Action.REVIEW, Action.PLAN})
WORKTREE_ACTIONS = frozenset({Action.IMPLEMENT, Action.PLAN})
DEFAULT_PROMPTS = {
    Action.ANALYZE: "Analyze this project: its purpose, its structure, how it is built and tested, and what a newcomer "
    "should know. Do not change anything.",
    Action.REVIEW: "Review the code of this project: find bugs, risks and unclear places, the most serious first, each "
    "with its file and line. Do not change anything.",
}


class Policy(StrEnum):
    """How an agent's requests for approval are decided without the user."""

    ASK = "ask"
    AUTO_EDIT = "auto_edit"
    AUTO_ALL = "auto_all"
    DENY = "deny"


DEFAULT_POLICIES = {
    Action.IMPLEMENT: Policy.AUTO_EDIT,
    Action.PLAN: Policy.DENY,
    Action.ANALYZE: Policy.DENY,
    Action.REVIEW: Policy.DENY,
}


class OptionKind(StrEnum):
    """What choosing an option of an approval means, whatever the agent calls it."""

    ALLOW_ONCE = "allow_once"
    ALLOW_ALWAYS = "allow_always"
    REJECT_ONCE = "reject_once"
    REJECT_ALWAYS = "reject_always"


class ApprovalOption(WireModel):
    """One answer that an approval allows."""

    id: str
    label: str
    kind: OptionKind


class QuestionOption(WireModel):
    """One answer that a question suggests."""

    id: str
    label: str
    description: str = ""


class Question(WireModel):
    """One question of an agent to the user."""

    id: str
    header: str = ""
    text: str
    options: list[QuestionOption] = []
    multi_select: bool = False
    allows_text: bool = True
    secret: bool = Field(default=False, description="Whether the answer must not be stored or shown.")


class InputRequestKind(StrEnum):
    """Whether the agent wants leave to do something, or to know something."""

    APPROVAL = "approval"
    QUESTION = "question"


class InputRequest(WireModel):
    """Something an agent asks of the user, and waits for."""

    id: str
    kind: InputRequestKind
    title: str
    detail: str = ""
    tool: str = ""
    options: list[ApprovalOption] = []
    questions: list[Question] = []
    asked_at: str = ""


class QuestionAnswer(WireModel):
    """The answer to one question."""

    question_id: str
    option_ids: list[str] = []
    text: str | None = None


class Usage(WireModel):
    """What a session has used so far, over all of its runs."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = Field(default=None, description="Null where the agent does not tell.")


class Changes(WireModel):
    """How much a session's worktree differs from where it began, uncommitted work included."""

    files: int
    insertions: int
    deletions: int


class FollowUpMode(StrEnum):
    """When a further text reaches the agent."""

    QUEUE = "queue"
    STEER = "steer"


class FollowUpStatus(StrEnum):
    """How far a text of the user has come."""

    QUEUED = "queued"
    SENT = "sent"
    UNCERTAIN = "uncertain"


class FollowUp(WireModel):
    """A text of the user that the agent has not acknowledged yet."""

    id: str
    text: str
    mode: FollowUpMode
    at: str
    status: FollowUpStatus = Field(
        default=FollowUpStatus.QUEUED,
        description="`uncertain`: the agent died before it acknowledged the text; it is not sent again by itself.",
    )


class Session(WireModel):
    """A conversation with one agent about one task."""

    id: str = Field(description="12 characters of lower-case base32.")
    project_id: str
    project_slug: str
    command_id: str
    agent: str
    action: Action
    title: str
    prompt: str
    scope_path: str | None = None
    model: str | None = None
    policy: Policy
    state: State = State.CREATED
    reason: Reason | None = None
    message: str = Field(default="", description="What a person should know about the reason.")
    attention: list[Attention] = []
    branch: str | None = None
    base_commit: str | None = None
    worktree_path: str | None = None
    agent_session_id: str | None = Field(default=None, description="The agent's own name of the conversation.")
    pid: int | None = Field(default=None, description="The agent's process, while it lives.")
    exit_code: int | None = None
    turns: int = 0
    queued: list[FollowUp] = []
    input_requests: list[InputRequest] = []
    usage: Usage = Usage()
    changes: Changes | None = None
    collisions: int = 0
    created_at: str
    started_at: str | None = None
    ended_at: str | None = None
    updated_at: str
    state_before: State | None = Field(
        default=None, description="How an archived or deleted session had ended: completed, failed or stopped."
    )
    purged_at: str | None = Field(
        default=None, description="Since when nothing but numbers and ids is left of it; it is in no list any more."
    )
    version: int = Field(default=0, description="Grows with every change of this object.")


def refuse_put_away(session: Session, what: str) -> None:
    """Refuse what an archived or deleted session cannot do, and say what brings it back, if anything does."""
    if session.purged_at is not None:
        raise OrchError(
            ErrorKind.ILLEGAL_TRANSITION,
            f"Session {session.id} was purged and cannot {what}.",
            hint="Nothing but its numbers and ids is left.",
            state=session.state.value,
            allowed=[],
        )
    if session.state in {State.ARCHIVED, State.DELETED}:
        way_back = "unarchive" if session.state == State.ARCHIVED else "restore"
        raise OrchError(
            ErrorKind.ILLEGAL_TRANSITION,
            f"Session {session.id} is {session.state} and cannot {what}.",
            hint=f"`orch {way_back} {session.id}` brings it back.",
            state=session.state.value,
            allowed=[way_back],
        )
