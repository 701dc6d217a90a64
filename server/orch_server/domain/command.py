"""What a user asked for."""

from orch_server.domain.session import Action
from orch_server.domain.wire import WireModel


class Command(WireModel):
    """A task as the user gave it: who is to do what, where, with which words."""

    id: str
    agent: str
    action: Action
    project_id: str
    scope_path: str | None = None
    prompt: str
    model: str | None = None
    text: str | None = None
    session_id: str
    created_at: str
