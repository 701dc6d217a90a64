"""`codex exec --json` in the words of the app server, so that its recordings can be replayed.

orch itself never runs Codex this way: it can neither ask nor be interrupted.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]

_ITEMS = {
    "agent_message": "agentMessage",
    "command_execution": "commandExecution",
    "file_change": "fileChange",
    "mcp_tool_call": "mcpToolCall",
    "collab_tool_call": "collabAgentToolCall",
    "web_search": "webSearch",
}
_FIELDS = {
    "aggregated_output": "aggregatedOutput",
    "exit_code": "exitCode",
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "agents_states": "agentsStates",
}


def translated(message: Json, state: Json) -> Iterator[Json]:
    """Yield what a message means to the app server's client; one of the app server means itself.

    `state` is the dialogue's: the text of the command line begins the turn, without having been written.
    """
    kind = message.get("type")
    if not isinstance(kind, str) or "method" in message or "id" in message:
        yield message
        return
    match kind:
        case "thread.started":
            yield _notification("thread/started", thread={"id": message["thread_id"]})
        case "turn.started":
            state["starting"] += [prompt_id for prompt_id, _ in state["waiting"]]
            state["waiting"].clear()
            yield _notification("turn/started", turn={"id": "exec"})
        case "turn.completed":
            usage = {"total": _renamed(message.get("usage") or {})}
            yield _notification("thread/tokenUsage/updated", threadId=state["conversation"], tokenUsage=usage)
            yield _notification("turn/completed", turn={"id": "exec", "status": "completed"})
        case "turn.failed":
            turn = {"id": "exec", "status": "failed", "error": message.get("error")}
            yield _notification("turn/completed", turn=turn)
        case "error":
            # Whether it is the end is said by the turn's.
            yield _notification("error", error={"message": message["message"]}, willRetry=True)
        case "item.started" | "item.updated" | "item.completed":
            yield from _item(message["item"], kind.removeprefix("item."))
        case _:
            yield _notification(kind)


def _item(item: Mapping[str, Any], stage: str) -> Iterator[Json]:
    match item["type"]:
        case "error":
            yield _notification("warning", message=item["message"])
        case "todo_list":
            steps = [{"step": todo["text"], "status": _todo_status(todo)} for todo in item["items"]]
            yield _notification("turn/plan/updated", plan=steps)
        case "reasoning":
            if stage == "completed":
                yield _notification("item/completed", item={**item, "summary": [item["text"]]})
        case kind:
            if stage != "updated":
                yield _notification(f"item/{stage}", item={**_renamed(item), "type": _ITEMS.get(kind, kind)})


def _todo_status(todo: Mapping[str, Any]) -> str:
    return "completed" if todo.get("completed") else "pending"


def _renamed(fields: Mapping[str, Any]) -> Json:
    return {_FIELDS.get(name, name): value for name, value in fields.items()}


def _notification(method: str, **params: Any) -> Json:
    return {"method": method, "params": params}
