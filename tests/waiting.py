"""Waiting for a condition with a deadline: tests never sleep and hope."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def wait_until(predicate: Callable[[], Value], timeout: float = 30.0) -> Value:
    """Return the first true value of `predicate`; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        assert time.monotonic() < deadline, f"waited {timeout} s in vain for {predicate}"
        time.sleep(0.003)
    return value


async def wait_until_async(predicate: Callable[[], Value], timeout: float = 30.0) -> Value:
    """Return the first true value of `predicate` while the event loop goes on; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        assert time.monotonic() < deadline, f"waited {timeout} s in vain for {predicate}"
        await asyncio.sleep(0.003)
    return value
