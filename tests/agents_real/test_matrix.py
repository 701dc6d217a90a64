"""Every agent, through a hub, on its real program: one test a cell of the matrix (tests/agents_real/matrix.py)."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents_real import programs
from tests.agents_real.matrix import CELLS
from tests.fakes import hermetic


@pytest.mark.agents
@pytest.mark.timeout(420)
@pytest.mark.skipif(hermetic.why_not() is not None, reason=str(hermetic.why_not()))
@pytest.mark.parametrize(("program", "row"), CELLS)
def test_cell(program: str, row: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    if why_not := programs.why_not(program):
        pytest.skip(why_not)
    command = [sys.executable, "-m", "tests.agents_real.matrix", program, row, str(tmp_path / "s")]
    python_path = os.pathsep.join([programs.ROOT, os.path.join(programs.ROOT, "server")])
    outcome = hermetic.run_in_sandbox(
        command, tmp=tmp_path, env={"PYTHONPATH": python_path}, cwd=programs.ROOT, timeout=400
    )
    record_property("cell", {"program": program, "row": row, **json.loads(outcome.check().splitlines()[-1])})
