"""A registered git repository."""

from pydantic import Field

from orch_server.domain.session import Policy
from orch_server.domain.wire import WireModel


class Project(WireModel):
    """A git repository in which agents may be sent to work."""

    id: str
    slug: str = Field(description="Its short name, unique: `[a-z0-9][a-z0-9-]{0,31}`.")
    name: str
    path: str = Field(description="The repository's real top level.")
    default_branch: str | None = Field(description="Where new worktrees start; null: what is checked out.")
    trusted: bool = Field(description="Whether the project's own hooks, set-up commands and smudge filters may run.")
    policy: Policy | None = Field(description="The approval policy of new sessions; null: the action's default.")
    setup: str | None = Field(
        default=None, description="What is run in a new worktree before its agent starts, while the project is trusted."
    )
    setup_seconds: int = Field(default=600, description="How long that may take.")
    spares: int = Field(default=0, description="How many worktrees are kept ready for new sessions.")
    created_at: str
    session_count: int = 0
    missing: bool = Field(default=False, description="Whether the repository is not at its path any more.")
