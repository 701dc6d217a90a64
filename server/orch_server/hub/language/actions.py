"""`textDocument/codeAction`: sending what the user looks at, or what is wrong with it, to an agent."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from lsprotocol import types

from orch_server.agents.adapter import Adapter
from orch_server.domain.errors import OrchError
from orch_server.domain.session import LIVE, State
from orch_server.hub.language.collisions import actions_at, sessions_in
from orch_server.hub.language.documents import path_of
from orch_server.hub.language.registry import answers
from orch_server.hub.language.wording import SOURCE, offer, shortened, state_of
from orch_server.services import whereabouts
from orch_server.services.launching import find_program
from orch_server.services.touches import SessionTouch
from orch_server.services.whereabouts import Place
from orch_server.store.records import SessionRecord

if TYPE_CHECKING:
    from orch_server.hub.language.editor import Editor

_MOST_AGENTS = 3
_MOST_SESSIONS = 4
_EXCERPT_LINES = 200
_EXCERPT_CHARACTERS = 20_000
_TITLE_CHARACTERS = 50
_DEMO = "demo"
_SEVERITIES = {1: "error", 2: "warning", 3: "information", 4: "hint"}


@answers(types.TEXT_DOCUMENT_CODE_ACTION)
def code_actions(editor: "Editor", params: types.CodeActionParams) -> Sequence[types.CodeAction | types.Command]:
    """Return what agents can do about a selection."""
    path = path_of(params.text_document.uri)
    place = whereabouts.place_of(editor.context, path) if path is not None else None
    if place is None:
        return []
    wanted = params.context.only
    found = [
        action
        for action in _all(editor, params, place)
        if wanted is None or any(_within(action.kind or "", kind) for kind in wanted)
    ]
    if editor.capabilities.takes_code_actions:
        return found
    return [action.command for action in found if action.command is not None]


def _within(kind: str, wanted: str) -> bool:
    return kind == wanted or kind.startswith(f"{wanted}.") or not wanted


def _all(editor: "Editor", params: types.CodeActionParams, place: Place) -> Iterator[types.CodeAction]:
    problems = [item for item in params.context.diagnostics if item.source != SOURCE]
    here = editor.sessions_at(params.text_document.uri)
    yield from actions_at(editor, params)
    about = _About(editor, params.text_document.uri, params.range, place, problems)
    if place.session_id is None:
        agents = _agents(editor, place)
        if problems:
            for agent in agents:
                yield about.fix(agent)
        for agent in agents:
            yield about.read(agent, "Explain", "analyze", "Explain this")
            yield about.read(agent, "Review", "review", "Review this: find bugs, risks and unclear places")
    for session in _sessions(editor, place, here):
        yield about.send(session)
    for touch in sessions_in(editor, params.text_document.uri, params.range.start.line + 1):
        yield from _of_session(editor, params.text_document.uri, touch)


def _of_session(editor: "Editor", uri: str, touch: SessionTouch) -> Iterator[types.CodeAction]:
    session = touch.session
    who = f"{session.agent} ({session.id})"
    yield offer(f"Show what {who} changed", "orch.diff", {"session": session.id, "paths": [touch.touch.path]})
    if not touch.in_worktree:
        yield offer(f"Open the file as {who} has it", "orch.open", {"session": session.id, "path": touch.touch.path})
        if editor.capabilities.applies_edits and editor.documents.get(uri) is not None:
            yield offer(f"Take what {who} changed into this buffer", "orch.take", {"session": session.id, "uri": uri})


class _About:
    """What the user looks at, put into words for an agent."""

    def __init__(
        self, editor: "Editor", uri: str, range_: types.Range, place: Place, problems: list[types.Diagnostic]
    ) -> None:
        self._place = place
        self._problems = problems
        self._range = range_
        document = editor.documents.get(uri)
        self._language = document.language if document is not None else ""
        self._lines = document.lines if document is not None else ()

    def fix(self, agent: str) -> types.CodeAction:
        """Ask an agent to mend the problems, in a session of its own."""
        many = len(self._problems)
        what = "this" if many == 1 else f"these {many} problems"
        prompt = f"Fix {'this problem' if many == 1 else 'these problems'} in {self._where()}:\n\n{self._told()}"
        given = {
            "agent": agent,
            "action": "implement",
            "project": self._place.project.slug,
            "prompt": prompt,
            "title": shortened(f"Fix: {self._problems[0].message}", 100),
            "fromDirty": True,  # what is wrong may be in what is not committed
        }
        action = offer(f"Ask {agent} to fix {what} in a new session", "orch.send", given)
        action.kind, action.diagnostics = types.CodeActionKind.QuickFix, self._problems
        return action

    def read(self, agent: str, verb: str, action: str, words: str) -> types.CodeAction:
        """Ask an agent about it; it may not write."""
        given = {
            "agent": agent,
            "action": action,
            "project": self._place.project.slug,
            "scopePath": self._place.path,
            "prompt": f"{words}: {self._where()}.\n\n{self._told()}",
            "title": f"{verb} {self._place.path}",
        }
        if not os.path.exists(os.path.join(self._place.project.path, self._place.path)):
            del given["scopePath"]  # a file that was never saved
        return offer(f"{verb} this ({agent})", "orch.send", given)

    def send(self, session: SessionRecord) -> types.CodeAction:
        """Give it to a session that there is."""
        words = "Fix this" if self._problems else "Look at this"
        title = shortened(session.title, _TITLE_CHARACTERS)
        text = f"{words}: {self._where()}.\n\n{self._told()}"
        action = offer(
            f"Send this to {session.agent}: {title} ({state_of(session)})",
            "orch.followUp",
            {"session": session.id, "text": text},
        )
        if self._problems:
            action.kind, action.diagnostics = types.CodeActionKind.QuickFix, self._problems
        return action

    def _where(self) -> str:
        first, last = self._range.start.line + 1, self._last + 1
        lines = f"line {first}" if first == last else f"lines {first} to {last}"
        return f"`{self._place.path}`, {lines}"

    @property
    def _last(self) -> int:
        end = self._range.end
        return end.line - 1 if end.character == 0 and end.line > self._range.start.line else end.line

    def _told(self) -> str:
        parts = ["\n".join(_problem(item) for item in self._problems)]
        excerpt = "".join(self._lines[self._range.start.line : self._last + 1][:_EXCERPT_LINES])
        excerpt = excerpt[:_EXCERPT_CHARACTERS].rstrip("\r\n")
        if excerpt.strip():
            fence = "```"
            while fence in excerpt:
                fence += "`"
            parts += ["As it is in my editor:", f"{fence}{self._language}\n{excerpt}\n{fence}"]
        return "\n\n".join(part for part in parts if part)


def _problem(item: types.Diagnostic) -> str:
    severity = _SEVERITIES.get(int(item.severity or 1), "problem")
    code = f" {item.code}" if item.code is not None else ""
    source = f" ({item.source}{code})" if item.source else code
    return f"- line {item.range.start.line + 1}, {severity}{source}: {item.message}"


def _agents(editor: "Editor", place: Place) -> list[str]:
    """Return the agents to offer: those that are installed, the last used in the project first."""
    if editor.agents is None:
        editor.agents = [name for name, adapter in editor.context.adapters.items() if _installed(editor, adapter)]
    recent, _ = editor.context.store.sessions(project_id=place.project.id, limit=20)
    names = [session.agent for session in recent if session.agent in editor.agents]
    names += sorted(editor.agents, key=lambda name: name == _DEMO)
    offered = list(dict.fromkeys(names))
    if len(offered) > 1 and _DEMO not in {session.agent for session in recent}:
        offered.remove(_DEMO)
    return offered[:_MOST_AGENTS]


def _installed(editor: "Editor", adapter: Adapter) -> bool:
    try:
        find_program(adapter, editor.caller.environment)
    except OrchError:
        return False
    return True


def _sessions(editor: "Editor", place: Place, here: Iterable[SessionTouch]) -> list[SessionRecord]:
    """Return the sessions to offer: that whose file it is alone; else those that changed it, then those at work."""
    if place.session_id is not None:
        own = editor.context.store.session(place.session_id)
        return [own] if own is not None else []
    states = [state for state in State if state not in {State.ARCHIVED, State.DELETED}]
    recent, _ = editor.context.store.sessions(project_id=place.project.id, states=states, limit=20)
    ordered = [touch.session for touch in here] + sorted(recent, key=lambda session: session.state not in LIVE)
    return list({session.id: session for session in ordered}.values())[:_MOST_SESSIONS]
