"""The table of docs/agents.md, compared with what a run of the whole matrix showed, or written from it.

A run in which every cell came out as it should ends with the comparison; `--update-expected` writes the page.
"""

from typing import Any

import pytest

from tests.agents_real import table

_cells: list[Any] = []
"""What the cells showed, where the reports of all workers arrive."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Take a cell that came out as it should."""
    if report.when == "call" and report.passed:
        _cells.extend(value for name, value in report.user_properties if name == "cell")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Compare the page with the run, or write it."""
    if hasattr(session.config, "workerinput") or not table.is_whole(_cells):
        return
    page = table.PAGE.read_text("utf-8")
    wanted = table.written(page, _cells)
    if session.config.getoption("--update-expected"):
        table.PAGE.write_text(wanted, "utf-8")
    elif wanted != page:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how the matrix came out, and whether the page says the same."""
    if not table.is_whole(_cells):
        return
    passed = sum(cell["passed"] for cell in _cells)
    terminalreporter.write_line(f"{passed} of {len(_cells)} cells of the matrix pass, the others show why not")
    page = table.PAGE.read_text("utf-8")
    if table.written(page, _cells) != page:
        terminalreporter.write_line(
            f"{table.PAGE} says otherwise: `make test-agents UPDATE=1` writes it anew", red=True
        )
