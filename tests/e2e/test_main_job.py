"""The main job over the command line: send, watch, follow up, answer, stop, resume."""

import subprocess

from tests.home import OrchHome
from tests.waiting import wait_until


def test_an_agent_works_in_a_worktree_of_its_own_and_takes_a_follow_up(home: OrchHome) -> None:
    before = _state_of(home)
    session_id = home.send("demo", "implement", "shop", "[[write notes.txt hello]] [[say first]]")
    session = home.wait(session_id)
    assert (session["state"], session["reason"]) == ("completed", "turn_ended")
    assert session["branch"] == f"orch/demo/shop/{session_id}"
    home.cli("followup", session_id, "[[append notes.txt more]] [[recall]]")
    session = home.wait(session_id)
    assert session["turns"] == 2
    assert "[[write notes.txt hello]]" in _said(home, session_id)
    assert "+hello" in home.cli("diff", session_id)
    assert _state_of(home) == before


def test_an_approval_waits_for_the_user_and_is_answered(home: OrchHome) -> None:
    session_id = home.send("demo", "implement", "shop", "[[approve run the build]] [[say go on]]")
    session = home.wait(session_id)
    assert session["state"] == "waiting_for_user"
    assert home.cli("wait", session_id, expect=8)
    home.cli("respond", session_id, "allow")
    assert home.wait(session_id)["state"] == "completed"
    assert home.cli("respond", session_id, "allow", "--request", session["inputRequests"][0]["id"], expect=4) == ""


def test_a_follow_up_answers_an_open_question(home: OrchHome) -> None:
    session_id = home.send("demo", "implement", "shop", "[[ask Which colour? | Red | Blue]]")
    assert home.wait(session_id)["state"] == "waiting_for_user"
    home.cli("followup", session_id, "green, please")
    assert home.wait(session_id)["state"] == "completed"
    assert "green, please" in _said(home, session_id)


def test_stop_and_resume_go_on_in_the_same_conversation(home: OrchHome) -> None:
    session_id = home.send("demo", "implement", "shop", "[[say begin]] [[hang]]")
    wait_until(lambda: _said(home, session_id) == "begin")
    home.cli("stop", session_id)
    session = home.session(session_id)
    assert (session["state"], session["reason"], session["pid"]) == ("stopped", "user_stopped", None)
    home.cli("resume", session_id, "[[recall]]")
    assert home.wait(session_id)["state"] == "completed"
    assert "[[hang]]" in _said(home, session_id)


def test_a_read_only_action_works_in_the_project_itself(home: OrchHome) -> None:
    session = home.wait(home.send("demo", "analyze", "shop", "[[read README.md]] [[say all good]]"))
    assert session["state"] == "completed"
    assert session["worktreePath"] is None


def _said(home: OrchHome, session_id: str) -> str:
    return "".join(event["data"]["text"] for event in home.events("agent.message", session=session_id))


def _state_of(home: OrchHome) -> tuple[str, str]:
    git = ["git", "-C", str(home.root / "shop")]
    status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    return status, head
