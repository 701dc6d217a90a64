"""Defects are planted into a copy of the server, one at a time, and the named test must notice each (C.14)."""

import re
import shutil
from pathlib import Path

import pytest

import orch_server
from tests.again import run_again
from tests.faults.figures import count
from tests.faults.planted import PLANTED, Planted

SOURCE = Path(orch_server.__file__).parent
TESTS = Path(__file__).parents[1]
DOCUMENT = TESTS.parent / "docs" / "testing-strategy.md"


def test_every_defect_fits_the_code_and_names_a_test() -> None:
    assert len(PLANTED) >= 30
    assert len({planted.what for planted in PLANTED}) == len(PLANTED)
    for planted in PLANTED:
        text = (SOURCE / planted.file).read_text()
        assert text.count(planted.old) == 1, f"{planted.what}: {planted.file} has {text.count(planted.old)} such places"
        path, _, name = planted.caught_by.partition("::")
        name = name.rpartition("::")[2].partition("[")[0]
        assert f"def {name}(" in (TESTS / path).read_text(), planted.caught_by


def test_the_list_is_in_the_documentation() -> None:
    text = DOCUMENT.read_text()
    missing = [planted.what for planted in PLANTED if f"| {planted.what} | `{planted.caught_by}` |" not in text]
    assert missing == []


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: re.sub(r"\W+", "-", planted.what))
def test_a_planted_defect_is_caught(planted: Planted, tmp_path: Path) -> None:
    copy = tmp_path / "server"
    shutil.copytree(SOURCE, copy / "orch_server", ignore=shutil.ignore_patterns("__pycache__"))
    file = copy / "orch_server" / planted.file
    file.write_text(file.read_text().replace(planted.old, planted.new))
    compile(file.read_text(), str(file), "exec")
    clean = {"PYTHONPATH": str(copy), "FULL": "", "FIGURES": ""}
    done = run_again(f"tests/{planted.caught_by}", "-x", environment=clean)
    assert done.returncode == 1, f"{planted.what} was not caught:\n{done.stdout[-1500:]}{done.stderr[-500:]}"
    count("planted defects", "caught")
