"""`orch/search`."""

from pydantic import Field

from orch_server.domain.errors import invalid_params
from orch_server.domain.wire import WireModel
from orch_server.protocol.paging import PageParams, number_cursor
from orch_server.protocol.registry import Call, request
from orch_server.services import projects
from orch_server.services.transcript import EntryKind
from orch_server.store.records import SearchHit


class Search(PageParams):
    """What to look for."""

    query: str = Field(min_length=1, max_length=1000, description="Words that must all occur; `word*` for a beginning.")
    project: str | None = None
    agent: str | None = None
    kinds: list[EntryKind] | None = None


class SearchPage(WireModel):
    """Some hits, newest first."""

    items: list[SearchHit]
    next_cursor: str | None


@request("orch/search")
async def search(call: Call, params: Search) -> SearchPage:
    """Find words in the prompts and conversations of every agent."""
    if not any(word.strip('*"') for word in params.query.split()):
        raise invalid_params("The query holds no word.", hint="Give words; `word*` finds what begins so.")
    project_id = projects.get(call.context, params.project).id if params.project is not None else None
    items, cursor = await call.context.store.search(
        params.query,
        project_id=project_id,
        agent=params.agent,
        kinds=params.kinds,
        before=number_cursor(params.cursor),
        limit=params.limit,
    )
    return SearchPage(items=items, next_cursor=None if cursor is None else str(cursor))
