"""The real Neovim, headless, with the plug-in and without it; each scenario is a Lua file beside this one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.home import OrchHome

HERE = Path(__file__).parent
PLUGIN = HERE.parents[2] / "docs" / "neovim"
SHOTS = HERE.parents[2] / ".tools" / "neovim-shots"
"""Where screens are kept, as text."""
NVIM = shutil.which("nvim", path=os.path.dirname(sys.executable)) or shutil.which("nvim")

pytestmark = [
    pytest.mark.editors,
    pytest.mark.timeout(300),
    pytest.mark.skipif(NVIM is None, reason="Neovim is not installed (`make test-neovim` installs it)"),
]


@pytest.mark.parametrize(
    "scenario", ["main_job", "actions", "collisions", "plain", "plain_collisions", "health", "keys", "screen"]
)
def test_neovim(home: OrchHome, tmp_path: Path, scenario: str) -> None:
    copy = tmp_path / "plugin"  # :helptags writes into it
    shutil.copytree(PLUGIN, copy)
    assert NVIM is not None
    environment = {
        **home.environment,
        "SHOP": str(tmp_path / "shop"),
        "PLUGIN_COPY": str(copy),
        "SHOTS": str(SHOTS),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    plugin = [] if scenario.startswith("plain") else ["--cmd", f"set runtimepath^={PLUGIN}"]
    path = f"lua package.path = '{HERE}/?.lua;' .. package.path"
    command = [NVIM, "--headless", "-u", "NONE", "-i", "NONE", *plugin, "--cmd", path]
    load = [] if scenario.startswith("plain") else ["--cmd", "runtime plugin/orch.lua"]
    done = subprocess.run(
        [*command, *load, "-l", str(HERE / f"{scenario}.lua")],
        env=environment,
        cwd=tmp_path / "shop",
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert f"OK {scenario.replace('_', ' ')}" in done.stdout + done.stderr
