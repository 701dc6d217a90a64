"""Codex's items, what a turn consists of, as tools and texts. Pure functions without memory."""

import os
import re
import shlex
from collections.abc import Mapping
from typing import Any

from orch_server.agents.texts import capped, json_text
from orch_server.domain.events import AgentToolFinished, AgentToolStarted

SILENT_ITEMS = frozenset({"userMessage", "hookPrompt", "functionCallOutput", "enteredReviewMode", "error"})
"""What says nothing new: the user's own texts, and news that other items tell better."""

_SHELLS = re.compile(r"(?:/\S*/)?(?:ba|z|da)?sh\Z")
_SEARCHES = frozenset({"listFiles", "search"})


def started(item: Mapping[str, Any], cwd: str, label: str = "") -> AgentToolStarted | None:
    """Return the beginning of the tool that an item is; None for an item of an unknown type."""
    match item["type"]:
        case "commandExecution":
            command = plain_command(str(item["command"]))
            actions = [action for action in item.get("commandActions") or [] if isinstance(action, Mapping)]
            paths = [str(action["path"]) for action in actions if action.get("path")]
            parts = ("shell", _command_kind(actions), command, paths, command)
        case "fileChange":
            paths = change_paths(item)
            shown = ", ".join(_short(path, cwd) for path in paths)
            parts = ("apply_patch", "edit", f"Edit {shown}".strip(), paths, changes_text(item))
        case "mcpToolCall":
            name = f"{item['server']}.{item['tool']}"
            parts = (name, "other", name, [], json_text(item.get("arguments")))
        case "dynamicToolCall":
            parts = (item["tool"], "other", item["tool"], [], json_text(item.get("arguments")))
        case "collabAgentToolCall":
            prompt = str(item.get("prompt") or "")
            parts = (item["tool"], "think", f"{item['tool']} {_first_line(prompt)}".strip(), [], prompt)
        case "webSearch":
            parts = ("web_search", "fetch", _search_title(item), [], str(item.get("query") or ""))
        case "imageView":
            path = str(item["path"])
            parts = ("view_image", "read", f"View {_short(path, cwd)}", [path], path)
        case "imageGeneration":
            prompt = str(item.get("revisedPrompt") or "")
            parts = ("image_generation", "other", f"Make an image {_first_line(prompt)}".strip(), [], prompt)
        case "sleep":
            parts = ("sleep", "other", f"Sleep {int(item.get('durationMs') or 0) / 1000:g} s", [], "")
        case _:
            return None
    name, kind, title, paths, text = parts
    return AgentToolStarted(
        tool_id=str(item["id"]),
        name=str(name),
        kind=str(kind),
        title=label + _first_line(str(title)),
        paths=list(dict.fromkeys(paths)),
        input=capped(text)[0],
    )


def finished(item_id: str, item: Mapping[str, Any] | None) -> AgentToolFinished:
    """Return the end of a tool; None for the item of one that was cut off."""
    if item is None:
        return AgentToolFinished(tool_id=item_id, ok=False, output="", truncated=False)
    status = item.get("status", "completed")
    ok = status == "completed" and item.get("exitCode") in {None, 0} and item.get("success") is not False
    output, truncated = capped(_output(item) or ("declined" if status == "declined" else ""))
    return AgentToolFinished(tool_id=item_id, ok=ok, output=output, truncated=truncated)


def overheard(item: Mapping[str, Any]) -> str:
    """Return what is worth knowing of an item that is not the agent's own word; "" for nothing."""
    match item["type"]:
        case "agentMessage":
            text = str(item.get("text") or "")
            return f"[subagent] {text}" if text else ""
        case "subAgentActivity":
            return f"[subagent] {item.get('agentPath')}: {item.get('kind')}"
        case "contextCompaction":
            return "The conversation was summarized to make room."
    return ""


def change_paths(item: Mapping[str, Any]) -> list[str]:
    """Return every path that a change of files touches."""
    paths: list[str] = []
    for change in item.get("changes") or []:
        kind = change.get("kind")
        moved = kind.get("move_path") if isinstance(kind, Mapping) else None
        paths += [str(change["path"]), *([str(moved)] if moved else [])]
    return list(dict.fromkeys(paths))


def changes_text(item: Mapping[str, Any]) -> str:
    """Return a change of files for a person."""
    texts = []
    for change in item.get("changes") or []:
        kind = change.get("kind")
        word = str(kind.get("type") if isinstance(kind, Mapping) else kind or "change")
        diff = str(change.get("diff") or "")
        if word in {"add", "delete"}:
            sign = "+" if word == "add" else "-"
            diff = "".join(f"{sign}{line}\n" for line in diff.splitlines())
        texts.append(f"{word} {change['path']}\n{diff}".rstrip("\n"))
    return "\n\n".join(texts)


def plain_command(command: str) -> str:
    """Return the command line that a shell was given, without the shell around it."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    if len(words) == 3 and _SHELLS.match(words[0]) and words[1] in {"-c", "-lc"}:
        return words[2]
    return command


def _command_kind(actions: list[Mapping[str, Any]]) -> str:
    kinds = {action.get("type") for action in actions}
    if kinds == {"read"}:
        return "read"
    return "search" if kinds and kinds <= _SEARCHES | {"read"} else "execute"


def _search_title(item: Mapping[str, Any]) -> str:
    action = item.get("action")
    action = action if isinstance(action, Mapping) else {}
    what = action.get("url") or action.get("pattern") or item.get("query") or action.get("query") or ""
    return f"{'Open' if action.get('url') else 'Search'} {what}".strip()


def _output(item: Mapping[str, Any]) -> str:
    match item["type"]:
        case "commandExecution":
            return str(item.get("aggregatedOutput") or "")
        case "mcpToolCall" | "dynamicToolCall":
            error, result = item.get("error"), item.get("result")
            if isinstance(error, Mapping):
                return str(error.get("message") or json_text(error))
            contents = result.get("content") if isinstance(result, Mapping) else item.get("contentItems")
            return "\n".join(_content_text(content) for content in contents or [])
        case "collabAgentToolCall":
            states = item.get("agentsStates") or {}
            told = [str(state["message"]) for state in states.values() if state and state.get("message")]
            return "\n".join(told)
        case "imageGeneration":
            return str(item.get("savedPath") or "")
    return ""


def _content_text(content: Any) -> str:
    if isinstance(content, Mapping) and isinstance(content.get("text"), str):
        return str(content["text"])
    return f"[{content.get('type') or 'data'}]" if isinstance(content, Mapping) else json_text(content)


def _short(path: str, cwd: str) -> str:
    return path.removeprefix(cwd + os.sep)


def _first_line(text: str) -> str:
    first, *more = text.strip().split("\n")
    return f"{first[:200]}{' …' if more or len(first) > 200 else ''}"
