"""What the fault tests share: all carry the marker `faults`; one zygote."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.driver import Zygote

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this directory."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """The process that forks hubs."""
    found = Zygote()
    yield found
    found.close()
