"""Two sides that changed the same place, seen before they are merged."""

from enum import StrEnum

from orch_server.domain.wire import WireModel


class CollisionAgainst(StrEnum):
    """What a session collides with."""

    SESSION = "session"
    BASE = "base"
    CHECKOUT = "checkout"


class CollisionKind(StrEnum):
    """How two sides of one file collide."""

    CONTENT = "content"
    ADD_ADD = "add_add"
    MODIFY_DELETE = "modify_delete"
    RENAME = "rename"


class LineRange(WireModel):
    """Lines of one side, counted from 1, both ends included."""

    start_line: int
    end_line: int


class CollisionHunk(WireModel):
    """The lines of each side that do not go together, in each side's own numbers."""

    sides: tuple[LineRange, LineRange]


class CollisionFile(WireModel):
    """One file in which two sides collide."""

    path: str
    kind: CollisionKind
    hunks: list[CollisionHunk]


class Collision(WireModel):
    """A merge that would not go through, predicted."""

    id: str
    project_id: str
    against: CollisionAgainst
    sessions: tuple[str, str | None]
    files: list[CollisionFile]
    detected_at: str
