"""Events as lines that a person reads, and any text made harmless. Imports nothing slow: the command line uses it.

Nothing an agent wrote can move the cursor, change a colour or set a title: control characters are shown as pictures.
"""

import json
import unicodedata
from typing import Any

_BIDI = {"\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069", "\u200e", "\u200f"}


def event_line(event: dict[str, Any]) -> str:
    """Return an event as one readable line."""
    return (
        f"{event['seq']:>6}  {event['at'][11:19]}  {event['sessionId'] or '-':<12}  {event['type']:<22}  {told(event)}"
    )


def told(event: dict[str, Any]) -> str:
    """Return what an event tells, in a few words."""
    data = event["data"]
    if not data:
        return ""  # its session was purged
    match event["type"]:
        case "session.state_changed":
            reason = f" ({data['reason']})" if data["reason"] else ""
            change = data["to"] if data["from"] == data["to"] else f"{data['from']} -> {data['to']}"
            return f"{change}{reason}"
        case "session.created":
            return f"{data['session']['agent']} {data['session']['action']}: {data['session']['title']}"
        case "session.updated":
            return ", ".join(name for name in data["changed"] if name not in {"updatedAt", "version"})
        case "agent.message" | "agent.thought" | "agent.log":
            return " ".join(data["text"].split())
        case "followup.queued" | "followup.delivered" | "followup.withdrawn" | "followup.uncertain":
            return _short(data["text"])
        case "agent.tool_started":
            return str(data["title"] or data["name"])
        case "agent.tool_finished":
            return ("ok  " if data["ok"] else "failed  ") + _short(data["output"])
        case "agent.plan":
            return "; ".join(f"[{entry['status']}] {entry['text']}" for entry in data["entries"])
        case "turn.started":
            return _short(data["prompt"])
        case "turn.completed":
            return _short(data["text"])
        case "turn.failed":
            return f"{data['reason']}: {data['message']}"
        case "input.requested":
            return str(data["inputRequest"]["title"])
        case "input.answered":
            return f"by {data['by']}: {data['optionId'] or 'answered'}"
        case "artifact.created" | "artifact.updated":
            return str(data["artifact"]["path"])
        case "run.started":
            return f"pid {data['pid']}"
        case "run.exited":
            return f"exit code {data['exitCode']}" if data["signal"] is None else f"signal {data['signal']}"
        case "agent.usage":
            return f"{data['usage']['inputTokens']} tokens in, {data['usage']['outputTokens']} out"
        case "worktree.creating" if data.get("percent") is not None:
            return f"{data['percent']} %"
        case "worktree.failed":
            return str(data["error"])
        case "worktree.changed":
            return changes_of(data)
        case "worktree.committed":
            return f"{data['commit'][:12]}  {_files(data['files'])}"
        case "checkout.applied":
            return f"{data['strategy']}  {_files(data['files'])}"
        case "checkout.undone":
            return _files(data["files"])
        case "collision.detected" | "collision.cleared":
            found = data["collision"]
            sides = " and ".join(each or f"the {found['against']}" for each in found["sessions"])
            return f"{sides}: {', '.join(file['path'] for file in found['files'])}"
        case "lease.claimed" | "lease.released":
            return f"{data['lease']['path']} by {data['lease']['sessionId'] or 'the user'}"
        case "lease.contested":
            return f"{data['path']} by {data['by']}, held by {data['lease']['sessionId'] or 'the user'}"
        case "command.rejected":
            return f"{_short(data['text'])}: {' '.join(data['problems'])}"
        case "command.submitted":
            return _short(data["command"]["prompt"])
        case "project.changed_read_only":
            return ", ".join(data["paths"]) + (" (by a tool of it)" if data["attributed"] else "")
        case "cleanup.previewed":
            return ""
        case _ if "session" in data:
            return str(data["session"]["title"])
        case _ if "project" in data:
            return f"{data['project']['slug']}  {data['project']['path']}"
        case _ if data.get("path"):
            return str(data["path"])
        case _:
            return _short(", ".join(f"{name}: {_word(value)}" for name, value in data.items()))


def is_empty(event: dict[str, Any]) -> bool:
    """Whether an event only says that a message or a thought is at its end."""
    return event["type"] in {"agent.message", "agent.thought"} and not event["data"].get("text")


def changes_of(holder: dict[str, Any]) -> str:
    """Return how much a session (or an event about it) changed, "" where nothing is known."""
    found = holder["changes"]
    if not found:
        return ""
    return f"{_files(found['files'])} +{found['insertions']} -{found['deletions']}"


def harmless(text: str, *, keep: str = "") -> str:
    """Return `text` with its control and direction characters made visible, those in `keep` left alone."""
    return "".join(_visible(character) if character not in keep else character for character in text)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _short(text: str, most: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _visible(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if 0x80 <= code < 0xA0 or character in _BIDI or unicodedata.category(character) == "Cs":
        return f"<{code:04X}>"
    return character
