"""`orch transcript`, `orch artifacts ...`, `orch search`: reading what sessions left."""

import base64
import sys
from typing import Any

import click

from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.client import Client
from orch_server.endpoints.cli.main import orch, verb

_KINDS = click.Choice(["plan", "report", "diff", "transcript", "file"])
_ENTRY_KINDS = click.Choice(["message", "thought", "tool", "plan", "input"])


@verb(orch, prints="TranscriptPage")
@click.argument("session")
@click.option("--limit", type=click.IntRange(1), help="At most so many entries.")
def transcript(client: Client, session: str, limit: int | None, as_json: bool) -> None:
    """Print a session's conversation."""
    entries = client.pages("orch/session/transcript", limit, session=session)
    if as_json:
        show.as_json({"items": list(entries), "nextCursor": None})
        return
    for entry in entries:
        speaker = entry["role"] if entry["kind"] == "message" else f"{entry['role']} ({entry['kind']})"
        show.line(f"-- {speaker}, {entry['at'][11:19]}")
        show.block(entry["text"].strip())


@orch.group()
def artifacts() -> None:
    """The files that sessions leave: plans, reports, diffs, transcripts."""


@verb(artifacts, "list", prints="ArtifactPage")
@click.option("--session", help="Only this session's.")
@click.option("--project", help="Only this project's.")
@click.option("--kind", "kinds", multiple=True, type=_KINDS, help="Only of this kind; may be repeated.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
def list_(client: Client, kinds: tuple[str, ...], limit: int | None, as_json: bool, **place: Any) -> None:
    """List artifacts, the newest first."""
    found = list(client.pages("orch/artifact/list", limit, kinds=list(kinds) or None, **place))
    if as_json:
        show.as_json({"items": found, "nextCursor": None})
        return
    rows = [
        [item["id"], item["kind"], item["sessionId"], f"{item['bytes']} B", show.age(item["createdAt"]), item["path"]]
        for item in found
    ]
    show.table(
        ["ARTIFACT", "KIND", "SESSION", "SIZE", "AGE", "PATH"], rows, "no artifact here. They come when a turn ends."
    )


@verb(artifacts, "show", prints="ArtifactContent")
@click.argument("artifact")
def show_(client: Client, artifact: str, as_json: bool) -> None:
    """Print what an artifact holds."""
    found = client.call("orch/artifact/read", artifact=artifact)
    if as_json:
        show.as_json(found)
    elif found["text"] is not None:
        show.block(found["text"].rstrip("\n"))
    else:
        sys.stdout.buffer.write(base64.b64decode(found["base64"]))


@verb(orch, prints="SearchPage")
@click.argument("query")
@click.option("--project", help="Only in this project.")
@click.option("--agent", help="Only what this agent's sessions hold.")
@click.option("--kind", "kinds", multiple=True, type=_ENTRY_KINDS, help="Only in such entries; may be repeated.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
def search(client: Client, query: str, kinds: tuple[str, ...], limit: int | None, as_json: bool, **place: Any) -> None:
    """Find words in the prompts and conversations of every agent; `word*` finds what begins so."""
    found = list(client.pages("orch/search", limit, query=query, kinds=list(kinds) or None, **place))
    if as_json:
        show.as_json({"items": found, "nextCursor": None})
        return
    rows = [[hit["sessionId"], hit["kind"], show.age(hit["at"]), " ".join(hit["snippet"].split())] for hit in found]
    show.table(
        ["SESSION", "KIND", "AGE", "TEXT"], rows, "nothing found. All words must occur; `word*` finds what begins so."
    )
