"""Trying again what could not be done yet, on a full disk, say: soon at first, then less often."""

import asyncio
from collections.abc import Awaitable, Callable

_FIRST_SECONDS, _MOST_SECONDS = 1.0, 15.0


async def until_done(attempt: Callable[[], Awaitable[bool]]) -> None:
    """Attempt it after a while, and after ever longer ones, until it says that it is done."""
    wait = _FIRST_SECONDS
    await asyncio.sleep(wait)
    while not await attempt():
        wait = min(2 * wait, _MOST_SECONDS)
        await asyncio.sleep(wait)
