"""What a new worktree gets before its agent starts: uncommitted changes, ignored files, and the set-up command.

Each may be done again after a kill; when all is done the session is marked as furnished. Only what the user asked for
by name may refuse a start (their uncommitted changes); everything else that fails is told, and the agent starts.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from orch_server.domain.errors import OrchError
from orch_server.domain.events import AgentLog
from orch_server.domain.ids import random_id
from orch_server.domain.project import Project
from orch_server.domain.session import Attention, Reason, State
from orch_server.git.dirty import lay_out
from orch_server.git.include import include
from orch_server.runtime.runs import LaunchFailed, Run, RunnerGone, RunnerSilent, RunSpec
from orch_server.services import projects
from orch_server.services.context import Context
from orch_server.services.tail import Tail
from orch_server.services.worktrees import worktree_of
from orch_server.store.records import Intent
from orch_server.store.transaction import Transaction

log = logging.getLogger(__name__)

INTENT = "setup"
STREAM = "setup"
SHELL = "/bin/sh"
STOP_GRACE = (2.0, 3.0)
MOST_LINES = 5_000
LONGEST_LINE = 8 * 1024


async def furnish(context: Context, session_id: str, make_environment: Callable[[], Awaitable[dict[str, str]]]) -> None:
    """Put into a session's new worktree what belongs there; a furnished one is left as it is."""
    session = context.store.session(session_id)
    assert session is not None
    worktree = worktree_of(session)
    if session.furnished or worktree is None:
        return
    project = projects.get(context, session.project_id)
    repository = await projects.open_repository(context, project)
    shadow = await projects.shadow_of(context, project, repository)
    if session.dirty_tree is not None:
        await lay_out(context.git, shadow, worktree, session.dirty_tree)
    try:
        included = await include(
            context.git,
            repository,
            shadow,
            worktree.path,
            runtime_dir=context.settings.project_runtime_dirname,
            most_bytes=context.limits.include_bytes,
        )
    except (OrchError, OSError) as error:
        await _tell(context, session_id, [f".worktreeinclude: {error}"])
    else:
        if included is not None:
            told = [f"copied {included.files} ignored files ({included.size} bytes), as .worktreeinclude says"]
            told += [f"linked {name} to the checkout's own" for name in included.links]
            await _tell(context, session_id, [*told, *(f"warning: {text}" for text in included.warnings)])
    if project.setup and project.trusted:
        await _set_up(context, session_id, project, worktree.path, await make_environment())
    await context.store.write(lambda transaction: _furnished(transaction, session_id))


async def end_interrupted(context: Context) -> None:
    """End the set-up commands that a killed hub left running; they begin anew with their sessions."""
    for intent in context.store.intents():
        if intent.kind == INTENT:
            try:
                run = await context.runs.adopt(intent.data["run"])
                if run is not None:
                    await _end(run, "hub")
            except (RunnerGone, RunnerSilent) as error:
                log.warning("The set-up command of %s cannot be ended: %s", intent.session_id, error)
            await context.store.write(lambda transaction, intent=intent: transaction.fulfil(intent.id))  # type: ignore[misc]


async def _set_up(
    context: Context, session_id: str, project: Project, directory: str, environment: dict[str, str]
) -> None:
    assert project.setup is not None
    run_id = random_id(16)
    command = project.setup

    def begin(transaction: Transaction) -> None:
        session = transaction.session(session_id)
        if session.state == State.CREATED:
            transaction.move(session, State.CREATED, Reason.PROVISIONING, f"Set-up: {command}")
        transaction.emit(AgentLog(stream=STREAM, text=f"$ {command}"), session=session)
        transaction.intend(Intent(f"setup-{run_id}", INTENT, session_id, {"run": run_id}))

    await context.store.write(begin)
    spec = RunSpec(run_id, (SHELL, "-c", command), directory, max_output_bytes=context.limits.output_bytes)
    try:
        problem = await _run(context, session_id, spec, environment, project.setup_seconds)
    except LaunchFailed as error:
        problem = str(error)
    except RunnerSilent as error:
        await asyncio.to_thread(context.runs.bundle(run_id).sweep)
        problem = str(error)
    finally:
        await asyncio.shield(context.store.write(lambda transaction: transaction.fulfil(f"setup-{run_id}")))
    if problem is not None:
        await context.store.write(lambda transaction: _failed(transaction, session_id, problem))


async def _run(
    context: Context, session_id: str, spec: RunSpec, environment: dict[str, str], seconds: int
) -> str | None:
    """Run the command to its end, and return what went wrong. Cancelled, it is ended with all that it started."""
    run = await _launch(context, spec, environment)
    grown = asyncio.Event()
    tails = [Tail(path, 0) for path in (run.bundle.out_log, run.bundle.err_log)]
    for tail in tails:
        context.follower.watch(tail.path, grown.set)
    ended = asyncio.ensure_future(run.wait())
    told = 0
    try:
        await run.close_input()
        async with asyncio.timeout(seconds):
            while not ended.done():
                growing = asyncio.ensure_future(grown.wait())
                await asyncio.wait([ended, growing], return_when=asyncio.FIRST_COMPLETED)
                growing.cancel()
                grown.clear()
                told += await _tell_lines(context, session_id, tails, told, to_the_end=ended.done())
    except TimeoutError:
        await _end(run, "time")
        return f"It took more than {seconds} seconds and was ended."
    except RunnerGone:
        pass  # it has ended already
    except asyncio.CancelledError:
        await asyncio.shield(_end(run, "user"))
        raise
    finally:
        for tail in tails:
            context.follower.unwatch(tail.path)
        run.detach()
    record = await ended
    await _tell_lines(context, session_id, tails, told, to_the_end=True)
    if record is None or record.code is None:
        return "It was killed."
    return None if record.code == 0 else f"It ended with code {record.code}."


async def _launch(context: Context, spec: RunSpec, environment: dict[str, str]) -> Run:
    """Start it; cancelled meanwhile, it is ended before anybody is told."""
    launching = asyncio.ensure_future(context.runs.launch(spec, environment))
    try:
        return await asyncio.shield(launching)
    except asyncio.CancelledError:
        await _end(await launching, "user")
        raise


async def _end(run: Run, why: str) -> None:
    try:
        await run.stop(why, STOP_GRACE)
        await run.wait()
    except RunnerGone:
        pass
    await asyncio.to_thread(run.bundle.sweep)


async def _tell_lines(context: Context, session_id: str, tails: Sequence[Tail], told: int, *, to_the_end: bool) -> int:
    lines: list[str] = []
    for tail in tails:
        while (batch := tail.read(to_the_end=to_the_end)).start != batch.end:
            lines += batch.lines
            tail.offset = batch.end
    shown = [line[:LONGEST_LINE] for line in lines[: max(0, MOST_LINES - told)]]
    if len(shown) < len(lines) and told < MOST_LINES:
        shown.append("(what follows is left out)")
    if shown:
        await _tell(context, session_id, shown)
    return len(lines)


async def _tell(context: Context, session_id: str, lines: Sequence[str]) -> None:
    def work(transaction: Transaction) -> None:
        session = transaction.session(session_id)
        for line in lines:
            transaction.emit(AgentLog(stream=STREAM, text=line), session=session)

    await context.store.write(work)


def _failed(transaction: Transaction, session_id: str, problem: str) -> None:
    session = transaction.session(session_id)
    transaction.emit(AgentLog(stream=STREAM, text=f"warning: the set-up command failed. {problem}"), session=session)
    session.attention = [
        *(flag for flag in session.attention if flag != Attention.SETUP_FAILED),
        Attention.SETUP_FAILED,
    ]


def _furnished(transaction: Transaction, session_id: str) -> None:
    transaction.session(session_id).furnished = True
