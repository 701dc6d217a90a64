"""What all tests share: the option that writes expected files anew."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-expected`: write what the code gives now into *.expected.json, to be read and committed."""
    parser.addoption("--update-expected", action="store_true", help="write the *.expected.json files anew")


@pytest.fixture
def update_expected(request: pytest.FixtureRequest) -> bool:
    """Whether expected files are to be written instead of compared."""
    return bool(request.config.getoption("--update-expected"))
