"""`orch/session/commit` and `orch/session/apply`."""

from pydantic import Field

from orch_server.git.apply import Strategy
from orch_server.git.commit import Committed
from orch_server.protocol.registry import Call, request
from orch_server.protocol.session import NamedSession
from orch_server.services import cleanup, home
from orch_server.services.homecoming import Applied


class CommitSession(NamedSession):
    """A commit on a session's branch."""

    message: str | None = Field(default=None, description="What it says; else the session's title and prompt.")


class ApplySession(NamedSession):
    """How a session's work comes into the project's checkout."""

    strategy: Strategy = Field(
        default=Strategy.PATCH,
        description="`patch` changes files and commits nothing; the others make commits on the branch checked out.",
    )
    preview: bool = Field(default=False, description="Only say what it would do.")
    undo: bool = Field(default=False, description="Take the last application of this session back instead.")


@request("orch/session/commit", changes=True)
async def commit(call: Call, params: CommitSession) -> Committed:
    """Commit all that lies in a session's worktree on its branch, as the user."""
    await cleanup.settle_before(call.context, params.session)
    return await home.commit(call.context, call.caller, params.session, params.message)


@request("orch/session/apply", changes=True)
async def apply(call: Call, params: ApplySession) -> Applied:
    """Bring a session's work into the project's checkout; refused on a conflict or over work that is not committed."""
    await cleanup.settle_before(call.context, params.session)
    if params.undo:
        return await home.take_back(call.context, call.caller, params.session, preview=params.preview)
    return await home.apply(call.context, call.caller, params.session, params.strategy, preview=params.preview)
