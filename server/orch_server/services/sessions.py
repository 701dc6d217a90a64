"""Sessions: start, watch, follow up, answer, stop, resume."""

import asyncio
import time
import uuid
from collections.abc import Sequence

from orch_server.agents.adapter import Answer
from orch_server.domain.command import Command
from orch_server.domain.errors import ErrorKind, OrchError, invalid_params, not_found
from orch_server.domain.events import (
    CommandSubmitted,
    FollowUpQueued,
    FollowUpWithdrawn,
    SessionCreated,
)
from orch_server.domain.ids import random_id
from orch_server.domain.session import (
    DEFAULT_POLICIES,
    DEFAULT_PROMPTS,
    ENDED,
    LIVE,
    Action,
    FollowUp,
    FollowUpMode,
    FollowUpStatus,
    InputRequest,
    InputRequestKind,
    Policy,
    QuestionAnswer,
    Reason,
    State,
    refuse_put_away,
)
from orch_server.services import launching, projects, transcript
from orch_server.services.context import Caller, Context
from orch_server.services.governor import check_disk
from orch_server.services.live import LiveRun, Step
from orch_server.services.past import in_context
from orch_server.settings.crashpoint import crashpoint
from orch_server.store.records import SessionRecord
from orch_server.store.transaction import Transaction

_TITLE_CHARACTERS = 72
_PATIENCE_SECONDS = 3.0


def find(context: Context, reference: str) -> SessionRecord:
    """Return the session with this id or unique prefix of an id."""
    exact = context.store.session(reference)
    if exact is not None:
        return exact
    candidates = context.store.session_ids(reference, 10) if reference else []
    if len(candidates) > 1:
        raise invalid_params(
            f"{reference!r} fits several sessions: {', '.join(candidates)}.",
            hint="Give more characters of the one you mean.",
            candidates=candidates,
        )
    found = context.store.session(candidates[0]) if candidates else None
    if found is None:
        raise not_found("session", reference)
    return found


async def start(
    context: Context,
    caller: Caller,
    *,
    agent: str,
    action: Action,
    project: str,
    scope_path: str | None = None,
    prompt: str | None = None,
    model: str | None = None,
    base_ref: str | None = None,
    from_dirty: bool = False,
    title: str | None = None,
    policy: Policy | None = None,
    text: str | None = None,
) -> SessionRecord:
    """Record a command and its session, and begin to bring its agent up in the background."""
    adapter = context.adapter(agent)
    home = projects.get(context, project)
    if home.missing:
        await projects.open_repository(context, home)
    words = (prompt or "").strip() or DEFAULT_PROMPTS.get(action)
    if not words:
        raise invalid_params(f"{action} needs a prompt.", hint="Say what is to be done.")
    if model is not None and not adapter.capabilities.model:
        raise invalid_params(f"{adapter.display_name} cannot be told a model.", hint="Leave the model out.")
    scope = projects.check_scope(home, scope_path) if scope_path is not None else None
    check_disk([home.path, context.places.home], context.limits.start_free_bytes)

    def work(transaction: Transaction) -> SessionRecord:
        session_id = random_id()
        command = Command(
            id=random_id(),
            agent=agent,
            action=action,
            project_id=home.id,
            scope_path=scope,
            prompt=words,
            model=model,
            text=text,
            session_id=session_id,
            created_at=transaction.now,
        )
        record = SessionRecord(
            id=session_id,
            project_id=home.id,
            project_slug=home.slug,
            command_id=command.id,
            agent=agent,
            action=action,
            title=title or _title_of(words),
            prompt=words,
            scope_path=scope,
            model=model,
            policy=policy or home.policy or DEFAULT_POLICIES[action],
            reason=Reason.PROVISIONING,
            created_at=transaction.now,
            updated_at=transaction.now,
            base_ref=base_ref,
            from_dirty=from_dirty,
            prompt_id=str(uuid.uuid4()),
        )
        transaction.add_command(command)
        session = transaction.add_session(record)
        transaction.emit(CommandSubmitted(command=command), session=session)
        transaction.tell(session, lambda snapshot: SessionCreated(session=snapshot))
        _keep_reply(transaction, caller, session)
        return session

    recording = asyncio.ensure_future(context.store.write(work))
    try:
        session = await asyncio.shield(recording)
    except asyncio.CancelledError:
        context.spawn(_stop_once_recorded(context, recording))
        raise
    crashpoint("start.recorded")
    launching.bring_up(context, session.id, caller.environment)
    return session


async def follow_up(
    context: Context, caller: Caller, reference: str, text: str, mode: FollowUpMode = FollowUpMode.QUEUE
) -> SessionRecord:
    """Give a session a further text: to the running turn, after it, or to a resumed conversation."""
    if not text.strip():
        raise invalid_params("The text is empty.", hint="Say what is to be done.")
    session_id = find(context, reference).id
    async with context.lock(session_id):
        session = _present(context, session_id)
        question = _open_question(session)
        if question is not None:
            answer = QuestionAnswer(question_id=question.questions[0].id, text=text)
            return await _respond(context, caller, session, question, Answer(answers=[answer], text=text))
        refuse_put_away(session, "take a follow-up")
        item = FollowUp(id=str(uuid.uuid4()), text=text, mode=mode, at="")
        if session.state in ENDED:
            await _settled(context, session_id)
        live = await _usable(context, session_id)
        if live is not None:
            record = await live.write(lambda step: _queue_and_send(context, caller, step, item))
        else:
            record = await context.store.write(lambda transaction: _queue(transaction, caller, session_id, item))
            if record.state in ENDED and session_id not in context.bring_ups:
                launching.bring_up(context, session_id, caller.environment)
                await launching.settled(context, session_id)
                record = _present(context, session_id)
        return record


async def unqueue(context: Context, reference: str, follow_up_id: str) -> SessionRecord:
    """Take a text back that no agent has been given yet."""
    session_id = find(context, reference).id

    def work(transaction: Transaction) -> SessionRecord:
        session = transaction.session(session_id)
        item = next((item for item in session.queued if item.id == follow_up_id), None)
        if item is None:
            raise not_found("queued text", follow_up_id, hint="`orch sessions show` lists what is queued.")
        if item.status == FollowUpStatus.SENT:
            raise OrchError(
                ErrorKind.CONFLICT,
                "The agent has been given this text already.",
                hint="`orch stop` ends the turn; a further text can correct it.",
            )
        session.queued = [other for other in session.queued if other.id != item.id]
        transaction.emit(FollowUpWithdrawn(id=item.id, text=item.text, mode=item.mode), session=session)
        return session

    return await context.store.write(work)


async def respond(
    context: Context,
    caller: Caller,
    reference: str,
    request_id: str,
    *,
    option_id: str | None = None,
    text: str | None = None,
    answers: Sequence[QuestionAnswer] = (),
) -> SessionRecord:
    """Answer an agent's request; the first answer wins."""
    session_id = find(context, reference).id
    async with context.lock(session_id):
        session = _present(context, session_id)
        request = next((item for item in session.input_requests if item.id == request_id), None)
        if request is None:
            raise OrchError(
                ErrorKind.ALREADY_ANSWERED,
                f"Request {request_id!r} of session {session_id} is not open: it was answered or withdrawn.",
                hint="`orch sessions show` lists what is open.",
            )
        return await _respond(context, caller, session, request, _check_answer(request, option_id, text, answers))


async def stop(context: Context, reference: str) -> SessionRecord:
    """End a session's work: its whole process tree is gone when this returns. An ended session is left as it is."""
    session_id = find(context, reference).id
    await launching.call_off(context, session_id)
    async with context.lock(session_id):
        give_up = context.unsettled.get(session_id)
        if give_up is not None:
            await give_up()
        live = context.live.get(session_id)
        session = _present(context, session_id)
        if live is not None and session.state in LIVE:
            await live.stop("user")
        elif live is not None and session.state in ENDED:
            await live.stop("idle")
        elif session.state in {State.CREATED, *LIVE}:
            await context.store.write(lambda transaction: _stop_without_process(transaction, session_id))
        return _present(context, session_id)


async def cancel(context: Context, session_id: str) -> None:
    """Stop a session whose start was called off."""
    await stop(context, session_id)


async def resume(
    context: Context, caller: Caller, reference: str, text: str | None, *, anew: bool = False
) -> SessionRecord:
    """Go on with an ended session: the agent continues its own conversation, or begins one that knows what was said."""
    session_id = find(context, reference).id
    async with context.lock(session_id):
        session = _present(context, session_id)
        refuse_put_away(session, "be resumed")
        waiting = session.state == State.CREATED and session_id not in context.bring_ups
        if session.state not in ENDED and not waiting:
            raise OrchError(
                ErrorKind.ILLEGAL_TRANSITION,
                f"Session {session_id} is {session.state}: there is nothing to resume.",
                hint="`orch followup` gives it a further text.",
                state=session.state.value,
                allowed=[state.value for state in sorted(ENDED)],
            )
        begun = session.prompt_delivered or session.turns > 0
        if anew and begun:
            return await _begin_anew(context, caller, session_id, text or launching.CONTINUE)
        if begun and not context.adapter(session.agent).capabilities.resume:
            raise _cannot_resume(context, session)
        nothing_waits = not any(item.status == FollowUpStatus.QUEUED for item in session.queued)
        words = text or (launching.CONTINUE if begun and nothing_waits else None)
        await _settled(context, session_id)
        live = await _usable(context, session_id)
        if live is not None:
            item = FollowUp(id=str(uuid.uuid4()), text=words or launching.CONTINUE, mode=FollowUpMode.QUEUE, at="")
            return await live.write(lambda step: _queue_and_send(context, caller, step, item))
        if words is not None:
            await context.store.write(
                lambda transaction: _resume_with(transaction, caller, session_id, words, begun=begun)
            )
        launching.bring_up(context, session_id, caller.environment)
        await launching.settled(context, session_id)
        return _present(context, session_id)


async def _begin_anew(context: Context, caller: Caller, session_id: str, text: str) -> SessionRecord:
    await _settled(context, session_id)
    live = context.live.get(session_id)
    if live is not None:  # its process knows only the conversation that is left
        await live.stop("idle")
    past = await transcript.read(context, session_id)
    words = in_context(past, text)

    def work(transaction: Transaction) -> None:
        session = launching.queue_text(transaction, session_id, words)
        session.queued = [session.queued[-1], *session.queued[:-1]]  # what waits already is to be understood after it
        session.agent_session_id, session.prompt_delivered = None, True
        _keep_reply(transaction, caller, session)

    await context.store.write(work)
    launching.bring_up(context, session_id, caller.environment)
    await launching.settled(context, session_id)
    return _present(context, session_id)


def _cannot_resume(context: Context, session: SessionRecord) -> OrchError:
    return OrchError(
        ErrorKind.CONFLICT,
        f"{context.adapter(session.agent).display_name} cannot go on with an earlier conversation.",
        hint=f"`orch resume {session.id} --anew` starts it anew, with what was said so far as context; "
        f"`orch followup {session.id}` gives it a further text and nothing else.",
        session=session.id,
    )


async def update(context: Context, reference: str, *, title: str | None, policy: Policy | None) -> SessionRecord:
    """Change a session's title or policy; the policy counts from the next request on."""
    session_id = find(context, reference).id

    def work(transaction: Transaction) -> SessionRecord:
        session = transaction.session(session_id)
        session.title = title or session.title
        session.policy = policy or session.policy
        return session

    return await context.store.write(work)


async def _stop_once_recorded(context: Context, recording: "asyncio.Future[SessionRecord]") -> None:
    """The request was cancelled while its session was being recorded: it exists, and is stopped."""
    await cancel(context, (await recording).id)


# -- parts ------------------------------------------------------------------------------------------------------


def _queue(transaction: Transaction, caller: Caller, session_id: str, item: FollowUp) -> SessionRecord:
    session = transaction.session(session_id)
    session.queued = [*session.queued, item.model_copy(update={"at": transaction.now})]
    transaction.emit(FollowUpQueued(id=item.id, text=item.text, mode=item.mode), session=session)
    _keep_reply(transaction, caller, session)
    return session


def _queue_and_send(context: Context, caller: Caller, step: Step, item: FollowUp) -> SessionRecord:
    """Queue a text, and hand it over at once where the agent may have it now."""
    session = step.session
    _queue(step.transaction, caller, session.id, item)
    steers = context.adapter(session.agent).capabilities.follow_up == "steer"
    free = not step.conversation.dialogue.busy
    if step.run.stop_requested is None and (free or (item.mode == FollowUpMode.STEER and steers)):
        queued = next(other for other in session.queued if other.id == item.id)
        step.conversation.send(queued)
    _keep_reply(step.transaction, caller, session)
    return session


def _resume_with(transaction: Transaction, caller: Caller, session_id: str, text: str, *, begun: bool) -> None:
    session = transaction.session(session_id)
    if begun:
        launching.queue_text(transaction, session_id, text)
    else:
        session.prompt = text
    _keep_reply(transaction, caller, session)


async def _respond(
    context: Context, caller: Caller, session: SessionRecord, request: InputRequest, answer: Answer
) -> SessionRecord:
    await _settled(context, session.id)
    live = _live(context, session.id)
    if any(question.secret for question in request.questions):
        await live.answer_in_secret(request, answer)
        return _present(context, session.id)

    def work(step: Step) -> SessionRecord:
        if all(item.id != request.id for item in step.session.input_requests):
            raise OrchError(ErrorKind.ALREADY_ANSWERED, "Somebody else answered first.", hint="Nothing is to be done.")
        step.conversation.answer(request, answer, by="user")
        _keep_reply(step.transaction, caller, step.session)
        return step.session

    return await live.write(work)


def _check_answer(
    request: InputRequest, option_id: str | None, text: str | None, answers: Sequence[QuestionAnswer]
) -> Answer:
    if request.kind == InputRequestKind.APPROVAL:
        known = {option.id: option.label for option in request.options}
        if option_id not in known:
            raise invalid_params(
                f"{option_id!r} is no option of this request.",
                hint="Options: " + ", ".join(f"{key} ({label})" for key, label in known.items()),
                options=list(known),
            )
        return Answer(option_id=option_id, text=text)
    if not answers:
        if len(request.questions) != 1:
            raise invalid_params(
                "This request has several questions.",
                hint="Give `answers`, one a question; on the command line `--answer QUESTION=ANSWER` for each: "
                + ", ".join(question.id for question in request.questions),
            )
        chosen = [option_id] if option_id is not None else []
        answers = [QuestionAnswer(question_id=request.questions[0].id, option_ids=chosen, text=text)]
    return Answer(option_id=option_id, text=text, answers=[_check_one(request, answer) for answer in answers])


def _check_one(request: InputRequest, answer: QuestionAnswer) -> QuestionAnswer:
    question = next((item for item in request.questions if item.id == answer.question_id), None)
    if question is None:
        raise invalid_params(
            f"{answer.question_id!r} is no question of this request.",
            hint="Questions: " + ", ".join(item.id for item in request.questions),
        )
    known = {option.id for option in question.options}
    unknown = [option for option in answer.option_ids if option not in known]
    if unknown:
        or_text = ", or a text" if question.allows_text else ""
        raise invalid_params(
            f"{unknown[0]!r} is no option of {question.id!r}.", hint=f"Options: {', '.join(sorted(known))}{or_text}"
        )
    if len(answer.option_ids) > 1 and not question.multi_select:
        raise invalid_params(f"{question.id!r} takes one option.", hint="Choose one.")
    if answer.text and not question.allows_text:
        raise invalid_params(f"{question.id!r} takes no text.", hint=f"Options: {', '.join(sorted(known))}")
    if not answer.option_ids and not answer.text:
        raise invalid_params(f"{question.id!r} has no answer.", hint=f"Options: {', '.join(sorted(known))}, or a text.")
    return answer


def _open_question(session: SessionRecord) -> InputRequest | None:
    """Return the question that a further text answers: the only open one, where it takes text."""
    questions = [item for item in session.input_requests if item.kind == InputRequestKind.QUESTION]
    if len(questions) == 1 and len(questions[0].questions) == 1 and questions[0].questions[0].allows_text:
        return questions[0]
    return None


def _stop_without_process(transaction: Transaction, session_id: str) -> None:
    session = transaction.session(session_id)
    session.ended_at = transaction.now
    transaction.move(session, State.STOPPED, Reason.USER_STOPPED)


def _keep_reply(transaction: Transaction, caller: Caller, session: SessionRecord) -> None:
    key = caller.request_key
    if key is not None:
        transaction.claim_key(key.key, key.method, key.digest, session.id)


async def _settled(context: Context, session_id: str) -> None:
    """Wait a moment for the runner that an earlier hub started; nothing is started beside one that may live."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while session_id in context.unsettled:
        if time.monotonic() > deadline:
            raise OrchError(
                ErrorKind.BUSY,
                f"The process of session {session_id} lives and does not answer.",
                hint=f"Try again later, or end it: `orch stop {session_id}`.",
            )
        await asyncio.sleep(0.05)


async def _usable(context: Context, session_id: str) -> LiveRun | None:
    """Return the session's live run, unless it is being let go: then wait for its end."""
    live = context.live.get(session_id)
    if live is None or not live.closing:
        return live
    await asyncio.shield(live.finished)
    return None


def _live(context: Context, session_id: str) -> LiveRun:
    live = context.live.get(session_id)
    if live is None:
        raise OrchError(
            ErrorKind.ILLEGAL_TRANSITION,
            f"Session {session_id} has no running agent.",
            hint="`orch resume` starts one.",
        )
    return live


def _present(context: Context, session_id: str) -> SessionRecord:
    session = context.store.session(session_id)
    if session is None:
        raise not_found("session", session_id)
    return session


def _title_of(prompt: str) -> str:
    line = prompt.strip().splitlines()[0]
    return line if len(line) <= _TITLE_CHARACTERS else line[: _TITLE_CHARACTERS - 1].rstrip() + "…"
