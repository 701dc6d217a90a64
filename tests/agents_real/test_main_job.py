"""A real agent program does the main job in a clone of this very repository, sent and watched over the command line."""

import sys
from pathlib import Path

import pytest

from tests.agents_real import programs
from tests.fakes import hermetic

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.agents
@pytest.mark.timeout(300)
@pytest.mark.parametrize("agent", ["claude"])
def test_the_main_job(agent: str, tmp_path: Path) -> None:
    reason = hermetic.why_not() or programs.why_not(agent)
    if reason:
        pytest.skip(reason)
    command = [sys.executable, "-m", "tests.agents_real.main_job", agent, str(programs.where(agent)), str(REPOSITORY)]
    outcome = hermetic.run_in_sandbox([*command, str(tmp_path / "place")], tmp=tmp_path, cwd=REPOSITORY, timeout=280)
    print(outcome.check())
