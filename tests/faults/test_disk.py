"""A full disk loses nothing that was acknowledged, deletes nothing to make room, and needs no help afterwards (C.5).

The home, the project or both lie in a small file system of their own, in a mount namespace of the test; where the
test is not root it is a user namespace as well.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.figures import record

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        sys.platform != "linux"
        or shutil.which("unshare") is None
        or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0,
        reason="needs mount namespaces: `unshare -rm`",
    ),
]
CASES = ["home", "project", "inodes"]


@pytest.mark.parametrize("case", CASES)
def test_what_a_full_disk_does(case: str, tmp_path: Path) -> None:
    command = ["unshare", "-rm" if os.geteuid() else "-m", sys.executable, "-m", "tests.faults.full_disk"]
    done = subprocess.run(
        [*command, case, str(tmp_path)], capture_output=True, text=True, timeout=280, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    record("full disk", **{f"acknowledged_around_a_full_{case}": found["acknowledged"], "lost": 0})
