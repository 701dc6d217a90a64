"""`orch/command/*`."""

from pydantic import Field

from orch_server.domain.command import Command
from orch_server.domain.errors import invalid_params
from orch_server.domain.session import Action, Policy, Session
from orch_server.domain.wire import Params, WireModel
from orch_server.protocol.paging import PageParams, number_cursor
from orch_server.protocol.registry import Call, request
from orch_server.services import commands, projects, sessions
from orch_server.services.context import Context
from orch_server.services.language import Parsed
from orch_server.store.records import SessionRecord

_LONGEST_TEXT = 20_000


class ParseCommand(Params):
    """A text that asks an agent for something."""

    text: str = Field(max_length=_LONGEST_TEXT)
    project: str | None = Field(default=None, min_length=1, description="Meant where the text names none: id or slug.")


class SubmitCommand(Params):
    """A text, or the parameters of `orch/session/start`; or both, where the text has been parsed already."""

    text: str | None = Field(
        default=None,
        max_length=_LONGEST_TEXT,
        description="What the user said. It is parsed where `agent` and `action` are left out, and always kept.",
    )
    agent: str | None = Field(default=None, min_length=1)
    action: Action | None = None
    project: str | None = Field(
        default=None,
        min_length=1,
        description="Its id or slug. With a text that is parsed: meant where that names none.",
    )
    scope_path: str | None = Field(default=None, min_length=1, description="A path in the project to keep to.")
    prompt: str | None = Field(default=None, description="implement and plan need one.")
    model: str | None = Field(default=None, min_length=1)
    base_ref: str | None = Field(default=None, min_length=1, description="Where the worktree starts.")
    from_dirty: bool = Field(default=False, description="Take the checkout's uncommitted changes along.")
    title: str | None = Field(default=None, min_length=1, max_length=200)
    policy: Policy | None = None
    work_done_token: str | int | None = Field(
        default=None, description="Report the start as `$/progress` under this token; cancelling it stops the session."
    )


class SubmittedCommand(WireModel):
    """A command, and the session that it started."""

    command: Command
    session: Session


class ListCommands(PageParams):
    """Which commands."""

    project: str | None = Field(default=None, min_length=1)


class CommandPage(WireModel):
    """Some commands, newest first."""

    items: list[Command]
    next_cursor: str | None


@request("orch/command/parse")
def parse(call: Call, params: ParseCommand) -> Parsed:
    """Say what a text asks for and what of it is not clear; nothing is started."""
    return commands.parse(call.context, params.text, params.project)


def _submitted(context: Context, session: SessionRecord) -> SubmittedCommand:
    return SubmittedCommand.model_construct(command=commands.of_session(context, session), session=session)


@request("orch/command/submit", changes=True, recall=_submitted)
async def submit(call: Call, params: SubmitCommand) -> SubmittedCommand:
    """Send an agent to work, by a text or by fields; an unclear text gets its parse in the data of the error."""
    agent, action, project = params.agent, params.action, params.project
    scope_path, prompt, model = params.scope_path, params.prompt, params.model
    if agent is None and action is None and params.text is not None:
        if scope_path or prompt or model:
            raise invalid_params(
                "With a text alone, scopePath, prompt and model come from the text.",
                hint="Give agent, action and project too, as `orch/command/parse` returns them.",
            )
        parsed = await commands.understand(call.context, params.text, project)
        agent, action, project = parsed.agent, parsed.action, parsed.project
        scope_path, prompt, model = parsed.scope_path, parsed.prompt, parsed.model
    if agent is None or action is None or project is None:
        raise invalid_params(
            "A command needs a text, or an agent, an action and a project.",
            hint="For example text: ask demo to review my-app.",
        )
    before = call.context.feed.last_seq
    session = await sessions.start(
        call.context,
        call.caller,
        agent=agent,
        action=action,
        project=project,
        scope_path=scope_path,
        prompt=prompt,
        model=model,
        base_ref=params.base_ref,
        from_dirty=params.from_dirty,
        title=params.title,
        policy=params.policy,
        text=params.text,
    )
    token = params.work_done_token
    if token is not None:
        call.client.after_reply(lambda: call.client.report_start(token, session.id, before))
    return _submitted(call.context, session)


@request("orch/command/list")
def list_(call: Call, params: ListCommands) -> CommandPage:
    """Return what was asked for, the newest first."""
    items, cursor = call.context.store.commands(
        project_id=projects.get(call.context, params.project).id if params.project is not None else None,
        before=number_cursor(params.cursor),
        limit=params.limit,
    )
    return CommandPage(items=items, next_cursor=None if cursor is None else str(cursor))
