"""What a recorded conversation with an agent amounts to, for `orch replay`."""

import os
import re
import signal
import sys

import click

from orch_server.agents.adapter import Adapter, Exit
from orch_server.agents.catalog import AgentConfig, build_catalog
from orch_server.domain.readable import told
from orch_server.domain.session import Reason
from orch_server.endpoints.cli import show
from orch_server.services.replay import Recording, Replayed, read, replay_session
from orch_server.settings.options import ConfigError, read_config
from orch_server.settings.places import find_places


def replay(agent: str, file: str, end: str | None, stopped: bool, as_json: bool) -> None:
    """Read a recording through the adapter of `agent` and print what it amounts to."""
    adapter = _adapter(agent)
    try:
        recording = read(file)
    except OSError as error:
        problem = f"{error.filename or file}: {error.strerror}. A directory is to be that of a run, in ORCH_HOME/runs."
        raise click.BadParameter(problem, param_hint="FILE") from error
    if end is not None or stopped:
        known = _exit(end) if end is not None else recording.end
        ending = Reason.USER_STOPPED if stopped else recording.ending
        recording = Recording(recording.steps, known, ending, recording.stderr_tail)
    replayed = replay_session(adapter, recording)
    if as_json:
        show.as_json(_result(replayed))
    else:
        _print(replayed)


def _adapter(name: str) -> Adapter:
    places = find_places(os.environ)
    try:
        tables = read_config(places.config_file).agents
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    config = {key: AgentConfig(table.protocol, table.command, table.env) for key, table in tables.items()}
    catalog = build_catalog(config, python=sys.executable, demo_state=os.path.join(places.home, "demo"))
    # A recording may be named for its protocol as well: gemini-acp is gemini, which speaks nothing else.
    adapter = catalog.get(name) or catalog.get(name.removesuffix("-acp").removesuffix("-app-server"))
    if adapter is None:
        raise click.BadParameter(f"{name!r} is not known; there are {', '.join(catalog)}.", param_hint="AGENT")
    return adapter


def _exit(text: str) -> Exit:
    if re.fullmatch(r"\d+", text):
        return Exit(code=int(text))
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    try:
        return Exit(signal=signal.Signals[name].value)
    except KeyError:
        raise click.BadParameter(f"{text!r} is no exit code and no signal.", param_hint="--exit") from None


def _result(replayed: Replayed) -> dict[str, object]:
    session = replayed.session
    return {
        "events": [event.model_dump(mode="json", by_alias=True) for event in replayed.events],
        "inputRequests": [request.model_dump(mode="json", by_alias=True) for request in replayed.input_requests],
        "state": session.state,
        "reason": session.reason,
        "agentSessionId": session.agent_session_id,
    }


def _print(replayed: Replayed) -> None:
    for event in (event.model_dump(mode="json", by_alias=True) for event in replayed.events):
        show.line(f"{event['type']}  {told(event)}".rstrip())
    session = replayed.session
    show.line(f"state {session.state}" + (f", reason {session.reason}" if session.reason else ""))
    if session.message:
        show.block(session.message)
