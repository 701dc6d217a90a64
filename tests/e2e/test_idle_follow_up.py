"""A follow-up that comes just as an idle agent is let go is never lost, and never fails its session."""

from tests.home import OrchHome


def test_follow_ups_around_the_moment_in_which_the_agent_is_let_go(home: OrchHome) -> None:
    home.configure("[limits]\nidle_seconds = 0\n")
    home.cli("hub", "restart")
    session_id = home.send("demo", "implement", "shop", "[[say 0]]")
    assert home.wait(session_id)["state"] == "completed"
    for number in range(1, 9):
        home.cli("followup", session_id, f"[[say {number}]]")
        session = home.wait(session_id)
        assert (session["state"], session["queued"]) == ("completed", [])
    said = [event["data"]["text"] for event in home.events("agent.message", session=session_id)]
    assert "".join(said) == "012345678"
