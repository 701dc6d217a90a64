"""One live run: its output becomes events, the user's words become its input.

The dialogue is touched only inside transactions, so it is always the one that was saved with the last commit; if a
commit fails, the dialogue's revision does not match the stored one and it is loaded again.
"""

import asyncio
import copy
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from orch_server.agents.adapter import Adapter, Answer, Dialogue, Exit, Line, Task
from orch_server.domain.errors import OrchError
from orch_server.domain.events import (
    AgentLog,
    EventData,
    RunExited,
    RunLost,
    RunOutputLimited,
    TurnCompleted,
    TurnFailed,
)
from orch_server.domain.session import ENDED, LIVE, Attention, FollowUpStatus, InputRequest, Reason, State
from orch_server.runtime.bundle import Bundle, ExitRecord, Fate
from orch_server.runtime.runs import InputRefused, Run, RunnerGone
from orch_server.services import leases, turns
from orch_server.services.context import Context
from orch_server.services.conversation import Conversation
from orch_server.services.ends import told
from orch_server.services.tail import Batch, Tail
from orch_server.settings.crashpoint import crashpoint
from orch_server.store.records import OutboxRow, RunRow, SessionRecord
from orch_server.store.transaction import Transaction

log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")

COALESCE_SECONDS = 0.006
"""All runs are read in the same beat, so that what many agents say in it goes into one commit."""
_OF_A_RUN = frozenset({Attention.UNADOPTED, Attention.SILENT, Attention.DISK_FULL})
"""What is shown of a process, and over when that is."""
_LOG_LINE = 8 * 1024
_RETRY_SECONDS = 1.0
_CLOSE_GRACE_SECONDS = 10.0
_INTERRUPT_SECONDS = 1.5
RUNNER_LIMITS = {"disk_full": Reason.DISK_FULL, "output_limit": Reason.OUTPUT_LIMIT}
"""For what a runner stops its agent by itself, as its exit record says it."""
SILENT = "silent_limit"
"""Why a run is stopped that wrote nothing for longer than the user allows."""
STOP_GRACE = (2.0, 3.0)
"""Seconds that an agent gets after SIGINT and after SIGTERM, before SIGKILL ends its whole tree."""


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction on a live run."""

    transaction: Transaction
    conversation: Conversation
    run: RunRow

    @property
    def session(self) -> SessionRecord:
        """The session's draft."""
        return self.conversation.session


class LiveRun:
    """The hub's side of a run whose process lives, or whose output is not taken in to its end yet."""

    def __init__(self, context: Context, row: RunRow, task: Task, adapter: Adapter) -> None:
        self.run_id = row.id
        self.task = task
        self.bundle: Bundle = context.runs.bundle(row.id)
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the run's end is recorded."""
        self.closing = False
        """Set once the agent's input is being closed: a further text needs another run."""
        self._given_back = False
        self._obstacle: OrchError | None = None
        """What keeps the run's end from being recorded for now."""
        self._context = context
        self._adapter = adapter
        self._runner: Run | None = None
        self._row = row
        self._dialogue: Dialogue | None = None
        self._out = Tail(self.bundle.out_log, row.out_offset)
        self._err = Tail(self.bundle.err_log, row.err_offset)
        self._stderr_tail: list[str] = []
        self._grown = asyncio.Event()
        self._outbox: asyncio.Queue[OutboxRow] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._taking: asyncio.Task[None] | None = None
        self._wakeup: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._turn_ended = False
        self._contests: set[tuple[str, str]] = set()
        """Leases and paths in them of which the holders were told."""

    def follow(self, runner: Run | None) -> None:
        """Begin to take in the output and to send what waits.

        `runner` is None where the runner is gone and only its files (and perhaps the agent) are left.
        """
        self._runner = runner
        self._context.live[self.task.session_id] = self
        for row in self._context.store.outbox_of(self.run_id):
            self._outbox.put_nowait(row)
        for tail in (self._out, self._err):
            self._context.follower.watch(tail.path, self._on_growth)
        crashpoint("live.followed")
        self._taking = self._spawn(self._take_in())
        self._spawn(self._watch_end())
        if runner is not None:
            self._spawn(self._deliver(runner, one_prompt=self._adapter.launch(self.task).close_input))
        self._grown.set()

    def detach(self) -> None:
        """Leave the run alone: the agent and its runner go on, and the next hub adopts them."""
        for task in self._tasks:
            task.cancel()
        self._unfollow()
        if self._runner is not None:
            self._runner.detach()

    async def stop(self, why: str) -> None:
        """End the process with all that it started, and return when its end is recorded.

        The wish is recorded before anything is done; then comes the program's own interrupt, then signals.
        """

        def wish(step: Step) -> bool:
            step.run.stop_requested = why
            if step.conversation.dialogue.busy:
                step.conversation.interrupt()
                return True
            return False

        if await self.write(wish):
            await self._turn_over()
        crashpoint("stop.wished")
        await self._end_process(why)
        crashpoint("stop.ended")
        while not self.finished.done():
            await asyncio.wait([self.finished], timeout=_RETRY_SECONDS)
            if self._obstacle is not None and not self.finished.done():
                raise self._obstacle  # a full disk, say: the process is gone, and its end is recorded when it can be

    # -- transactions -------------------------------------------------------------------------------------------

    async def write(self, work: Callable[[Step], ResultT]) -> ResultT:
        """Run `work` on this run's conversation in a transaction; what it posts is sent after the commit."""
        posted: list[OutboxRow] = []
        result = await self._context.store.write(lambda transaction: self._in_transaction(transaction, work, posted))
        for row in posted:
            self._outbox.put_nowait(row)
        self._reconsider_idleness()
        if self._turn_ended:
            self._turn_ended = False
            self._context.spawn(turns.keep(self._context, self.task.session_id))
        return result

    def _in_transaction(
        self, transaction: Transaction, work: Callable[[Step], ResultT], posted: list[OutboxRow]
    ) -> ResultT:
        if self._dialogue is None or transaction.run_revision(self.run_id) != self._row.revision:
            self._row = transaction.run(self.run_id)
            self._dialogue = self._adapter.dialogue(self.task, self._row.adapter_state)
        row, session = self._row, transaction.session(self.task.session_id)
        if session.policy != self.task.policy:  # what a program is told with each turn follows it
            self.task = self._dialogue.task = replace(self.task, policy=session.policy)
        ledger = TransactionLedger(transaction, session, row, posted, self._contests)
        conversation = Conversation(
            session,
            self._dialogue,
            ledger,
            root=self.task.cwd,
            usage_before=row.usage_before,
            ending=ending(row.stop_requested),
        )
        try:
            result = work(Step(transaction, conversation, row))
            row.adapter_state = self._dialogue.state
            transaction.save_progress(row)
            self._turn_ended = self._turn_ended or ledger.turn_ended
        except BaseException:
            self._dialogue = None
            raise
        return result

    # -- output -------------------------------------------------------------------------------------------------

    def _on_growth(self) -> None:
        if self._wakeup is None and not self._grown.is_set():
            loop = asyncio.get_running_loop()
            beat = (loop.time() // COALESCE_SECONDS + 1) * COALESCE_SECONDS
            self._wakeup = loop.call_at(beat, self._wake)

    def _wake(self) -> None:
        self._wakeup = None
        self._grown.set()

    async def _take_in(self) -> None:
        while True:
            await self._grown.wait()
            self._grown.clear()
            try:
                await self._take_all()
            except OrchError as error:
                log.warning("Run %s: its output is taken in later: %s", self.run_id, error)
                await asyncio.sleep(_RETRY_SECONDS)
                self._grown.set()

    async def _take_all(self, *, to_the_end: bool = False) -> None:
        while True:
            out, err = self._out.read(to_the_end=to_the_end), self._err.read(to_the_end=to_the_end)
            if out.start == out.end and err.start == err.end:
                return
            crashpoint("stream.read")
            taken = await self.write(lambda step, out=out, err=err: _take(step, out, err))  # type: ignore[misc]
            crashpoint("stream.taken")
            self._out.offset, self._err.offset = taken
            self._stderr_tail = (self._stderr_tail + err.lines)[-20:]
            if not (to_the_end or out.more or err.more):
                return  # whatever came since wakes us

    # -- input --------------------------------------------------------------------------------------------------

    async def answer_in_secret(self, request: InputRequest, answer: Answer) -> None:
        """Give a secret answer: it goes from memory to the runner and is stored nowhere.

        If the hub dies before the runner has it, the request is still open; if after, the runner knows its id and
        does not write it twice.
        """

        def preview(step: Step) -> list[Line]:
            state = copy.deepcopy(step.conversation.dialogue.state)
            return self._adapter.dialogue(self.task, state).answer(request.id, answer).lines

        def settle(step: Step) -> None:
            assert isinstance(step.conversation.ledger, TransactionLedger)
            step.conversation.ledger.sent_already = True
            step.conversation.answer(request, answer, by="user")

        assert self._runner is not None
        for number, line in enumerate(await self.write(preview)):
            await self._runner.send(f"secret-{request.id}-{number}", line.text, seen=self._out.offset, secret=True)
        crashpoint("secret.sent")
        await self.write(settle)

    async def _deliver(self, runner: Run, *, one_prompt: bool) -> None:
        try:
            if one_prompt:
                await self._send_all(runner, [])
                await runner.close_input()
            while True:
                await self._send_all(runner, [await self._outbox.get()])
        except RunnerGone:
            pass  # what was not acknowledged is looked after at the run's end

    async def _send_all(self, runner: Run, rows: list[OutboxRow]) -> None:
        while not self._outbox.empty():
            rows.append(self._outbox.get_nowait())
        await asyncio.gather(*(self._send(runner, row) for row in rows))

    async def _send(self, runner: Run, row: OutboxRow) -> None:
        try:
            await runner.send(str(row.id), row.line, seen=row.seen)
        except InputRefused as refusal:
            log.info("Run %s: line %d was not written: %s", self.run_id, row.id, refusal)
            await self._patiently(
                lambda: self._context.store.write(lambda transaction: self._give_back(transaction, row))
            )
        else:
            crashpoint("input.sent")
            await self._patiently(
                lambda: self._context.store.write(lambda transaction: transaction.acknowledge(row.id))
            )
            crashpoint("input.acknowledged")

    def _give_back(self, transaction: Transaction, row: OutboxRow) -> None:
        """Take back a line that was never written: the user's text in it waits in the queue again."""
        transaction.acknowledge(row.id)
        if row.prompt_id is not None:
            _requeue(transaction.session(self.task.session_id), {row.prompt_id})
            self._given_back = True

    # -- the end ------------------------------------------------------------------------------------------------

    async def _turn_over(self) -> None:
        deadline = time.monotonic() + _INTERRUPT_SECONDS
        while time.monotonic() < deadline and not self.finished.done():
            if not await self.write(lambda step: step.conversation.dialogue.busy):
                return
            await asyncio.sleep(0.05)

    async def _end_process(self, why: str) -> None:
        if self._runner is not None:
            try:
                await self._runner.stop(why, STOP_GRACE)
                return
            except RunnerGone:
                pass  # then the agent, if it still lives, is ended without it
        await asyncio.to_thread(self.bundle.sweep)

    async def _watch_end(self) -> None:
        record: ExitRecord | None = None
        if self._runner is not None:
            try:
                record = await self._runner.wait()
            except RunnerGone:
                return  # a newer hub has it
        record = record or self.bundle.read_exit()
        if record is None and self.bundle.agent_alive():
            await self._patiently(lambda: self.write(self._mark_unadopted))
            while self.bundle.agent_alive():
                await asyncio.sleep(0.25)
        await asyncio.to_thread(self.bundle.sweep)
        crashpoint("end.seen")
        await self._finish(record)

    def _mark_unadopted(self, step: Step) -> None:
        step.session.attention = [*step.session.attention, Attention.UNADOPTED]
        for request in list(step.session.input_requests):
            step.conversation.withdraw(request.id, "the agent cannot be reached any more")

    async def _finish(self, record: ExitRecord | None) -> None:
        self._unfollow()
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.wait([self._taking])
        await self._patiently(lambda: self._take_all(to_the_end=True))
        crashpoint("end.taken")
        fates = await asyncio.to_thread(self.bundle.fates)
        await self._patiently(lambda: self.write(lambda step: self._record_end(step, record, fates)))
        crashpoint("end.recorded")
        if self._runner is not None:
            self._runner.detach()
        self._context.live.pop(self.task.session_id, None)
        self.finished.set_result(None)
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()

    async def _patiently(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write what has happened already, however long the disk refuses it."""
        while True:
            try:
                await write()
                self._obstacle = None
                return
            except OrchError as error:
                self._obstacle = error
                log.warning("Run %s: recorded later: %s", self.run_id, error)
                await asyncio.sleep(_RETRY_SECONDS)

    def _record_end(self, step: Step, record: ExitRecord | None, fates: dict[str, Fate]) -> None:
        transaction, session = step.transaction, step.session
        unwritten = {
            prompt_id
            for number, prompt_id in transaction.unacknowledged_prompts(self.run_id).items()
            if fates.get(str(number), Fate.FAILED) == Fate.FAILED
        }
        _requeue(session, unwritten)
        code, signal = (record.code, record.signal) if record else (None, None)
        if record is not None and record.why in RUNNER_LIMITS:
            step.conversation.ending = step.conversation.ending or RUNNER_LIMITS[record.why]
        if self.closing and session.state in LIVE and (unwritten or self._given_back):
            # The text came while the agent, done with its work, was let go: it goes to another run.
            transaction.move(session, State.COMPLETED, Reason.TURN_ENDED)
        else:
            step.conversation.ended(Exit(code, signal, "\n".join(self._stderr_tail)))
        transaction.end_run(self.run_id, exit_code=code, signal=signal)
        session.pid, session.exit_code, session.ended_at = None, code, transaction.now
        session.attention = [item for item in session.attention if item not in _OF_A_RUN]
        if record is None:
            reason = Reason.LOST if self.bundle.same_boot() else Reason.MACHINE_RESTARTED
            transaction.emit(RunLost(reason=reason), session=session, run_id=self.run_id)
            verdict, message = reason, "How the agent's process ended is not known."
        else:
            transaction.emit(RunExited(exit_code=code, signal=signal), session=session, run_id=self.run_id)
            verdict, message = _verdict(record)
            if verdict == Reason.OUTPUT_LIMIT:
                limited = RunOutputLimited(bytes=record.out_size + record.err_size)
                transaction.emit(limited, session=session, run_id=self.run_id)
        if session.state in LIVE:
            wanted = ending(step.run.stop_requested)
            if wanted == Reason.USER_STOPPED:
                transaction.move(session, State.STOPPED, wanted)
            else:
                transaction.move(session, State.FAILED, wanted or verdict, told(wanted or verdict, message, session.id))

    # -- idleness -----------------------------------------------------------------------------------------------

    def _reconsider_idleness(self) -> None:
        """Leave an agent whose turn is over a while for a quick follow-up, then close its input."""
        session = self._context.store.session(self.task.session_id)
        if session is not None and session.state in LIVE:
            self._context.governor.occupy(session)
        else:
            self._context.governor.release(self.task.session_id)
        idle = session is not None and session.state in ENDED and not self.finished.done()
        if not idle and self._idle is not None:
            self._idle.cancel()
            self._idle = None
        elif idle and self._idle is None:
            assert session is not None
            seconds = self._context.limits.idle_seconds if session.state == State.COMPLETED else 0
            self._idle = asyncio.get_running_loop().call_later(seconds, lambda: self._spawn(self._let_go()))

    async def _let_go(self) -> None:
        if self._runner is None:
            return
        self.closing = True
        crashpoint("live.let_go")
        try:
            await self._runner.close_input()
            await asyncio.wait([self.finished], timeout=_CLOSE_GRACE_SECONDS)
            if not self.finished.done():
                await self._runner.stop("idle", STOP_GRACE)
        except RunnerGone:
            pass

    def _spawn(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _unfollow(self) -> None:
        for timer in (self._idle, self._wakeup):
            if timer is not None:
                timer.cancel()
        for tail in (self._out, self._err):
            self._context.follower.unwatch(tail.path)


class TransactionLedger:
    """A conversation's ledger in a transaction of the store."""

    def __init__(
        self,
        transaction: Transaction,
        session: SessionRecord,
        run: RunRow,
        posted: list[OutboxRow],
        contests: set[tuple[str, str]],
    ) -> None:
        self.now = transaction.now
        self.sent_already = False
        """Set where the lines that follow were handed to the runner before."""
        self.turn_ended = False
        self._transaction = transaction
        self._session = session
        self._run = run
        self._posted = posted
        self._contests = contests

    def emit(self, data: EventData) -> None:
        """Append an event of the run."""
        self.turn_ended = self.turn_ended or isinstance(data, (TurnCompleted, TurnFailed))
        self._transaction.emit(data, session=self._session, run_id=self._run.id)

    def move(self, state: State, reason: Reason | None, message: str = "") -> None:
        """Change the session's state."""
        self._transaction.move(self._session, state, reason, message)

    def contested(self, paths: Sequence[str]) -> str | None:
        """Return who else holds one of these paths by a lease, and tell them; only what lies in a worktree counts."""
        root = self._session.worktree_path
        if root is None:
            return None
        return leases.contested(self._transaction, self._session, root, paths, self._contests)

    def post(self, line: Line) -> None:
        """Put a line into the outbox."""
        if not self.sent_already:
            seen = self._run.out_offset
            row = self._transaction.post(self._run.id, line.text, prompt_id=line.prompt_id, seen=seen)
            self._posted.append(row)


def _take(step: Step, out: Batch, err: Batch) -> tuple[int, int]:
    """Take lines in and return from where to read on.

    A batch that begins elsewhere than the last commit ended is not taken: that commit was waited for in vain, because
    whoever read it was called off meanwhile.
    """
    run = step.run
    if (run.out_offset, run.err_offset) != (out.start, err.start):
        return run.out_offset, run.err_offset
    for text in err.lines:
        log_line = AgentLog.model_construct(stream="stderr", text=text[:_LOG_LINE])
        step.transaction.emit(log_line, session=step.session, run_id=run.id)
    for line in out.lines:
        step.conversation.receive(line)
    run.out_offset, run.err_offset = out.end, err.end
    return out.end, err.end


def ending(stop_requested: str | None) -> Reason | None:
    """Return why the hub ends a run of which a stop was requested: by the user, or for its silence."""
    if stop_requested is None:
        return None
    return Reason.SILENT_LIMIT if stop_requested == SILENT else Reason.USER_STOPPED


def _requeue(session: SessionRecord, prompt_ids: set[str]) -> None:
    session.queued = [
        item.model_copy(update={"status": FollowUpStatus.QUEUED}) if item.id in prompt_ids else item
        for item in session.queued
    ]


def _verdict(record: ExitRecord) -> tuple[Reason, str]:
    """Say why a run ended whose agent gave no final word."""
    if record.spawn_error is not None:
        return Reason.AGENT_UNAVAILABLE, f"The agent could not be started: {record.spawn_error}"
    if record.why == "disk_full":
        return Reason.DISK_FULL, "The disk is nearly full, so the agent was stopped."
    if record.why == "output_limit":
        return Reason.OUTPUT_LIMIT, "The agent wrote more than the limit on its output and was stopped."
    if record.signal is not None:
        return Reason.KILLED, f"The agent was ended by signal {record.signal}."
    return Reason.EXITED_WITHOUT_RESULT, f"The agent exited with code {record.code} and without a result."
