"""`orch events`."""

from typing import Any

import click

from orch_server.domain.readable import event_line, is_empty
from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.client import Client
from orch_server.endpoints.cli.main import orch, verb


@verb(orch)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now.")
@click.option("--after", type=click.IntRange(0), help="Only events with a number above this.")
@click.option("--session", help="Only this session's.")
@click.option("--project", help="Only this project's.")
@click.option("--type", "types", multiple=True, help="Only events of this type; `session.*` takes all of a kind.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
def events(
    client: Client,
    follow: bool,
    after: int | None,
    types: tuple[str, ...],
    limit: int | None,
    as_json: bool,
    **place: Any,
) -> None:
    """Print what happened, one event a line; with --json one JSON document a line."""
    filters = {**place, "types": list(types) or None}
    stream = client.follow(after, **filters) if follow else _past(client, after or 0, filters)
    for number, event in enumerate(stream, 1):
        if as_json:
            show.as_json(event)
        elif not is_empty(event):
            show.line(event_line(event))
        if number == limit:
            return


def _past(client: Client, after: int, filters: dict[str, Any]) -> Any:
    while True:
        page = client.call("orch/event/list", after=after, limit=1000, **filters)
        if not page["items"]:
            return
        yield from page["items"]
        after = page["lastSeq"]
