"""Fixtures of the end-to-end tests."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.home import OrchHome
from tests.lsp import Client
from tests.repositories import make_repository


@pytest.fixture
def home(tmp_path: Path) -> Iterator[OrchHome]:
    """An orch home with a project `shop`, and an end that leaves no process."""
    home = OrchHome(tmp_path)
    make_repository(tmp_path / "shop", files={"README.md": "# Shop\n", "src/cart.py": "total = 0\n"})
    try:
        home.add_project(tmp_path / "shop")
        yield home
    finally:
        home.close()


@pytest.fixture
async def connect(home: OrchHome) -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """A function that starts an initialized client; all are ended with the test."""
    clients: list[Client] = []

    async def start(*arguments: str, **settings: bool) -> Client:
        client = await Client.start(home, *arguments, **settings)
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.close()
