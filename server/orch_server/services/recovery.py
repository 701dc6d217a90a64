"""Taking over what an earlier hub left. The cases are a list; each is handled, and none is repaired by deleting."""

import asyncio
import logging
from functools import partial

from orch_server.domain.errors import OrchError
from orch_server.domain.events import HubRecovered
from orch_server.domain.session import Attention, Reason, State
from orch_server.services import cleanup, furnishing, home, launching, projects, spares, vitals
from orch_server.services.context import Context, Environment
from orch_server.services.live import LiveRun
from orch_server.services.settling import begin_to_settle
from orch_server.settings.crashpoint import crashpoint
from orch_server.store.records import RunRow
from orch_server.store.transaction import Transaction

log = logging.getLogger(__name__)
_PATIENCE_SECONDS = 1.0
"""How long the hub's start waits for runners to answer; who takes longer holds nobody up."""


async def recover(context: Context, down_seconds: float) -> None:
    """Adopt every run that an earlier hub left, and settle what was under way.

    A run that is not known to have ended is one of these:
    1. nothing was started: its bundle has no run.json, and we take care that none comes; it is ended as if it had
       never begun, and its session waits for a client in whose environment it can start;
    2. its runner lives: attached to, what it did not acknowledge is sent again under the same ids;
    3. its runner lives and does not answer (stopped, or a stuck machine): asked again until it does;
    4. its runner is gone: the output is taken in to its end and the session gets the verdict that the agent's last
       word, its exit record or their absence gives; while the agent itself still lives the session says `unadopted`.
    """
    await cleanup.recover(context)
    crashpoint("recovery.cleaned")
    resent = 0
    settling: dict[asyncio.Task[bool], RunRow] = {}
    for row in context.store.live_runs():
        bundle = context.runs.bundle(row.id)
        try:
            # Of one that ran nothing may be left either, if somebody removed its bundle: that one is lost.
            if row.state == "starting" and bundle.abandon():
                crashpoint("recovery.abandoned")
                await context.store.write(lambda transaction, row=row: _never_began(transaction, row))  # type: ignore[misc]
                continue
            task = _begin_to_settle(context, row, down_seconds)
        except (OrchError, OSError) as error:
            # Its agent is not in the config any more, say: it is left alone, and shown.
            log.warning("Run %s cannot be adopted: %s", row.id, error)
            await context.store.write(lambda transaction, row=row: _show_unadopted(transaction, row))  # type: ignore[misc]
            continue
        resent += len(context.store.outbox_of(row.id))
        settling[task] = row
    adopted = lost = 0
    if settling:
        settled, silent = await asyncio.wait(settling, timeout=_PATIENCE_SECONDS)
        adopted = sum(task.result() for task in settled)
        lost = len(settled) - adopted
        for task in silent:
            log.warning("Run %s: its runner does not answer yet", settling[task].id)
            context.spawn(_go_on(task))
    crashpoint("recovery.settled")
    await furnishing.end_interrupted(context)
    await context.store.write(lambda transaction: _interrupted(transaction, context))
    crashpoint("recovery.waiting")
    context.spawn(home.recover(context))
    spares.look_after_all(context)
    parked, _ = context.store.sessions(reason=Reason.PARKED_UNTIL_RESET, limit=1_000)
    for session in parked:
        await launching.park_if_limited(context, session.id)
    recovered = HubRecovered(adopted=adopted, lost=lost, resent=resent)
    if adopted or lost or resent:
        await context.store.write(lambda transaction: transaction.emit(recovered))
    context.spawn(cleanup.tend(context))
    context.spawn(vitals.watch(context))


async def start_waiting(context: Context, environment: Environment) -> None:
    """A client came: start what waited for an environment to run in."""
    waiting, _ = context.store.sessions(reason=Reason.WAITING_FOR_CLIENT, limit=1_000)
    for session in waiting:
        if session.id not in context.live and session.id not in context.bring_ups:
            launching.bring_up(context, session.id, environment)


def _begin_to_settle(context: Context, row: RunRow, down_seconds: float) -> "asyncio.Task[bool]":
    live = _live_run(context, row)
    adopted = partial(launching.go_on_later, context, live)
    return begin_to_settle(context, live, row, down_seconds=down_seconds, adopted=adopted)


async def _go_on(task: "asyncio.Task[bool]") -> None:
    await task


def _live_run(context: Context, row: RunRow) -> LiveRun:
    session = context.store.session(row.session_id)
    assert session is not None
    project = projects.get(context, session.project_id)
    task = launching.task_for(session, row.id, project.path, row.usage_before)
    return LiveRun(context, row, task, context.adapter(session.agent))


def _show_unadopted(transaction: Transaction, row: RunRow) -> None:
    session = transaction.session(row.session_id)
    session.attention = sorted({*session.attention, Attention.UNADOPTED})


def _never_began(transaction: Transaction, row: RunRow) -> None:
    launching.abandon_run(transaction, row.session_id, row.id)


def _interrupted(transaction: Transaction, context: Context) -> None:
    """Sessions whose start was under way wait for a client: agents run in a client's environment."""
    created, _ = context.store.sessions(states=[State.CREATED], limit=1_000)
    busy = {row.session_id for row in context.store.live_runs()}
    for record in created:
        if record.id not in busy:
            session = transaction.session(record.id)
            transaction.move(session, State.CREATED, Reason.WAITING_FOR_CLIENT, launching.WAITING)
    queued, _ = context.store.sessions(reason=Reason.QUEUED_BY_LIMIT, limit=1_000)
    for record in queued:
        session = transaction.session(record.id)
        transaction.move(session, session.state, Reason.WAITING_FOR_CLIENT, launching.WAITING)
