"""`orch demo` as a newcomer runs it: in a bare environment, on a terminal, by a program, and without git."""

import json
import os
import pty
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest

ORCH = os.path.join(os.path.dirname(sys.executable), "orch")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return what `env -i` with a home and a PATH leaves, and an own orch home that must stay untouched."""
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    return {
        "HOME": str(tmp_path / "home"),
        "PATH": os.environ["PATH"],
        "TMPDIR": str(tmp_path / "tmp"),
        "ORCH_HOME": str(tmp_path / "own"),
        "ORCH_LOG_LEVEL": "no such level",
    }


def test_it_works_anywhere_and_leaves_only_its_scratch_directory(tmp_path: Path, environment: dict[str, str]) -> None:
    done = subprocess.run([ORCH, "demo"], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=110)
    assert (done.returncode, done.stderr) == (0, "")
    (scratch,) = (tmp_path / "tmp").glob("orch-demo-*")
    branches = set(_git(scratch / "bakery", "branch", "--format=%(refname:short)", "--list", "orch/*").split())
    assert len(branches) == 3
    assert all(branch in done.stdout for branch in branches)
    for words in ("$ orch respond", "$ orch followup", "+def discounted(items):", "Now in a repository of yours:"):
        assert words in done.stdout
    assert _git(scratch / "bakery", "status", "--porcelain") == ""
    assert not (tmp_path / "own").exists()
    assert list((tmp_path / "home").iterdir()) == []
    assert _processes(str(scratch)) == []


@pytest.mark.slow
def test_programs_read_documents_and_may_have_it_cleaned_up(tmp_path: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [ORCH, "demo", "--json", "--clean"], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=110
    )
    assert (done.returncode, done.stderr) == (0, "")
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert set(Counter(document["kind"] for document in documents)) == {
        "begin", "command", "event", "session", "untouched", "next",
    }  # fmt: skip
    sessions = [document["session"] for document in documents if document["kind"] == "session"]
    assert [session["state"] for session in sessions] == ["completed"] * 3
    assert sum(session["turns"] for session in sessions) == 4
    events = [document["event"] for document in documents if document["kind"] == "event"]
    assert [event["data"]["by"] for event in events if event["type"] == "input.answered"] == ["user"]
    assert [event["type"] for event in events].count("followup.delivered") == 1
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.slow
def test_on_a_terminal_it_draws_a_table(tmp_path: Path, environment: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    environment |= {"TERM": "xterm", "COLUMNS": "140", "LINES": "40"}
    process = subprocess.Popen(
        [ORCH, "demo", "--clean"], env=environment, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = _read_all(ours)
    os.close(ours)
    assert process.wait(timeout=110) == 0, shown
    for words in ("SESSION", "waiting_for_user", "Explain how to order", "\x1b["):
        assert words in shown


def test_without_git_it_says_so(tmp_path: Path, environment: dict[str, str]) -> None:
    environment["PATH"] = str(tmp_path / "home")
    done = subprocess.run([ORCH, "demo"], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "git is not installed" in done.stderr
    assert "Traceback" not in done.stderr


def _git(directory: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(directory), *arguments], capture_output=True, text=True, check=True).stdout


def _read_all(descriptor: int) -> str:
    data = b""
    try:
        while piece := os.read(descriptor, 65536):
            data += piece
    except OSError:
        pass  # a terminal whose other end is closed
    return data.decode(errors="replace")


def _processes(mark: str) -> list[str]:
    """Return what still runs and names `mark` in its command line or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(mark in word for word in (*process.cmdline(), *process.environ().values())):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found
