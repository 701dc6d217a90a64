"""`orch`: the group of all verbs, and the exit codes."""

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import click

from orch_server import __version__
from orch_server.domain.errors import OrchError
from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.client import Client, HubGone, RequestFailed
from orch_server.endpoints.cli.completing import NAMED
from orch_server.hub.address import AddressRefused
from orch_server.hub.dial import HubUnreachable, ProtocolMismatch

DONE, FAILED, USAGE, NOT_FOUND, REFUSED, UNAVAILABLE, UNREACHABLE, TIMED_OUT, WAITING = range(9)

_EXIT_CODES = {
    -32602: USAGE,
    -32010: NOT_FOUND,
    -32011: REFUSED,
    -32014: REFUSED,
    -32015: REFUSED,
    -32016: REFUSED,
    -32022: REFUSED,
    -32023: REFUSED,
    -32012: UNAVAILABLE,
    -32020: UNREACHABLE,
}


class Sections(click.Group):
    """The group of all verbs: its help shows them by what they are for."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs, section by section; one that is in none of them comes last."""
        named = [name for names in _SECTIONS.values() for name in names]
        rest = [name for name in self.list_commands(ctx) if name not in named]
        for title, names in {**_SECTIONS, "More": rest}.items():
            rows = [(name, self.commands[name].get_short_help_str(200)) for name in names if name in self.commands]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


_SECTIONS = {
    "Send agents to work": ("send", "do", "followup", "unqueue", "respond", "stop", "resume"),
    "Watch them": ("sessions", "dashboard", "wait", "events", "logs", "transcript", "search", "commands"),
    "Bring their work home": ("diff", "before", "open", "artifacts", "commit", "apply"),
    "Keep them apart": ("collisions", "plan-merge", "tell", "claim", "unclaim", "leases"),
    "Put sessions away": ("archive", "unarchive", "preview", "delete", "restore"),
    "Set up": ("projects", "agents", "health", "hub", "doctor", "demo", "replay"),
}


@click.group(cls=Sections, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="orch")
def orch() -> None:
    """Send coding agents to work in worktrees of their own, watch them, and bring their work home.

    Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 refused in this state, 5 agent unavailable, 6 hub
    unreachable, 7 timed out, 8 waiting for the user, 130 interrupted.
    """


class Verb(click.Command):
    """A command that takes `--json`, and the name of the type that it prints then.

    `Session`: one document; `Event a line`: one a line; behind a semicolon what it prints instead with an option:
    `SubmittedCommand; --dry-run Parsed`. docs/cli-usage.md and the JSON schema beside it are made from it, and a test
    holds the output against them.
    """

    def __init__(self, *arguments: Any, prints: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.prints = prints
        for parameter in self.params:
            if parameter.type is click.STRING:
                parameter.type = NAMED.get(parameter.name or "", click.STRING)
        self.params.append(click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON."))


def verb(group: click.Group, name: str | None = None, *, prints: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Register a verb that needs the hub: it gets a Client first, and `--json` as `as_json`."""

    def register(function: Callable[..., Any]) -> click.Command:
        @wraps(function)
        def run(**arguments: Any) -> Any:
            client = Client()
            try:
                return function(client, **arguments)
            finally:
                client.close()

        return group.command(name, cls=Verb, prints=prints)(run)

    return register


def exit_code(code: int) -> int:
    """Return the exit code for an error of the protocol."""
    return _EXIT_CODES.get(code, FAILED)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    # Importing them registers their verbs.
    from orch_server.endpoints.cli import (  # noqa: F401 - verbs register
        agents,
        cleanup,
        collisions,
        commands,
        dashboard,
        demo,
        doctor,
        events,
        home,
        hub,
        leases,
        projects,
        reading,
        replay,
        sessions,
        work,
    )

    try:
        result = orch.main(list(arguments), prog_name="orch", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return DONE
    except RequestFailed as error:
        show.note(f"orch: {error}")
        said = str(error.data.get("stderr", "")).splitlines()
        if len(said) > 1:  # one line is in the message
            show.note("\n".join(f"      | {line}" for line in said))
        if error.data.get("hint"):
            show.note(f"      {error.data['hint']}")
        return exit_code(error.code)
    except OrchError as error:
        show.note(f"orch: {error} {error.hint}")
        return exit_code(error.kind.code)
    except (HubUnreachable, ProtocolMismatch, HubGone, AddressRefused) as error:
        show.note(f"orch: {error}")
        return UNREACHABLE
    return result if isinstance(result, int) else DONE
