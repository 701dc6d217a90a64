"""`orch events`."""

import itertools
import json
import os
import tempfile
from collections.abc import Iterable
from typing import Any

import click

from orch_server.domain.readable import event_line, is_empty
from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.client import Client
from orch_server.endpoints.cli.main import orch, verb


@verb(orch, prints="Event a line; --output Exported")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now.")
@click.option("--after", type=click.IntRange(0), help="Only events with a number above this.")
@click.option("--session", help="Only this session's.")
@click.option("--project", help="Only this project's.")
@click.option("--type", "types", multiple=True, help="Only events of this type; `session.*` takes all of a kind.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Export them into this file, as JSON lines.")
def events(
    client: Client,
    follow: bool,
    after: int | None,
    types: tuple[str, ...],
    limit: int | None,
    output: str | None,
    as_json: bool,
    **place: Any,
) -> None:
    """Print what happened, one event a line; with --json one JSON document a line.

    With --output they go into a file, which is there when it is complete: all that happened, or what the filters take.
    """
    if follow and output is not None:
        raise click.UsageError("--output writes what has happened; it does not go with --follow.")
    filters = {**place, "types": list(types) or None}
    stream = client.follow(after, **filters) if follow else client.past(after or 0, **filters)
    if output is not None:
        export(itertools.islice(stream, limit), output, as_json)
        return
    for number, event in enumerate(stream, 1):
        if as_json:
            show.as_json(event)
        elif not is_empty(event):
            show.line(event_line(event))
        if number == limit:
            return


def export(events: Iterable[dict[str, Any]], path: str, as_json: bool) -> None:
    """Write events into a file, one JSON document a line, and say how many; a file of that name is replaced."""
    count, last = 0, 0
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="backslashreplace", dir=os.path.dirname(path) or ".", delete=False
        ) as file:
            try:
                for event in events:
                    file.write(json.dumps(event, ensure_ascii=False) + "\n")
                    count, last = count + 1, event["seq"]
                file.flush()
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}.") from error
    if as_json:
        show.as_json({"path": os.path.abspath(path), "events": count, "lastSeq": last})
    else:
        show.note(f"orch: {count} events written to {path}")
