"""The fixture of the tests that need a store, git and runs, but no hub."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.services.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A project and an open store; everything that was started is ended with the test."""
    world = World(tmp_path)
    await world.open()
    yield world
    await world.close()
