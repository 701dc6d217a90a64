"""`textDocument/hover`: who changed this place, why, and how far they are."""

from typing import TYPE_CHECKING

from lsprotocol import types

from orch_server.domain.readable import harmless
from orch_server.hub.language.collisions import sessions_in, words_at
from orch_server.hub.language.registry import answers
from orch_server.hub.language.wording import escaped, shortened, state_of
from orch_server.services.touches import SessionTouch

if TYPE_CHECKING:
    from orch_server.hub.language.editor import Editor

_PROMPT_CHARACTERS = 300


@answers(types.TEXT_DOCUMENT_HOVER)
def hover(editor: "Editor", params: types.HoverParams) -> types.Hover | None:
    """Say which sessions changed the line under the cursor."""
    line = params.position.line + 1
    markdown = editor.capabilities.reads_markdown
    uri = params.text_document.uri
    found = sessions_in(editor, uri, line)
    told = words_at(editor, uri, line, markdown=markdown, told={item.session.id for item in found})
    put = _as_markdown if markdown else _as_text
    told += [put(item) for item in found]
    if not told:
        return None
    if markdown:
        return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, "\n\n---\n\n".join(told)))
    text = "\n\n".join(told)
    return types.Hover(types.MarkupContent(types.MarkupKind.PlainText, text))


def _as_markdown(item: SessionTouch) -> str:
    session = item.session
    return "\n\n".join(
        [
            f"**{session.agent}** {session.action}: {escaped(session.title)}",
            f"> {escaped(shortened(session.prompt, _PROMPT_CHARACTERS))}",
            f"`{session.id}` · {escaped(state_of(session))} · {_changed(item)}",
        ]
    )


def _as_text(item: SessionTouch) -> str:
    session = item.session
    return "\n".join(
        [
            f"{session.agent} {session.action}: {harmless(session.title)}",
            harmless(shortened(session.prompt, _PROMPT_CHARACTERS)),
            f"{session.id} · {state_of(session)} · {_changed(item)}",
        ]
    )


def _changed(item: SessionTouch) -> str:
    return f"+{item.touch.insertions} -{item.touch.deletions} in this file"
