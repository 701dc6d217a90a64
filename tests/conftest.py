"""What all tests share: the option that writes expected files anew, and the markers `nightly` and `ordinary`."""

import os

import pytest

from tests.marks import FULL
from tests.ordinary import run_as_ordinary


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-expected`: write what the code gives now into *.expected.json, to be read and committed."""
    parser.addoption("--update-expected", action="store_true", help="write the *.expected.json files anew")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the nightly ones out of the short form."""
    for item in items:
        if item.get_closest_marker("nightly") and not FULL:
            item.add_marker(pytest.mark.skip(reason="the long form: make test-faults FULL=1"))


@pytest.fixture
def update_expected(request: pytest.FixtureRequest) -> bool:
    """Whether expected files are to be written instead of compared."""
    return bool(request.config.getoption("--update-expected"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Have what root would see wrongly run as somebody else."""
    if os.geteuid() != 0 or pyfuncitem.get_closest_marker("ordinary") is None:
        return None
    run_as_ordinary(pyfuncitem)
    return True
