"""The shell completes the command line, as docs/cli-usage.md says."""

import os
import subprocess

import pytest

from tests.home import BIN


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


def _orch(**variables: str) -> str:
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "LANG": "C.UTF-8", **variables}
    return subprocess.run([f"{BIN}/orch"], env=environment, capture_output=True, text=True, check=False).stdout
