"""How a session begins, over the command line: uncommitted changes, a set-up command, ports."""

from pathlib import Path

from tests.home import OrchHome


def test_a_session_starts_well(home: OrchHome) -> None:
    shop = home.root / "shop"
    home.cli("projects", "update", "shop", "--setup", "echo ready > ready.txt", expect=1)
    home.cli("projects", "update", "shop", "--trusted", "--setup", "echo ready > ready.txt", "--setup-seconds", "20")
    assert "set-up: echo ready" in home.cli("projects", "show", "shop")
    (shop / "README.md").write_text("# Shop, not committed\n")
    session_id = home.send("demo", "implement", "shop", "[[env ORCH_PORT_BASE]]", fromDirty=True)
    session = home.wait(session_id)
    assert (session["state"], session["attention"]) == ("completed", [])
    tree = Path(session["worktreePath"])
    assert (tree / "README.md").read_text() == "# Shop, not committed\n"
    assert (tree / "ready.txt").read_text() == "ready\n"
    log = [event["data"]["text"] for event in home.events("agent.log", session=session_id)]
    assert log == ["$ echo ready > ready.txt"]
    said = [event["data"]["text"] for event in home.events("agent.message", session=session_id)]
    assert int("".join(said).split()[-1].rpartition("=")[2]) in range(20_000, 30_000, 10)
