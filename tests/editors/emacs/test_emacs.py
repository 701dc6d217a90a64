"""The real Emacs with eglot, and the recipe of docs/editors.md, taken from that page."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.home import OrchHome

HERE = Path(__file__).parent
RECIPES = HERE.parents[2] / "docs" / "editors.md"
EMACS = shutil.which("emacs")
EGLOT = sorted(Path("/usr/share/emacs/site-lisp/elpa-src").glob("eglot-*"))

pytestmark = [
    pytest.mark.editors,
    pytest.mark.timeout(300),
    pytest.mark.skipif(EMACS is None or not EGLOT, reason="Emacs with eglot is not installed (emacs-nox, elpa-eglot)"),
]


def test_the_recipe_works_in_emacs(home: OrchHome, tmp_path: Path) -> None:
    (recipe,) = re.findall(r"```elisp\n(.*?)```", RECIPES.read_text("utf-8"), re.DOTALL)
    (tmp_path / "recipe.el").write_text(recipe, "utf-8")
    assert EMACS is not None
    done = subprocess.run(
        [EMACS, "-Q", "--batch", "-l", str(HERE / "scenario.el")],
        env={**home.environment, "SHOP": str(tmp_path / "shop"), "RECIPE": str(tmp_path / "recipe.el")},
        cwd=tmp_path / "shop",
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    for what in ("approval", "documents", "stop", "code action", "emacs"):
        assert f"OK {what}" in done.stderr, done.stderr
