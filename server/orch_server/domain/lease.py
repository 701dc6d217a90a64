"""A claim on paths: advice to others, never a lock."""

from pydantic import Field

from orch_server.domain.wire import WireModel


class Lease(WireModel):
    """A path that a session, or the user, wants for itself for a while."""

    id: str
    project_id: str
    session_id: str | None = Field(description="Null where the user holds it.")
    path: str = Field(description="From the top of the project; a directory stands for all that lies in it.")
    created_at: str
