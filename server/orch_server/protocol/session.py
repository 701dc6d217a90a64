"""`orch/session/*`."""

import base64

from pydantic import Field

from orch_server.domain.session import Action, FollowUpMode, Policy, QuestionAnswer, Session, State
from orch_server.domain.wire import Params, WireModel
from orch_server.git.diff import Diff
from orch_server.protocol.paging import Page, PageParams, number_cursor
from orch_server.protocol.registry import Call, Encoded, request
from orch_server.services import changes, cleanup, logs, projects, sessions, transcript
from orch_server.services.changes import Against
from orch_server.services.transcript import Entry


class StartSession(Params):
    """What an agent is sent to do."""

    agent: str = Field(min_length=1)
    action: Action
    project: str = Field(min_length=1, description="Its id or slug.")
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


class NamedSession(Params):
    """Which session."""

    session: str = Field(min_length=1, description="Its id, or a unique beginning of it.")


class ListSessions(PageParams):
    """Which sessions."""

    project: str | None = Field(default=None, min_length=1)
    agent: str | None = Field(default=None, min_length=1)
    states: list[State] | None = None
    include_archived: bool = False
    include_deleted: bool = False


class SessionPage(WireModel):
    """Some sessions, newest first."""

    items: list[Session]
    next_cursor: str | None


class FollowUpSession(NamedSession):
    """A further text for the agent."""

    text: str = Field(min_length=1)
    mode: FollowUpMode = FollowUpMode.QUEUE


class UnqueueFollowUp(NamedSession):
    """Which queued text to take back."""

    follow_up_id: str


class RespondToInput(NamedSession):
    """The answer to an input request."""

    input_request_id: str
    option_id: str | None = None
    text: str | None = None
    answers: list[QuestionAnswer] = []


class ResumeSession(NamedSession):
    """How to go on."""

    text: str | None = Field(default=None, min_length=1)
    anew: bool = Field(
        default=False, description="Begin a new conversation of the agent, with what was said so far as its context."
    )


class UpdateSession(NamedSession):
    """What to change of a session; what is left out stays."""

    title: str | None = Field(default=None, min_length=1, max_length=200)
    policy: Policy | None = None


class TailLog(NamedSession):
    """How much of the log."""

    lines: int = Field(default=100, ge=1, le=10_000)


class LogTail(WireModel):
    """The last lines of an agent's standard error."""

    lines: list[str]
    truncated: bool = Field(description="Whether there are more lines before these.")


class ReadTranscript(NamedSession, PageParams):
    """Which part of a conversation."""


class TranscriptPage(WireModel):
    """Some entries of a conversation, in order."""

    items: list[Entry]
    next_cursor: str | None


class DiffSession(NamedSession):
    """What to compare a session's files with."""

    against: Against = Against.BASE
    paths: list[str] = []


class ReadFileBefore(NamedSession):
    """Which file, and as of when."""

    path: str = Field(min_length=1, description="From the top of the repository, as `orch/session/diff` names it.")
    against: Against = Against.BASE


class FileBefore(WireModel):
    """The content of a file, as text or, where it is no UTF-8, as base64; neither where there was no such file."""

    present: bool
    text: str | None
    base64: str | None


@request("orch/session/start", changes=True)
async def start(call: Call, params: StartSession) -> Session:
    """Send an agent to work; the reply leaves as soon as the session is recorded."""
    before = call.context.feed.last_seq
    session = await sessions.start(
        call.context,
        call.caller,
        agent=params.agent,
        action=params.action,
        project=params.project,
        scope_path=params.scope_path,
        prompt=params.prompt,
        model=params.model,
        base_ref=params.base_ref,
        from_dirty=params.from_dirty,
        title=params.title,
        policy=params.policy,
    )
    token = params.work_done_token
    if token is not None:
        call.client.after_reply(lambda: call.client.report_start(token, session.id, before))
    return session


@request("orch/session/list", result=SessionPage)
def list_(call: Call, params: ListSessions) -> Encoded:
    """Return sessions, newest first; archived and deleted ones only where asked for."""
    states = params.states
    if states is None:
        hidden = {State.ARCHIVED: params.include_archived, State.DELETED: params.include_deleted}
        states = [state for state in State if hidden.get(state, True)]
    project_id = projects.get(call.context, params.project).id if params.project is not None else None
    before = number_cursor(params.cursor)
    found, cursor = call.context.store.sessions(
        project_id=project_id, agent=params.agent, states=states, before=before, limit=params.limit
    )
    items = b",".join(map(call.context.store.session_json, found))
    return Encoded(b'{"items":[%s],"nextCursor":%s}' % (items, b"null" if cursor is None else b'"%d"' % cursor))


@request("orch/session/get", result=Session)
def get(call: Call, params: NamedSession) -> Encoded:
    """Return one session."""
    return Encoded(call.context.store.session_json(sessions.find(call.context, params.session)))


@request("orch/session/update", changes=True)
async def update(call: Call, params: UpdateSession) -> Session:
    """Change a session's title or policy."""
    await cleanup.settle_before(call.context, params.session)
    return await sessions.update(call.context, params.session, title=params.title, policy=params.policy)


@request("orch/session/followUp", changes=True)
async def follow_up(call: Call, params: FollowUpSession) -> Session:
    """Give a session a further text: after the running turn, into it, or by resuming the conversation."""
    await cleanup.settle_before(call.context, params.session)
    return await sessions.follow_up(call.context, call.caller, params.session, params.text, params.mode)


@request("orch/session/unqueue", changes=True)
async def unqueue(call: Call, params: UnqueueFollowUp) -> Session:
    """Take a queued text back."""
    return await sessions.unqueue(call.context, params.session, params.follow_up_id)


@request("orch/session/respond", changes=True)
async def respond(call: Call, params: RespondToInput) -> Session:
    """Answer an approval or a question; the first answer wins."""
    return await sessions.respond(
        call.context,
        call.caller,
        params.session,
        params.input_request_id,
        option_id=params.option_id,
        text=params.text,
        answers=params.answers,
    )


@request("orch/session/stop", changes=True)
async def stop(call: Call, params: NamedSession) -> Session:
    """End a session's work with its whole process tree; an ended session is left as it is."""
    return await sessions.stop(call.context, params.session)


@request("orch/session/resume", changes=True)
async def resume(call: Call, params: ResumeSession) -> Session:
    """Go on with an ended session in the agent's own conversation, or anew with the transcript as context."""
    await cleanup.settle_before(call.context, params.session)
    return await sessions.resume(call.context, call.caller, params.session, params.text, anew=params.anew)


@request("orch/session/logTail")
def log_tail(call: Call, params: TailLog) -> LogTail:
    """Return the end of what the agent wrote to its standard error."""
    lines, truncated = logs.tail(call.context, sessions.find(call.context, params.session), params.lines)
    return LogTail(lines=lines, truncated=truncated)


@request("orch/session/diff")
async def diff(call: Call, params: DiffSession) -> Diff:
    """Return how a session's files differ, uncommitted work included."""
    session = sessions.find(call.context, params.session)
    return await changes.diff(call.context, session, params.against, params.paths)


@request("orch/session/fileBefore")
async def file_before(call: Call, params: ReadFileBefore) -> FileBefore:
    """Return a file as it was where `orch/session/diff` begins to compare."""
    session = sessions.find(call.context, params.session)
    content = await changes.file_before(call.context, session, params.against, params.path)
    if content is None:
        return FileBefore(present=False, text=None, base64=None)
    try:
        return FileBefore(present=True, text=content.decode(), base64=None)
    except UnicodeDecodeError:
        return FileBefore(present=True, text=None, base64=base64.b64encode(content).decode())


@request("orch/session/transcript")
async def read_transcript(call: Call, params: ReadTranscript) -> TranscriptPage:
    """Return a session's conversation: what was said, thought, done and asked."""
    session = sessions.find(call.context, params.session)
    entries = await transcript.read(call.context, session.id)
    after = number_cursor(params.cursor)
    entries = [entry for entry in entries if after is None or entry.seq > after]
    page = Page.cut(entries, params.limit, lambda entry: str(entry.seq))
    return TranscriptPage(items=page.items, next_cursor=page.next_cursor)
