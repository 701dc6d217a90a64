"""The verbs of the daily work: send, followup, respond, stop, resume, wait, logs, diff, open."""

import base64
import os
import sys
from typing import Any

import click

from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.asking import answers_of, chosen_option, show_request
from orch_server.endpoints.cli.client import Client
from orch_server.endpoints.cli.main import DONE, FAILED, REFUSED, TIMED_OUT, orch, verb
from orch_server.endpoints.cli.projects import POLICIES
from orch_server.endpoints.cli.sessions import sessions, show_session
from orch_server.endpoints.cli.watching import OUTCOMES, outcome, see_through, watch

_ACTIONS = click.Choice(["analyze", "review", "implement", "plan"])


@verb(orch, prints="Session")
@click.argument("agent")
@click.argument("action", type=_ACTIONS)
@click.argument("project")
@click.argument("scope_or_prompt", required=False)
@click.option("--scope", help="A path in the project to keep to.")
@click.option("--prompt", help="What is to be done.")
@click.option("--model", help="The model, in the agent's own words.")
@click.option("--base", help="The branch, tag or commit the worktree starts from.")
@click.option("--from-dirty", is_flag=True, help="Take your uncommitted changes along, as uncommitted ones.")
@click.option("--policy", type=POLICIES, help="How the agent's requests are decided.")
@click.option("--title", help="A short name for the list.")
@click.option("--wait", "wait_", is_flag=True, help="Return when it is done or waits for you.")
@click.option("--follow", is_flag=True, help="Print its events until then.")
def send(
    client: Client,
    agent: str,
    action: str,
    project: str,
    scope_or_prompt: str | None,
    scope: str | None,
    prompt: str | None,
    model: str | None,
    base: str | None,
    from_dirty: bool,
    policy: str | None,
    title: str | None,
    wait_: bool,
    follow: bool,
    as_json: bool,
) -> int:
    """Send AGENT to work on PROJECT. The fourth word is a path in the project to keep to, or else the prompt.

    `-` as the prompt reads it from standard input. The first word printed is the session's id.
    """
    if scope_or_prompt is not None:
        if scope_or_prompt != "-" and scope is None and _is_path(client, project, scope_or_prompt):
            scope = scope_or_prompt
        elif prompt is None:
            prompt = scope_or_prompt
        else:
            raise click.UsageError(f"{scope_or_prompt!r} is no path in {project}, and --prompt is given too.")
    if prompt == "-":
        prompt = sys.stdin.read()
    session = client.change(
        "orch/session/start",
        agent=agent,
        action=action,
        project=project,
        scopePath=scope,
        prompt=prompt,
        model=model,
        baseRef=base,
        fromDirty=from_dirty,
        policy=policy,
        title=title,
    )
    session = see_through(client, session, wait=wait_, follow=follow, as_json=as_json)
    if as_json:
        show.as_json(session)
    return outcome(session)


@verb(orch, prints="Session")
@click.argument("session")
@click.argument("text")
@click.option("--steer", is_flag=True, help="Into the running turn, if the agent can.")
def followup(client: Client, session: str, text: str, steer: bool, as_json: bool) -> None:
    """Give a session a further text: after its turn, or by resuming it."""
    mode = "steer" if steer else "queue"
    show_session(client.change("orch/session/followUp", session=session, text=text, mode=mode), as_json)


sessions.add_command(followup)


@verb(orch, prints="Session")
@click.argument("session")
@click.argument("follow_up_id", metavar="ID")
def unqueue(client: Client, session: str, follow_up_id: str, as_json: bool) -> None:
    """Take a queued text back."""
    show_session(client.change("orch/session/unqueue", session=session, followUpId=follow_up_id), as_json)


@verb(orch, prints="Session")
@click.argument("session")
@click.argument("option", required=False)
@click.option("--request", "request_id", help="Which request, where several are open.")
@click.option("--text", help="An answer in words.")
@click.option(
    "--answer",
    "answers",
    metavar="QUESTION=ANSWER",
    multiple=True,
    help="An answer to one of several questions: an option or a text. May be repeated, also for a question that takes "
    "several options.",
)
def respond(
    client: Client,
    session: str,
    option: str | None,
    request_id: str | None,
    text: str | None,
    answers: tuple[str, ...],
    as_json: bool,
) -> int:
    """Answer what an agent asks. OPTION is an option's id, its label, or allow / deny."""
    found = client.call("orch/session/get", session=session)
    requests = [item for item in found["inputRequests"] if request_id in {None, item["id"]}]
    if request_id is None and len(requests) != 1:
        for item in requests:
            show_request(item)
        if not requests:
            show.note(f"orch: session {found['id']} asks nothing: it is {show.state(found)}.")
            return REFUSED
        raise click.UsageError("Several requests are open: name one with --request.")
    questions = requests[0]["questions"] if requests else []
    answered = client.change(
        "orch/session/respond",
        session=session,
        inputRequestId=request_id or requests[0]["id"],
        optionId=chosen_option(requests[0], option) if requests and option is not None else option,
        text=text,
        answers=answers_of(questions, answers) if answers and requests else None,
    )
    show_session(answered, as_json)
    return DONE


@verb(orch, prints="Session")
@click.argument("session")
def stop(client: Client, session: str, as_json: bool) -> None:
    """End a session's work, with every process of it."""
    show_session(client.change("orch/session/stop", session=session), as_json)


@verb(orch, prints="Session")
@click.argument("session")
@click.argument("text", required=False)
@click.option("--anew", is_flag=True, help="Begin a new conversation, with what was said so far as its context.")
def resume(client: Client, session: str, text: str | None, anew: bool, as_json: bool) -> None:
    """Go on with an ended session, in the agent's own conversation."""
    show_session(client.change("orch/session/resume", session=session, text=text, anew=anew), as_json)


@verb(orch, prints="Session a line")
@click.argument("session_ids", metavar="SESSION...", nargs=-1, required=True)
@click.option("--until", type=click.Choice(["done", "waiting", "change"]), default="done", show_default=True)
@click.option("--timeout", type=float, help="Give up after so many seconds.")
def wait(client: Client, session_ids: tuple[str, ...], until: str, timeout: float | None, as_json: bool) -> int:
    """Wait for sessions: until all are done or wait for you, until one waits, or until anything changes."""
    try:
        sessions = watch(client, list(session_ids), until, timeout, events=False, as_json=as_json)
    except TimeoutError:
        show.note("orch: timed out.")
        return TIMED_OUT
    for session in sessions:
        if as_json:
            show.as_json(session)
        else:
            show.line(f"{session['id']}  {show.state(session)}")
    return max(outcome(session) for session in sessions)


@verb(orch, prints="LogTail; --follow Event a line")
@click.argument("session")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("-n", "lines", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many lines.")
def logs(client: Client, session: str, follow: bool, lines: int, as_json: bool) -> None:
    """Print the end of what the agent wrote to its standard error."""
    found = client.call("orch/session/get", session=session)
    coming = client.follow(None, session=found["id"], types=["agent.log", "session.state_changed"]) if follow else None
    tail = client.call("orch/session/logTail", session=found["id"], lines=lines)
    if as_json and not follow:
        show.as_json(tail)
        return
    for text in tail["lines"]:
        show.line(text)
    if not tail["lines"] and not follow:
        show.note("orch: it wrote nothing to its standard error. `orch transcript` has the conversation.")
    for event in coming or ():
        if event["type"] == "session.state_changed":
            if event["data"]["to"] in OUTCOMES and event["data"]["to"] != "waiting_for_user":
                return
        elif as_json:
            show.as_json(event)
        else:
            show.line(event["data"]["text"])


@verb(orch, prints="Diff")
@click.argument("session")
@click.option("--stat", is_flag=True, help="Only which files, and how much.")
@click.option(
    "--against",
    type=click.Choice(["base", "head", "turn"]),
    default="base",
    show_default=True,
    help="The beginning, the last commit, or the turn's beginning.",
)
@click.option("--path", "paths", multiple=True, help="Only this file or folder; may be repeated.")
def diff(client: Client, session: str, stat: bool, against: str, paths: tuple[str, ...], as_json: bool) -> None:
    """Print what a session changed, uncommitted work included."""
    found = client.call("orch/session/diff", session=session, against=against, paths=list(paths) or None)
    if as_json:
        show.as_json(found)
        return
    for file in found["files"]:
        if stat:
            show.line(f"{file['status']:<12} {_amount(file):>12}  {_names(file)}")
        elif file["patch"] is not None:
            show.block(file["patch"].rstrip("\n"))
        else:
            show.line(f"{_names(file)}: the patch is too large to show")
    if stat:
        files = "1 file" if len(found["files"]) == 1 else f"{len(found['files'])} files"
        show.line(f"{files}, +{found['insertions']} -{found['deletions']}")


@verb(orch, prints="FileBefore")
@click.argument("session")
@click.argument("path")
@click.option(
    "--against", type=click.Choice(["base", "head", "turn"]), default="base", show_default=True, help="As for diff."
)
def before(client: Client, session: str, path: str, against: str, as_json: bool) -> int:
    """Print a file as it was where `orch diff` begins to compare."""
    found = client.call("orch/session/fileBefore", session=session, path=path, against=against)
    if as_json:
        show.as_json(found)
    elif not found["present"]:
        show.note(f"orch: there was no {path} then.")
    elif found["text"] is not None:
        show.block(found["text"].rstrip("\n"))
    else:
        sys.stdout.buffer.write(base64.b64decode(found["base64"]))
    return DONE if found["present"] else FAILED


@verb(orch, "open", prints="Opened")
@click.argument("session")
def open_(client: Client, session: str, as_json: bool) -> int:
    """Print where a session works: the path of its worktree."""
    found = client.call("orch/session/get", session=session)
    if found["worktreePath"] is None:
        if found["state"] == "deleted":
            hint = "it was purged" if found["purgedAt"] else f"`orch restore {found['id']}` brings it back"
            show.note(f"orch: session {found['id']} is deleted: {hint}.")
            return REFUSED
        show.note(
            f"orch: session {found['id']} has no worktree: it works in the project itself, or is not that far yet."
        )
        return FAILED
    if as_json:
        show.as_json({"path": found["worktreePath"]})
    else:
        show.line(found["worktreePath"])
    return DONE


def _is_path(client: Client, project: str, word: str) -> bool:
    root = client.call("orch/project/get", project=project)["path"]
    try:
        return bool(word) and "\n" not in word and os.path.lexists(os.path.join(root, word))
    except (OSError, ValueError):
        return False


def _amount(file: dict[str, Any]) -> str:
    return "binary" if file["binary"] else f"+{file['insertions']} -{file['deletions']}"


def _names(file: dict[str, Any]) -> str:
    return f"{file['oldPath']} -> {file['path']}" if file["oldPath"] else str(file["path"])
