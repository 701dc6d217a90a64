"""The shell completes the command line, as docs/cli-usage.md says."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.home import BIN, OrchHome
from tests.repositories import make_repository


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str) -> None:
    assert f"_ORCH_COMPLETE={shell}_complete" in _orch(_ORCH_COMPLETE=f"{shell}_source")


@pytest.mark.parametrize(
    ("words", "completed"),
    [("orch dash", "dashboard"), ("orch send demo im", "implement"), ("orch apply s --strategy reb", "rebase")],
)
def test_verbs_and_choices_are_completed(words: str, completed: str) -> None:
    told = _orch(_ORCH_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(words.count(" ")))
    assert told.split() == [f"plain,{completed}"]


def test_names_are_completed_as_the_hub_knows_them(tmp_path: Path) -> None:
    home = OrchHome(tmp_path)
    make_repository(tmp_path / "shop", files={"README.md": "# Shop\n"})
    try:
        assert _completed(home, "orch projects show sh") == []  # and no hub is started for it
        assert home.hubs() == []
        home.cli("projects", "add", str(tmp_path / "shop"))
        session_id = home.send("demo", "implement", "shop", "[[say done]]")
        assert _completed(home, "orch send de") == ["demo"]
        assert _completed(home, "orch send demo implement s") == ["shop"]
        assert _completed(home, "orch sessions list --project s") == ["shop"]
        assert _completed(home, f"orch stop {session_id[:3]}") == [session_id]
    finally:
        home.close()


def _completed(home: OrchHome, words: str) -> list[str]:
    variables = {"_ORCH_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    return [line.removeprefix("plain,") for line in _orch(**home.environment, **variables).split()]


def _orch(**variables: str) -> str:
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "LANG": "C.UTF-8", **variables}
    return subprocess.run([f"{BIN}/orch"], env=environment, capture_output=True, text=True, check=False).stdout
