"""`orch/artifact/*`."""

from orch_server.domain.artifact import Artifact, ArtifactKind
from orch_server.domain.wire import Params, WireModel
from orch_server.protocol.paging import PageParams, number_cursor
from orch_server.protocol.registry import Call, request
from orch_server.services import artifacts, projects, sessions


class ListArtifacts(PageParams):
    """Which artifacts."""

    project: str | None = None
    session: str | None = None
    kinds: list[ArtifactKind] | None = None


class ArtifactPage(WireModel):
    """Some artifacts, newest first."""

    items: list[Artifact]
    next_cursor: str | None


class NamedArtifact(Params):
    """Which artifact."""

    artifact: str


class ArtifactContent(WireModel):
    """An artifact with its content, as text or, where it is no UTF-8, as base64."""

    artifact: Artifact
    text: str | None
    base64: str | None


@request("orch/artifact/list")
def list_(call: Call, params: ListArtifacts) -> ArtifactPage:
    """Return the files that sessions left, the newest first."""
    items, cursor = call.context.store.artifacts(
        project_id=projects.get(call.context, params.project).id if params.project is not None else None,
        session_id=sessions.find(call.context, params.session).id if params.session is not None else None,
        kinds=params.kinds,
        before=number_cursor(params.cursor),
        limit=params.limit,
    )
    return ArtifactPage(items=items, next_cursor=None if cursor is None else str(cursor))


@request("orch/artifact/read")
async def read(call: Call, params: NamedArtifact) -> ArtifactContent:
    """Return the content of an artifact."""
    artifact, text, base64 = await artifacts.read(call.context, params.artifact)
    return ArtifactContent(artifact=artifact, text=text, base64=base64)
