"""Whether sessions at work have room on the disk and say anything: shown as attention.

How long an agent has been silent is counted from what this hub saw, by a clock that nobody sets; a machine that slept
or a wall clock that jumped makes nobody silent.
"""

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from orch_server.domain.errors import OrchError
from orch_server.domain.session import LIVE, Attention, State
from orch_server.services import reconcile
from orch_server.services.context import Context
from orch_server.services.live import SILENT, LiveRun

log = logging.getLogger(__name__)
_ABOUT = frozenset({Attention.DISK_FULL, Attention.SILENT})
_LONGEST_PAUSE = 60.0
_LOOKS = 4
"""How often to look within the shortest silence that counts."""

Sizes = tuple[int, ...]


@dataclass(slots=True)
class Heard:
    """What was last heard of each run: how much it had written, and when that was seen for the first time."""

    clock: Callable[[], float] = time.monotonic
    runs: dict[str, tuple[Sizes, float]] = field(default_factory=dict)


async def watch(context: Context) -> None:
    """Look again and again until cancelled: often enough for the shortest silence that is to be noticed."""
    heard = Heard()
    while True:
        try:
            await look(context, heard)
        except (OrchError, OSError) as error:
            log.warning("Not all agents could be looked at: %s", error)
        limits = (context.limits.silent_seconds, context.limits.silent_stop_seconds)
        shortest = min((limit for limit in limits if limit is not None), default=_LONGEST_PAUSE)
        await asyncio.sleep(min(_LONGEST_PAUSE, shortest / _LOOKS))


async def look(context: Context, heard: Heard) -> None:
    """Look at every run once; one that is silent for longer than the user allows is ended."""
    live = dict(context.live)
    now = heard.clock()
    heard.runs = {live[name].run_id: heard.runs.get(live[name].run_id, ((), now)) for name in live}
    measured = await asyncio.to_thread(_measure, live)
    for session_id, run in live.items():
        session = context.store.session(session_id)
        if session is None or session.state not in LIVE:
            await reconcile.set_attention(context, session_id, _ABOUT, [])
            continue
        sizes, free = measured[session_id]
        if session.state != State.RUNNING or heard.runs[run.run_id][0] != sizes:
            heard.runs[run.run_id] = (sizes, now)
        silent = now - heard.runs[run.run_id][1]
        limits = context.limits
        found = [Attention.SILENT] if limits.silent_seconds is not None and silent >= limits.silent_seconds else []
        if free is not None and free < limits.start_free_bytes:
            found.append(Attention.DISK_FULL)
        await reconcile.set_attention(context, session_id, _ABOUT, found)
        if limits.silent_stop_seconds is not None and silent >= limits.silent_stop_seconds:
            log.warning("Session %s wrote nothing for %d seconds and is ended", session_id, silent)
            context.spawn(_end(context, session_id, run))


async def _end(context: Context, session_id: str, run: LiveRun) -> None:
    async with context.lock(session_id):
        session = context.store.session(session_id)
        if session is not None and session.state == State.RUNNING and context.live.get(session_id) is run:
            await run.stop(SILENT)


def _measure(live: Mapping[str, LiveRun]) -> dict[str, tuple[Sizes, int | None]]:
    """Return what each run has written, and how much room there is where it works."""
    return {session_id: (_sizes(run), _free(run.task.cwd)) for session_id, run in live.items()}


def _sizes(run: LiveRun) -> Sizes:
    paths = (run.bundle.out_log, run.bundle.err_log, run.bundle.journal)
    return tuple(os.path.getsize(path) if os.path.exists(path) else 0 for path in paths)


def _free(path: str) -> int | None:
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None
