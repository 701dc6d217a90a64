"""All verbs of the command line, used one after the other as a user does, each held against what it says it prints."""

import json
from pathlib import Path
from typing import Any

from orch_server.endpoints.cli import main as cli
from orch_server.endpoints.cli.results import Exported
from tests.generate import printed_by, verbs
from tests.home import OrchHome
from tests.repositories import make_repository
from tests.waiting import wait_until

KNOWN = {name: verb for name, verb, _ in verbs() if isinstance(verb, cli.Verb)}


class Verbs:
    """The command line of one home; it remembers which verbs were used."""

    def __init__(self, home: OrchHome) -> None:
        self.home = home
        self.used: set[str] = set()

    def __call__(self, *words: str, expect: int = 0, input: str | None = None) -> Any:  # noqa: A002 - as subprocess
        """Run `orch WORDS --json`; return its document, or all of them where it prints one a line."""
        name = next(name for n in (2, 1) if (name := " ".join(["orch", *words[:n]])) in KNOWN)
        printed, a_line = printed_by(KNOWN[name])
        lines = self.home.cli(*words, "--json", expect=expect, input=input).splitlines()
        documents = [json.loads(line) for line in lines]
        for document in documents:
            assert printed.model_validate(document).model_dump(mode="json", by_alias=True) == document, name
        self.used.add(name)
        assert a_line or len(documents) == 1, f"{name} printed {len(documents)} documents"
        return documents if a_line else documents[0]


def use_every_verb(home: OrchHome, archived: str, trashed: str, purged: str) -> set[str]:
    """Use all verbs; of the sessions that there are already one is archived, one put into the trash, one purged."""
    orch = Verbs(home)
    (home.root / "home/.gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.invalid\n")
    for words in (("health",), ("hub", "status"), ("hub", "start"), ("agents",), ("doctor",), ("dashboard",)):
        orch(*words)
    extra = make_repository(home.root / "extra")
    slug = orch("projects", "add", str(extra.path), "--name", "Extra")["slug"]
    assert orch("projects", "update", slug, "--policy", "ask")["policy"] == "ask"
    assert orch("projects", "show", slug)["path"] == str(extra.path)
    orch("projects", "remove", slug)
    assert [item["slug"] for item in orch("projects", "list")["items"]] == ["bank", "farm", "shop"]

    session = _work(orch)
    _read(orch, session)
    _collide(orch, session)
    _bring_home(orch, session)

    assert orch("preview", trashed)["worktree"]["present"]
    orch("delete", trashed, "--yes")
    orch("restore", trashed)
    orch("delete", trashed, "--delete-branch", "--yes")
    assert orch("delete", purged, "--purge", "--yes")["keptUntil"] is None
    orch("archive", archived)
    orch("unarchive", archived)
    assert orch("archive", archived)["stateBefore"] == "completed"
    orch("wait", archived)
    orch("hub", "restart")
    orch("hub", "stop")
    orch("health")
    return orch.used


def _work(orch: Verbs) -> str:
    prompt = "[[stderr careful]] [[write report.md # Report]] [[approve make]] [[say It is in `report.md`.]]"
    words = ("send", "anna", "implement", "bank", "--policy", "ask", "--title", "All verbs", "--prompt", "-")
    session: str = orch(*words, input=prompt)["id"]
    assert orch("wait", session, expect=8)[0]["inputRequests"]
    orch("respond", session, "allow")
    assert orch("wait", session)[0]["state"] == "completed"
    orch("followup", session, "[[hang]]")
    queued = orch("followup", session, "[[say later]]")["queued"]
    orch("unqueue", session, queued[-1]["id"])
    assert orch("stop", session)["state"] == "stopped"
    orch("wait", session, expect=1)
    orch("resume", session, "[[say back]]")
    orch("wait", session)
    orch("sessions", "followup", session, "[[say again]]")
    orch("wait", session)
    assert orch("sessions", "update", session, "--title", "Renamed")["title"] == "Renamed"
    assert orch("sessions", "show", session[:8])["id"] == session
    assert session in {item["id"] for item in orch("sessions", "list", "--project", "bank")["items"]}
    understood = orch("do", "ask demo to review src in bank", "--wait")
    assert understood["command"]["scopePath"] == "src"
    assert orch("commands", "list")["items"][0]["text"] == "ask demo to review src in bank"
    return session


def _read(orch: Verbs, session: str) -> None:
    assert "careful" in orch("logs", session)["lines"]
    assert orch("transcript", session)["items"]
    assert [file["path"] for file in orch("diff", session)["files"]] == ["report.md"]
    assert orch("before", session, "README.md")["text"] == "# bank\n"
    kinds = {item["kind"]: item["id"] for item in orch("artifacts", "list", "--session", session)["items"]}
    assert set(kinds) == {"transcript", "diff", "file"}
    assert orch("artifacts", "show", kinds["file"])["text"] == "# Report\n"
    assert Path(orch("open", session)["path"], "report.md").exists()
    assert orch("search", "report")["items"]
    assert orch("events", "--session", session, "--type", "turn.*")
    exported = orch.home.root / "events.jsonl"
    said = json.loads(orch.home.cli("events", "--output", str(exported), "--json"))
    Exported.model_validate(said)
    lines = exported.read_text("utf-8").splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(1, said["lastSeq"] + 1))
    ((run,),) = orch.home.query(f"SELECT id FROM runs WHERE session_id = '{session}' ORDER BY created_at LIMIT 1")
    assert orch("replay", "demo", str(orch.home.path / "runs" / run))["inputRequests"]


def _collide(orch: Verbs, session: str) -> None:
    rival = orch("send", "bert", "implement", "bank", "[[write report.md # Another]]", "--wait")["id"]

    def seen() -> Any:
        return orch("collisions", "--session", rival)["items"]

    (found,) = wait_until(seen)
    assert set(found["sessions"]) == {session, rival}
    assert rival in orch("plan-merge", "bank")["order"]
    orch("tell", found["id"], rival)
    orch("wait", rival)
    (lease,) = orch("claim", "bank", "src")["items"]
    assert orch("leases")["items"] == [lease]
    orch("unclaim", lease["id"])


def _bring_home(orch: Verbs, session: str) -> None:
    assert len(orch("commit", session, "-m", "A report")["files"]) == 1
    assert not orch("apply", session, "--preview")["applied"]
    assert orch("apply", session, "--strategy", "squash")["applied"]
    assert orch("apply", session, "--undo")["applied"]
