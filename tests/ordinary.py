"""Runs a test again as an ordinary user: what root may do anyway shows nothing of permissions.

In CI and in containers tests run as root. One that carries the marker `ordinary` is then run by a second pytest in a
user namespace, in which the same user has a number like any other's and none of root's capabilities; what belongs to
root belongs to that user there, and its mode counts.
"""

import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.again import run_again
from tests.faults.figures import take_over

AS_ORDINARY = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")


def run_as_ordinary(test: pytest.Function) -> None:
    """Run one test as an ordinary user, and fail or skip as it does."""
    try:
        subprocess.run([*AS_ORDINARY, "true"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"needs user namespaces: `{' '.join(AS_ORDINARY)} true`")
    with tempfile.TemporaryDirectory(prefix="orch-") as place:
        figures = Path(place, "figures.json")
        done = run_again(
            test.nodeid, f"--basetemp={place}/tests", environment={"FIGURES": str(figures)}, prefix=AS_ORDINARY
        )
        take_over(figures)
    if done.returncode:
        pytest.fail(f"as an ordinary user:\n{done.stdout[-6000:]}{done.stderr[-2000:]}", pytrace=False)
    if "SKIPPED" in done.stdout:
        pytest.skip(f"as an ordinary user: {done.stdout[-300:]}")
