"""A file that a session leaves."""

from enum import StrEnum

from orch_server.domain.wire import WireModel


class ArtifactKind(StrEnum):
    """What an artifact is."""

    PLAN = "plan"
    REPORT = "report"
    DIFF = "diff"
    TRANSCRIPT = "transcript"
    FILE = "file"


class Artifact(WireModel):
    """A file that a session leaves, kept under a name of ours."""

    id: str
    session_id: str
    project_id: str
    kind: ArtifactKind
    name: str
    path: str
    media_type: str
    bytes: int
    created_at: str
