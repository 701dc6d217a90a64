"""What a row holds, as values."""

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from orch_server.domain.session import Session, Usage
from orch_server.domain.wire import WireModel


class SessionRecord(Session):
    """A session with what only the hub needs to know; `Session` alone is what travels."""

    base_ref: str | None = None
    from_dirty: bool = False
    dirty_tree: str | None = Field(
        default=None, description="The checkout's files at the start, where they came along."
    )
    furnished: bool = Field(default=False, description="Whether all that belongs into the new worktree is in it.")
    port_base: int | None = Field(default=None, description="The first of the ports that are the session's.")
    prompt_id: str
    prompt_delivered: bool = False
    worktree: dict[str, Any] | None = Field(default=None, description="By what the git room knows the worktree again.")
    turn_trees: list[str] = Field(default=[], description="The files after the last two turns, as trees; newest last.")
    resumes_at: str | None = Field(default=None, description="When the usage limit ends that it ran into.")
    kept_seq: int = Field(default=0, description="Up to this event the conversation is in artifacts and search.")
    unannounced: list[str] = Field(default=[], description="Fields that changed and were not told in an event yet.")
    trash: dict[str, Any] | None = Field(default=None, description="What restoring a deleted session takes.")

    def wire_bytes(self) -> bytes:
        """Return the session as it travels."""
        return Session.__pydantic_serializer__.to_json(self, by_alias=True)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the files of a session are to be: all that a look at thousands of them needs."""

    session_id: str
    project_path: str
    worktree: dict[str, Any] | None
    attention: list[str]


class SearchHit(WireModel):
    """A place where words were found."""

    session_id: str
    seq: int
    kind: str
    snippet: str
    at: str


RunState = Literal["starting", "running", "ended"]


@dataclass(slots=True)
class RunRow:
    """One life of an agent process."""

    id: str
    session_id: str
    state: RunState
    created_at: str
    out_offset: int = 0
    err_offset: int = 0
    revision: int = 0
    """Grows with every saved step of the dialogue."""
    adapter_state: dict[str, Any] = field(default_factory=dict)
    usage_before: Usage = field(default_factory=Usage)
    stop_requested: str | None = None
    """Who or what asked for the end, recorded before anything is done, so that an exit code cannot lie."""
    exit_code: int | None = None
    signal: int | None = None
    ended_at: str | None = None


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A line that waits for its runner's acknowledgement."""

    id: int
    run_id: str
    line: str
    prompt_id: str | None
    seen: int


@dataclass(frozen=True, slots=True)
class Intent:
    """Something that was about to be done."""

    id: str
    kind: str
    session_id: str | None
    data: dict[str, Any]


@dataclass(slots=True)  # not frozen, which makes each of thousands twice as dear
class StoredEvent:
    """A committed event, never changed: what it is filtered by, and its bytes on the wire, the same for everybody."""

    seq: int
    type: str
    project_id: str | None
    session_id: str | None
    json: bytes


@dataclass(frozen=True, slots=True)
class KeptReply:
    """What became of a request that carried a key."""

    method: str
    digest: str
    session_id: str | None
    reply: bytes | None
