"""The main job with a real agent program, over the command line: run inside a sandbox by test_main_job.py.

`python -m tests.agents_real.main_job AGENT PROGRAM REPOSITORY PLACE`: clones REPOSITORY into PLACE, sends AGENT (the
program file PROGRAM) to work in the clone, follows up, stops it in the middle of a turn and resumes it, kills the hub
under it, and compares the checkout with what it was. Prints what it saw.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.agents_real.surroundings import REALS
from tests.fakes.scripted_model import ScriptedModel
from tests.home import OrchHome
from tests.waiting import wait_until


def main(agent: str, program: str, repository: str, place: Path) -> None:
    """Do the main job with one agent."""
    clone = place / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", repository, str(clone)], check=True)
    home = OrchHome(place)
    programs = place / "bin"
    programs.mkdir()
    (programs / agent).symlink_to(program)
    with ScriptedModel() as model:
        home.environment["PATH"] = f"{programs}:{home.environment['PATH']}"
        home.environment |= REALS[agent].prepare(Path(home.environment["HOME"]), model.url)
        home.environment["TERM"] = "dumb"
        try:
            _work(home, agent, clone)
        finally:
            home.close()


def _work(home: OrchHome, agent: str, clone: Path) -> None:
    home.cli("projects", "add", str(clone), "--name", "clone")
    before = _digest(clone)

    session_id = home.send(agent, "implement", "clone", "[[write hello.txt hello world]]")
    session = home.wait(session_id)
    assert session["state"] == "completed", session
    assert "+hello world" in home.cli("diff", session_id)
    print(f"{agent} worked in {session['branch']}: {session['changes']}")

    home.cli("followup", session_id, "[[recall]]")
    session = home.wait(session_id)
    assert (session["state"], session["turns"]) == ("completed", 2), session
    assert "write hello.txt" in _said(home, session_id), _said(home, session_id)
    print("the follow-up went on in the same conversation")

    home.cli("followup", session_id, "[[hang]]")
    wait_until(lambda: home.session(session_id)["turns"] == 3, 30)
    home.cli("stop", session_id)
    stopped = home.session(session_id)
    assert (stopped["state"], stopped["reason"], stopped["pid"]) == ("stopped", "user_stopped", None), stopped
    home.cli("resume", session_id, "[[write second.txt again]]")
    session = home.wait(session_id)
    assert session["state"] == "completed", session
    assert session["agentSessionId"] == stopped["agentSessionId"]
    assert "+again" in home.cli("diff", session_id)
    print("it was stopped in the middle of a turn, and resumed")

    home.cli("followup", session_id, "[[bash python3 -c 'import time; time.sleep(3)'; echo slept]]")
    home.cli("wait", session_id, "--until", "waiting", "--timeout", "30", expect=None)
    home.kill_hub()
    request = home.session(session_id)["inputRequests"]
    if request:
        home.cli("respond", session_id, "allow")
    session = home.wait(session_id)
    assert session["state"] == "completed", session
    print(f"the hub was killed while it {'asked' if request else 'worked'}, and nothing was lost")

    assert _digest(clone) == before
    print("the main checkout is byte-identical")


def _said(home: OrchHome, session_id: str) -> str:
    return "".join(event["data"]["text"] for event in home.events("agent.message", session=session_id))


def _digest(root: Path) -> str:
    """Return a digest of every file below the checkout, `.git` with its index and configuration included.

    Left out is what a session owns: `.orchestrator`, its refs and their logs, git's entry of its worktree; and the
    objects, to which snapshots of its work in progress are added.
    """
    digest = hashlib.sha256()
    for directory, folders, files in os.walk(root):
        folders[:] = sorted(set(folders) - {".orchestrator", "worktrees", "orch", "objects"})
        for name in sorted(files):
            path = Path(directory) / name
            digest.update(f"{path.relative_to(root)}\0{path.lstat().st_mode}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
