"""The Agent Client Protocol: JSON-RPC 2.0, a line a message, over a program's standard input and output.

To add a program that speaks it, subclass AcpAdapter in a file of its own and set the class attributes; what a
program does otherwise than the rest is a flag here, with the name of who needs it beside it. A user's own program
needs a table in the config and no code.

Rules that hold for all of them, each seen in a recording:
* a second prompt while one runs cancels the first or is merged into it, so one prompt is under way at a time, unless
  it is known that it is merged (`joins`);
* the numbers of the program's requests begin at 0 and share their space with ours: `method` tells them apart;
* after session/load comes the whole history as updates; until the load's response nothing of it is news;
* a program may call fs/* although we said that we have none: it gets an error and helps itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from orch_server import __version__
from orch_server.agents.acp_content import (
    EFFECTS,
    TOOL_KINDS,
    approval_detail,
    block_text,
    content_text,
    diff_text,
    form_content,
    questions_of,
    raw_output_text,
    tool_paths,
)
from orch_server.agents.adapter import (
    Adapter,
    Answer,
    Asked,
    Capabilities,
    ConversationLost,
    ConversationNamed,
    Dialogue,
    Exit,
    Launch,
    Line,
    Output,
    Prompt,
    PromptAccepted,
    Subject,
    Task,
    TurnEnded,
    UsageSeen,
    Withdrawn,
)
from orch_server.agents.command import fill_model
from orch_server.agents.texts import (
    TEXT_LIMIT,
    capped,
    clean,
    error_reason,
    error_text,
    exit_failure,
    json_text,
    parse_line,
    text_reason,
)
from orch_server.domain.events import (
    AgentLog,
    AgentMessage,
    AgentPlan,
    AgentThought,
    AgentToolFinished,
    AgentToolStarted,
    InputAnswered,
    PlanEntry,
)
from orch_server.domain.session import (
    ApprovalOption,
    InputRequest,
    InputRequestKind,
    OptionKind,
    QuestionAnswer,
    Reason,
    Usage,
)

PROTOCOL_VERSION = 1
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
REQUEST_CANCELLED = -32800

_SILENT_UPDATES = frozenset(
    {"available_commands_update", "current_mode_update", "config_option_update", "session_info_update"}
)
_OPTION_KINDS = frozenset(OptionKind)
_CANCELLED = {"outcome": "cancelled"}
_PROGRAM_MAKES_NO_SENSE = (AttributeError, IndexError, KeyError, TypeError, ValueError)


class AcpAdapter(Adapter):
    """A program that speaks the Agent Client Protocol."""

    protocol = "acp"
    capabilities = Capabilities(
        resume=True, follow_up="queue", approvals=True, questions=True, read_only=False, model=True
    )
    arguments: Sequence[str] = ()
    """After the program's name; may hold "{model}"."""
    read_only_arguments: Sequence[str] = ()
    implement_arguments: Sequence[str] = ()
    environment: Mapping[str, str] = {}
    read_only_modes: Sequence[str] = ("read-only", "plan")
    """Session modes for a read-only action, the best first; the first that the program offers is set."""
    implement_modes: Sequence[str] = ()
    notices: tuple[str, ...] = ()
    """How chunks begin that are a message of their own and no part of the answer (Copilot: "Info: ")."""
    error_prefix: str = "Error:"
    """How the last chunk of a turn begins that failed although it ends with `end_turn` and no usage (Copilot)."""
    history_follows_load: bool = False
    """Whether the history comes after the load's response, up to the list of commands (Gemini), else before it."""
    joins: bool = False
    """Whether a prompt that comes while one runs joins its turn, and both are answered at the end (OpenCode)."""
    usage_is_cumulative: bool = False
    """Whether the usage in a prompt's response counts since the program's start (Copilot), else only that turn."""

    def launch(self, task: Task) -> Launch:
        """Say how the program is started for `task`."""
        extra = self.read_only_arguments if task.read_only else self.implement_arguments
        return Launch(fill_model([*self.arguments, *extra], task.model), dict(self.environment))

    def dialogue(self, task: Task, state: dict[str, Any] | None = None) -> Dialogue:
        """Return a dialogue: a new one, or with `state` the one that was saved."""
        return AcpDialogue(self, task, state or _new_state())

    def setup(self, task: Task, session: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Return the requests between session/new (or load), whose result is `session`, and the first prompt."""
        requests: list[tuple[str, dict[str, Any]]] = []
        mode = _mode_request(session, self.read_only_modes if task.read_only else self.implement_modes)
        if mode:
            requests.append(mode)
        if task.model and not any("{model}" in argument for argument in self.arguments):
            requests.append(_model_request(session, task.model))
        return requests


class AcpDialogue(Dialogue):
    """One run's conversation with a program that speaks the Agent Client Protocol.

    What it says is kept apart from what it understands: `_call`, `_notify` and `_reply` write a line and then take
    note of it with the same methods as `observe`, which is told of lines that another client wrote.
    """

    def __init__(self, adapter: AcpAdapter, task: Task, state: dict[str, Any]) -> None:
        super().__init__(task, state)
        self._adapter = adapter
        self._error_prefixes = (adapter.error_prefix,) if adapter.error_prefix else ()

    # What the caller wants.

    @property
    def busy(self) -> bool:
        """Whether a prompt was handed in whose turn has not ended."""
        return bool(self.state["turns"] or self.state["waiting"])

    def begin(self) -> Output:
        """Return the first line of the handshake."""
        output = Output()
        capabilities = {
            "fs": {"readTextFile": False, "writeTextFile": False},
            "terminal": False,
            "elicitation": {"form": {}},  # without it claude-agent-acp has no tool to ask the user
        }
        client = {"name": "orch", "title": "orch", "version": __version__}
        self._call(
            output,
            "initialize",
            {"protocolVersion": PROTOCOL_VERSION, "clientCapabilities": capabilities, "clientInfo": client},
        )
        return output

    def prompt(self, prompt: Prompt) -> Output:
        """Hand in a user's text: it is sent when the handshake is through and no turn runs."""
        output = Output()
        self.state["waiting"].append([prompt.id, prompt.text])
        self._advance(output)
        return output

    def answer(self, request_id: str, answer: Answer) -> Output:
        """Answer an open input request."""
        output = Output()
        asked = self.state["asked"].get(request_id)
        if asked is None:
            return output
        if asked["kind"] == "permission":
            selected = {"outcome": "selected", "optionId": answer.option_id}
            self._reply(output, request_id, {"outcome": selected if answer.option_id else _CANCELLED})
        else:
            answers = list(answer.answers) or _plain_answer(asked["form"], answer)
            accepted = {"action": "accept", "content": form_content(asked["form"], answers)}
            self._reply(output, request_id, accepted if answers else {"action": "decline"})
        return output

    def interrupt(self) -> Output:
        """Ask the program to end the running turn; texts that were not sent yet are dropped as stopped."""
        output = Output()
        state = self.state
        if state["turns"]:
            self._notify(output, "session/cancel", {"sessionId": state["conversation"]})
            for request_id, asked in list(state["asked"].items()):
                permission = asked["kind"] == "permission"
                self._reply(output, request_id, {"outcome": _CANCELLED} if permission else {"action": "cancel"})
                output.facts.append(Withdrawn(request_id, "interrupted"))
        else:
            for _ in state["waiting"]:
                output.facts.append(TurnEnded(Reason.USER_STOPPED))
            state["waiting"].clear()
        return output

    def ended(self, end: Exit) -> Output:
        """Close what is open, and say how a running turn ended."""
        output = Output()
        state = self.state
        busy, interrupted = self.busy, state["interrupted"]
        self._close_turn(output, ok=False, why="the program ended")
        state["turns"].clear()
        state["waiting"].clear()
        if busy:
            reason, text = state["failure"] or exit_failure(end)
            output.facts.append(TurnEnded(Reason.USER_STOPPED) if interrupted else TurnEnded(Reason(reason), text))
        return output

    # What the program says.

    def receive(self, line: str) -> Output:
        """Take one line: a response, a request, or news of the session."""
        output = Output()
        message = parse_line(line)
        if message is None:
            if line.strip():
                output.facts.append(_log("raw", line))
            return output
        try:
            method = message.get("method")
            if method == "session/update":
                self._update(output, message["params"]["update"], line)
            elif method is None:
                self._response(output, message, line)
            elif "id" in message:
                self._request(output, message, line)
            else:
                self._notification(output, message, line)
        except _PROGRAM_MAKES_NO_SENSE:
            output.facts.append(_log("unknown", line))
            if isinstance(message, dict) and "method" in message and "id" in message:
                self._refuse(output, message["id"], "orch does not understand these params", INVALID_PARAMS)
        return output

    def observe(self, line: str) -> Output:
        """Take note of a line that another client wrote to the program, as if the dialogue had written it.

        From then on the dialogue only listens: it writes nothing and takes the other client's numbers. The facts are
        those that the caller of `answer` and `interrupt` would know by itself.
        """
        output = Output()
        self.state["observed"] = True
        try:
            message = orjson.loads(line)
            method, number = message.get("method"), message.get("id")
            if method == "session/cancel":
                for request_id in list(self.state["asked"]):
                    output.facts.append(Withdrawn(request_id, "interrupted"))
                self._noted_cancel()
                self.state["asked"].clear()
            elif method is not None and number is not None:
                self._noted_call(number, method, message.get("params") or {}, f"observed-{number}")
            elif method is None:
                request_id = next((key for key, asked in self.state["asked"].items() if asked["id"] == number), None)
                if request_id is not None:
                    option = self._noted_answer(request_id, message.get("result"))
                    output.facts.append(InputAnswered(input_request_id=request_id, by="user", option_id=option))
        except _PROGRAM_MAKES_NO_SENSE:
            output.facts.append(_log("unknown", line))
        return output

    # News of the session.

    def _update(self, output: Output, update: Mapping[str, Any], line: str) -> None:
        kind = update["sessionUpdate"]
        state = self.state
        if state["loading"]:
            if kind == "usage_update":
                self._cost(output, update, before=True)
            elif kind == "available_commands_update" and state["open"]:
                state["loading"] = False
            return
        match kind:
            case "agent_message_chunk" | "agent_thought_chunk":
                self._chunk(output, kind, update)
            case "tool_call" | "tool_call_update":
                self._close_message(output)
                self._accept(output)
                self._tool(output, update, new=kind == "tool_call")
            case "plan" | "plan_update" | "plan_removed":
                self._close_message(output)
                self._accept(output)
                self._release(output)
                self._plan(output, update["plan"] if kind == "plan_update" else update)
            case "user_message_chunk":
                self._accept(output)
            case "usage_update":
                self._cost(output, update)
            case _:
                if kind not in _SILENT_UPDATES:
                    output.facts.append(_log("unknown", line))

    def _plan(self, output: Output, plan: Mapping[str, Any]) -> None:
        # Steps, a text in Markdown, or a file that is the agent's own business; without any of them it was removed.
        if "content" in plan:
            entries = [PlanEntry(text=capped(str(plan["content"]))[0], status="pending")]
        elif "uri" in plan:
            return
        else:
            steps = plan.get("entries") or []
            entries = [
                PlanEntry(text=str(step["content"]), status=str(step.get("status", "pending"))) for step in steps
            ]
        output.facts.append(AgentPlan(entries=entries))

    def _chunk(self, output: Output, kind: str, update: Mapping[str, Any]) -> None:
        content = update["content"]
        text = content["text"] if content.get("type") == "text" else block_text(content)
        if not text:
            return
        state = self.state
        if state["unaccepted"]:
            self._accept(output)
        if state["held"]:
            self._release(output)
        is_message = kind == "agent_message_chunk"
        if is_message:
            state["error"] = text[:TEXT_LIMIT] if self._error_prefixes and text.startswith(self._error_prefixes) else ""
            if self._adapter.notices and text.startswith(self._adapter.notices):
                self._close_message(output)
                state["notice"] = text[:TEXT_LIMIT]
                output.facts.append(AgentMessage(message_id=self._new_message_id(), text=text, final=True))
                return
        opened = state["message"]
        theirs = update.get("messageId")
        if opened is None or opened[0] != kind or opened[2] != theirs:
            self._close_message(output)
            opened = state["message"] = [kind, self._new_message_id(), theirs]
            if is_message:
                state["text"], state["text_length"] = [], 0
        if is_message:
            output.facts.append(AgentMessage(message_id=opened[1], text=text, final=False))
            self._keep(text)
        else:
            output.facts.append(AgentThought(message_id=opened[1], text=text, final=False))

    def _keep(self, text: str) -> None:
        # The state is saved with every batch, so of the answer only so much is kept as the end of the turn may tell.
        state = self.state
        room = TEXT_LIMIT - state["text_length"]
        if room <= 0:
            return
        parts = state["text"]
        parts.append(text if len(text) <= room else text[:room])
        state["text_length"] += len(text)
        if len(parts) > 256:
            parts[:] = ["".join(parts)]

    def _new_message_id(self) -> str:
        self.state["messages"] += 1
        return f"{self.task.run_id}-m{self.state['messages']}"

    def _close_message(self, output: Output) -> None:
        opened = self.state["message"]
        if opened is not None:
            self.state["message"] = None
            event = AgentMessage if opened[0] == "agent_message_chunk" else AgentThought
            output.facts.append(event(message_id=opened[1], text="", final=True))

    def _cost(self, output: Output, update: Mapping[str, Any], *, before: bool = False) -> None:
        cost = update.get("cost")
        if not isinstance(cost, Mapping) or cost.get("currency", "USD") != "USD":
            return
        amount = float(cost["amount"])
        if before:
            self.state["cost_before"] = amount  # of earlier runs of the conversation
            return
        spent = max(0.0, amount - self.state["cost_before"])
        if spent != self.state["usage"][2]:
            self.state["usage"][2] = spent
            output.facts.append(self._usage_seen())

    def _usage_seen(self) -> UsageSeen:
        tokens_in, tokens_out, cost = self.state["usage"]
        return UsageSeen(Usage(input_tokens=tokens_in, output_tokens=tokens_out, cost_usd=cost))

    # Tools. A call without input is held back until its first update: claude-agent-acp and opencode announce a call
    # before the model has said with what (opencode with the working directory only).

    def _tool(self, output: Output, call: Mapping[str, Any], *, new: bool, asking: bool = False) -> None:
        state = self.state
        tool_id = str(call["toolCallId"])
        if tool_id in state["finished"]:
            return
        status = call.get("status")
        over = status in {"completed", "failed"} and not asking
        tool = state["tools"].get(tool_id)
        if tool is None:
            tool = state["tools"][tool_id] = {
                "name": "",
                "kind": "other",
                "title": "",
                "paths": [],
                "input": "",
                "output": "",
                "cut": False,
                "started": False,
                "refused": False,
            }
        _merge_call(tool, call, with_output=over or (tool["started"] and not asking))
        if new and status == "pending" and not tool["started"] and _is_announcement(call):
            if tool_id not in state["held"]:
                state["held"].append(tool_id)
            return
        self._start_tool(output, tool_id)
        if over:
            self._finish_tool(output, tool_id, ok=status == "completed")

    def _start_tool(self, output: Output, tool_id: str) -> None:
        tool = self.state["tools"][tool_id]
        if tool_id in self.state["held"]:
            self.state["held"].remove(tool_id)
        if tool["started"]:
            return
        tool["started"] = True
        output.facts.append(
            AgentToolStarted(
                tool_id=tool_id,
                name=tool["name"] or tool["kind"],
                kind=tool["kind"],
                title=tool["title"] or tool["name"] or tool["kind"],
                paths=list(tool["paths"]),
                input=tool["input"],
            )
        )
        tool["input"] = ""  # said; the state is kept small

    def _finish_tool(self, output: Output, tool_id: str, *, ok: bool) -> None:
        tool = self.state["tools"].pop(tool_id)
        self.state["finished"] = [*self.state["finished"][-99:], tool_id]
        output.facts.append(
            AgentToolFinished(
                tool_id=tool_id, ok=ok and not tool["refused"], output=tool["output"], truncated=tool["cut"]
            )
        )

    def _release(self, output: Output) -> None:
        for tool_id in list(self.state["held"]):
            self._start_tool(output, tool_id)

    # Requests of the program.

    def _request(self, output: Output, message: Mapping[str, Any], line: str) -> None:
        method, number = message["method"], message["id"]
        params = message.get("params") or {}
        if method == "session/request_permission":
            self._permission(output, number, params)
        elif method == "elicitation/create" and params.get("mode", "form") == "form":
            self._elicitation(output, number, params)
        else:
            if not method.startswith(("fs/", "terminal/", "elicitation/", "mcp/", "_")):
                output.facts.append(_log("unknown", line))
            self._refuse(output, number, f"orch does not offer {method}")

    def _permission(self, output: Output, number: Any, params: Mapping[str, Any]) -> None:
        call = params["toolCall"]
        self.state["loading"] = False
        options = [
            ApprovalOption(
                id=str(option["optionId"]), label=str(option.get("name", "")), kind=OptionKind(option["kind"])
            )
            for option in params["options"]
            if option.get("kind") in _OPTION_KINDS
        ]
        if not options:  # nothing that could be chosen with its meaning known
            self._refuse(output, number, "orch knows none of the options")
            return
        tool_id = str(call["toolCallId"])
        self._close_message(output)
        self._accept(output)
        self._tool(output, call, new=False, asking=True)
        tool = self.state["tools"].get(tool_id) or {"kind": "other", "name": "", "title": "", "paths": tool_paths(call)}
        request_id = self._new_request_id()
        request = InputRequest(
            id=request_id,
            kind=InputRequestKind.APPROVAL,
            title=str(call.get("title") or tool["title"] or tool["kind"]),
            detail=approval_detail(call),
            tool=tool["name"] or tool["kind"],
            options=options,
        )
        self.state["asked"][request_id] = {
            "id": number,
            "kind": "permission",
            "tool": tool_id,
            "rejecting": [option.id for option in options if option.kind.value.startswith("reject")],
        }
        output.facts.append(Asked(request, Subject(EFFECTS.get(tool["kind"], "other"), tuple(tool["paths"]))))

    def _elicitation(self, output: Output, number: Any, params: Mapping[str, Any]) -> None:
        self._close_message(output)
        self._accept(output)
        self._release(output)
        message = str(params.get("message", ""))
        questions, form = questions_of(message, params.get("requestedSchema"))
        request_id = self._new_request_id()
        self.state["asked"][request_id] = {
            "id": number,
            "kind": "elicitation",
            "form": form,
            "secret": any(question.secret for question in questions),
        }
        output.facts.append(
            Asked(InputRequest(id=request_id, kind=InputRequestKind.QUESTION, title=message, questions=questions))
        )

    def _new_request_id(self) -> str:
        self.state["requests"] += 1
        return f"{self.task.run_id}-r{self.state['requests']}"

    def _notification(self, output: Output, message: Mapping[str, Any], line: str) -> None:
        method = message["method"]
        if method == "$/cancel_request":
            number = message["params"]["requestId"]
            for request_id, asked in list(self.state["asked"].items()):
                if asked["id"] == number:
                    del self.state["asked"][request_id]
                    output.facts.append(Withdrawn(request_id, "withdrawn by the agent"))
                    self._write(output, {"id": number, "error": {"code": REQUEST_CANCELLED, "message": "cancelled"}})
        elif not method.startswith("_") and method != "elicitation/complete":  # "_": extensions, to be ignored
            output.facts.append(_log("unknown", line))

    # Responses to what we asked.

    def _response(self, output: Output, message: Mapping[str, Any], line: str) -> None:
        call = self.state["calls"].pop(str(message.get("id")), None)
        if call is None:
            output.facts.append(_log("unknown", line))
            return
        error, result = message.get("error"), message.get("result")
        if error is not None and not isinstance(error, Mapping):
            error = {"message": json_text(error)}
        result = result if isinstance(result, Mapping) else {}
        if call == "session/prompt":
            self._prompt_response(output, str(message["id"]), result, error)
        elif error is not None:
            self._handshake_failed(output, call, error)
        else:
            try:
                self._handshake_goes_on(output, call, result)
            except _PROGRAM_MAKES_NO_SENSE:
                output.facts.append(_log("unknown", line))
                self._handshake_failed(output, call, {"message": "Its answer could not be understood."})

    def _handshake_goes_on(self, output: Output, method: str, result: Mapping[str, Any]) -> None:
        if method == "initialize":
            self._initialized(output, result)
        elif method in {"session/new", "session/load", "session/resume"}:
            self._session_opened(output, result)
        else:
            self._advance(output)

    def _initialized(self, output: Output, result: Mapping[str, Any]) -> None:
        name = self._adapter.display_name or "The agent"
        version = result.get("protocolVersion")
        abilities = result.get("agentCapabilities") or {}
        methods = [method for method in result.get("authMethods") or [] if isinstance(method, Mapping)]
        self.state["logins"] = [str(method.get("name") or method.get("id")) for method in methods]
        conversation = self.task.conversation_id
        place = {"cwd": self.task.cwd, "mcpServers": []}
        if version != PROTOCOL_VERSION:
            text = f"{name} speaks version {version} of the Agent Client Protocol; orch speaks {PROTOCOL_VERSION}."
            self._break(output, Reason.AGENT_ERROR, text)
        elif conversation is None:
            self._call(output, "session/new", place)
        elif abilities.get("loadSession"):
            self._call(output, "session/load", {"sessionId": conversation, **place})
        elif "resume" in (abilities.get("sessionCapabilities") or {}):
            self._call(output, "session/resume", {"sessionId": conversation, **place})
        else:
            text = f"{name} cannot resume a conversation: it offers no session/load."
            output.facts.append(ConversationLost())
            self._break(output, Reason.AGENT_ERROR, text)

    def _session_opened(self, output: Output, result: Mapping[str, Any]) -> None:
        state = self.state
        state["loading"] = state["loading"] and self._adapter.history_follows_load
        if not (result.get("sessionId") or state["conversation"]):
            raise KeyError("sessionId")
        state["conversation"] = str(result.get("sessionId") or state["conversation"])
        output.facts.append(ConversationNamed(state["conversation"]))
        state["setup"] = [list(request) for request in self._adapter.setup(self.task, result)]
        state["open"] = True
        self._advance(output)

    def _handshake_failed(self, output: Output, method: str, error: Mapping[str, Any]) -> None:
        self.state["loading"] = False
        name = self._adapter.display_name or "The agent"
        reason = error_reason(error, Reason.API_ERROR if method == "session/new" else Reason.AGENT_ERROR)
        text = error_text(error)
        if reason == Reason.NOT_LOGGED_IN and self.state["logins"]:
            text += f" It offers: {', '.join(self.state['logins'])}."
        elif method in {"session/load", "session/resume"}:
            text = f"{name} could not resume its conversation: {text}"
            output.facts.append(ConversationLost())
        elif method not in {"initialize", "session/new"}:
            text = f"{name} refused {method}: {text}"
        self._break(output, reason, text)

    def _break(self, output: Output, reason: Reason, text: str) -> None:
        # Without a session no prompt can be sent: those that wait fail now, those that come fail at once.
        self.state["failure"] = [reason.value, text]
        self._advance(output)

    def _advance(self, output: Output) -> None:
        # Send what may be sent now: the next request of the setup, else the next text that waits.
        state = self.state
        if state["failure"]:
            reason, text = state["failure"]
            for _ in state["waiting"]:
                output.facts.append(TurnEnded(Reason(reason), text))
            state["waiting"].clear()
        elif (
            not state["open"] or state["observed"] or any(call != "session/prompt" for call in state["calls"].values())
        ):
            return
        elif state["setup"]:
            method, params = state["setup"].pop(0)
            self._call(output, method, {"sessionId": state["conversation"], **params})
        elif state["waiting"] and (not state["turns"] or (self._adapter.joins and not state["interrupted"])):
            prompt_id, text = state["waiting"].pop(0)
            content = [{"type": "text", "text": text}]
            self._close_message(output)
            self._call(output, "session/prompt", {"sessionId": state["conversation"], "prompt": content}, prompt_id)

    # Turns.

    def _prompt_response(
        self, output: Output, number: str, result: Mapping[str, Any], error: Mapping[str, Any] | None
    ) -> None:
        state = self.state
        turn = next(turn for turn in state["turns"] if turn["call"] == number)
        state["turns"].remove(turn)
        state["loading"] = False
        if not turn["accepted"]:
            output.facts.append(PromptAccepted(turn["prompt"], begins_turn=not turn.get("joined", False)))
        if self._adapter.joins and state["turns"]:
            state["unaccepted"] = None
            return  # the answer to the last of the texts that are one turn tells its end
        ended = self._verdict(result, error)
        self._close_turn(output, ok=ended.reason is None, why="the turn ended")
        self._count(output, _usage_of(result))
        output.facts.append(ended)
        self._next_turn()
        self._advance(output)

    def _verdict(self, result: Mapping[str, Any], error: Mapping[str, Any] | None) -> TurnEnded:
        state = self.state
        text = "".join(state["text"]) or state["notice"]
        if error is not None:
            if state["interrupted"]:
                return TurnEnded(Reason.USER_STOPPED, text)
            if state["failure"]:
                return TurnEnded(Reason(state["failure"][0]), state["failure"][1])
            return TurnEnded(error_reason(error, Reason.API_ERROR), error_text(error))
        match result.get("stopReason"):
            case "end_turn" if state["interrupted"] and not text:
                return TurnEnded(Reason.USER_STOPPED)  # how opencode answers a cancel while it waits to try again
            case "end_turn":
                # Some programs report a failed request as a turn that ended well: codex-acp with `usage: null`,
                # Copilot without usage and with the error as its last words.
                failure = "" if result.get("usage") else state["error"]
                if "usage" in result and result["usage"] is None:
                    failure = failure or text or "The agent ended the turn without an answer."
                return TurnEnded(text_reason(failure, Reason.API_ERROR), failure) if failure else TurnEnded(text=text)
            case "cancelled":
                if state["refused"] and not state["interrupted"]:
                    return TurnEnded(Reason.REFUSED, "The agent ended the turn because a permission was refused.")
                return TurnEnded(Reason.USER_STOPPED, text)
            case "refusal":
                return TurnEnded(Reason.REFUSED, text or "The model refused to go on.")
            case "max_tokens":
                return TurnEnded(Reason.AGENT_ERROR, "The model's answer was cut off: it reached the token limit.")
            case "max_turn_requests":
                return TurnEnded(Reason.AGENT_ERROR, "The agent reached its limit of model requests in one turn.")
            case other:
                return TurnEnded(Reason.AGENT_ERROR, f"The agent ended the turn in an unknown way: {other}.")

    def _count(self, output: Output, usage: Sequence[Any]) -> None:
        counted = self.state["usage"]
        before = list(counted)
        for index, tokens in enumerate(usage):
            if isinstance(tokens, int):
                counted[index] = tokens if self._adapter.usage_is_cumulative else counted[index] + tokens
        if counted != before:
            output.facts.append(self._usage_seen())

    def _accept(self, output: Output) -> None:
        # The first sign of the model's work acknowledges the prompt of the oldest turn.
        if self.state["unaccepted"]:
            self.state["unaccepted"] = None
            turn = self.state["turns"][0]
            turn["accepted"] = True
            output.facts.append(PromptAccepted(turn["prompt"]))

    def _close_turn(self, output: Output, *, ok: bool, why: str) -> None:
        state = self.state
        self._close_message(output)
        self._release(output)
        for tool_id in list(state["tools"]):
            self._finish_tool(output, tool_id, ok=ok)
        for request_id in state["asked"]:
            output.facts.append(Withdrawn(request_id, why))
        state["asked"].clear()

    def _next_turn(self) -> None:
        state = self.state
        state.update(finished=[], text=[], text_length=0, notice="", error="", refused=False, interrupted=False)
        turns = state["turns"]
        state["unaccepted"] = turns[0]["prompt"] if turns and not turns[0]["accepted"] else None

    # Writing, and taking note of what was written.

    def _call(self, output: Output, method: str, params: Mapping[str, Any], prompt_id: str | None = None) -> None:
        if self.state["observed"]:
            return
        number = self.state["next_id"]
        self._write(output, {"id": number, "method": method, "params": params}, prompt_id=prompt_id)
        self._noted_call(number, method, params, prompt_id or "")

    def _noted_call(self, number: Any, method: str, params: Mapping[str, Any], prompt_id: str) -> None:
        state = self.state
        state["calls"][str(number)] = method
        if isinstance(number, int):
            state["next_id"] = max(state["next_id"], number + 1)
        if method in {"session/load", "session/resume"}:
            state["loading"] = True
            state["conversation"] = str(params["sessionId"])
        elif method == "session/prompt":
            joined = self._adapter.joins and bool(state["turns"])
            state["turns"].append({"call": str(number), "prompt": prompt_id, "accepted": False, "joined": joined})
            if len(state["turns"]) == 1:
                self._next_turn()

    def _notify(self, output: Output, method: str, params: Mapping[str, Any]) -> None:
        self._write(output, {"method": method, "params": params})
        self._noted_cancel()

    def _noted_cancel(self) -> None:
        self.state["interrupted"] = True

    def _reply(self, output: Output, request_id: str, result: Mapping[str, Any]) -> None:
        asked = self.state["asked"][request_id]
        self._write(output, {"id": asked["id"], "result": result}, secret=asked.get("secret", False))
        self._noted_answer(request_id, result)

    def _noted_answer(self, request_id: str, result: Any) -> str | None:
        # Returns the option that was chosen, if it was about options.
        asked = self.state["asked"].pop(request_id)
        outcome = result.get("outcome") if isinstance(result, Mapping) else None
        option = outcome.get("optionId") if isinstance(outcome, Mapping) else None
        if asked["kind"] == "permission" and (option is None or option in asked["rejecting"]):
            self.state["refused"] = True
            tool = self.state["tools"].get(asked["tool"])
            if tool:
                tool["refused"] = True
        return option

    def _refuse(self, output: Output, number: Any, why: str, code: int = METHOD_NOT_FOUND) -> None:
        self._write(output, {"id": number, "error": {"code": code, "message": why}})

    def _write(
        self, output: Output, message: Mapping[str, Any], *, prompt_id: str | None = None, secret: bool = False
    ) -> None:
        if not self.state["observed"]:
            text = orjson.dumps({"jsonrpc": "2.0", **message}).decode()
            output.lines.append(Line(text, prompt_id=prompt_id, secret=secret))


def _new_state() -> dict[str, Any]:
    return {
        "version": 1,
        "observed": False,
        "next_id": 1,
        "calls": {},  # number of a request of ours -> its method, until it is answered
        "logins": [],  # ways to log in that the program offers
        "conversation": None,
        "loading": False,  # between session/load and its response: history
        "open": False,
        "setup": [],
        "failure": None,  # [reason, text] of a handshake that failed
        "waiting": [],  # [id, text] of prompts that could not be sent yet
        "turns": [],  # of prompts under way, the oldest first
        "unaccepted": None,  # the prompt of the oldest turn, while the program has not shown that it took it up
        "interrupted": False,
        "refused": False,  # whether a permission was refused in this turn
        "messages": 0,
        "message": None,  # [kind, id, the program's id] of the open message
        "text": [],
        "text_length": 0,
        "notice": "",
        "error": "",
        "tools": {},
        "held": [],
        "finished": [],
        "requests": 0,
        "asked": {},
        "usage": [0, 0, None],  # input, output, cost of this run
        "cost_before": 0.0,
    }


def _usage_of(result: Mapping[str, Any]) -> Sequence[Any]:
    # Input and output; Gemini tells them in its own place.
    usage = result.get("usage")
    if isinstance(usage, Mapping):
        return usage.get("inputTokens"), usage.get("outputTokens")
    quota = (result.get("_meta") or {}).get("quota") or {}
    counts = quota.get("token_count") or {}
    return counts.get("input_tokens"), counts.get("output_tokens")


def _is_announcement(call: Mapping[str, Any]) -> bool:
    raw = call.get("rawInput") or {}
    return isinstance(raw, Mapping) and not raw.keys() - {"cwd"} and not call.get("content")


def _merge_call(tool: dict[str, Any], call: Mapping[str, Any], *, with_output: bool) -> None:
    # The fields of an update replace what was known; paths gather.
    if isinstance(call.get("title"), str) and call["title"]:
        tool["title"] = call["title"]
    if call.get("kind"):
        tool["kind"] = call["kind"] if call["kind"] in TOOL_KINDS else "other"
    meta = call.get("_meta") or {}
    name = call.get("name") or (meta.get("claudeCode") or {}).get("toolName")
    if isinstance(name, str):
        tool["name"] = name
    tool["paths"] = list(dict.fromkeys([*tool["paths"], *tool_paths(call)]))
    if not tool["started"]:
        text = json_text(call.get("rawInput")) or diff_text(call.get("content"))  # codex-acp gives only the changes
        tool["input"] = capped(text)[0] or tool["input"]
    if not with_output:
        return
    delta = (meta.get("terminal_output_delta") or {}).get("data")  # codex-acp
    if isinstance(delta, str):
        tool["output"], tool["cut"] = capped(tool["output"] + delta)
    text = raw_output_text(call.get("rawOutput")) or content_text(call.get("content"))
    if text:
        tool["output"], tool["cut"] = capped(text)


def _mode_request(session: Mapping[str, Any], wanted: Sequence[str]) -> tuple[str, dict[str, Any]] | None:
    # Mode ids are words, or addresses whose fragment is the word (Copilot); opencode has them as a config option.
    modes = session.get("modes") or {}
    option = _config_option(session, "mode")
    for name in wanted:
        for mode in modes.get("availableModes") or []:
            if mode["id"] == name or mode["id"].endswith(f"#{name}"):
                return ("session/set_mode", {"modeId": mode["id"]})
        for value in (option or {}).get("options") or []:
            if option and value.get("value") == name:
                return ("session/set_config_option", {"configId": option["id"], "value": name})
    return None


def _model_request(session: Mapping[str, Any], model: str) -> tuple[str, dict[str, Any]]:
    option = _config_option(session, "model")
    if option:
        return ("session/set_config_option", {"configId": option["id"], "value": model})
    return ("session/set_model", {"modelId": model})


def _config_option(session: Mapping[str, Any], category: str) -> Mapping[str, Any] | None:
    options = session.get("configOptions") or []
    return next((option for option in options if category in {option.get("category"), option.get("id")}), None)


def _plain_answer(form: Mapping[str, Any], answer: Answer) -> list[QuestionAnswer]:
    # A text or an option without the name of a question answers the first one.
    first = next(iter(form), None)
    if first is None or not (answer.text or answer.option_id):
        return []
    return [
        QuestionAnswer(question_id=first, option_ids=[answer.option_id] if answer.option_id else [], text=answer.text)
    ]


def _log(stream: str, line: str) -> AgentLog:
    return AgentLog(stream=stream, text=capped(clean(line))[0])
