"""`workspace/executeCommand`: the verbs of orch, for editors that can do nothing else.

A command takes the parameters of its method as one object, or the first of them as plain values in the order of
`positional`, as one types them. Its result is the method's. What is to be looked at is shown by `window/showDocument`
where the client can; `show: false` only returns it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from lsprotocol import types

from orch_server.domain.errors import ErrorKind, OrchError, invalid_params
from orch_server.hub.language.documents import path_of
from orch_server.hub.language.registry import answers
from orch_server.hub.language.showing import show_file, show_page
from orch_server.hub.language.takes import take
from orch_server.services import advice, sessions, whereabouts
from orch_server.services.pages import page_of
from orch_server.store.records import SessionRecord

if TYPE_CHECKING:
    from orch_server.hub.language.editor import Editor

Params = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """One command: which method it is, or what it does itself."""

    title: str
    positional: tuple[str, ...] = ()
    method: str | None = None
    prepare: "Callable[[Editor, Params], None] | None" = None
    """Fills in what the user need not say."""
    act: "Callable[[Editor, Params], Awaitable[Any]] | None" = None


@answers(types.WORKSPACE_EXECUTE_COMMAND)
async def execute(editor: "Editor", params: types.ExecuteCommandParams) -> Any:
    """Carry out a command."""
    command = COMMANDS.get(params.command)
    if command is None:
        raise OrchError(
            ErrorKind.INVALID_PARAMS,
            f"There is no command {params.command!r}.",
            hint="Commands: " + ", ".join(COMMANDS),
        )
    given = _named(params.command, command, list(params.arguments or []))
    if command.prepare is not None:
        command.prepare(editor, given)
    if command.act is not None:
        return await command.act(editor, given)
    assert command.method is not None
    if params.work_done_token is not None and command.method in _REPORTED:
        given["workDoneToken"] = params.work_done_token
    return await editor.wire.execute(command.method, given)


def _named(name: str, command: Command, arguments: list[Any]) -> Params:
    if len(arguments) == 1 and isinstance(arguments[0], dict):
        return dict(arguments[0])
    if len(arguments) > len(command.positional):
        raise invalid_params(
            f"{name} takes {len(command.positional)} plain arguments.",
            hint=f"They are: {', '.join(command.positional) or 'none'}. One object with all parameters does, too.",
        )
    return {key: value for key, value in zip(command.positional, arguments, strict=False) if value is not None}


# -- what the user need not say -----------------------------------------------------------------------------------


def _in_this_project(editor: "Editor", given: Params) -> None:
    """Mean the project of the client's folder where none is named."""
    if given.get("project") is None:
        project = editor.project()
        if project is not None:
            given["project"] = project.slug


def _the_open_request(editor: "Editor", given: Params) -> None:
    """Mean the one request that is open, and take allow and deny for its options."""
    session = sessions.find(editor.context, str(given.get("session", "")))
    if given.get("inputRequestId") is None:
        if len(session.input_requests) != 1:
            asks = ", ".join(f"{item.id} ({item.title})" for item in session.input_requests)
            raise invalid_params(
                f"Session {session.id} asks {'several things' if asks else 'nothing'}.",
                hint=f"Name one as inputRequestId: {asks}." if asks else "",
            )
        given["inputRequestId"] = session.input_requests[0].id
    request = next((item for item in session.input_requests if item.id == given["inputRequestId"]), None)
    wanted = {"allow": "allow_once", "deny": "reject_once"}.get(str(given.get("optionId")))
    options = request.options if request is not None else []
    if wanted is not None and all(option.id != given["optionId"] for option in options):
        given["optionId"] = next((option.id for option in options if option.kind == wanted), given["optionId"])


# -- what is looked at --------------------------------------------------------------------------------------------


async def _open(editor: "Editor", given: Params) -> Any:
    """Show a file of a session's worktree, the first it changed where none is named, else the session's page."""
    session = _session(editor, given)
    root = session.worktree_path or (editor.context.store.project(session.project_id) or _none()).path
    path = given.get("path")
    if path is None:
        changed = await editor.wire.execute("orch/session/diff", {"session": session.id})
        path = next((file["path"] for file in orjson.loads(changed)["files"] if file["status"] != "deleted"), None)
    if path is None:
        return await _show_page(editor, session, "session.md", given)
    file = whereabouts.inside(root, str(path))
    shown = _wanted(given) and await show_file(editor, file, given.get("line"))
    return {"path": file, "root": root, "shown": shown}


async def _diff(editor: "Editor", given: Params) -> Any:
    """Return a session's diff, and show it as a patch."""
    shows = _wanted(given)
    given.pop("show", None)
    found = await editor.wire.execute("orch/session/diff", given)
    if shows:
        await show_page(editor, page_of(_session(editor, given).id, "changes.patch"))
    return found


async def _compare(editor: "Editor", given: Params) -> Any:
    """Return where both sides of a collision are, and show how they differ."""
    collision = advice.find(editor.context, str(given.get("collision", "")))
    session = sessions.find(editor.context, collision.sessions[0])
    sides = advice.places(editor.context, collision)
    return {**await _show_page(editor, session, "collisions.patch", given), "collision": collision.id, "files": sides}


async def _transcript(editor: "Editor", given: Params) -> Any:
    return await _show_page(editor, _session(editor, given), "transcript.md", given)


async def _show(editor: "Editor", given: Params) -> Any:
    return await _show_page(editor, _session(editor, given), "session.md", given)


async def _sessions(editor: "Editor", given: Params) -> Any:
    """Return the sessions, and show the page with all of them."""
    shows = _wanted(given)
    given.pop("show", None)
    found = await editor.wire.execute("orch/session/list", given)
    if shows:
        await show_page(editor, "/sessions.md")
    return found


async def _artifact(editor: "Editor", given: Params) -> Any:
    """Return an artifact, and show its file."""
    shows = _wanted(given)
    given.pop("show", None)
    found = await editor.wire.execute("orch/artifact/read", given)
    if shows:
        await show_file(editor, orjson.loads(found)["artifact"]["path"])
    return found


async def _show_page(editor: "Editor", session: SessionRecord, name: str, given: Params) -> Any:
    page = page_of(session.id, name)
    if _wanted(given):
        return {**await show_page(editor, page), "session": session.id}
    return {"page": page, "session": session.id, "shown": False}


async def _take(editor: "Editor", given: Params) -> Any:
    path = path_of(str(given.get("uri", "")))
    if path is None:
        raise invalid_params("uri must name a file.", hint="It is that of the buffer to change.")
    return await take(editor, _session(editor, given), str(given["uri"]), path)


def _session(editor: "Editor", given: Params) -> SessionRecord:
    return sessions.find(editor.context, str(given.get("session", "")))


def _wanted(given: Params) -> bool:
    return given.get("show") is not False


def _none() -> Any:
    raise OrchError(ErrorKind.NOT_FOUND, "The session's project is gone.")


_REPORTED = frozenset({"orch/session/start", "orch/command/submit"})
_BY_ID = ("session",)

COMMANDS: dict[str, Command] = {
    "orch.send": Command(
        "Send an agent to work",
        ("agent", "action", "project", "prompt"),
        "orch/session/start",
        _in_this_project,
    ),
    "orch.do": Command("Say what is to be done", ("text", "project"), "orch/command/submit", _in_this_project),
    "orch.followUp": Command("Give a session a further text", ("session", "text", "mode"), "orch/session/followUp"),
    "orch.unqueue": Command("Take a queued text back", ("session", "followUpId"), "orch/session/unqueue"),
    "orch.respond": Command(
        "Answer what a session asks",
        ("session", "optionId", "text", "inputRequestId"),
        "orch/session/respond",
        _the_open_request,
    ),
    "orch.stop": Command("Stop a session", _BY_ID, "orch/session/stop"),
    "orch.resume": Command("Go on with a session", ("session", "text"), "orch/session/resume"),
    "orch.update": Command("Rename a session", ("session", "title"), "orch/session/update"),
    "orch.archive": Command("Put a session away", _BY_ID, "orch/session/archive"),
    "orch.unarchive": Command("Bring a session back from the archive", _BY_ID, "orch/session/unarchive"),
    "orch.delete": Command("Move a session into the trash", _BY_ID, "orch/session/delete"),
    "orch.restore": Command("Bring a session back from the trash", _BY_ID, "orch/session/restore"),
    "orch.commit": Command("Commit a session's work on its branch", ("session", "message"), "orch/session/commit"),
    "orch.apply": Command("Bring a session's work home", ("session", "strategy"), "orch/session/apply"),
    "orch.sessions": Command("Show the sessions", ("project",), act=_sessions),
    "orch.show": Command("Show a session", _BY_ID, act=_show),
    "orch.open": Command("Open a file of a session's worktree", ("session", "path", "line"), act=_open),
    "orch.diff": Command("Show what a session changed", ("session", "against"), act=_diff),
    "orch.collisions": Command("List what would not merge", ("project",), "orch/collision/list", _in_this_project),
    "orch.compare": Command("Compare both sides of a collision", ("collision",), act=_compare),
    "orch.tell": Command("Tell a session what the other side changed", ("collision", "session"), "orch/collision/tell"),
    "orch.planMerge": Command("Plan what to bring home first", ("project",), "orch/collision/plan", _in_this_project),
    "orch.transcript": Command("Show a session's conversation", _BY_ID, act=_transcript),
    "orch.artifacts": Command("List the files that sessions left", _BY_ID, "orch/artifact/list"),
    "orch.artifact": Command("Show a file that a session left", ("artifact",), act=_artifact),
    "orch.take": Command("Take a session's changes of a file into its buffer", ("session", "uri"), act=_take),
    "orch.search": Command("Find words in every conversation", ("query",), "orch/search"),
    "orch.agents": Command("List the agents", (), "orch/agent/list"),
    "orch.projects": Command("List the projects", (), "orch/project/list"),
    "orch.addProject": Command("Register a repository", ("path", "name"), "orch/project/add"),
}
"""All commands, by the name that the client sends."""
