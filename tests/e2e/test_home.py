"""A session's work brought home over the command line: commit, preview, apply, take back."""

import subprocess
from pathlib import Path
from typing import Any

from tests.home import OrchHome


def _shop(home: OrchHome) -> Path:
    return home.root / "shop"


def _git(home: OrchHome, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=_shop(home), env=home.environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def _done(home: OrchHome, prompt: str) -> str:
    session_id = home.send("demo", "implement", "shop", prompt)
    assert home.wait(session_id)["state"] == "completed"
    return session_id


def test_commit_and_merge(home: OrchHome) -> None:
    session_id = _done(home, "[[write notes.txt hello]]")
    who, how = _refused(home, "commit", session_id, expect=1).splitlines()
    assert "does not know who you are" in who
    assert "git config --global user.name" in how
    (home.root / "home/.gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.invalid\n")
    done = home.json("commit", session_id, "-m", "Add notes")
    assert [file["path"] for file in done["files"]] == ["notes.txt"]
    assert _git(home, "log", "-1", "--format=%an %s", done["commit"]) == "Ada Add notes\n"
    assert "nothing to commit" in home.cli("commit", session_id)
    applied = home.json("apply", session_id, "--strategy", "merge")
    assert applied["applied"]
    assert _git(home, "status", "--porcelain") == ""
    assert _git(home, "rev-parse", "HEAD").strip() == done["commit"]
    assert home.json("apply", session_id, "--undo")["applied"]
    assert not (_shop(home) / "notes.txt").exists()


def test_all_that_a_hook_says_is_shown(home: OrchHome) -> None:
    session_id = _done(home, "[[write notes.txt hello]]")
    home.cli("projects", "update", "shop", "--trusted")
    (home.root / "home/.gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.invalid\n")
    hook = _shop(home) / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'notes.txt:1: too short' >&2\necho 'Not so.' >&2\nexit 1\n")
    hook.chmod(0o700)
    assert _refused(home, "commit", session_id, expect=1).splitlines() == [
        "orch: git commit failed: Not so.",
        "      | notes.txt:1: too short",
        "      | Not so.",
        "      Mend what git names, then try again.",
    ]


def test_apply_and_take_back(home: OrchHome) -> None:
    session_id = _done(home, "[[write src/new/notes.txt hello]] [[write README.md changed]]")
    (_shop(home) / "src/cart.py").write_text("total = 1  # mine\n")
    preview = home.json("apply", session_id, "--preview")
    assert {file["path"] for file in preview["preview"]["files"]} == {"src/new/notes.txt", "README.md"}
    assert (preview["applied"], preview["preview"]["conflicts"]) == (False, [])
    assert _git(home, "status", "--porcelain") == " M src/cart.py\n"
    assert "2 files applied" in home.cli("apply", session_id)
    assert (_shop(home) / "src/new/notes.txt").read_text() == "hello\n"
    assert _git(home, "status", "--porcelain", "-uall").splitlines() == [
        " M README.md",
        " M src/cart.py",
        "?? src/new/notes.txt",
    ]
    home.cli("apply", session_id, "--undo")
    assert _git(home, "status", "--porcelain") == " M src/cart.py\n"
    assert not (_shop(home) / "src/new").exists()
    assert "orch apply" in _refused(home, "apply", session_id, "--undo", expect=4)


def test_what_stands_against_it_is_named_and_nothing_is_touched(home: OrchHome) -> None:
    session_id = _done(home, "[[write README.md changed]] [[write other.txt x]]")
    (_shop(home) / "README.md").write_text("# Shop, as I like it\n")
    assert "README.md" in home.cli("apply", session_id, "--preview", expect=4)
    assert "README.md" in _refused(home, "apply", session_id, expect=4)
    assert (_shop(home) / "README.md").read_text() == "# Shop, as I like it\n"
    assert not (_shop(home) / "other.txt").exists()
    report = home.send("demo", "analyze", "shop", "[[say fine]]")
    home.wait(report)
    assert "no worktree" in _refused(home, "apply", report, expect=4)


async def test_the_same_request_again_has_one_effect(home: OrchHome, connect: Any) -> None:
    session_id = _done(home, "[[write notes.txt hello]]")
    client = await connect()
    params = {"session": session_id, "strategy": "patch", "requestKey": "once"}
    first = await client.call("orch/session/apply", params)
    assert await client.call("orch/session/apply", params) == first
    assert first["applied"]


def _refused(home: OrchHome, *arguments: str, expect: int) -> str:
    done = subprocess.run(
        ["orch", *arguments], env=home.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == expect, done
    return done.stderr
