"""`orch replay`: a recorded conversation with an agent, as the session it would have been. No hub takes part."""

import click

from orch_server.endpoints.cli.main import Verb, orch


@orch.command(cls=Verb, prints="Replay")
@click.argument("agent")
@click.argument("file", type=click.Path(exists=True))
@click.option("--exit", "end", metavar="CODE|SIGNAL", help="How the program ended, for example 1 or SIGKILL.")
@click.option("--stopped", is_flag=True, help="It was stopped by orch.")
def replay(agent: str, file: str, end: str | None, stopped: bool, as_json: bool) -> None:
    """Show what a recording of AGENT amounts to: its events, requests, and final state.

    FILE holds what the program wrote, a line each, or both directions (`> SECONDS LINE`, `< SECONDS LINE`); or it is
    the directory of a run in ORCH_HOME/runs. Every approval is taken to be asked (policy `ask`).
    """
    from orch_server.endpoints.cli import recorded  # the use cases behind it cost every other verb 300 ms

    recorded.replay(agent, file, end, stopped, as_json)
