"""A git that is killed leaves nothing locked.

git locks an index or a ref by a file, and one that is killed leaves that file, after which every git refuses to work
there. A lock counts as left if it came while a git of ours lived that was then killed, and if it has not changed for a
while: a git that lives holds such locks for an instant.
"""

import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from orch_server.domain.errors import OrchError
from orch_server.git.command import Git, Output, Target, run, to_its_end

PATIENCE = 2.0
CLOCK_STEP_NS = 20_000_000  # how far the times of a file system may lie behind the clock


async def run_locking(
    git: Git,
    target: Target,
    arguments: Sequence[str],
    locks: Sequence[str],
    *,
    stdin: bytes | None = None,
    intent: str | None = None,
    timeout: float = 60.0,  # noqa: ASYNC109  (as for `run`)
) -> Output:
    """Run a git that takes these locks; what it leaves of them because it is killed is removed."""
    began = time.time_ns() - CLOCK_STEP_NS
    try:
        return await run(git, target, arguments, stdin=stdin, intent=intent, timeout=timeout)
    except BaseException as error:
        if not isinstance(error, OrchError) or error.data.get("status", -1) < 0:
            await to_its_end(asyncio.to_thread(remove_left, locks, began))
        raise


def remove_left(locks: Iterable[str], since: int = 0) -> None:
    """Remove those of the locks that came after a time (in nanoseconds) and do not change for PATIENCE seconds."""
    seen = {lock: found for lock in locks if (found := _look(lock)) is not None and found[0] >= since}
    if not seen:
        return
    time.sleep(PATIENCE)
    for lock, found in seen.items():
        if _look(lock) == found:
            if os.path.basename(lock) == "packed-refs.lock":
                Path(lock.removesuffix("lock") + "new").unlink(missing_ok=True)  # written by whoever has the lock
            Path(lock).unlink(missing_ok=True)


def _look(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_ctime_ns, found.st_ino, found.st_size
