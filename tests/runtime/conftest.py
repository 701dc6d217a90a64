"""Hubs to try the room with, and the proof after every test that no process is left."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from orch_server.runtime import runner
from orch_server.runtime.bundle import Bundle
from orch_server.runtime.runs import Runs
from tests.waiting import wait_until_async

MakeHub = Callable[..., Runs]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[str]:
    """The directory of the run bundles; whatever still runs in it when the test ends is killed."""
    root = tmp_path / "runs"
    root.mkdir()
    yield str(root)
    for path in tmp_path.glob("**/run.json"):
        Bundle(str(path.parent)).sweep()


@pytest.fixture
async def hub(root: str) -> AsyncIterator[MakeHub]:
    """A maker of hubs: of each, only what the room keeps in memory."""
    hubs: list[Runs] = []

    def make(epoch: int = 1, patience: float = 4.0) -> Runs:
        hubs.append(Runs(root, epoch=epoch, patience=patience))
        return hubs[-1]

    yield make
    for each in hubs:
        each.detach()
        for run_id in os.listdir(root):
            each.bundle(run_id).sweep()
        await wait_until_async(partial(collected, each))
    await wait_until_async(lambda: not children())


def collected(hub: Runs) -> bool:
    """Whether all runners that a hub started have ended, and are no zombies."""
    hub._reap()
    return not hub._children


def children() -> set[int]:
    """Return the live processes below this one."""
    return runner.descendants(runner.process_table(), {os.getpid()})
