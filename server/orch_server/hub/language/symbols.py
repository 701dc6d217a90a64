"""`workspace/symbol`: sessions, found by their title, agent, state, project or id."""

from typing import TYPE_CHECKING

from lsprotocol import types

from orch_server.domain.readable import harmless
from orch_server.domain.session import State
from orch_server.hub.language.registry import answers
from orch_server.hub.language.showing import place_for
from orch_server.hub.language.wording import state_of
from orch_server.services.pages import page_of
from orch_server.store.records import SessionRecord

if TYPE_CHECKING:
    from orch_server.hub.language.editor import Editor

_MOST = 50
_LOOKED_THROUGH = 500
_TOP = types.Range(types.Position(0, 0), types.Position(0, 0))


@answers(types.WORKSPACE_SYMBOL)
async def symbols(editor: "Editor", params: types.WorkspaceSymbolParams) -> list[types.SymbolInformation]:
    """Return the sessions in which every word of the query occurs, the newest first."""
    words = params.query.casefold().split()
    states = [state for state in State if state is not State.DELETED]
    sessions, _ = editor.context.store.sessions(states=states, limit=_LOOKED_THROUGH)
    found = [session for session in sessions if all(word in _searched(session) for word in words)][:_MOST]
    return [await _symbol(editor, session) for session in found]


def _searched(session: SessionRecord) -> str:
    words = (session.title, session.agent, session.action, session.state, session.project_slug, session.id)
    return " ".join(words).casefold()


async def _symbol(editor: "Editor", session: SessionRecord) -> types.SymbolInformation:
    return types.SymbolInformation(
        name=harmless(session.title),
        kind=types.SymbolKind.Event,
        container_name=f"{session.agent} in {session.project_slug}, {state_of(session)} ({session.id})",
        location=types.Location(await place_for(editor, page_of(session.id, "session.md")), _TOP),
    )
