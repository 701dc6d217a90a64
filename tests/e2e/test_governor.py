"""Limits on how many agents work at once."""

from tests.home import OrchHome


def test_a_session_over_the_limit_waits_in_a_visible_queue(home: OrchHome) -> None:
    home.configure("[limits]\nruns = 1\n")
    home.cli("hub", "restart")
    first = home.send("demo", "implement", "shop", "[[approve go on]]")
    assert home.wait(first)["state"] == "waiting_for_user"
    second = home.send("demo", "implement", "shop", "[[say my turn]]")
    home.cli(
        "events", "--follow", "--after", "0", "--session", second, "--type", "session.state_changed", "--limit", "1"
    )
    waiting = home.session(second)
    assert (waiting["state"], waiting["reason"]) == ("created", "queued_by_limit")
    assert home.json("health")["queued"] == 1
    home.cli("respond", first, "allow")
    assert home.wait(second)["state"] == "completed"
    assert home.wait(first)["state"] == "completed"


def test_a_follow_up_over_the_limit_is_queued_and_the_session_keeps_its_state(home: OrchHome) -> None:
    home.configure("[limits]\nruns = 1\nidle_seconds = 0\n")
    home.cli("hub", "restart")
    done = home.send("demo", "implement", "shop", "[[say done]]")
    home.wait(done)
    busy = home.send("demo", "implement", "shop", "[[approve go on]]")
    home.wait(busy)
    home.cli("stop", done)
    session = home.json("followup", done, "[[say more]]")
    assert (session["state"], session["reason"]) == ("completed", "queued_by_limit")
    assert [item["text"] for item in session["queued"]] == ["[[say more]]"]
    home.cli("stop", busy)
    home.cli("events", "--follow", "--after", "0", "--session", done, "--type", "followup.delivered", "--limit", "1")
    assert home.wait(done)["turns"] == 2


def test_a_usage_limit_parks_the_session_until_it_ends(home: OrchHome) -> None:
    home.configure("[limits]\nresume_after_usage_limit = true\nidle_seconds = 0\n")
    home.cli("hub", "restart")
    session_id = home.send("demo", "implement", "shop", "[[error 429]]")
    session = home.wait(session_id)
    assert (session["state"], session["reason"]) == ("failed", "usage_limit")
