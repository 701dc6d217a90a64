"""The demo agent: a small, real coding agent without a model, for trying orch out and for its tests.

It speaks the Agent Client Protocol on its standard input and output and is one file of the standard library only,
started by path: `python -I -S demo_agent.py [--state DIR] [--read-only] [--model NAME]`. What it does is said by
directives in the prompt, `[[name words]]`, carried out in their order; a prompt without any gets a small friendly
piece of work. It does the same for the same prompt every time. Conversations are kept in the state directory, a file
each, and can be resumed in another process.

| directive | what the agent does |
|---|---|
| `[[say TEXT]]` | says TEXT, a message of its own |
| `[[think TEXT]]` | thinks TEXT aloud |
| `[[plan A; B; C]]` | shows a plan: A completed, B in progress, the others pending |
| `[[read PATH]]` | reads a file with a tool |
| `[[write PATH TEXT]]` | writes TEXT and a newline to a file with a tool, without asking; `\\n` begins a line |
| `[[append PATH TEXT]]` | the same at the end of the file |
| `[[write-anyway PATH TEXT]]` | writes even when started with `--read-only`, which forbids the others |
| `[[edit-approved PATH TEXT]]` | asks for leave to edit the file, then writes it |
| `[[approve TITLE]]` | asks for leave to run the command TITLE, runs nothing, and says which option came |
| `[[ask QUESTION \\| Red \\| Blue]]` | asks the user, with the options if there are any, and says the answer |
| `[[ask-secret QUESTION]]` | asks for something secret, and does not say it |
| `[[tool NAME]]` | uses a pretended tool NAME |
| `[[commit MESSAGE]]` | commits everything in the working directory with git |
| `[[env NAME]]` | says whether the variable is set, and its value |
| `[[recall]]` | says all prompts of the conversation, as JSON |
| `[[usage IN OUT]]` | reports these token counts for the turn |
| `[[count N INTERVAL_MS]]` | writes the lines `line 1` to `line N` as chunks of one message; N = 0: without end |
| `[[flood BYTES]]` | writes BYTES of text in chunks of 4000 as fast as it can |
| `[[bigline BYTES]]` | writes one chunk of BYTES in one line |
| `[[garbage]]` | writes lines that are no UTF-8, no JSON, no object and no known message |
| `[[stderr TEXT]]` | writes TEXT and a newline to standard error |
| `[[wait SECONDS]]` | runs a pretended tool for that long |
| `[[silent SECONDS]]` | writes nothing for that long |
| `[[hang]]` | never writes anything again, until it is cancelled |
| `[[fail MESSAGE]]` | ends the turn with an error |
| `[[soft-fail MESSAGE]]` | ends the turn with "Error: MESSAGE" as its answer and no usage, as Copilot does |
| `[[error CODE]]` | ends the turn as a failed model request does: 401, 429, 500 ..., or a negative JSON-RPC code |
| `[[exit CODE]]` | leaves in the middle of the turn with this exit code |
| `[[crash SIGNAL]]` | ends itself with a signal, by name or number |
| `[[ignore-signals]]` | ignores SIGINT, SIGTERM and SIGHUP from then on, and the end of its input while it hangs |
| `[[spawn]]` | starts a child process that lives for ten minutes; says `spawned PID` |
| `[[spawn-detached]]` | the same, double-forked, in its own session, ignoring signals, with an empty environment |

`session/cancel` is answered at every point. When its standard input ends, the agent finishes the turn and leaves;
what would never end (`hang`, `count 0`, an open question) ends there.
"""

import json
import os
import re
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

VERSION = "1.0"
DIRECTIVE = re.compile(r"\[\[\s*([a-z][a-z-]*)\s*(.*?)\s*\]\]", re.DOTALL)
PACE = 0.02  # between the steps of the friendly default, so that a person sees it work
CHILD_LIFETIME = 600

OPTIONS = [
    {"optionId": "allow", "name": "Allow once", "kind": "allow_once"},
    {"optionId": "always", "name": "Always allow", "kind": "allow_always"},
    {"optionId": "reject", "name": "Reject", "kind": "reject_once"},
]
ERRORS = {
    401: (-32000, "Authentication required: run `demo login` first."),
    429: (-32603, "429 Too many requests: the usage limit is reached."),
}


class CancelledError(Exception):
    """The client wants the turn to end."""


class FailedError(Exception):
    """The turn ends with a JSON-RPC error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class InputEndedError(Exception):
    """Standard input is closed, and what the agent waits for would never come."""


class Wire:
    """Standard input and output: a JSON value a line, read without blocking longer than asked."""

    def __init__(self) -> None:
        self._buffer = b""
        self.ended = False

    def send(self, message: "dict[str, Any]") -> None:
        """Write a message, whole, at once."""
        self.send_bytes(
            json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        )

    def send_bytes(self, data: bytes) -> None:
        """Write bytes."""
        while data:
            data = data[os.write(1, data) :]

    def receive(self, timeout: "float | None") -> "list[dict[str, Any]]":
        """Return the messages that came, after at most `timeout` seconds; None waits for one."""
        if self.ended:
            if timeout:
                time.sleep(timeout)
            return []
        ready, _, _ = select.select([0], [], [], timeout)
        if not ready:
            return []
        data = os.read(0, 1 << 16)
        if not data:
            self.ended = True
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [message for message in map(_parsed, lines) if message is not None]


class Agent:
    """The conversations, and the turn that runs."""

    def __init__(self, wire: Wire, state_dir: str, *, read_only: bool, model: str) -> None:
        self.wire = wire
        self.state_dir = state_dir
        self.read_only = read_only
        self.model = model
        self.conversations: dict[str, dict[str, Any]] = {}
        self.waiting: list[dict[str, Any]] = []  # messages that came during a turn and are for after it
        self.responses: dict[int, dict[str, Any]] = {}
        self.last_request = -1
        self.cancelled = False
        self.stubborn = False
        self.elicits = False

    def serve(self) -> None:
        """Answer requests until standard input ends."""
        while True:
            if not self.waiting:
                if self.wire.ended:
                    return
                self._take(self.wire.receive(None))
                continue
            message = self.waiting.pop(0)
            if "id" in message:
                self.answer(message)

    def answer(self, message: "dict[str, Any]") -> None:
        """Answer a request."""
        handlers = {
            "initialize": self.initialize,
            "session/new": self.new,
            "session/load": self.load,
            "session/prompt": self.prompt,
        }
        method = message.get("method", "")
        try:
            result = handlers.get(method, self.unknown)(message.get("params") or {})
        except FailedError as error:
            self.wire.send({"id": message["id"], "error": {"code": error.code, "message": str(error)}})
        else:
            self.wire.send({"id": message["id"], "result": result})

    def unknown(self, params: "dict[str, Any]") -> "NoReturn":
        """Refuse a method that the agent does not have."""
        raise FailedError(-32601, f"There is no such method, with params {sorted(params)}")

    def initialize(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Say what the agent can do."""
        self.elicits = "form" in ((params.get("clientCapabilities") or {}).get("elicitation") or {})
        return {
            "protocolVersion": 1,
            "agentCapabilities": {"loadSession": True, "promptCapabilities": {}},
            "agentInfo": {"name": "orch-demo", "title": "Demo agent", "version": VERSION},
            "authMethods": [],
        }

    def new(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Begin a conversation."""
        token = os.urandom(16).hex()
        session_id = "-".join((token[:8], token[8:12], token[12:16], token[16:20], token[20:]))
        self.conversations[session_id] = {"cwd": params.get("cwd") or os.getcwd(), "turns": []}
        self._save(session_id)
        return {"sessionId": session_id}

    def load(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Take up a conversation again and tell its history."""
        session_id = str(params.get("sessionId"))
        try:
            with open(self._path(session_id), encoding="utf-8") as file:
                conversation = json.load(file)
        except (OSError, ValueError):
            raise FailedError(-32002, f"There is no conversation {session_id}") from None
        conversation["cwd"] = params.get("cwd") or conversation["cwd"]
        self.conversations[session_id] = conversation
        for turn in conversation["turns"]:
            for kind, text in (("user_message_chunk", turn["prompt"]), ("agent_message_chunk", turn["said"])):
                if text:
                    update = {"sessionUpdate": kind, "content": {"type": "text", "text": text}}
                    self.wire.send({"method": "session/update", "params": {"sessionId": session_id, "update": update}})
        return {}

    def prompt(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Carry out a prompt."""
        session_id = str(params.get("sessionId"))
        if session_id not in self.conversations:
            raise FailedError(-32602, f"There is no conversation {session_id}")
        blocks = params.get("prompt") or []
        text = "".join(block.get("text", "") for block in blocks if block.get("type") == "text")
        conversation = self.conversations[session_id]
        conversation["turns"].append({"prompt": text, "said": ""})
        self._save(session_id)
        self.cancelled = False
        turn = Turn(self, session_id, conversation, text)
        try:
            turn.run()
            result: dict[str, Any] = {"stopReason": "end_turn"}
        except CancelledError:
            result = {"stopReason": "cancelled"}
        finally:
            conversation["turns"][-1]["said"] = "".join(turn.said)[: 1 << 16]
            self._save(session_id)
        if turn.usage is not None:
            tokens_in, tokens_out = turn.usage
            used = {"inputTokens": tokens_in, "outputTokens": tokens_out, "totalTokens": tokens_in + tokens_out}
            result["usage"] = used
        return result

    def pause(self, seconds: "float | None") -> None:
        """Let time pass and look at what comes in; None: for ever."""
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if end is None else max(0.0, end - time.monotonic())
            if left is None and self.wire.ended:
                if not self.stubborn:
                    raise InputEndedError
                left = 3600.0
            self._take(self.wire.receive(left))
            if self.cancelled:
                raise CancelledError
            if end is not None and time.monotonic() >= end:
                return

    def request(self, method: str, params: "dict[str, Any]") -> "dict[str, Any]":
        """Ask the client and return the result; an error is an empty one."""
        self.last_request += 1
        number = self.last_request
        self.wire.send({"id": number, "method": method, "params": params})
        while number not in self.responses:
            if self.wire.ended:
                raise InputEndedError
            self._take(self.wire.receive(None))
            if self.cancelled and number not in self.responses:
                raise CancelledError
        result = self.responses.pop(number).get("result")
        return result if isinstance(result, dict) else {}

    def _take(self, messages: "Iterable[dict[str, Any]]") -> None:
        for message in messages:
            if message.get("method") == "session/cancel":
                self.cancelled = True
            elif "method" in message:
                self.waiting.append(message)
            elif isinstance(message.get("id"), int):
                self.responses[message["id"]] = message

    def _path(self, session_id: str) -> str:
        if not re.fullmatch(r"[0-9a-f-]{36}", session_id):
            raise FailedError(-32002, f"There is no conversation {session_id}")
        return os.path.join(self.state_dir, f"{session_id}.json")

    def _save(self, session_id: str) -> None:
        path = self._path(session_id)
        os.makedirs(self.state_dir, mode=0o700, exist_ok=True)
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.conversations[session_id], file)
        os.replace(path + ".new", path)


class Turn:
    """One prompt and the work on it. A method `do_<name>` carries out a directive."""

    def __init__(self, agent: Agent, session_id: str, conversation: "dict[str, Any]", text: str) -> None:
        self.agent = agent
        self.session_id = session_id
        self.conversation = conversation
        self.text = text
        self.said: list[str] = []
        self.usage: tuple[int, int] | None = (len(text.split()), 0)
        self.number = len(conversation["turns"])
        self.steps = 0

    def run(self) -> None:
        """Carry out the directives, or the friendly default."""
        directives = DIRECTIVE.findall(self.text)
        if not directives:
            self.be_friendly()
        for name, words in directives:
            act: Callable[[str], None] | None = getattr(self, "do_" + name.replace("-", "_"), None)
            if act is None:
                self.say(f"There is no directive {name}.")
                continue
            self.agent.pause(0)
            act(words)
        if directives and not self.said:
            self.say("Done.")
        if self.usage is not None and not self.usage[1]:
            self.usage = (self.usage[0], len("".join(self.said).split()))

    # What an agent does.

    def do_say(self, words: str) -> None:
        self.say(_unescaped(words))

    def do_think(self, words: str) -> None:
        self.update("agent_thought_chunk", content={"type": "text", "text": _unescaped(words)}, messageId=self.new_id())

    def do_plan(self, words: str) -> None:
        steps = [step.strip() for step in words.split(";") if step.strip()]
        states = ["completed", "in_progress"] + ["pending"] * len(steps)
        self.plan(list(zip(steps, states, strict=False)))

    def do_read(self, words: str) -> None:
        self.read(words)

    def do_write(self, words: str) -> None:
        self.write(words, "w")

    def do_append(self, words: str) -> None:
        self.write(words, "a")

    def do_write_anyway(self, words: str) -> None:
        self.write(words, "w", obedient=False)

    def do_edit_approved(self, words: str) -> None:
        path, _, text = words.partition(" ")
        full = self.full_path(path)
        tool = self.tool_started(f"Edit {path}", "edit", {"path": full, "text": text}, [full])
        diff = {"type": "diff", "path": full, "oldText": _content_of(full), "newText": _unescaped(text) + "\n"}
        option = self.permission(
            tool, f"Edit {path}", "edit", {"path": full}, content=[diff], locations=[{"path": full}]
        )
        if option in {"allow", "always"}:
            self.tool_ended(tool, *self.written(full, text, "w"))
        else:
            self.tool_ended(tool, False, "The user did not allow it.")
            self.say(f"I did not edit {path}: the answer was {option}.")

    def do_approve(self, words: str) -> None:
        tool = self.tool_started(words, "execute", {"command": words})
        option = self.permission(tool, words, "execute", {"command": words})
        allowed = option in {"allow", "always"}
        self.tool_ended(tool, allowed, "Nothing was run." if allowed else "The user did not allow it.")
        self.say(f"The answer was {option}.")

    def do_ask_secret(self, words: str) -> None:
        self.do_ask(words, secret=True)

    def do_ask(self, words: str, *, secret: bool = False) -> None:
        question, *options = [part.strip() for part in words.split("|")]
        if not self.agent.elicits:
            self.say(f"I cannot ask here: {question}")
            return
        field: dict[str, Any] = {"type": "string", "title": question}
        properties = {"answer": field}
        if secret:
            field["format"] = "password"
        if options:
            field["oneOf"] = [{"const": option, "title": option} for option in options]
            properties["answer_custom"] = {"type": "string", "title": "Other"}
        schema = {"type": "object", "properties": properties}
        params = {"sessionId": self.session_id, "mode": "form", "message": question, "requestedSchema": schema}
        result = self.agent.request("elicitation/create", params)
        content = result.get("content") or {}
        if result.get("action") == "cancel":
            raise CancelledError
        if result.get("action") != "accept":
            self.say("You did not answer.")
        elif secret:
            self.say("You answered, and I keep it to myself.")
        else:
            self.say(f"You answered: {content.get('answer_custom') or content.get('answer', '')}")

    def do_tool(self, words: str) -> None:
        tool = self.tool_started(words, "other", {"name": words}, name=words)
        self.tool_ended(tool, True, f"{words} is done.")

    def do_commit(self, words: str) -> None:
        tool = self.tool_started(f"git commit -m {words!r}", "execute", {"command": f"git commit -m {words!r}"})
        if self.agent.read_only:
            self.tool_ended(tool, False, "Refused: this is a read-only session.")
            return
        import subprocess  # 10 ms, and only here

        git = ["git", "-c", "user.name=Demo agent", "-c", "user.email=demo@localhost.invalid"]
        output = ""
        for arguments in (["add", "--all"], ["commit", "--quiet", "-m", words], ["log", "-1", "--format=%h %s"]):
            done = subprocess.run(
                [*git, *arguments], cwd=self.conversation["cwd"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
            output = done.stdout.decode("utf-8", "replace").strip()
            if done.returncode:
                self.tool_ended(tool, False, output)
                return
        self.tool_ended(tool, True, output)
        self.say(f"Committed {output}")

    def do_env(self, words: str) -> None:
        value = os.environ.get(words)
        self.say(f"{words} is not set." if value is None else f"{words} is set: {value}")

    def do_recall(self, words: str) -> None:
        del words
        self.say(json.dumps([turn["prompt"] for turn in self.conversation["turns"]], ensure_ascii=False))

    def do_usage(self, words: str) -> None:
        tokens_in, tokens_out = (int(word) for word in words.split())
        self.usage = (tokens_in, tokens_out)
        self.update("usage_update", used=tokens_in + tokens_out, size=200000)

    # How much and how fast.

    def do_count(self, words: str) -> None:
        total, interval = (*words.split(), "0")[:2]
        message_id, seconds = self.new_id(), float(interval) / 1000
        number = 0
        while int(total) == 0 or number < int(total):
            number += 1
            self.chunk(f"line {number}\n", message_id)
            if seconds:
                self.agent.pause(seconds)
            elif number % 256 == 0:
                self.agent.pause(0)
            if int(total) == 0 and self.agent.wire.ended and not self.agent.stubborn:
                raise InputEndedError

    def do_flood(self, words: str) -> None:
        left, message_id = int(words), self.new_id()
        while left > 0:
            size = min(left, 4000)
            self.chunk(("0123456789abcdef" * 250)[:size], message_id)
            left -= size
            self.agent.pause(0)

    def do_bigline(self, words: str) -> None:
        self.chunk("x" * int(words), self.new_id())

    def do_garbage(self, words: str) -> None:
        del words
        self.agent.wire.send_bytes(b"\xff\xfe not UTF-8 \xc3\x28\n{ not JSON\n42\n\n")
        self.agent.wire.send({"method": "demo/unheard_of", "params": {"garbage": True}})

    def do_stderr(self, words: str) -> None:
        os.write(2, words.encode() + b"\n")

    def do_wait(self, words: str) -> None:
        tool = self.tool_started(f"Wait {words} s", "execute", {"command": f"sleep {words}"})
        self.agent.pause(float(words))
        self.tool_ended(tool, True, f"Waited {words} s.")

    def do_silent(self, words: str) -> None:
        self.agent.pause(float(words))

    def do_hang(self, words: str) -> None:
        del words
        self.agent.pause(None)

    # How it ends.

    def do_fail(self, words: str) -> "NoReturn":
        raise FailedError(-32603, words or "The demo agent was told to fail.")

    def do_soft_fail(self, words: str) -> None:
        self.say(f"Error: {words}")
        self.usage = None

    def do_error(self, words: str) -> "NoReturn":
        code = int(words)
        if code < 0:
            raise FailedError(code, f"The demo agent was told to fail with {code}.")
        raise FailedError(*ERRORS.get(code, (-32603, f"API Error: {code} from the model's server.")))

    def do_exit(self, words: str) -> "NoReturn":
        os._exit(int(words or "0"))

    def do_crash(self, words: str) -> None:
        name = words.upper()
        number = int(name) if name.isdigit() else getattr(signal, name if name.startswith("SIG") else f"SIG{name}")
        if number not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        self.agent.pause(None)

    def do_ignore_signals(self, words: str) -> None:
        del words
        self.agent.stubborn = True
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def do_spawn(self, words: str) -> None:
        del words
        pid = os.fork()
        if pid == 0:
            _sleep_as_child()
        self.say(f"spawned {pid}")

    def do_spawn_detached(self, words: str) -> None:
        del words
        reader, writer = os.pipe()
        middle = os.fork()
        if middle == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            os.write(writer, str(os.getpid()).encode())
            _sleep_as_child(scrubbed=True)
        os.close(writer)
        os.waitpid(middle, 0)
        pid = os.read(reader, 32).decode()
        os.close(reader)
        self.say(f"spawned {pid}")

    # The friendly default.

    def be_friendly(self) -> None:
        """Think, plan, look around, leave a note where that is allowed, and answer."""
        steps = ["Look at the project", "Write it down", "Answer"]
        if self.agent.read_only:
            del steps[1]
        self.do_think("Let me see what this project is, before I answer.")
        for done in range(len(steps)):
            states = ["completed"] * done + ["in_progress"] + ["pending"] * len(steps)
            self.plan(list(zip(steps, states, strict=False)))
            self.agent.pause(PACE)
            if steps[done] == "Look at the project":
                found = self.look_around()
            elif steps[done] == "Write it down":
                note = self.leave_note()
        self.plan([(step, "completed") for step in steps])
        told = self.text.strip() or "nothing in particular"
        answer = f"You asked for: {told}\n\nI am the demo agent and have no model, so this is what I can say. "
        answer += f"The project has {found}."
        if not self.agent.read_only:
            answer += f" I wrote your prompt into {note}."
        if self.agent.model:
            answer += f" You chose the model {self.agent.model}."
        message_id = self.new_id()
        for part in re.findall(r".{1,40}(?:\s|$)", answer, re.DOTALL) or [answer]:
            self.chunk(part, message_id)
            self.agent.pause(PACE / 4)

    def look_around(self) -> str:
        """List the project and read its README; returns what there is."""
        cwd = self.conversation["cwd"]
        tool = self.tool_started("List the project", "search", {"path": cwd}, [cwd])
        names = sorted(name for name in os.listdir(cwd) if not name.startswith("."))
        self.tool_ended(tool, True, "\n".join(names[:50]))
        for name in names:
            if name.lower().startswith("readme"):
                self.read(name)
                break
        return f"{len(names)} files and folders at its top"

    def leave_note(self) -> str:
        """Write the prompt into the first NOTES file that is free; returns its name."""
        number = 1
        while os.path.lexists(self.full_path(f"NOTES-{number}.md")):
            number += 1
        name = f"NOTES-{number}.md"
        self.write(f"{name} # Notes\n\n{self.text.strip()}", "w")
        return name

    # Pieces.

    def say(self, text: str) -> None:
        """Say a message of its own."""
        self.chunk(text, self.new_id())

    def chunk(self, text: str, message_id: str) -> None:
        """Say a part of a message."""
        self.said.append(text)
        self.update("agent_message_chunk", content={"type": "text", "text": text}, messageId=message_id)

    def plan(self, entries: "list[tuple[str, str]]") -> None:
        """Show the plan."""
        self.update("plan", entries=[{"content": step, "status": s, "priority": "medium"} for step, s in entries])

    def read(self, path: str) -> None:
        """Read a file with a tool."""
        full = self.full_path(path)
        tool = self.tool_started(f"Read {path}", "read", {"path": full}, [full])
        try:
            with open(full, "rb") as file:
                text = file.read(4000).decode("utf-8", "replace")
        except OSError as error:
            self.tool_ended(tool, False, str(error.strerror))
        else:
            self.tool_ended(tool, True, text)

    def write(self, words: str, mode: str, *, obedient: bool = True) -> None:
        """Write a file with a tool."""
        path, _, text = words.partition(" ")
        full = self.full_path(path)
        tool = self.tool_started(f"Write {path}", "edit", {"path": full, "text": text}, [full])
        self.tool_ended(tool, *self.written(full, text, mode, obedient=obedient))

    def written(self, full: str, text: str, mode: str, *, obedient: bool = True) -> "tuple[bool, str]":
        """Write a file; returns whether it went well, and what to say."""
        if obedient and self.agent.read_only:
            return False, "Refused: this is a read-only session."
        try:
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, mode, encoding="utf-8") as file:
                file.write(_unescaped(text) + "\n")
        except OSError as error:
            return False, str(error.strerror)
        return True, f"Wrote {full}"

    def permission(self, tool: str, title: str, kind: str, raw: "dict[str, Any]", **more: "Any") -> str:
        """Ask for leave; returns the option's id, "cancelled" if the turn is."""
        call = {"toolCallId": tool, "title": title, "kind": kind, "status": "pending", "rawInput": raw, **more}
        params = {"sessionId": self.session_id, "toolCall": call, "options": OPTIONS}
        outcome = self.agent.request("session/request_permission", params).get("outcome") or {}
        if outcome.get("outcome") != "selected":
            raise CancelledError
        return str(outcome.get("optionId"))

    def tool_started(
        self, title: str, kind: str, raw: "dict[str, Any]", paths: "Iterable[str]" = (), name: str = ""
    ) -> str:
        """Tell that a tool is used; returns its id."""
        tool = self.new_id("tool")
        locations = [{"path": path} for path in paths]
        self.update(
            "tool_call", toolCallId=tool, name=name or kind, title=title, kind=kind, status="in_progress", rawInput=raw,
            locations=locations,
        )  # fmt: skip
        return tool

    def tool_ended(self, tool: str, ok: bool, output: str) -> None:
        """Tell how a tool ended."""
        content = [{"type": "content", "content": {"type": "text", "text": output}}]
        self.update("tool_call_update", toolCallId=tool, status="completed" if ok else "failed", content=content)

    def update(self, update_kind: str, /, **fields: "Any") -> None:
        """Tell the client something of the session."""
        update = {"sessionUpdate": update_kind, **fields}
        self.agent.wire.send({"method": "session/update", "params": {"sessionId": self.session_id, "update": update}})

    def new_id(self, kind: str = "message") -> str:
        """Return the next id of the conversation."""
        self.steps += 1
        return f"{kind}-{self.number}-{self.steps}"

    def full_path(self, path: str) -> str:
        """Return an absolute path in the working directory."""
        return os.path.join(self.conversation["cwd"], path)


def main(arguments: "list[str]") -> int:
    """Serve one client on standard input and output."""
    state_dir, model, read_only = "", "", False
    words = iter(arguments)
    for word in words:
        match word:
            case "--version":
                sys.stdout.write(f"orch-demo {VERSION}\n")
                return 0
            case "--read-only":
                read_only = True
            case "--state":
                state_dir = next(words, "")
            case "--model":
                model = next(words, "")
            case _:
                sys.stderr.write(f"demo agent: unknown argument {word}\n")
                return 2
    # A signal ends the agent as it ends most programs, without Python's traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        Agent(Wire(), state_dir or _default_state_dir(), read_only=read_only, model=model).serve()
    except InputEndedError:
        pass
    return 0


def _default_state_dir() -> str:
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "orch-demo-agent")


def _parsed(line: bytes) -> "dict[str, Any] | None":
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _unescaped(text: str) -> str:
    return text.replace("\\n", "\n")


def _content_of(path: str) -> "str | None":
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def _sleep_as_child(*, scrubbed: bool = False) -> "NoReturn":
    # A fresh program, so that /proc shows the environment that it was given.
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    code = f"import time; time.sleep({CHILD_LIFETIME})"
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", code], {} if scrubbed else dict(os.environ))  # noqa: S606


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
