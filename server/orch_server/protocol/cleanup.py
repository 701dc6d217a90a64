"""The end of a session's life: archive, delete, restore."""

from pydantic import Field

from orch_server.domain.session import Session
from orch_server.domain.wire import WireModel
from orch_server.protocol.registry import Call, request
from orch_server.protocol.session import NamedSession
from orch_server.services import cleanup
from orch_server.services.previews import Preview


class DeleteSession(NamedSession):
    """What to take away."""

    delete_branch: bool = Field(default=False, description="The session's branch too; a restore brings it back.")
    token: str | None = Field(
        default=None, min_length=1, description="Of a preview: act on exactly what it showed, or refuse."
    )
    purge: bool = Field(default=False, description="Remove it for good, now. Needs a token.")


class DeletedSession(WireModel):
    """A session in the trash."""

    session: Session
    kept_until: str | None = Field(description="Until when it can be restored at least; null once it is purged.")


@request("orch/session/archive", changes=True)
async def archive(call: Call, params: NamedSession) -> Session:
    """Put an ended session away; nothing of it is removed, and an archived one is left as it is."""
    return await cleanup.archive(call.context, call.caller, params.session)


@request("orch/session/unarchive", changes=True)
async def unarchive(call: Call, params: NamedSession) -> Session:
    """Bring an archived session back to the state it was in."""
    return await cleanup.unarchive(call.context, call.caller, params.session)


@request("orch/session/cleanupPreview")
async def cleanup_preview(call: Call, params: NamedSession) -> Preview:
    """Return what a delete would take away, and what of it exists nowhere else."""
    return await cleanup.preview(call.context, params.session)


@request("orch/session/delete", changes=True)
async def delete(call: Call, params: DeleteSession) -> DeletedSession:
    """Move a session with its worktree into the trash; a deleted one gets the same reply again.

    A stale token is refused with `stalePreview` and a new `preview` in the data.
    """
    deleted = await cleanup.delete(
        call.context, params.session, drop_branch=params.delete_branch, token=params.token, purge=params.purge
    )
    return DeletedSession.model_construct(session=deleted.session, kept_until=deleted.kept_until)


@request("orch/session/restore", changes=True)
async def restore(call: Call, params: NamedSession) -> Session:
    """Bring a session back from the trash; or a worktree that something removed, from its last snapshot."""
    return await cleanup.restore(call.context, call.caller, params.session)
