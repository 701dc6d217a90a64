"""The command line starts quickly: it imports nothing that only the hub needs."""

import subprocess
import sys

import pytest

from tests.home import BIN


@pytest.mark.parametrize("room", ["sqlalchemy", "pygls", "pydantic", "alembic", "orch_server.services"])
def test_help_does_not_import(room: str) -> None:
    command = [sys.executable, "-X", "importtime", f"{BIN}/orch", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    assert not [line for line in done.stderr.splitlines() if line.split("|")[-1].strip().startswith(room)]
