"""The fixtures of the connection's tests: a project with an open store, and clients of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hub.peer import Peer
from tests.services.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A project and an open store; everything that was started is ended with the test."""
    world = World(tmp_path)
    await world.open()
    yield world
    await world.close()


@pytest.fixture
async def connect(world: World) -> AsyncIterator[Callable[..., Awaitable[Peer]]]:
    """A function that connects a client with these capabilities and options."""
    peers: list[Peer] = []

    async def connect(capabilities: dict[str, Any] | None = None, **options: Any) -> Peer:
        peer = await Peer.connect(
            world.context, world.caller.environment, capabilities, options, folder=str(world.scratch.path)
        )
        peers.append(peer)
        return peer

    yield connect
    for peer in peers:
        await peer.close()
