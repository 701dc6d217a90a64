"""What rows are measured in: orch homes of their own below a directory that goes afterwards, with a project."""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.home import BIN, OrchHome
from tests.repositories import make_repository

REFERENCES = Path(__file__).parent / "references"
REFERENCE_PROGRAMS = Path(__file__).parents[2] / ".tools" / "references" / "bin"
"""The programs to compare with that come from packages, where they are installed: `make bench` sees to it."""

ORCH_SERVER = (f"{BIN}/orch-server",)


@contextmanager
def orch_home(config: str = "", *, project: bool = True) -> Iterator[OrchHome]:
    """Give an orch home with the project `shop`; every process of it is ended behind the block."""
    root = Path(tempfile.mkdtemp(prefix="orch-bench-"))
    home = OrchHome(root)
    home.configure(config)
    try:
        if project:
            make_repository(root / "shop", files={"README.md": "# Shop\n", "src/cart.py": "total = 0\n"})
            home.cli("projects", "add", str(root / "shop"))
        yield home
    finally:
        home.close()
        shutil.rmtree(root, ignore_errors=True)


def python_agent(name: str, protocol: str, *arguments: str) -> str:
    """Return the table of config.toml for an agent that is a Python program."""
    command = [sys.executable, "-I", "-S", *arguments]
    return f'[agents.{name}]\nprotocol = "{protocol}"\ncommand = {json.dumps(command)}\n'
