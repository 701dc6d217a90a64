"""Records for tests that need one and do not care for its details."""

from typing import Any

from orch_server.domain.session import Action, Policy
from orch_server.store.records import SessionRecord

TIME = "2026-01-02T03:04:05.678Z"


def session_record(**changed: Any) -> SessionRecord:
    """Return a session, with what is `changed`."""
    values: dict[str, Any] = {
        "id": "abcdefghijkl",
        "project_id": "p1",
        "project_slug": "shop",
        "command_id": "c1",
        "agent": "demo",
        "action": Action.IMPLEMENT,
        "title": "Do it",
        "prompt": "Do it well",
        "policy": Policy.AUTO_EDIT,
        "created_at": TIME,
        "updated_at": TIME,
        "prompt_id": "prompt-1",
    }
    return SessionRecord(**values | changed)
