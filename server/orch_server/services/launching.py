"""Bringing an agent up: worktree, program, run bundle, process. Each step is recorded, and safe to be killed in."""

import asyncio
import logging
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

from orch_server.agents.adapter import Adapter, Prompt, Task
from orch_server.domain.errors import ErrorKind, OrchError, of_the_disk
from orch_server.domain.events import AgentLog, FollowUpQueued
from orch_server.domain.ids import random_id
from orch_server.domain.session import (
    ENDED,
    WORKTREE_ACTIONS,
    FollowUp,
    FollowUpMode,
    FollowUpStatus,
    Reason,
    Session,
    State,
    Usage,
)
from orch_server.runtime.runs import LaunchFailed, RunnerSilent, RunSpec
from orch_server.services import furnishing, ports, projects, readonly, worktrees
from orch_server.services.context import BringUp, Context, Environment
from orch_server.services.conversation import Conversation
from orch_server.services.governor import note_parked, park
from orch_server.services.live import LiveRun, TransactionLedger
from orch_server.services.settling import begin_to_settle, note_started
from orch_server.settings.crashpoint import crashpoint
from orch_server.store.records import RunRow, SessionRecord
from orch_server.store.transaction import Transaction

log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")

CONTINUE = "Continue where you left off."
WAITING = "It starts when one of your clients connects."
_UNGUARDED = (
    "{} has no means of its own against writing: what it asks leave for is refused, and the files are compared before "
    "and after."
)


def bring_up(context: Context, session_id: str, environment: Environment) -> "asyncio.Task[None]":
    """Start (or go on with) a session's agent in the background, with the environment of the client that asked.

    The task raises what was refused, after it is recorded in the session.
    """
    context.environments[session_id] = environment
    task = asyncio.create_task(_bring_up(context, session_id, environment))
    context.bring_ups[session_id] = BringUp(task)

    def done(task: "asyncio.Task[None]") -> None:
        context.bring_ups.pop(session_id, None)
        if task.cancelled() or (error := task.exception()) is None or isinstance(error, OrchError):
            return
        log.error("Bringing up %s failed", session_id, exc_info=error)

    task.add_done_callback(done)
    return task


async def call_off(context: Context, session_id: str) -> None:
    """End a bring-up: before its process is started it is cancelled, and its half worktree put aside."""
    under_way = context.bring_ups.get(session_id)
    if under_way is None:
        return
    if not under_way.launching:
        under_way.task.cancel()
    elif under_way.noting is not None:
        under_way.noting.cancel()
    await asyncio.wait([under_way.task])
    await worktrees.recover(context, session_id)


async def _bring_up(context: Context, session_id: str, environment: Environment) -> None:
    try:
        session = _session(context, session_id)
        adapter = context.adapter(session.agent)
        program = find_program(adapter, environment)
        crashpoint("launch.found")
        if session.action in WORKTREE_ACTIONS:
            await worktrees.provide(context, session_id)
        bring_up = context.bring_ups[session_id]
        await context.governor.admit(session, lambda obstacle: _wait_in_queue(context, session_id, bring_up, obstacle))
        try:
            crashpoint("launch.admitted")
            async with _meanwhile(ports.environment_for(context, session_id)) as looking:  # the kernel takes its time

                async def make_environment(additions: Environment) -> dict[str, str]:
                    return agent_environment(environment, {**await looking, **additions})

                await furnishing.furnish(context, session_id, partial(make_environment, {}))
                crashpoint("launch.furnished")
                bring_up.launching = True
                session = _session(context, session_id)
                async with _meanwhile(readonly.note_start(context, session_id)) as bring_up.noting:
                    await _launch(context, session, adapter, program, make_environment, bring_up.noting)
        except BaseException:
            context.governor.release(session_id)
            raise
    except Exception as error:
        known = error if isinstance(error, OrchError) else of_the_disk(error)
        reason, message = Reason.AGENT_ERROR, f"Something went wrong inside orch; {context.places.log} says what."
        if known is not None:
            reason = _REASONS.get(known.kind, Reason.WORKTREE_FAILED)
            message = f"{known.message} {known.hint}".strip()
        await context.store.write(lambda transaction: _fail(transaction, session_id, reason, message))
        raise


@asynccontextmanager
async def _meanwhile(work: Coroutine[None, None, ResultT]) -> AsyncIterator["asyncio.Task[ResultT]"]:
    """Have work done while other work goes on, and called off if that ends first: nothing of it is left then."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _wait_in_queue(context: Context, session_id: str, bring_up: BringUp, obstacle: str) -> None:
    def work(transaction: Transaction) -> None:
        session = transaction.session(session_id)
        transaction.move(session, session.state, Reason.QUEUED_BY_LIMIT, f"{obstacle} It starts when there is room.")

    await context.store.write(work)
    bring_up.queued.set()


async def settled(context: Context, session_id: str) -> None:
    """Return once a session's bring-up is through or waits for a place; raises what it was refused with."""
    bring_up = context.bring_ups[session_id]
    queued = asyncio.ensure_future(bring_up.queued.wait())
    await asyncio.wait([bring_up.task, queued], return_when=asyncio.FIRST_COMPLETED)
    queued.cancel()
    if bring_up.task.done():
        bring_up.task.result()


_REASONS = {
    ErrorKind.AGENT_UNAVAILABLE: Reason.AGENT_UNAVAILABLE,
    ErrorKind.DISK_FULL: Reason.DISK_FULL,
    ErrorKind.INTERNAL: Reason.AGENT_ERROR,
}


def find_program(adapter: Adapter, environment: Environment) -> str:
    """Return the absolute path of the agent's program on the client's PATH, or raise agentUnavailable."""
    for name in adapter.programs:
        found = name if os.path.isabs(name) else shutil.which(name, path=environment.get("PATH", ""))
        if found and os.access(found, os.X_OK):
            return os.path.abspath(found)
    raise OrchError(
        ErrorKind.AGENT_UNAVAILABLE,
        f"{adapter.display_name} is not installed, or not on your PATH ({', '.join(adapter.programs)}).",
        hint=adapter.install_hint,
    )


def task_for(session: SessionRecord, run_id: str, project_path: str, usage_before: Usage) -> Task:
    """Return what a run of the session is for."""
    return Task(
        session_id=session.id,
        run_id=run_id,
        action=session.action,
        policy=session.policy,
        cwd=session.worktree_path or project_path,
        model=session.model,
        conversation_id=session.agent_session_id,
        new_conversation_id=str(uuid.uuid5(uuid.NAMESPACE_OID, run_id)),
        as_root=os.geteuid() == 0,
        usage_before=usage_before,
    )


async def _launch(
    context: Context,
    session: SessionRecord,
    adapter: Adapter,
    program: str,
    make_environment: Callable[[Environment], Awaitable[dict[str, str]]],
    noting: "asyncio.Task[None]",
) -> None:
    run_id = random_id(16)
    project = projects.get(context, session.project_id)
    task = task_for(session, run_id, project.path, session.usage)
    row, prompt = await context.store.write(lambda transaction: _begin_run(transaction, adapter, task))
    launch = adapter.launch(replace(task, prompt=prompt.text if prompt else ""))
    crashpoint("launch.recorded")
    live = LiveRun(context, row, task, adapter)
    spec = RunSpec(
        run_id,
        (program, *launch.arguments),
        task.cwd,
        min_free_bytes=context.limits.min_free_bytes,
        max_output_bytes=context.limits.output_bytes,
    )

    async def prepare() -> dict[str, str]:
        await noting
        return await make_environment(launch.environment)

    try:
        run = await context.runs.launch(spec, prepare)
    except (OrchError, asyncio.CancelledError) as error:
        if isinstance(error, OrchError) or noting.cancelled():  # so the agent was not started
            await context.store.write(lambda transaction: abandon_run(transaction, session.id, run_id))
        raise
    except LaunchFailed as failure:
        message = str(failure)
        await context.store.write(lambda transaction: abandon_run(transaction, session.id, run_id))
        raise OrchError(ErrorKind.AGENT_UNAVAILABLE, message, hint=adapter.install_hint) from failure
    except RunnerSilent as silence:
        # A machine that is very busy, say. The agent may run, so it is neither given up nor started again.
        log.warning("%s", silence)
        begin_to_settle(context, live, row, down_seconds=None, adopted=lambda: go_on_later(context, live))
        return
    crashpoint("launch.spawned")
    try:
        await live.write(lambda step: note_started(step.transaction, step.session, run_id, run.pid))
    except OrchError as error:  # a full disk, say; the agent runs all the same
        log.warning("Run %s is followed later: %s", run_id, error)
        run.detach()
        begin_to_settle(context, live, row, down_seconds=None, adopted=lambda: go_on_later(context, live))
        return
    crashpoint("launch.running")
    live.follow(run)
    go_on_later(context, live)


def go_on_later(context: Context, live: LiveRun) -> None:
    """Do what is to be done once a run is over."""
    context.spawn(_go_on_afterwards(context, live))


def agent_environment(environment: Environment, additions: Environment) -> dict[str, str]:
    """Return what an agent runs with: the client's environment without orch's own variables, and the adapter's."""
    return {name: value for name, value in environment.items() if not name.startswith("ORCH_")} | dict(additions)


def _begin_run(transaction: Transaction, adapter: Adapter, task: Task) -> tuple[RunRow, Prompt | None]:
    """Record a run with the first lines for its agent; nothing has been started yet."""
    session = transaction.session(task.session_id)
    if session.state not in {State.CREATED, *ENDED}:
        raise OrchError(ErrorKind.BUSY, f"Session {session.id} is {session.state} already.")
    row = RunRow(task.run_id, session.id, "starting", created_at=transaction.now, usage_before=session.usage)
    transaction.add_run(row)
    dialogue = adapter.dialogue(task)
    conversation = Conversation(
        session,
        dialogue,
        TransactionLedger(transaction, session, row, [], set()),
        root=task.cwd,
        usage_before=row.usage_before,
    )
    if task.read_only and not adapter.capabilities.read_only:
        transaction.emit(AgentLog(stream="setup", text=_UNGUARDED.format(adapter.display_name)), session=session)
    prompt = _first_prompt(session)
    conversation.begin(prompt)
    row.adapter_state = dialogue.state
    transaction.save_progress(row)
    if session.state == State.CREATED:
        transaction.move(session, State.CREATED, Reason.STARTING)
    return row, prompt


def _first_prompt(session: SessionRecord) -> Prompt | None:
    """Return the text a run begins with: the oldest that waits, or the original prompt if it never arrived."""
    if session.prompt_delivered or (session.agent_session_id is not None and session.turns):
        for item in session.queued:
            if item.status == FollowUpStatus.QUEUED:
                session.queued = [
                    other.model_copy(update={"status": FollowUpStatus.SENT}) if other.id == item.id else other
                    for other in session.queued
                ]
                return Prompt(item.id, item.text)
        return None
    return Prompt(session.prompt_id, full_prompt(session))


def full_prompt(session: Session) -> str:
    """Return the prompt as the agent gets it: with the scope, where one was given."""
    if session.scope_path in {None, "."}:
        return session.prompt
    return f"{session.prompt}\n\nScope: work on {session.scope_path} only."


def abandon_run(transaction: Transaction, session_id: str, run_id: str) -> None:
    """End a run that never started a process: the user's texts in it wait again."""
    session = transaction.session(session_id)
    session.queued = [item.model_copy(update={"status": FollowUpStatus.QUEUED}) for item in session.queued]
    transaction.end_run(run_id, exit_code=None, signal=None)


def _fail(transaction: Transaction, session_id: str, reason: Reason, message: str) -> None:
    session = transaction.session(session_id)
    if session.state == State.CREATED:
        session.ended_at = transaction.now
        transaction.move(session, State.FAILED, reason, message)
    elif session.state in ENDED:
        session.reason, session.message = reason, message


async def _go_on_afterwards(context: Context, live: LiveRun) -> None:
    """When a process has ended while a text of the user waits after a good turn, go on with it."""
    await asyncio.shield(live.finished)
    await park_if_limited(context, live.task.session_id)
    session = context.store.session(live.task.session_id)
    if session is None or session.state != State.COMPLETED:
        return
    if not any(item.status == FollowUpStatus.QUEUED for item in session.queued):
        return
    async with context.lock(session.id):
        if session.id not in context.live and session.id not in context.bring_ups:
            await resume_or_wait(context, session.id, context.environment_for(session.id))


async def park_if_limited(context: Context, session_id: str) -> None:
    """Have a session that ran into a usage limit go on by itself when it ends, where the user wants that."""
    session = context.store.session(session_id)
    if session is None or session.resumes_at is None or not context.limits.resume_after_usage_limit:
        return
    await context.store.write(lambda transaction: note_parked(transaction, session_id))
    park(context, session_id, lambda name: context.spawn(_go_on(context, name)))


async def _go_on(context: Context, session_id: str) -> None:
    """Wake a parked session, unless something else happened to it meanwhile."""
    async with context.lock(session_id):
        session = context.store.session(session_id)
        if session is not None and session.reason == Reason.PARKED_UNTIL_RESET and session_id not in context.live:
            await context.store.write(lambda transaction: queue_text(transaction, session_id, CONTINUE))
            await resume_or_wait(context, session_id, context.environment_for(session_id))


def queue_text(transaction: Transaction, session_id: str, text: str) -> SessionRecord:
    """Put a text into a session's queue."""
    session = transaction.session(session_id)
    item = FollowUp(id=str(uuid.uuid4()), text=text, mode=FollowUpMode.QUEUE, at=transaction.now)
    session.queued = [*session.queued, item]
    transaction.emit(FollowUpQueued(id=item.id, text=item.text, mode=item.mode), session=session)
    return session


async def resume_or_wait(context: Context, session_id: str, environment: Environment | None) -> None:
    """Bring a session's agent up, or note that it waits for a client whose environment it can run in."""
    if environment is not None:
        await asyncio.wait([bring_up(context, session_id, environment)])
        return

    def wait(transaction: Transaction) -> None:
        session = transaction.session(session_id)
        transaction.move(session, session.state, Reason.WAITING_FOR_CLIENT, WAITING)

    await context.store.write(wait)


def _session(context: Context, session_id: str) -> SessionRecord:
    session = context.store.session(session_id)
    assert session is not None, session_id
    return session
