"""A run whose runner is slow to answer, or whose start a disk refused to record, is asked for until it is followed.

Meanwhile its session can be stopped.
"""

import asyncio
import logging
from collections.abc import Callable

from orch_server.domain.errors import OrchError
from orch_server.domain.events import RunAdopted, RunStarted
from orch_server.domain.session import State
from orch_server.runtime.runs import Run, RunnerGone, RunnerSilent
from orch_server.services.context import Context
from orch_server.services.live import LiveRun
from orch_server.settings.crashpoint import crashpoint
from orch_server.store.records import RunRow, SessionRecord
from orch_server.store.transaction import Transaction

log = logging.getLogger(__name__)

_RETRY_SECONDS = 2.0


def begin_to_settle(
    context: Context, live: LiveRun, row: RunRow, *, down_seconds: float | None, adopted: Callable[[], object]
) -> "asyncio.Task[bool]":
    """Attach to a run's runner in the background, however long that takes; the task says whether there is one.

    `down_seconds` is how long there was no hub; None where it is this hub that started the run. `adopted` is called
    once the run is followed. Without a runner the run is followed to the end that its files tell.
    """
    task = asyncio.create_task(_settle(context, live, row, down_seconds, adopted))

    async def give_up() -> None:
        del context.unsettled[row.session_id]
        task.cancel()
        await asyncio.wait([task])
        await _follow_alone(context, live, row)

    context.unsettled[row.session_id] = give_up
    return task


async def _settle(
    context: Context, live: LiveRun, row: RunRow, down_seconds: float | None, adopted: Callable[[], object]
) -> bool:
    while True:
        try:
            run = await context.runs.adopt(row.id)
            if run is None:
                await _follow_alone(context, live, row)
            else:
                await _adopt(context, row, run, down_seconds)
                live.follow(run)
                adopted()
            break
        except (RunnerSilent, RunnerGone):
            pass
        except OrchError as error:
            log.warning("Run %s is followed later: %s", row.id, error)
        await asyncio.sleep(_RETRY_SECONDS)
    del context.unsettled[row.session_id]
    return run is not None


async def _follow_alone(context: Context, live: LiveRun, row: RunRow) -> None:
    record = live.bundle.read_run()
    pid = record.agent_pid if record is not None else 0
    await context.store.write(lambda transaction: _note_start(transaction, row, pid))
    live.follow(None)


async def _adopt(context: Context, row: RunRow, run: Run, down_seconds: float | None) -> None:
    crashpoint("recovery.adopting")

    def work(transaction: Transaction) -> None:
        _note_start(transaction, row, run.pid)
        session = transaction.session(row.session_id)
        session.pid = run.pid
        if down_seconds is not None:
            event = RunAdopted(pid=run.pid, hub_down_seconds=round(down_seconds, 3))
            transaction.emit(event, session=session, run_id=row.id)

    await context.store.write(work)
    crashpoint("recovery.adopted")


def _note_start(transaction: Transaction, row: RunRow, pid: int) -> None:
    """Record that a run has begun, where that is not recorded yet."""
    if transaction.run(row.id).state == "starting":
        note_started(transaction, transaction.session(row.session_id), row.id, pid)


def note_started(transaction: Transaction, session: SessionRecord, run_id: str, pid: int) -> None:
    """Record that a session's agent runs; without a pid it is not known whether it came to that."""
    transaction.set_run(run_id, state="running")
    session.pid = pid or None
    session.exit_code = session.ended_at = None
    session.started_at = session.started_at or transaction.now
    if pid:
        transaction.emit(RunStarted(pid=pid), session=session, run_id=run_id)
    transaction.move(session, State.RUNNING, None)
