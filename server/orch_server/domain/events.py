"""Everything that can happen: one class a type of event, and together the closed union of them.

To add a kind of event, add a class here and its golden JSON in tests/domain/events/; the store, the wire, the
TypeScript union and the reference follow by themselves. The fields of `data` may grow, never change their meaning.
"""

from typing import Any, ClassVar

from pydantic import Field

from orch_server.domain.artifact import Artifact
from orch_server.domain.collision import Collision
from orch_server.domain.command import Command
from orch_server.domain.lease import Lease
from orch_server.domain.project import Project
from orch_server.domain.session import Changes, FollowUpMode, InputRequest, Reason, Session, State, Usage
from orch_server.domain.wire import WireModel

MOST_PATHS = 1_000


class EventData(WireModel):
    """What an event tells; each class below names its type."""

    type: ClassVar[str]


class Event(WireModel):
    """Something that happened, numbered over the whole hub without gaps."""

    seq: int
    id: str
    type: str
    at: str
    project_id: str | None
    session_id: str | None
    run_id: str | None
    turn: int | None
    data: Any


class ProjectRegistered(EventData):
    """A repository became a project."""

    type = "project.registered"
    project: Project


class ProjectUpdated(EventData):
    """A project's name, branch, trust or policy changed."""

    type = "project.updated"
    project: Project


class ProjectRemoved(EventData):
    """A project was forgotten; none of its files was touched."""

    type = "project.removed"
    project: Project


class CommandSubmitted(EventData):
    """A user gave a task."""

    type = "command.submitted"
    command: Command


class CommandRejected(EventData):
    """A text could not be understood as a command."""

    type = "command.rejected"
    text: str
    problems: list[str]


class SessionCreated(EventData):
    """A session was recorded; it has no process yet."""

    type = "session.created"
    session: Session


class SessionStateChanged(EventData):
    """A session went from one state to another, or its reason changed."""

    type = "session.state_changed"
    from_state: State = Field(alias="from")
    to_state: State = Field(alias="to")
    reason: Reason | None
    session: Session


class SessionUpdated(EventData):
    """Fields of a session changed without a change of state; at most two a second."""

    type = "session.updated"
    changed: dict[str, Any] = Field(description="Fields of Session by their wire names, with their new values.")


class SessionArchived(EventData):
    """A session was put away."""

    type = "session.archived"
    session: Session


class SessionUnarchived(EventData):
    """A session came back from the archive."""

    type = "session.unarchived"
    session: Session


class SessionDeleted(EventData):
    """A session went into the trash."""

    type = "session.deleted"
    session: Session


class SessionRestored(EventData):
    """A session came back from the trash."""

    type = "session.restored"
    session: Session


class SessionPurged(EventData):
    """A session's content is gone for good; its numbers and ids stay."""

    type = "session.purged"
    session: Session


class WorktreeCreating(EventData):
    """A worktree is being made."""

    type = "worktree.creating"
    path: str
    branch: str
    percent: int | None = None


class WorktreeCreated(EventData):
    """A worktree is ready."""

    type = "worktree.created"
    path: str
    branch: str


class WorktreeFailed(EventData):
    """A worktree could not be made."""

    type = "worktree.failed"
    path: str
    branch: str
    error: str


class WorktreeRemoved(EventData):
    """A worktree was moved into the trash."""

    type = "worktree.removed"
    path: str
    branch: str


class WorktreeRestored(EventData):
    """A worktree came back from the trash."""

    type = "worktree.restored"
    path: str
    branch: str


class WorktreeChanged(EventData):
    """What a session changed in its worktree is different now."""

    type = "worktree.changed"
    path: str
    branch: str
    changes: Changes


class WorktreeCommitted(EventData):
    """A session's work was committed on its branch, as the user."""

    type = "worktree.committed"
    path: str
    branch: str
    commit: str
    files: int
    paths: list[str] = Field(description=f"Of the files; the first {MOST_PATHS} at most.")


class CheckoutApplied(EventData):
    """A session's work came into the project's own checkout."""

    type = "checkout.applied"
    strategy: str = Field(description="patch, merge, squash or rebase.")
    commit: str | None = Field(description="What the checkout's branch is at now; null where nothing was committed.")
    files: int
    paths: list[str] = Field(description=f"Of the files; the first {MOST_PATHS} at most.")
    record: str = Field(description="The ref that has what was there before.")


class CheckoutUndone(EventData):
    """An application of a session's work was taken back: the checkout is as it was before."""

    type = "checkout.undone"
    files: int
    paths: list[str] = Field(description=f"Of the files; the first {MOST_PATHS} at most.")
    record: str = Field(description="The ref that had what was there before.")


class RunStarted(EventData):
    """An agent's process runs."""

    type = "run.started"
    pid: int


class RunAdopted(EventData):
    """A hub that started found an agent's process alive and took it over."""

    type = "run.adopted"
    pid: int
    hub_down_seconds: float


class RunExited(EventData):
    """An agent's process ended."""

    type = "run.exited"
    exit_code: int | None
    signal: int | None


class RunLost(EventData):
    """How an agent's process ended is not known."""

    type = "run.lost"
    reason: str


class RunOutputLimited(EventData):
    """An agent wrote more than is kept and was stopped."""

    type = "run.output_limited"
    bytes: int


class TurnStarted(EventData):
    """The agent took up a prompt."""

    type = "turn.started"
    prompt: str


class TurnCompleted(EventData):
    """The agent's final word on a prompt."""

    type = "turn.completed"
    text: str
    usage: Usage


class TurnFailed(EventData):
    """A turn ended without the agent's final word, or with an error."""

    type = "turn.failed"
    reason: Reason
    message: str


class AgentMessage(EventData):
    """The agent says something; the texts of one messageId, in order of seq, are one message."""

    type = "agent.message"
    message_id: str
    text: str
    final: bool


class AgentThought(EventData):
    """The agent thinks aloud; the texts of one messageId, in order of seq, are one thought."""

    type = "agent.thought"
    message_id: str
    text: str
    final: bool


class AgentToolStarted(EventData):
    """The agent uses a tool."""

    type = "agent.tool_started"
    tool_id: str
    name: str
    kind: str = Field(description="read, edit, delete, move, search, execute, think, fetch or other.")
    title: str
    paths: list[str]
    input: str


class AgentToolFinished(EventData):
    """A tool came to its end."""

    type = "agent.tool_finished"
    tool_id: str
    ok: bool
    output: str
    truncated: bool


class PlanEntry(WireModel):
    """One step of an agent's plan."""

    text: str
    status: str = Field(description="pending, in_progress or completed.")


class AgentPlan(EventData):
    """The agent's plan as it is now; it replaces the one before."""

    type = "agent.plan"
    entries: list[PlanEntry]


class AgentUsage(EventData):
    """What the session has used so far."""

    type = "agent.usage"
    usage: Usage


class AgentLog(EventData):
    """A line of the agent that is no message: its standard error, something unknown, or raw output."""

    type = "agent.log"
    stream: str = Field(description="stderr, unknown, raw, or setup (before the agent starts).")
    text: str


class InputRequested(EventData):
    """The agent asks the user."""

    type = "input.requested"
    input_request: InputRequest


class InputAnswered(EventData):
    """A request was answered."""

    type = "input.answered"
    input_request_id: str
    by: str = Field(description="user or policy.")
    option_id: str | None = None


class InputWithdrawn(EventData):
    """A request needs no answer any more."""

    type = "input.withdrawn"
    input_request_id: str
    reason: str


class FollowUpQueued(EventData):
    """A text of the user was taken into the queue."""

    type = "followup.queued"
    id: str
    text: str
    mode: FollowUpMode


class FollowUpDelivered(EventData):
    """The agent acknowledged a text of the user."""

    type = "followup.delivered"
    id: str
    text: str
    mode: FollowUpMode


class FollowUpWithdrawn(EventData):
    """The user took a queued text back."""

    type = "followup.withdrawn"
    id: str
    text: str
    mode: FollowUpMode


class FollowUpUncertain(EventData):
    """The agent died before it acknowledged a text; the text is back in the queue and is not sent again by itself."""

    type = "followup.uncertain"
    id: str
    text: str
    mode: FollowUpMode


class ArtifactCreated(EventData):
    """A session left a file."""

    type = "artifact.created"
    artifact: Artifact


class ArtifactUpdated(EventData):
    """A file that a session left has new content."""

    type = "artifact.updated"
    artifact: Artifact


class CleanupPreviewed(EventData):
    """Someone looked at what a delete would do."""

    type = "cleanup.previewed"
    token: str


class ProjectChangedReadOnly(EventData):
    """Files changed while a read-only session ran."""

    type = "project.changed_read_only"
    paths: list[str]
    attributed: bool = Field(description="Whether a tool of the session named one of the paths.")


class CollisionDetected(EventData):
    """Two sides would not merge."""

    type = "collision.detected"
    collision: Collision


class CollisionCleared(EventData):
    """Two sides would merge again."""

    type = "collision.cleared"
    collision: Collision


class LeaseClaimed(EventData):
    """A session or the user wants a path for itself."""

    type = "lease.claimed"
    lease: Lease


class LeaseContested(EventData):
    """A session is about to change a path that another one holds; the holder's session is the event's."""

    type = "lease.contested"
    lease: Lease
    by: str = Field(description="The session that names the path.")
    path: str


class LeaseReleased(EventData):
    """A lease ended."""

    type = "lease.released"
    lease: Lease


class HubStarted(EventData):
    """A hub began to serve."""

    type = "hub.started"
    version: str


class HubRecovered(EventData):
    """A hub took over what the one before it left."""

    type = "hub.recovered"
    adopted: int
    lost: int
    resent: int


class HubStopping(EventData):
    """A hub is about to leave; agents run on."""

    type = "hub.stopping"
    reason: str


EVENT_TYPES: dict[str, type[EventData]] = {cls.type: cls for cls in EventData.__subclasses__()}
