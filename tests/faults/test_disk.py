"""A disk that is full or read-only loses nothing that was acknowledged, and needs no help afterwards (C.5).

The home, the project or both lie in a small file system of their own, in a user and mount namespace of the test.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.figures import record
from tests.faults.mounts import UNSHARE

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        sys.platform != "linux"
        or shutil.which("unshare") is None
        or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode != 0,
        reason="needs user and mount namespaces: `unshare -rm`",
    ),
]


@pytest.mark.parametrize("case", ["home", "project", "inodes"])
def test_what_a_full_disk_does(case: str, tmp_path: Path) -> None:
    found = json.loads(run("full_disk", case, tmp_path).splitlines()[-1])
    record("full disk", **{f"acknowledged_around_a_full_{case}": found["acknowledged"], "lost": 0})


@pytest.mark.parametrize("case", ["home", "project"])
def test_what_a_read_only_file_system_does(case: str, tmp_path: Path) -> None:
    run("read_only", case, tmp_path)


def run(program: str, case: str, directory: Path) -> str:
    """Run a program of this directory in namespaces of its own, and return what it printed."""
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-m", f"tests.faults.{program}", case, str(directory)],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout
