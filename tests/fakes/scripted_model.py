"""A model server whose answers are written in the prompt: real agent programs work against it, offline.

The script is a row of directives in a user's text. Each tool's result brings the next one; after the last one the
model says what the last tool said. Nothing is kept between requests: the newest text with directives counts, and the
results after it say how far it has come.

    [[write NAME TEXT]]   write a file with the program's own tool     [[say TEXT]]     answer with a text
    [[bash COMMAND]]      run a command with its shell tool            [[think TEXT]]   think (Anthropic), then answer
    [[ask]]               ask the user "Which colour?"                 [[slow N]]       answer with N words, slowly
    [[tool NAME {JSON}]]  use any tool                                 [[error CODE]]   fail with an HTTP status
    [[recall]]            tell all directives of the conversation      [[hang]]         begin an answer, never end it
    [[tools]]             tell the names of the tools on offer

It speaks Anthropic Messages, OpenAI Responses and Chat Completions, and Gemini generateContent, on 127.0.0.1 only.
As a program (`python -m tests.fakes.scripted_model`) it prints its port, and ends with its parent, at the end of its
standard input if that is a pipe, or after `--lifetime` seconds. In a test: `with ScriptedModel() as model: model.url`.
"""

import argparse
import gzip
import itertools
import json
import os
import re
import select
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, TypeAlias

Json: TypeAlias = dict[str, Any]

DIRECTIVE = re.compile(r"\[\[(\w+)(?: (.*?))?\]\]", re.DOTALL)
WORKING_DIRECTORY = re.compile(
    r"<cwd>(.*?)</cwd>|[Ww]orking (?:in the )?directory:?\s*`?(/[^\s`<]+)|Workspace Directories:\**\s+- (/[^\s`<]+)"
)
USAGE = (100, 20)
PACE = 0.1
"""Seconds between two words of `[[slow N]]`."""


class ScriptedModel:
    """The server in a thread of this process."""

    def __init__(self, log: Callable[[Json], None] | None = None) -> None:
        self.requests: list[Json] = []
        """What was asked: api, model, tools, step, and how the program authenticated (never with what)."""
        self._server = _Server(log or self.requests.append)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


# What the model does next.


@dataclass(frozen=True, slots=True)
class Say:
    """An answer; with a pace, word by word."""

    text: str
    thought: str = ""
    pace: float = 0


@dataclass(frozen=True, slots=True)
class Use:
    """The use of a tool; `freeform` is what a tool gets that takes a text instead of arguments."""

    tool: str
    arguments: Json
    freeform: str | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """An HTTP error."""

    status: int


@dataclass(frozen=True, slots=True)
class Hang:
    """An answer that never comes."""


Step = Say | Use | Fail | Hang


@dataclass(slots=True)
class Conversation:
    """What a request tells, whatever its format."""

    tools: set[str] = field(default_factory=set)
    directives: list[tuple[str, str]] = field(default_factory=list)
    """Those of the newest text that has some."""
    all_directives: list[str] = field(default_factory=list)
    results: int = 0
    last_result: str = ""
    directory: str = field(default_factory=os.getcwd)

    def told(self, text: str) -> None:
        """Take a text of the user, or of the program about its surroundings."""
        if found := WORKING_DIRECTORY.findall(text):
            self.directory = next(filter(None, found[-1]), self.directory)
        if directives := list(directives_in(text)):
            self.directives, self.results = directives, 0
            self.all_directives += [f"{name} {argument}".strip() for name, argument in directives]

    def tool_said(self, text: str) -> None:
        """Take the result of a tool."""
        self.results += 1
        self.last_result = text


def directives_in(text: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the argument of each directive."""
    at = 0
    while match := DIRECTIVE.search(text, at):
        name, argument, at = match[1], match[2] or "", match.end()
        if name == "tool" and "{" in argument:
            # The arguments may hold brackets, even directives for a subagent.
            try:
                _, end = json.JSONDecoder().raw_decode(text, match.start(2) + argument.index("{"))
            except ValueError:
                pass
            else:
                argument, at = text[match.start(2) : end], end + len("]]")
        yield name, argument


def next_step(conversation: Conversation) -> Step:
    """Say what the model does after `conversation`."""
    if not conversation.directives:
        return Say("Hello from the scripted model." if conversation.tools else "Scripted title")
    name, argument = conversation.directives[min(conversation.results, len(conversation.directives) - 1)]
    if name == "error":
        return Fail(int(argument or 500))
    if name == "hang":
        return Hang()
    if not conversation.tools:
        return Say("Scripted title")  # programs ask for titles and summaries in between
    if name == "recall":
        return Say(f"RECALL {json.dumps(conversation.all_directives)}")
    if name == "tools":
        return Say(f"TOOLS {json.dumps(sorted(conversation.tools))}")
    if name == "say":
        return Say(argument)
    if name == "think":
        return Say("Thought about it.", thought=argument)
    if name == "slow":
        return Say(" ".join(f"word{number}" for number in range(1, int(argument or 50) + 1)), pace=PACE)
    if conversation.results >= len(conversation.directives):
        return Say(f"Done: {name} finished. Tool said: {conversation.last_result[:300]}")
    use = _use(name, argument, conversation)
    return use or Say(f"NO TOOL FOR {name}. TOOLS {json.dumps(sorted(conversation.tools))}")


def _use(name: str, argument: str, conversation: Conversation) -> Use | None:
    if name == "tool":
        tool, _, arguments = argument.partition(" ")
        try:
            return Use(tool, json.loads(arguments or "{}"))
        except ValueError:
            return None
    if name == "write":
        file_name, _, text = argument.partition(" ")
        path = os.path.join(conversation.directory, file_name)
        for writer, make in WRITE_TOOLS.items():
            if writer in conversation.tools:
                # A patch names files from the working directory.
                written = make(file_name if writer == "apply_patch" else path, f"{text}\n")
                return Use(writer, written, freeform=written.get("input"))
        return _shell(f"printf '%s\\n' '{text}' > '{file_name}'", conversation.tools)
    if name == "bash":
        return _shell(argument, conversation.tools)
    if name == "ask":
        return next((Use(tool, asked) for tool, asked in ASK_TOOLS.items() if tool in conversation.tools), None)
    return None


def _shell(command: str, tools: set[str]) -> Use | None:
    for tool, make in SHELL_TOOLS.items():
        if tool in tools:
            # The tool of Codex that takes a program instead of arguments.
            program = f"const r = await tools.exec_command({{cmd: {json.dumps(command)}}});\ntext(JSON.stringify(r));\n"
            return Use(tool, make(command), freeform=program if tool == "exec" else None)
    return None


def _patch(path: str, text: str) -> Json:
    added = "".join(f"+{line}\n" for line in text.splitlines())
    return {"input": f"*** Begin Patch\n*** Add File: {path}\n{added}*** End Patch\n"}


# The tools of the programs under test, with the arguments that they take; the best first.
WRITE_TOOLS: dict[str, Callable[[str, str], Json]] = {
    "Write": lambda path, text: {"file_path": path, "content": text},
    "write": lambda path, text: {"filePath": path, "content": text},
    "write_file": lambda path, text: {"file_path": path, "content": text},
    "create": lambda path, text: {"path": path, "file_text": text},
    "apply_patch": _patch,
    "edit": lambda path, text: {"path": path, "old_str": "", "new_str": text},
}
SHELL_TOOLS: dict[str, Callable[[str], Json]] = {
    "Bash": lambda command: {"command": command, "description": "scripted"},
    "bash": lambda command: {"command": command, "description": "scripted"},
    "exec_command": lambda command: {"cmd": command},
    "shell_command": lambda command: {"command": command},
    "shell": lambda command: {"command": ["bash", "-lc", command]},
    "local_shell": lambda command: {"command": ["bash", "-lc", command]},
    "run_shell_command": lambda command: {"command": command, "description": "scripted"},
    "exec": lambda command: {"command": command},
}
_QUESTION = "Which colour?"
_CHOICES = [{"label": "Red", "description": "r"}, {"label": "Blue", "description": "b"}]
_ASKED = {"question": _QUESTION, "header": "Colour", "options": _CHOICES}
ASK_TOOLS: dict[str, Json] = {
    "AskUserQuestion": {"questions": [{**_ASKED, "multiSelect": False}]},
    "ask_user": {"question": _QUESTION, "choices": ["Red", "Blue"]},
    "request_user_input": {"questions": [{**_ASKED, "id": "colour"}]},
    "question": {"questions": [_ASKED]},
    "ask_user_question": {"question": _QUESTION},
}


# The four formats.


def read_anthropic(body: Json) -> Conversation:
    """Read a request of the Messages API."""
    conversation = Conversation(tools={str(tool.get("name")) for tool in body.get("tools") or []})
    conversation.told(_without_directives(_flat(body.get("system"))))
    for message in body.get("messages") or []:
        # Claude Code delivers a text that joins a running turn in a message of the system.
        if message["role"] not in ("user", "system"):
            continue
        for part in _parts(message["content"]):
            if part.get("type") == "text":
                conversation.told(part["text"])
            elif part.get("type") == "tool_result":
                conversation.tool_said(_flat(part.get("content")))
    return conversation


def read_responses(body: Json) -> Conversation:
    """Read a request of the Responses API."""
    conversation = Conversation(tools={str(tool.get("name") or tool["type"]) for tool in body.get("tools") or []})
    given = body.get("input") or []
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        kind = item.get("type", "message")
        if kind == "message" and item.get("role") == "user":
            conversation.told(_flat(item.get("content")))
        elif kind.endswith("_output"):
            conversation.tool_said(_flat(item.get("output")))
    return conversation


def read_chat(body: Json) -> Conversation:
    """Read a request of the Chat Completions API."""
    functions = [tool["function"]["name"] for tool in body.get("tools") or [] if tool.get("type") == "function"]
    conversation = Conversation(tools=set(functions))
    for message in body.get("messages") or []:
        text = _flat(message.get("content"))
        if message["role"] == "user":
            conversation.told(text)
        elif message["role"] == "tool":
            conversation.tool_said(text)
        elif message["role"] in ("system", "developer"):
            conversation.told(_without_directives(text))
    return conversation


def read_gemini(body: Json) -> Conversation:
    """Read a request of the Gemini API."""
    declared = (tool.get("functionDeclarations") or [] for tool in body.get("tools") or [])
    conversation = Conversation(tools={function["name"] for function in itertools.chain.from_iterable(declared)})
    conversation.told(_without_directives(_flat((body.get("systemInstruction") or {}).get("parts"))))
    for message in body.get("contents") or []:
        if message.get("role") == "model":
            continue
        for part in message.get("parts") or []:
            if "text" in part:
                conversation.told(part["text"])
            elif "functionResponse" in part:
                conversation.tool_said(json.dumps(part["functionResponse"].get("response")))
    return conversation


def _without_directives(text: str) -> str:
    """Return what a system prompt tells of the directory; an example in it is no directive."""
    return DIRECTIVE.sub("", text)


def anthropic_message(step: Say | Use, model: str) -> Json:
    """Answer as the Messages API does, without streaming."""
    content: list[Json] = []
    if isinstance(step, Use):
        content.append({"type": "tool_use", "id": _new_id("toolu"), "name": step.tool, "input": step.arguments})
    else:
        if step.thought:
            content.append({"type": "thinking", "thinking": step.thought, "signature": "c2NyaXB0ZWQ="})
        content.append({"type": "text", "text": step.text})
    return {
        "id": _new_id("msg"),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": "tool_use" if isinstance(step, Use) else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": USAGE[0],
            "output_tokens": USAGE[1],
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        },
    }


def anthropic_events(message: Json, pace: float) -> Iterable[Json]:
    """Yield the events that stream a message."""
    usage = {**message["usage"], "output_tokens": 1}
    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "usage": usage}}
    for index, block in enumerate(message["content"]):
        start, deltas = _anthropic_block(block, pace)
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": stop, "usage": {"output_tokens": USAGE[1]}}
    yield {"type": "message_stop"}


def _anthropic_block(block: Json, pace: float) -> tuple[Json, list[Json]]:
    if block["type"] == "tool_use":
        deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
        return {**block, "input": {}}, deltas
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"], pace)]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {"type": "thinking", "thinking": "", "signature": ""}, deltas
    return {"type": "text", "text": ""}, [
        {"type": "text_delta", "text": piece} for piece in _pieces(block["text"], pace)
    ]


def response_object(step: Say | Use, body: Json) -> Json:
    """Answer as the Responses API does, without streaming."""
    call = _new_id("call")
    custom = {tool.get("name") for tool in body.get("tools") or [] if tool.get("type") == "custom"}
    item: Json
    if isinstance(step, Say):
        content = [{"type": "output_text", "text": step.text, "annotations": []}]
        item = {"type": "message", "id": _new_id("msg"), "role": "assistant", "content": content}
    elif step.tool in custom:
        given = step.freeform or json.dumps(step.arguments)
        item = {"type": "custom_tool_call", "id": f"ctc_{call}", "call_id": call, "name": step.tool, "input": given}
    else:
        arguments = json.dumps(step.arguments)
        item = {"type": "function_call", "id": f"fc_{call}", "call_id": call, "name": step.tool, "arguments": arguments}
    return {
        "id": _new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "model": body.get("model"),
        "output": [{**item, "status": "completed"}],
        "usage": {
            "input_tokens": USAGE[0],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": USAGE[1],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": sum(USAGE),
        },
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
    }


def response_events(response: Json, pace: float) -> Iterable[Json]:
    """Yield the events that stream a response."""
    numbers = itertools.count()

    def event(kind: str, **fields: Any) -> Json:
        return {"type": f"response.{kind}", "sequence_number": next(numbers), **fields}

    item = response["output"][0]
    yield event("created", response={**response, "status": "in_progress", "output": [], "usage": None})
    place = {"item_id": item["id"], "output_index": 0}
    if item["type"] == "message":
        part = item["content"][0]
        yield event("output_item.added", output_index=0, item={**item, "content": [], "status": "in_progress"})
        yield event("content_part.added", **place, content_index=0, part={**part, "text": ""})
        for piece in _pieces(part["text"], pace):
            yield event("output_text.delta", **place, content_index=0, delta=piece)
        yield event("output_text.done", **place, content_index=0, text=part["text"])
        yield event("content_part.done", **place, content_index=0, part=part)
    elif item["type"] == "function_call":
        yield event("output_item.added", output_index=0, item={**item, "arguments": "", "status": "in_progress"})
        yield event("function_call_arguments.delta", **place, delta=item["arguments"])
        yield event("function_call_arguments.done", **place, arguments=item["arguments"])
    else:
        yield event("output_item.added", output_index=0, item=item)
    yield event("output_item.done", output_index=0, item=item)
    yield event("completed", response=response)


def chat_completion(step: Say | Use, body: Json) -> Json:
    """Answer as the Chat Completions API does, without streaming."""
    message: Json
    if isinstance(step, Use):
        function = {"name": step.tool, "arguments": json.dumps(step.arguments)}
        calls = [{"id": _new_id("call"), "type": "function", "function": function}]
        message = {"role": "assistant", "content": None, "tool_calls": calls}
    else:
        message = {"role": "assistant", "content": step.text}
    finish = "tool_calls" if isinstance(step, Use) else "stop"
    return {
        "id": _new_id("chatcmpl"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model"),
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": USAGE[0], "completion_tokens": USAGE[1], "total_tokens": sum(USAGE)},
    }


def chat_events(completion: Json, pace: float) -> Iterable[Json]:
    """Yield the chunks that stream a completion."""
    choice = completion["choices"][0]
    message = choice["message"]
    frame = {**completion, "object": "chat.completion.chunk", "choices": [], "usage": None}
    deltas: list[Json]
    if message.get("tool_calls"):
        deltas = [{**message, "tool_calls": [{"index": 0, **message["tool_calls"][0]}]}]
    else:
        deltas = [{"role": "assistant", "content": piece} for piece in _pieces(message["content"], pace)]
    for delta in deltas:
        yield {**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]}
    yield {**frame, "usage": completion["usage"]}


def gemini_response(step: Say | Use, body: Json) -> Json:
    """Answer as the Gemini API does."""
    configured = body.get("generationConfig") or {}
    part: Json
    if isinstance(step, Use):
        part = {"functionCall": {"name": step.tool, "args": step.arguments}}
    elif configured.get("responseMimeType") == "application/json" or configured.get("responseJsonSchema"):
        # The program lets a small model choose the model.
        part = {"text": '{"reasoning": "scripted", "model_choice": "flash"}'}
    else:
        part = {"text": step.text}
    return {
        "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": USAGE[0],
            "candidatesTokenCount": USAGE[1],
            "totalTokenCount": sum(USAGE),
        },
        "modelVersion": "scripted",
    }


ANTHROPIC_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


# The server.


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, log: Callable[[Json], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.log = log
        self.closing = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where a program closed the connection, which an interrupted one does."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        if self._path().endswith("/models"):
            models = [{"id": "scripted-1", "object": "model", "owned_by": "local"}]
            self._json(200, {"object": "list", "data": models})
        else:
            self._json(404, {"error": {"message": f"not found: {self._path()}", "type": "not_found"}})

    def do_POST(self) -> None:
        path, body = self._path(), self._body()
        if path.endswith("/count_tokens"):
            self._json(200, {"input_tokens": 42})
        elif path.endswith("/v1/messages"):
            self._anthropic(body)
        elif path.endswith("/responses"):
            self._responses(body)
        elif path.endswith("/chat/completions"):
            self._chat(body)
        elif path.endswith((":streamGenerateContent", ":generateContent")):
            self._gemini(body, streamed=path.endswith(":streamGenerateContent"))
        elif path.endswith(":countTokens"):
            self._json(200, {"totalTokens": 42})
        else:
            self._json(404, {"error": {"message": f"not found: {path}", "type": "not_found"}})

    def _anthropic(self, body: Json) -> None:
        step = self._step("anthropic", body, read_anthropic(body))
        if isinstance(step, Fail):
            error = {"type": ANTHROPIC_ERRORS.get(step.status, "api_error"), "message": f"scripted {step.status}"}
            self._json(step.status, {"type": "error", "error": error})
        elif isinstance(step, Hang):
            self._hang()
        else:
            message = anthropic_message(step, str(body.get("model")))
            if body.get("stream"):
                pace = step.pace if isinstance(step, Say) else 0
                self._events(anthropic_events(message, pace), pace, named=True)
            else:
                self._json(200, message)

    def _responses(self, body: Json) -> None:
        step = self._answerable("responses", body, read_responses(body))
        if step is not None:
            response, pace = response_object(step, body), step.pace if isinstance(step, Say) else 0
            if body.get("stream"):
                self._events(response_events(response, pace), pace, named=True)
            else:
                self._json(200, response)

    def _chat(self, body: Json) -> None:
        step = self._answerable("chat", body, read_chat(body))
        if step is not None:
            completion, pace = chat_completion(step, body), step.pace if isinstance(step, Say) else 0
            if body.get("stream"):
                self._events(chat_events(completion, pace), pace, last="[DONE]")
            else:
                self._json(200, completion)

    def _gemini(self, body: Json, *, streamed: bool) -> None:
        body.setdefault("model", self._path().rpartition("/")[2].partition(":")[0])
        step = self._answerable("gemini", body, read_gemini(body))
        if step is not None:
            response = gemini_response(step, body)
            if streamed:
                self._events([response], 0)
            else:
                self._json(200, response)

    def _answerable(self, api: str, body: Json, conversation: Conversation) -> Say | Use | None:
        """Return what to answer; errors and hanging are done here."""
        step = self._step(api, body, conversation)
        if isinstance(step, Fail):
            error = {"message": f"scripted {step.status}", "type": "scripted_error", "code": str(step.status)}
            self._json(step.status, {"error": error})
            return None
        if isinstance(step, Hang):
            self._hang()
            return None
        return step

    def _step(self, api: str, body: Json, conversation: Conversation) -> Step:
        step = next_step(conversation)
        authenticated = [name for name in ("x-api-key", "authorization", "x-goog-api-key") if self.headers.get(name)]
        self.server.log(
            {
                "api": api,
                "model": body.get("model"),
                "tools": sorted(conversation.tools),
                "step": repr(step),
                "authenticated_by": authenticated,
            }
        )
        return step

    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _body(self) -> Json:
        if "chunked" in self.headers.get("transfer-encoding", ""):
            raw = b"".join(iter(self._chunk, b""))
        else:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            raw = gzip.decompress(raw)
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = {}
        return body if isinstance(body, dict) else {}

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline().strip() or b"0", 16)
        chunk = self.rfile.read(size)
        self.rfile.readline()
        return chunk

    def _json(self, status: int, value: Json) -> None:
        encoded = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def _begin_events(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("cache-control", "no-cache")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True

    def _events(self, events: Iterable[Json], pace: float, *, named: bool = False, last: str = "") -> None:
        self._begin_events()
        for event in events:
            name = f"event: {event['type']}\n" if named else ""
            self.wfile.write(f"{name}data: {json.dumps(event)}\n\n".encode())
            self.wfile.flush()
            if pace and self.server.closing.wait(pace):
                return
        if last:
            self.wfile.write(f"data: {last}\n\n".encode())

    def _hang(self) -> None:
        self._begin_events()
        self.wfile.flush()
        while not self.server.closing.wait(1):
            self.wfile.write(b": still there\n\n")  # fails once the program has gone
            self.wfile.flush()


def _new_id(prefix: str) -> str:
    return f"{prefix}_{time.time_ns()}"


def _pieces(text: str, pace: float) -> list[str]:
    """Cut a text as a model streams it: in two halves, or word by word."""
    if pace:
        return re.findall(r"\S+\s*", text)
    half = len(text) // 2
    return [text[:half], text[half:]]


def _parts(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def _flat(content: Any) -> str:
    """Return the text of whatever an API wraps texts in."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(map(_flat, content))
    if isinstance(content, dict):
        return _flat(content.get("text") or content.get("content") or content.get("output") or "")
    return ""


def _wait_for_the_end(lifetime: float) -> None:
    """Return when nobody needs this process any more."""
    parent, deadline = os.getppid(), time.monotonic() + lifetime
    waits_for_input = stat.S_ISFIFO(os.fstat(0).st_mode)
    while os.getppid() == parent and time.monotonic() < deadline:
        readable, _, _ = select.select([0] if waits_for_input else [], [], [], 1)
        if readable and not os.read(0, 4096):
            return


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until nobody needs it any more."""
    parser = argparse.ArgumentParser(description="A model server whose answers are written in the prompt.")
    parser.add_argument("--lifetime", type=float, default=600, help="seconds after which it ends by itself")
    parser.add_argument("--log", help="a file that gets a line of JSON for each request")
    options = parser.parse_args(arguments)

    def log(request: Json) -> None:
        if options.log:
            with open(options.log, "a", encoding="utf-8") as file:
                file.write(json.dumps(request) + "\n")

    with ScriptedModel(log) as model:
        print(model.port, flush=True)
        _wait_for_the_end(options.lifetime)


if __name__ == "__main__":
    main()
