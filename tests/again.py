"""A second pytest for one test: with a defect planted, or as another user."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLUGINS = ("pytest_asyncio.plugin", "pytest_timeout")


def run_again(
    test: str, *options: str, environment: Mapping[str, str], prefix: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    """Run one test, with no more plugins than it needs: to load all of them takes longer than most tests."""
    plugins = [word for plugin in PLUGINS for word in ("-p", plugin)]
    return subprocess.run(
        [*prefix, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugins, *options, test],
        cwd=ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
