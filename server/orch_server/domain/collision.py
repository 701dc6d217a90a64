"""Two sides that changed the same place, seen before they are merged."""

from enum import StrEnum

from pydantic import Field

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
    end_line: int = Field(description="startLine - 1 where the side has no lines there: it deleted them, say.")


class CollisionHunk(WireModel):
    """The lines of each side that do not go together, in each side's own numbers."""

    sides: tuple[LineRange, LineRange]


class CollisionFile(WireModel):
    """One file in which two sides collide."""

    path: str
    kind: CollisionKind
    hunks: list[CollisionHunk] = Field(description="Empty where the lines are not what does not go together.")
    side_paths: tuple[str | None, str | None] = Field(
        default=(None, None), description="What each side itself calls it; null where a side does not have it."
    )


class Collision(WireModel):
    """A merge that would not go through, predicted."""

    id: str = Field(description="The same as long as it is about the same two.")
    project_id: str
    against: CollisionAgainst
    sessions: tuple[str, str | None] = Field(
        description="The sides, in order; null is the base branch or the checkout."
    )
    files: list[CollisionFile]
    detected_at: str
