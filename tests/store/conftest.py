"""A store in a scratch directory, and what it published."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from orch_server.domain.project import Project
from orch_server.store.records import StoredEvent
from orch_server.store.store import Store, now


class Kept:
    """A store with a project, and the events it published."""

    def __init__(self, path: Path) -> None:
        self.published: list[StoredEvent] = []
        self.store = Store(str(path), self._take)

    def _take(self, events: Sequence[StoredEvent]) -> None:
        self.published.extend(events)

    async def begin(self) -> None:
        """Add the project."""
        project = Project(
            id="p1", slug="shop", name="Shop", path="/shop", default_branch=None, trusted=False, policy=None,
            created_at=now(),
        )  # fmt: skip
        await self.store.write(lambda transaction: transaction.save_project(project))


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    """An open store."""
    kept = Kept(tmp_path / "orch.db")
    await kept.begin()
    yield kept
    await kept.store.close()
