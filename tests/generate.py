"""Writes every generated file: `python -m tests.generate`, or `make gen`. With `--check` it only says which are stale.

To add a generated file, add a line to FILES.
"""

import contextlib
import inspect
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from orch_server.agents import demo_agent
from orch_server.domain.events import EVENT_TYPES, Event
from orch_server.domain.readable import event_line, harmless
from orch_server.domain.session import TRANSITIONS, State
from orch_server.endpoints.cli import main as cli
from orch_server.endpoints.cli.results import RESULTS
from orch_server.protocol.methods import METHODS
from orch_server.protocol.reference import protocol_reference
from orch_server.protocol.registry import Empty
from orch_server.protocol.typescript import typescript
from orch_server.settings.options import AgentTable, Limits, Settings

ROOT = Path(__file__).resolve().parent.parent
NOTES = {
    ".md": "<!-- Generated: change the source and run `make gen`. -->\n\n",
    ".ts": "// Generated: change the source and run `make gen`.\n\n",
    ".json": "",
}
WIDTH = 100


def cli_usage() -> str:
    """Return the help of every verb, as the command line prints it."""
    lines = [
        "# Command line",
        "",
        "Every verb and its `--help`. `orch` is short for `orch-server --cli`. With `--json` a verb prints the result",
        "of its method as one JSON document, or one document a line where it streams; messages go to standard error.",
        "Below each verb is its type, and [cli-json.schema.json](cli-json.schema.json) has all of them as JSON Schema.",
        "With `--follow` the events come before it, one a line. A list has all items, and `nextCursor` null.",
        "",
        "Verbs, options, choices, and while a hub runs the names of agents, projects and sessions are completed by the",
        "shell after a line in its start-up file:",
        "",
        "| shell | line |",
        "|---|---|",
        '| bash | `eval "$(_ORCH_COMPLETE=bash_source orch)"` |',
        '| zsh | `eval "$(_ORCH_COMPLETE=zsh_source orch)"` |',
        "| fish | `_ORCH_COMPLETE=fish_source orch \\| source` |",
    ]
    for name, command, context in verbs():
        lines += ["", f"## {name}", "", "```text", command.get_help(context), "```"]
        if isinstance(command, cli.Verb):
            shown = [
                f"with `{option}` {_linked(printed)}" if option else _linked(printed)
                for option, printed in prints_of(command)
            ]
            lines += ["", f"`--json`: {'; '.join(shown)}."]
    return "\n".join(lines) + "\n"


Printed = tuple[type[BaseModel], bool]
"""A type, and whether there is one document of it a line."""


def printed_by(verb: cli.Verb) -> Printed:
    """Return what a verb prints with `--json` and no other option."""
    return prints_of(verb)[0][1]


def prints_of(verb: cli.Verb) -> list[tuple[str, Printed]]:
    """Return what a verb prints with `--json`, and what with each option ("" for none) that changes it."""
    found = (re.fullmatch(r"(?:(--[a-z-]+) )?(\w+)( a line)?", part) for part in verb.prints.split("; "))
    return [(match[1] or "", (_PRINTED[match[2]], match[3] is not None)) for match in found if match]


def _linked(printed: Printed) -> str:
    model, a_line = printed
    page = "cli-json.schema.json" if model in RESULTS else f"protocol.md#{model.__name__.lower()}"
    shown = "`{}`" if model is Empty else f"[{model.__name__}]({page})"
    return f"{shown}, one a line" if a_line else shown


_MODELS: tuple[type[BaseModel], ...] = (*(method.result for method in METHODS.values()), *RESULTS, Event)
_PRINTED = {model.__name__: model for model in _MODELS}


def cli_schema() -> str:
    """Return the JSON Schema of what every verb prints with `--json`."""
    found = {name: prints_of(verb) for name, verb, _ in verbs() if isinstance(verb, cli.Verb)}
    printed = {model for several in found.values() for _, (model, _) in several}
    models = sorted(printed | {*EVENT_TYPES.values()}, key=lambda model: model.__name__)
    _, definitions = models_json_schema([(model, "serialization") for model in models], by_alias=True)
    definitions["$defs"]["Event"] |= _events_by_type()
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Generated: change the source and run `make gen`.",
        "title": "What the verbs of orch print with --json",
        "description": "Each verb with the schema of its document; where `oneALine` is true, of each line. "
        "`withOption` has what it prints instead with an option.",
        "type": "object",
        "properties": {name: _printed_schema(several) for name, several in found.items()},
        "$defs": definitions["$defs"],
    }
    return json.dumps(schema, indent=1) + "\n"


def _printed_schema(several: list[tuple[str, Printed]]) -> dict[str, object]:
    made: dict[str, dict[str, object]] = {
        option: {"$ref": f"#/$defs/{model.__name__}", "oneALine": a_line} for option, (model, a_line) in several
    }
    plain = made.pop("")
    return {**plain, "withOption": made} if made else plain


def _events_by_type() -> dict[str, object]:
    """Return that an event's `data` is what its `type` says, or nothing once its session was purged."""
    purged = {"description": "Of a session that was purged.", "type": "object", "maxProperties": 0}
    cases = []
    for name, model in EVENT_TYPES.items():
        data = {"anyOf": [{"$ref": f"#/$defs/{model.__name__}"}, purged]}
        cases.append({"title": name, "properties": {"type": {"const": name}, "data": data}})
    return {"oneOf": cases}


def verbs() -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield every verb of the command line, groups included, with its full name and a context of a fixed width."""
    with contextlib.redirect_stdout(io.StringIO()):
        cli.run(["--help"])  # registers the verbs as a real call does
    context = click.Context(cli.orch, info_name="orch", terminal_width=WIDTH, **cli.orch.context_settings)
    yield "orch", cli.orch, context
    yield from _below(cli.orch, context)


def _below(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    for name, command in sorted(group.commands.items()):
        inner = click.Context(command, info_name=name, parent=context, terminal_width=WIDTH)
        yield inner.command_path, command, inner
        if isinstance(command, click.Group):
            yield from _below(command, inner)


SETTINGS = """\
# Settings

A hub reads its settings once, when it starts: `orch hub restart` makes it read them anew. Agents run on.

## Where things live

From the environment of every client; a hub takes them over from the client that starts it.

| variable | default | meaning |
|---|---|---|
| `ORCH_HOME` | `$XDG_STATE_HOME/orch`, else `~/.local/state/orch` | The database, the run bundles, the log. \
Each home has a hub of its own. |
| `ORCH_CONFIG` | `$XDG_CONFIG_HOME/orch/config.toml`, else `~/.config/orch/config.toml` | The user's config, below. |
| `ORCH_SOCKET` | below `$XDG_RUNTIME_DIR/orch`, else in `ORCH_HOME` | The hub's socket. \
Its directory must be yours alone. |

On macOS the first two default to the platform's own directories for state and configuration.

## `.env` in `ORCH_HOME`

Lines `NAME=value`. In the environment only the forms with `ORCH_` before the name count, and they win.

{settings}

## `[limits]` in `config.toml`

{limits}

## `[agents.<name>]` in `config.toml`

A table for each agent that orch does not know, or knows differently. A name is lower-case letters, digits and `-`. In
the arguments of a `command` agent, `{{prompt}}` and `{{model}}` stand for what the user gave.

{agents}

A project can name no program, no argument and no environment variable.
"""


def settings() -> str:
    """Return every setting with its default."""
    return SETTINGS.format(
        settings="\n".join(_settings_table(Settings, str.upper)),
        limits="\n".join(_settings_table(Limits)),
        agents="\n".join(_settings_table(AgentTable)),
    )


def _settings_table(model: type[BaseModel], spelled: Callable[[str], str] = str) -> Iterator[str]:
    yield "| setting | default | meaning |"
    yield "|---|---|---|"
    for name, field in model.model_fields.items():
        default = "*required*" if field.is_required() else "" if field.default is None else f"`{field.default}`"
        yield f"| `{spelled(name)}` | {default} | {field.description} |"


def demo_directives() -> str:
    """Return what the demo agent understands, from its docstring."""
    said = inspect.getdoc(demo_agent)
    assert said is not None
    return (
        "# The demo agent\n\n"
        "The agent `demo` comes with orch and needs no account and no network. It is what `orch demo` and the tests\n"
        'run, and what you can try things with: `orch send demo implement PROJECT "[[write hello.txt hi]]"`.\n\n'
        f"{said}\n"
    )


def event_taxonomy() -> str:
    """Return every kind of event with an example, the golden JSON that the tests keep."""
    lines = [
        "# Events",
        "",
        "All that can happen, by family. Every event is numbered over the whole hub without gaps and stored before it",
        "is told; [protocol.md](protocol.md#events) has the types of the fields. Below each is an example of its",
        "`data`; the tests keep it, and a client that reads it today reads what later versions send. A filter takes",
        "`session.*` for a family.",
    ]
    family = ""
    for name, model in EVENT_TYPES.items():
        if (first := name.partition(".")[0]) != family:
            family = first
            lines += ["", f"## {family}"]
        golden = (ROOT / "tests" / "domain" / "events" / f"{name}.json").read_text("utf-8").rstrip()
        lines += ["", f"### {name}", "", inspect.getdoc(model) or "", "", "```json", golden, "```"]
    return "\n".join(lines) + "\n"


LIFECYCLE = """\
# The life of a session

A session is in one of eight states. The table of transitions in `domain/session.py` is the whole of the rules, and
this diagram is drawn from it: whatever is not drawn is refused with `illegalTransition`.

```mermaid
stateDiagram-v2
    [*] --> {first}
{arrows}
```

* `created`: recorded; its worktree is being made, or it waits for a place or a client. `reason` says which.
* `running`, `waiting_for_user`: its agent is at work, or asked something.
* `completed`, `failed`, `stopped`: over for now. A follow-up or `orch resume` goes on in the same conversation.
* `archived`: put away by you. It takes no texts. `orch unarchive` leads back to the state before, and nowhere else.
* `deleted`: in the trash. `orch restore` leads back to the state before, `archived` included. A purge is the end: the
  session is in no list any more, and numbers and ids are all that is left.

A session at work is never archived or deleted; stop it first. What happened to its files behind orch's back is no
state but shown beside it, as attention: [worktree-safety.md](worktree-safety.md). What delete and restore do is in
[cleanup-system.md](cleanup-system.md).

While a worktree is made, a session is taken away or brought back, the step that is being done is in the journal and
not in the state: to everybody else the session is in the state before or in the one after.
"""


def session_lifecycle() -> str:
    """Return the states of a session, drawn from the table of transitions."""
    arrows = [f"    {before} --> {after}" for before in State for after in sorted(TRANSITIONS[before])]
    return LIFECYCLE.format(first=State.CREATED, arrows="\n".join(arrows))


def event_lines() -> str:
    """Return the golden events as readable lines, and hostile texts made harmless: for whoever shows them elsewhere."""
    events = []
    for seq, name in enumerate(EVENT_TYPES, 1):
        data = json.loads((ROOT / "tests" / "domain" / "events" / f"{name}.json").read_text("utf-8"))
        about = {"projectId": "project", "sessionId": "session", "runId": None, "turn": 1}
        event = {"seq": seq, "id": f"e{seq}", "type": name, "at": "2026-01-02T03:04:05.678Z", **about, "data": data}
        events.append({"event": event, "line": harmless(event_line(event))})
    texts = ["plain", "\x1b[31mred\x1b[0m", "a\r\n\tb", "\x7f\x85\x9f", "\u202eabc\u2066\u200e\u200f", "é 🙂 漢"]
    made = {"events": events, "texts": [{"text": text, "harmless": harmless(text)} for text in texts]}
    return json.dumps(made, indent=1) + "\n"


FILES: dict[str, Callable[[], str]] = {
    "docs/protocol.md": protocol_reference,
    "docs/event-taxonomy.md": event_taxonomy,
    "docs/cli-usage.md": cli_usage,
    "docs/cli-json.schema.json": cli_schema,
    "docs/settings.md": settings,
    "docs/demo-agent.md": demo_directives,
    "docs/session-lifecycle.md": session_lifecycle,
    "vscode-extension/src/protocol.ts": typescript,
    "vscode-extension/test/event-lines.json": event_lines,
}


def generate(path: str) -> str:
    """Return what a generated file should hold now."""
    return NOTES[Path(path).suffix] + FILES[path]()


def stale() -> list[str]:
    """Return the generated files that are not as they should be."""
    return [path for path in FILES if not (ROOT / path).exists() or (ROOT / path).read_text("utf-8") != generate(path)]


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` say which are stale."""
    if arguments == ["--check"]:
        for path in (found := stale()):
            print(f"{path} is stale: `make gen` refreshes it.", file=sys.stderr)
        return 1 if found else 0
    if arguments:
        print("usage: python -m tests.generate [--check]", file=sys.stderr)
        return 2
    for path in stale():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(generate(path), "utf-8")
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
