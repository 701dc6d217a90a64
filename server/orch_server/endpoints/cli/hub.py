"""`orch health`, `orch hub ...`."""

from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.client import Client, HubGone
from orch_server.endpoints.cli.main import UNREACHABLE, Verb, orch, verb
from orch_server.hub.dial import HubUnreachable, wait_for_leave


@verb(orch, prints="HubStatus")
def health(client: Client, as_json: bool) -> None:
    """Say how the hub is; start one if none runs."""
    _status(client, as_json)


@orch.group()
def hub() -> None:
    """The hub in the background: status, start, stop, restart. Agents run on whatever happens to it."""


@hub.command(cls=Verb, prints="HubStatus")
def status(as_json: bool) -> int:
    """Say how the hub is, without starting one."""
    try:
        _status(Client(start=False), as_json)
    except HubUnreachable as error:
        show.note(f"orch: {error}")
        return UNREACHABLE
    return 0


@verb(hub, prints="HubStatus")
def start(client: Client, as_json: bool) -> None:
    """Start the hub, if none runs."""
    _status(client, as_json)


@hub.command(cls=Verb, prints="Empty")
def stop(as_json: bool) -> None:
    """Ask the hub to leave. Agents run on; the next hub takes them over."""
    _stop()
    if as_json:
        show.as_json({})


@verb(hub, prints="HubStatus")
def restart(client: Client, as_json: bool) -> None:
    """Stop the hub and start it again, in the version that is installed now."""
    _stop()
    _status(client, as_json)


def _stop() -> None:
    client = Client(start=False)
    try:
        client.call("orch/hub/shutdown")
    except (HubUnreachable, HubGone):
        show.note("orch: no hub runs.")
        return
    wait_for_leave(client.places)


def _status(client: Client, as_json: bool) -> None:
    status = client.call("orch/hub/status")
    if as_json:
        show.as_json(status)
        return
    counts = ", ".join(f"{count} {state}" for state, count in sorted(status["sessionsByState"].items())) or "none"
    show.line(f"hub       orch {status['version']}, pid {status['pid']}, up {show.age(status['startedAt'])}")
    show.line(f"sessions  {counts}")
    show.line(f"agents    {status['runs']} running, {status['queued']} waiting to start")
    show.line(f"data      {status['database']} ({status['dataBytes'] / 1024:.0f} KiB)")
    show.line(f"socket    {status['socket']}")
