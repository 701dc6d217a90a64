"""Claude Code over stream-json in both directions: what is started, and what its lines mean.

Written from recordings of 2.1.197 and 2.1.330 (tests/recordings/claude/). What is worth knowing:

* One `result` ends a turn, even where further texts of the user joined the turn while it ran. Where subagents still
  work in the background it is not the last one of the turn: `session_state_changed: idle` is. Success is
  `subtype == "success"` without `is_error`; an error of the API has the subtype `success` too.
* `can_use_tool` waits for its `control_response` for ever; `control_cancel_request` takes it back.
* A user's text is acknowledged by `command_lifecycle` (2.1.330) and by its echo (`isReplay`), whichever comes first.
* Text streams as `stream_event`; the `assistant` line that follows repeats it and only what is new of it is told.
* Costs and `modelUsage` are cumulative over the process, and since 2.1.330 over the conversation, where the process
  before could save them.
* Plan mode asks the client about everything, so that only the tool list and a refusal make it read-only.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import orjson

from orch_server.agents.adapter import (
    Adapter,
    Answer,
    Asked,
    Capabilities,
    ConversationLost,
    ConversationNamed,
    Dialogue,
    Exit,
    Fact,
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
    Action,
    ApprovalOption,
    InputRequest,
    InputRequestKind,
    OptionKind,
    Question,
    QuestionOption,
    Reason,
    Usage,
)

Json: TypeAlias = dict[str, Any]

READ_ONLY_TOOLS = ("Read", "Grep", "Glob")
PLAN_TOOLS = (*READ_ONLY_TOOLS, "AskUserQuestion", "ExitPlanMode")

# Plan mode tells the model to write a plan file, which needs the tool that a read-only run must not have.
PLAN_PROMPT = (
    "This session is read-only: no tool can write, and no plan file can be made, whatever other instructions say. "
    "Give the whole plan, in Markdown, as your final answer."
)


class ClaudeAdapter(Adapter):
    """Claude Code."""

    name: str = "claude"
    display_name: str = "Claude Code"
    rank: int = 10
    protocol: str = "stream-json"
    programs: tuple[str, ...] = ("claude",)
    install_hint: str = "Install Claude Code: npm install -g @anthropic-ai/claude-code"
    capabilities: Capabilities = Capabilities(
        resume=True, follow_up="steer", approvals=True, questions=True, read_only=True, model=True
    )

    def launch(self, task: Task) -> Launch:
        """Start it to be asked about everything that its settings do not allow, or without any tool that writes."""
        arguments = ["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]
        arguments += ["--include-partial-messages", "--replay-user-messages", "--permission-prompt-tool", "stdio"]
        if task.action == Action.IMPLEMENT:
            arguments += ["--permission-mode", "default"]
        elif task.action == Action.PLAN:
            arguments += ["--permission-mode", "plan", "--tools", ",".join(PLAN_TOOLS)]
            arguments += ["--append-system-prompt", PLAN_PROMPT]
        else:
            arguments += ["--permission-mode", "dontAsk", "--tools", ",".join(READ_ONLY_TOOLS)]
        if task.read_only:
            # Tools of the user's MCP servers are not in the reach of --tools.
            arguments += ["--strict-mcp-config"]
        if task.model:
            arguments += ["--model", task.model]
        if task.conversation_id:
            arguments += ["--resume", task.conversation_id]
        elif task.new_conversation_id:
            arguments += ["--session-id", task.new_conversation_id]
        return Launch(arguments, {"CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1"})

    def dialogue(self, task: Task, state: Json | None = None) -> "ClaudeDialogue":
        """Return a new dialogue, or the one that was saved as `state`."""
        return ClaudeDialogue(task, state or new_state())


ADAPTER = ClaudeAdapter


def new_state() -> Json:
    """Return the memory of a dialogue that has not begun."""
    return {
        "version": 1,
        "conversation": None,
        "sent": [],  # ids of texts that were handed in and not acknowledged yet
        "echoes": False,  # whether the program was seen to acknowledge texts by their ids
        "turn": False,
        "tells_idle": False,  # whether the program was seen to tell its own state
        "held": None,  # the TurnEnded of a result that may not be the turn's last
        "results": 0,
        "interrupts": 0,
        "interrupting": False,
        "requests": {},  # open requests: id -> tool, tool_use_id, input, suggestions
        "streams": {},  # "" or a subagent's tool id -> the message that it says at the moment
        "tools": {},  # tools that run: id -> name, and the input where the result needs it
        "subagents": {},  # tool id -> what the subagent does
        "tasks": {},  # the plan, from TaskCreate and TaskUpdate: id -> [text, status]
        "plan": None,  # the text of ExitPlanMode
        "plan_refused": False,  # whether the agent was already told to end its turn with it
        "error": None,  # the kind of error that the last synthetic message told
        "resets_at": None,
        "usage": [0, 0, None],
        "usage_before": None,  # what the program counts that earlier runs used: input, output, cost
    }


class ClaudeDialogue(Dialogue):
    """One run's conversation with Claude Code."""

    state: Json

    @property
    def busy(self) -> bool:
        """Whether a turn runs, or a text was handed in that begins one."""
        return bool(self.state["turn"] or self.state["sent"])

    def begin(self) -> Output:
        """Say hello; texts may follow without waiting for the reply."""
        return Output(lines=[_control("orch-initialize", {"subtype": "initialize", "hooks": None})])

    def prompt(self, prompt: Prompt) -> Output:
        """Hand in a text; Claude Code itself joins it to the running turn at the next tool's end."""
        self.state["sent"].append(prompt.id)
        line: Json = {
            "type": "user",
            "message": {"role": "user", "content": [{"type": "text", "text": prompt.text}]},
            "parent_tool_use_id": None,
            "session_id": "",
            "uuid": prompt.id,
        }
        return Output(lines=[Line(_dump(line), prompt_id=prompt.id)])

    def answer(self, request_id: str, answer: Answer) -> Output:
        """Answer an open request: leave to use a tool, or the questions of AskUserQuestion."""
        request = self.state["requests"].pop(request_id, None)
        if request is None:
            return Output()
        if request["tool"] == "AskUserQuestion":
            return Output(lines=[_respond(request_id, _answer_questions(request["input"], answer))])
        if answer.option_id not in (OptionKind.ALLOW_ONCE, OptionKind.ALLOW_ALWAYS):
            told = f"The user declined this action: {answer.text}" if answer.text else "The user declined this action."
            return Output(lines=[_respond(request_id, {"behavior": "deny", "message": told})])
        response: Json = {"behavior": "allow", "updatedInput": request["input"]}
        if answer.option_id == OptionKind.ALLOW_ALWAYS:
            response["updatedPermissions"] = request["suggestions"]
        return Output(lines=[_respond(request_id, response)])

    def interrupt(self) -> Output:
        """Ask for the end of the turn; its result then says that it was interrupted."""
        if not self.busy:
            return Output()
        self.state["interrupts"] += 1
        self._interrupted()
        return Output(lines=[_control(f"orch-interrupt-{self.state['interrupts']}", {"subtype": "interrupt"})])

    def receive(self, line: str) -> Output:
        """Take a line of standard output."""
        output = Output()
        try:
            data = _load(line)
            if data is None:
                if line.strip():
                    output.facts.append(AgentLog(stream="raw", text=_capped(line)[0]))
            else:
                self._receive(data, line, output)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError):
            # A known type with a shape never seen: shown as it is rather than lost.
            output.facts.append(AgentLog(stream="unknown", text=_capped(line)[0]))
        return output

    def observe(self, line: str) -> Output:
        """Take a line that another client wrote to the program, as if it were written here; for recordings."""
        match _load(line):
            case {"type": "user", **more}:
                self.state["sent"].append(str(more.get("uuid") or ""))
            case {"type": "control_request", "request": {"subtype": "interrupt"}}:
                self._interrupted()
            case {"type": "control_response", "response": {"request_id": str(request_id), **reply}}:
                request = self.state["requests"].pop(request_id, None)
                if request is not None:
                    response, option = reply.get("response"), None
                    if request["tool"] != "AskUserQuestion" and isinstance(response, dict):
                        option = _option_of(response)
                    return Output([InputAnswered(input_request_id=request_id, by="user", option_id=option)])
        return Output()

    def ended(self, end: Exit) -> Output:
        """Close what is open, and say why there is no result if one was expected."""
        output = Output()
        unfinished = self.busy or (not self.state["results"] and end.code != 0)
        self._close_streams(output)
        for request_id in self.state["requests"]:
            output.facts.append(Withdrawn(request_id, "Claude Code ended."))
        for tool_id, tool in self.state["tools"].items():
            if not _is_planning(tool["name"]):
                output.facts.append(AgentToolFinished(tool_id=tool_id, ok=False, output="", truncated=False))
        if unfinished and end.code == 0 and not self.state["interrupting"]:
            self._end_turn(output)  # of a result after which it left at its own will
        if unfinished and (self.busy or not self.state["results"]):
            output.facts += _end_of_turn(_explain_exit(end, was_interrupted=self.state["interrupting"]))
        self.state.update(requests={}, tools={}, turn=False, held=None, sent=[], interrupting=False)
        return output

    def _receive(self, data: Json, line: str, output: Output) -> None:
        match data["type"]:
            case "stream_event":
                self._stream(data, output)
            case "assistant":
                self._assistant(data, output)
            case "user":
                self._user(data, output)
            case "result":
                self._result(data, output)
            case "control_request":
                self._asked(data, line, output)
            case "control_cancel_request":
                self._withdraw(data["request_id"], "Claude Code does not wait for the answer any more.", output)
            case "control_response":
                self._responded(data["response"], output)
            case "command_lifecycle":
                self._lifecycle(data, output)
            case "system":
                self._system(data, line, output)
            case "rate_limit_event":
                self._rate_limit(data["rate_limit_info"], output)
            case "conversation_reset":
                self._name(data["new_conversation_id"], output)
            case kind if kind in NOISE:
                pass
            case _:
                output.facts.append(AgentLog(stream="unknown", text=_capped(line)[0]))

    # What the agent says: streamed, then repeated whole.

    def _stream(self, data: Json, output: Output) -> None:
        event = data["event"]
        kind = event["type"]
        if kind == "content_block_delta":
            delta = event["delta"]
            text = delta.get("text") or delta.get("thinking")
            # Others are the pieces of a tool's input and signatures; the assistant line has them whole.
            if not text or delta["type"] not in ("text_delta", "thinking_delta"):
                return
            stream = self.state["streams"].get(data.get("parent_tool_use_id") or "")
            if stream and stream["open"]:
                if not isinstance(text, str):
                    raise TypeError("a delta that is no text")
                block = stream["open"][-1]
                block[2] += len(text)
                said = AgentMessage if block[0] == "text" else AgentThought
                output.facts.append(said.model_construct(message_id=block[1], text=text, final=False))
        elif kind == "message_start":
            parent = data.get("parent_tool_use_id") or ""
            self._stream_of(parent, event["message"]["id"], output)
            if not parent:
                self._speaks(output)
        elif kind == "content_block_start":
            block_kind = event["content_block"]["type"]
            parent = data.get("parent_tool_use_id") or ""
            stream = self.state["streams"].get(parent)
            # A subagent's words come whole, with its label before them.
            if stream and block_kind in ("text", "thinking") and not parent:
                stream["open"].append([block_kind, _next_id(stream), 0])

    def _assistant(self, data: Json, output: Output) -> None:
        message = data["message"]
        parent = data.get("parent_tool_use_id") or ""
        if data.get("error") and message.get("model") == "<synthetic>":
            # Not the agent's words: the result repeats them as the error of the turn.
            self.state["error"] = data["error"]
            return
        if not parent:
            self._speaks(output)
        stream = self._stream_of(parent, message["id"], output)
        for block in _blocks(message["content"]):
            match block["type"]:
                case "text" | "thinking":
                    self._said(block["type"], block[block["type"]], stream, parent, output)
                case "tool_use" | "server_tool_use" | "mcp_tool_use":
                    self._tool_started(block, parent, output)
                case kind if kind.endswith("_tool_result"):
                    self._tool_finished(block, {}, output)

    def _said(self, kind: str, text: str, stream: Json, parent: str, output: Output) -> None:
        streamed = next((block for block in stream["open"] if block[0] == kind), None)
        if streamed is not None:
            stream["open"].remove(streamed)
            message_id, text = streamed[1], text[streamed[2] :]
        elif text.strip():
            message_id = _next_id(stream)
        else:
            return
        if parent:
            thought = f"{self._label(parent)}{text}"
            output.facts.append(AgentThought(message_id=message_id, text=thought, final=True))
        elif kind == "thinking":
            output.facts.append(AgentThought(message_id=message_id, text=text, final=True))
        else:
            output.facts.append(AgentMessage(message_id=message_id, text=text, final=True))

    def _stream_of(self, parent: str, message_id: str, output: Output) -> Json:
        """Return what is known of the message that is being said; one that it follows is at its end."""
        stream: Json | None = self.state["streams"].get(parent)
        if stream is None or stream["id"] != message_id:
            self._close_stream(parent, output)
            stream = self.state["streams"][parent] = {"id": message_id, "blocks": 0, "open": []}
        return stream

    def _close_streams(self, output: Output) -> None:
        for parent in list(self.state["streams"]):
            self._close_stream(parent, output)

    def _close_stream(self, parent: str, output: Output) -> None:
        """Say of a message whose whole was never told that nothing follows."""
        stream = self.state["streams"].pop(parent, None)
        for kind, message_id, length in stream["open"] if stream else ():
            if length:
                said = AgentMessage if kind == "text" else AgentThought
                output.facts.append(said(message_id=message_id, text="", final=True))

    def _label(self, parent: str) -> str:
        return f"[{self.state['subagents'].get(parent, 'subagent')}] " if parent else ""

    # Tools.

    def _tool_started(self, block: Json, parent: str, output: Output) -> None:
        tool_id, name, values = str(block["id"]), str(block["name"]), block.get("input") or {}
        planning = _is_planning(name)
        self.state["tools"][tool_id] = {"name": name, "input": values} if planning else {"name": name}
        if name in ("Task", "Agent"):
            self.state["subagents"][tool_id] = str(values.get("description") or "subagent")
        if name == "ExitPlanMode" and self.task.action == Action.PLAN and values.get("plan"):
            self._plan(tool_id, values["plan"], output)
        if not planning:
            output.facts.append(
                AgentToolStarted(
                    tool_id=tool_id,
                    name=name,
                    kind=TOOL_KINDS.get(name, "other"),
                    title=self._label(parent) + _title(name, values, self.task.cwd),
                    paths=list(_paths(values)),
                    input=_capped(_dump(values))[0],
                )
            )

    def _tool_finished(self, block: Json, line: Json, output: Output) -> None:
        tool_id = str(block["tool_use_id"])
        tool = self.state["tools"].pop(tool_id, None) or {"name": ""}
        ok = not block.get("is_error")
        self._close_stream(tool_id, output)
        for request_id, request in list(self.state["requests"].items()):
            if request["tool_use_id"] == tool_id:
                self._withdraw(request_id, "The tool ended without the answer.", output)
        if "input" in tool:
            if ok:
                self._planned(tool["name"], tool["input"], line, output)
            return
        text, truncated = _capped(_text_of(block.get("content")))
        output.facts.append(AgentToolFinished(tool_id=tool_id, ok=ok, output=text, truncated=truncated))

    def _planned(self, name: str, values: Json, line: Json, output: Output) -> None:
        """Turn the agent's list of things to do into its plan."""
        tasks = self.state["tasks"]
        if name == "TodoWrite":
            tasks.clear()
            for number, todo in enumerate(values["todos"]):
                tasks[str(number)] = [todo["content"], todo["status"]]
        elif name == "TaskCreate":
            created = line.get("tool_use_result")
            task = created.get("task") if isinstance(created, dict) else None
            tasks[str(task["id"]) if task else str(len(tasks) + 1)] = [values["subject"], "pending"]
        elif name == "TaskUpdate" and values.get("taskId") in tasks:
            task = tasks[values["taskId"]]
            task[0], task[1] = values.get("subject") or task[0], values.get("status") or task[1]
            if task[1] == "deleted":
                del tasks[values["taskId"]]
        else:
            return
        entries = [PlanEntry(text=text, status=status) for text, status in tasks.values()]
        output.facts.append(AgentPlan(entries=entries))

    def _plan(self, message_id: str, plan: str, output: Output) -> None:
        if self.state["plan"] != plan:
            output.facts.append(AgentMessage(message_id=message_id, text=plan, final=True))
            self.state["plan"] = plan

    # What the program asks.

    def _asked(self, data: Json, line: str, output: Output) -> None:
        request_id, request = data["request_id"], data["request"]
        if request["subtype"] != "can_use_tool":
            # It waits for a reply; hooks, MCP servers and dialogs were not announced by us.
            refusal: Json = {"subtype": "error", "request_id": request_id, "error": "not supported by this client"}
            output.lines.append(Line(_dump({"type": "control_response", "response": refusal})))
            output.facts.append(AgentLog(stream="unknown", text=_capped(line)[0]))
            return
        name, values = request["tool_name"], request["input"]
        effect = EFFECTS.get(TOOL_KINDS.get(name, "other"), "other")
        if name == "ExitPlanMode" and self.task.action == Action.PLAN:
            output.lines.append(self._leave_plan(data, output))
        elif self.task.read_only and effect != "read" and name != "AskUserQuestion":
            # Plan mode would do what is allowed here, so no policy may.
            refused = {"behavior": "deny", "message": "This session is read-only."}
            output.lines.append(_respond(request_id, refused))
        else:
            suggestions = [_for_session(suggestion) for suggestion in request.get("permission_suggestions") or []]
            self.state["requests"][request_id] = {
                "tool": name,
                "tool_use_id": request.get("tool_use_id"),
                "input": values,
                "suggestions": suggestions,
            }
            if name == "AskUserQuestion":
                output.facts.append(Asked(_question(request_id, values)))
            else:
                asked = _approval(request_id, request, suggestions, self.task.cwd)
                blocked = (request["blocked_path"],) if request.get("blocked_path") else ()
                paths = tuple(dict.fromkeys((*_paths(values), *blocked)))
                output.facts.append(Asked(asked, Subject(effect, paths)))

    def _leave_plan(self, data: Json, output: Output) -> Line:
        """Refuse to go on from the plan to the work, so that the turn ends with the plan."""
        request = data["request"]
        if request["input"].get("plan"):
            self._plan(request.get("tool_use_id") or data["request_id"], request["input"]["plan"], output)
        response: Json = {"behavior": "deny"}
        if self.state["plan"] is None:
            response["message"] = "There is no plan file here. Give the whole plan as your final answer and stop."
        else:
            response["message"] = "The plan has reached the user. Do not begin with it: end your turn now."
            if self.state["plan_refused"]:
                response["interrupt"] = True
            self.state["plan_refused"] = True
        return _respond(data["request_id"], response)

    def _withdraw(self, request_id: str, reason: str, output: Output) -> None:
        if self.state["requests"].pop(request_id, None) is not None:
            output.facts.append(Withdrawn(request_id, reason))

    def _responded(self, response: Json, output: Output) -> None:
        """Take a reply to a request of ours, or the echo of an answer."""
        self._withdraw(response["request_id"], "It was answered elsewhere.", output)
        if response["subtype"] == "error" and response["request_id"].startswith("orch-"):
            output.facts.append(AgentLog(stream="unknown", text=f"{response['request_id']}: {response.get('error')}"))

    # Turns.

    def _lifecycle(self, data: Json, output: Output) -> None:
        prompt_id = data["command_uuid"]
        if data["state"] == "started":
            self._echoed(prompt_id, output)
        elif data["state"] in ("refused", "discarded") and prompt_id in self.state["sent"]:
            self.state["sent"].remove(prompt_id)
            if not self.busy:
                output.facts.append(TurnEnded(Reason.AGENT_ERROR, "Claude Code did not take the text."))

    def _user(self, data: Json, output: Output) -> None:
        content = data["message"]["content"]
        for block in _blocks(content):
            if block["type"].endswith("tool_result"):
                self._tool_finished(block, data, output)
        if data.get("isReplay") and not _plain(content).startswith("<local-command-"):
            self._echoed(data["uuid"], output)

    def _echoed(self, prompt_id: str, output: Output) -> None:
        """Take the program's own word that a text arrived."""
        sent = self.state["sent"]
        if prompt_id in sent:
            self.state["echoes"] = True
            self._accept(prompt_id, output)
        elif "" in sent:
            # Another client gave its text no id, so the program did.
            sent[sent.index("")] = prompt_id
            self._accept(prompt_id, output)
        elif sent and not self.state["echoes"]:
            self._accept(sent[0], output)  # a recording of one direction: what was sent is not known

    def _accept(self, prompt_id: str, output: Output) -> None:
        self._end_turn(output)
        self.state["sent"].remove(prompt_id)
        output.facts.append(PromptAccepted(prompt_id, begins_turn=not self.state["turn"]))
        self.state["turn"] = True

    def _speaks(self, output: Output) -> None:
        """The model speaks: a turn runs. Without echoes that is all there is to know that a text arrived."""
        if not self.state["turn"] and self.state["sent"] and not self.state["echoes"]:
            self._accept(self.state["sent"][0], output)
        self.state["turn"] = True

    def _result(self, data: Json, output: Output) -> None:
        self._close_streams(output)
        if not self.state["turn"] and data.get("is_error"):
            # It failed before it took up a text; none will be acknowledged any more.
            self.state["sent"].clear()
        if usage := self._usage(data):
            output.facts.append(UsageSeen(usage))
        ended = self._turn_ended(data)
        self.state["results"] += 1
        self.state["held"] = [ended.reason, ended.text, ended.resets_at]
        self.state.update(error=None, plan=None, plan_refused=False)
        if not self.state["tells_idle"]:
            self._end_turn(output)

    def _interrupted(self) -> None:
        self.state["interrupting"] = True
        if self.state["held"] is not None:
            # Its subagents are stopped, and no other result follows.
            self.state["held"] = [Reason.USER_STOPPED, INTERRUPTED, None]

    def _end_turn(self, output: Output) -> None:
        """Tell the end of the turn whose last result was told."""
        if self.state["held"] is not None:
            reason, text, resets_at = self.state["held"]
            output.facts += _end_of_turn(TurnEnded(Reason(reason) if reason else None, text, resets_at))
            self.state.update(turn=False, interrupting=False, held=None)

    def _turn_ended(self, data: Json) -> TurnEnded:
        plan = self.state["plan"]
        text = str(data.get("result") or "; ".join(map(str, data.get("errors") or [])))
        if data["subtype"] == "success" and not data.get("is_error"):
            return TurnEnded(text=plan or text)
        aborted = str(data.get("terminal_reason") or "").startswith("aborted_")
        if data["subtype"] == "error_during_execution" and (aborted or self.state["interrupting"]):
            if plan and not self.state["interrupting"]:
                return TurnEnded(text=plan)  # the end that _leave_plan asked for
            return TurnEnded(Reason.USER_STOPPED, INTERRUPTED)
        if known := _diagnose(text):
            return known
        status, error = data.get("api_error_status"), self.state["error"]
        if status == 401 or error in ("authentication_failed", "oauth_org_not_allowed"):
            return TurnEnded(Reason.NOT_LOGGED_IN, f"{text}\n{LOGIN_HINT}")
        if status == 429 or error == "rate_limit" or LIMIT_TEXT.search(text):
            when = re.search(r"\|(\d{10,13})\b", text)
            return TurnEnded(Reason.USAGE_LIMIT, text, _time(int(when[1])) if when else self.state["resets_at"])
        if status or error or text.startswith("API Error"):
            return TurnEnded(Reason.API_ERROR, text)
        return TurnEnded(Reason.AGENT_ERROR, text or RESULT_TEXTS.get(data["subtype"]) or str(data["subtype"]))

    def _usage(self, data: Json) -> Usage | None:
        """Return the whole run's usage where this result changed it."""
        used = self.state["usage"]
        before = list(used)
        counted_before = [0, 0, 0.0]
        if models := data.get("modelUsage"):
            used[0] = sum(_tokens(model, *INPUT_TOKENS_OF_MODEL) for model in models.values())
            used[1] = sum(_tokens(model, "outputTokens") for model in models.values())
            counted_before = self._counted_before(used, data.get("usage") or {})
            used[0], used[1] = used[0] - counted_before[0], used[1] - counted_before[1]
        elif usage := data.get("usage"):
            used[0] += _tokens(usage, *INPUT_TOKENS)
            used[1] += _tokens(usage, "output_tokens")
        if data.get("total_cost_usd") is not None:
            used[2] = round(float(data["total_cost_usd"]) - counted_before[2], 8)
        return Usage(input_tokens=used[0], output_tokens=used[1], cost_usd=used[2]) if used != before else None

    def _counted_before(self, total: list[Any], turn: Json) -> list[Any]:
        """Return what of the first total of a resumed run is not of this turn: at most what earlier runs used."""
        if self.state.get("usage_before") is None:
            earlier, resumed = self.task.usage_before, self.task.conversation_id is not None
            tokens_in = min(earlier.input_tokens, total[0] - _tokens(turn, *INPUT_TOKENS)) if resumed else 0
            tokens_out = min(earlier.output_tokens, total[1] - _tokens(turn, "output_tokens")) if resumed else 0
            tokens_in, tokens_out = max(0, tokens_in), max(0, tokens_out)
            share = (tokens_in + tokens_out) / max(1, earlier.input_tokens + earlier.output_tokens)
            self.state["usage_before"] = [tokens_in, tokens_out, share * (earlier.cost_usd or 0)]
        before: list[Any] = self.state["usage_before"]
        return before

    # What else it tells.

    def _system(self, data: Json, line: str, output: Output) -> None:
        match data["subtype"]:
            case "init":
                self._name(data["session_id"], output)
            case "session_state_changed":
                self.state["tells_idle"] = True
                if data["state"] == "idle":
                    self._end_turn(output)
            case "api_retry":
                output.facts.append(_thought(data, _retry_text(data)))
            case "compact_boundary":
                output.facts.append(_thought(data, "The conversation was long and has been summarized."))
            case "informational" | "local_command_output" | "model_fallback" | "notification" as subtype:
                text = data.get("content") or data.get("message") or data.get("text") or subtype.replace("_", " ")
                output.facts.append(_thought(data, str(text)))
            case subtype if subtype in SYSTEM_NOISE:
                pass
            case _:
                output.facts.append(AgentLog(stream="unknown", text=_capped(line)[0]))

    def _name(self, conversation_id: Any, output: Output) -> None:
        if not isinstance(conversation_id, str):
            raise TypeError("a conversation's name that is no text")
        if conversation_id != self.state["conversation"]:
            self.state["conversation"] = conversation_id
            output.facts.append(ConversationNamed(conversation_id))

    def _rate_limit(self, info: Json, output: Output) -> None:
        resets_at = _time(info["resetsAt"]) if info.get("resetsAt") else None
        self.state["resets_at"] = resets_at if info["status"] == "rejected" else None
        if info["status"] == "allowed_warning":
            until = f"; it resets at {resets_at}" if resets_at else ""
            text = f"The usage limit ({info.get('rateLimitType') or 'of the account'}) is near{until}."
            output.facts.append(AgentThought(message_id=f"limit-{resets_at}", text=text, final=True))


CAP = 64 * 1024
INTERRUPTED = "The turn was interrupted."

# Lines that tell a user nothing, or nothing that another line does not tell.
NOISE = frozenset(
    {
        "attachment",
        "auth_status",
        "control_request_progress",
        "keep_alive",
        "prompt_suggestion",
        "session_notice",
        "tool_progress",
        "tool_use_summary",
        "update_environment_variables",
    }
)
SYSTEM_NOISE = frozenset(
    {
        "agents_killed",
        "away_summary",
        "background_tasks_changed",
        "commands_changed",
        "control_request_progress",
        "elicitation_complete",
        "files_persisted",
        "file_snapshot",
        "hook_progress",
        "hook_response",
        "hook_started",
        "instruction_size_warning",
        "model_refusal_fallback",
        "memory_recall",
        "memory_saved",
        "per_turn_effort_changed",
        "permission_check_status",
        "permission_denied",
        "permission_retry",
        "plugin_install",
        "post_turn_summary",
        "session_metadata",
        "session_title_changed",
        "shell_cwd",
        "status",
        "stop_hook_summary",
        "task_list_statuses",
        "task_notification",
        "task_progress",
        "task_started",
        "task_summary",
        "task_updated",
        "thinking",
        "thinking_tokens",
        "turn_duration",
        "vcs_state_changed",
        "worker_shutting_down",
    }
)

TOOL_KINDS = {
    "Read": "read",
    "NotebookRead": "read",
    "ReadMcpResourceTool": "read",
    "Write": "edit",
    "Edit": "edit",
    "MultiEdit": "edit",
    "NotebookEdit": "edit",
    "Grep": "search",
    "Glob": "search",
    "LS": "search",
    "LSP": "search",
    "ToolSearch": "search",
    "Bash": "execute",
    "BashOutput": "execute",
    "KillShell": "execute",
    "Monitor": "execute",
    "PowerShell": "execute",
    "TaskOutput": "execute",
    "TaskStop": "execute",
    "WebFetch": "fetch",
    "WebSearch": "fetch",
    "web_search": "fetch",
    "Agent": "think",
    "EnterPlanMode": "think",
    "ExitPlanMode": "think",
    "Skill": "think",
    "Task": "think",
}
EFFECTS = {"read": "read", "search": "read", "edit": "edit", "execute": "execute"}
PATH_FIELDS = ("file_path", "notebook_path", "path")
TITLE_FIELDS = (*PATH_FIELDS, "command", "pattern", "url", "query", "description", "skill", "subject")

INPUT_TOKENS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
INPUT_TOKENS_OF_MODEL = ("inputTokens", "cacheCreationInputTokens", "cacheReadInputTokens")

LIMIT_TEXT = re.compile(r"usage limit|limit reached|(hit|reached) your .{0,40}limit|rate.limit", re.IGNORECASE)
LOGIN_HINT = "Log in by running `claude` in a terminal (or set its API key), then resume the session."
NO_CONVERSATION = "No conversation found"
DIAGNOSES = (
    (
        NO_CONVERSATION,
        Reason.AGENT_ERROR,
        "Claude Code keeps conversations by directory, and forgets them after some weeks.",
    ),
    ("is already in use", Reason.AGENT_ERROR, "Another Claude Code has this conversation open; end it, then resume."),
    ("cannot be used with root", Reason.AGENT_ERROR, "Run orch as a user other than root."),
    ("/login", Reason.NOT_LOGGED_IN, LOGIN_HINT),
    ("Not logged in", Reason.NOT_LOGGED_IN, LOGIN_HINT),
    ("Invalid API key", Reason.NOT_LOGGED_IN, LOGIN_HINT),
)
RESULT_TEXTS = {
    "error_max_turns": "Claude Code reached its limit of turns.",
    "error_max_budget_usd": "Claude Code reached its budget.",
    "error_max_structured_output_retries": "Claude Code could not give its answer in the form that was asked for.",
    "error_during_execution": "Claude Code failed while it worked.",
}


def _explain_exit(end: Exit, *, was_interrupted: bool) -> TurnEnded:
    """Say why the program is gone although a turn ran."""
    if was_interrupted:
        return TurnEnded(Reason.USER_STOPPED, INTERRUPTED)
    if known := _diagnose(end.stderr_tail):
        return known
    tail = f"\n{end.stderr_tail.strip()}" if end.stderr_tail.strip() else ""
    # It handles some signals itself and then exits as a shell would tell it.
    signal = end.signal or (end.code - 128 if end.code is not None and 128 < end.code < 160 else None)
    if signal is not None:
        return TurnEnded(Reason.KILLED, f"Claude Code was killed by signal {signal} before the turn ended.{tail}")
    if end.code is None:
        return TurnEnded(Reason.LOST, f"It is not known how Claude Code ended.{tail}")
    text = f"Claude Code exited with code {end.code} before the turn ended.{tail}"
    return TurnEnded(Reason.EXITED_WITHOUT_RESULT, text)


def _end_of_turn(ended: TurnEnded) -> list[Fact]:
    """Return the end of a turn, before it that the conversation is not there any more if that is why."""
    lost = ended.reason == Reason.AGENT_ERROR and NO_CONVERSATION in ended.text
    return [ConversationLost(), ended] if lost else [ended]


def _diagnose(text: str) -> TurnEnded | None:
    """Recognize the failures that a user can do something about."""
    for needle, reason, hint in DIAGNOSES:
        if needle in text:
            return TurnEnded(reason, f"{text.strip()}\n{hint}")
    return None


def _approval(request_id: str, request: Json, suggestions: list[Json], cwd: str) -> InputRequest:
    name, values = request["tool_name"], request["input"]
    options = [ApprovalOption(id="allow_once", label="Allow once", kind=OptionKind.ALLOW_ONCE)]
    if suggestions:
        label = "; ".join(map(_suggestion_label, suggestions))
        options.append(ApprovalOption(id="allow_always", label=label, kind=OptionKind.ALLOW_ALWAYS))
    options.append(ApprovalOption(id="reject_once", label="Reject", kind=OptionKind.REJECT_ONCE))
    detail = "\n\n".join(filter(None, (_detail(name, values), request.get("decision_reason"))))
    return InputRequest(
        id=request_id,
        kind=InputRequestKind.APPROVAL,
        title=_title(name, values, cwd),
        detail=_capped(detail)[0],
        tool=name,
        options=options,
    )


def _suggestion_label(suggestion: Json) -> str:
    match suggestion.get("type"):
        case "setMode" if suggestion.get("mode") == "acceptEdits":
            return "Allow all edits in this run"
        case "addRules" if suggestion.get("behavior") == "allow":
            rules = (f"{rule.get('toolName')}({rule.get('ruleContent') or '*'})" for rule in suggestion["rules"])
            return f"Always allow {', '.join(rules)} in this run"
        case "addDirectories":
            return f"Allow {', '.join(suggestion['directories'])} in this run"
    return f"Always allow in this run ({suggestion.get('type')})"


def _for_session(suggestion: Json) -> Json:
    """Return the suggestion so that it is kept for the run alone, never in the user's or the project's settings."""
    return {**suggestion, "destination": "session"}


def _question(request_id: str, values: Json) -> InputRequest:
    questions = [
        Question(
            id=str(number),
            header=question.get("header") or "",
            text=question["question"],
            options=[
                QuestionOption(id=option["label"], label=option["label"], description=option.get("description") or "")
                for option in question.get("options") or []
            ],
            multi_select=bool(question.get("multiSelect")),
        )
        for number, question in enumerate(values["questions"], 1)
    ]
    return InputRequest(
        id=request_id,
        kind=InputRequestKind.QUESTION,
        title=questions[0].text if questions else "Question",
        tool="AskUserQuestion",
        questions=questions,
    )


def _answer_questions(values: Json, answer: Answer) -> Json:
    """Return the tool's input with the answers in it, by the questions' texts as the tool wants them."""
    answers: dict[str, str] = {}
    given = {one.question_id: one for one in answer.answers}
    for number, question in enumerate(values["questions"], 1):
        one = given.get(str(number))
        parts = [*one.option_ids, *([one.text] if one.text else [])] if one else []
        if parts:
            answers[question["question"]] = ", ".join(parts)
        elif answer.text and not given:
            answers[question["question"]] = answer.text
    if not answers:
        return {"behavior": "deny", "message": "The user did not answer."}
    return {"behavior": "allow", "updatedInput": {**values, "answers": answers}}


def _option_of(response: Json) -> str:
    """Name the option of ours that another client's answer amounts to."""
    if response.get("behavior") != "allow":
        return OptionKind.REJECT_ONCE.value
    return (OptionKind.ALLOW_ALWAYS if response.get("updatedPermissions") else OptionKind.ALLOW_ONCE).value


def _title(name: str, values: Json, cwd: str) -> str:
    """Say in one line what a tool does."""
    if name == "AskUserQuestion":
        return "Question"
    for field in TITLE_FIELDS:
        value = values.get(field)
        if isinstance(value, str) and value.strip():
            first, *more = value.strip().split("\n")
            shown = first.removeprefix(f"{cwd}/") if field in PATH_FIELDS else first
            return f"{name} {shown[:200]}{' …' if more or len(shown) > 200 else ''}"
    return name


def _detail(name: str, values: Json) -> str:
    """Say what a tool is about to do, so that a person can decide about it."""
    if name == "Bash" and isinstance(values.get("command"), str):
        return "\n\n".join(filter(None, (values["command"], values.get("description"))))
    path = next(iter(_paths(values)), "")
    if name == "Write" and isinstance(values.get("content"), str):
        return f"{path}\n\n{values['content']}"
    if name == "Edit" and isinstance(values.get("old_string"), str) and isinstance(values.get("new_string"), str):
        removed = "".join(f"-{line}\n" for line in values["old_string"].split("\n"))
        added = "".join(f"+{line}\n" for line in values["new_string"].split("\n"))
        return f"{path}\n\n{removed}{added}"
    if name == "ExitPlanMode" and isinstance(values.get("plan"), str):
        return str(values["plan"])
    return json.dumps(values, ensure_ascii=False, indent=2)


def _paths(values: Json) -> Iterator[str]:
    for field in PATH_FIELDS:
        if isinstance(values.get(field), str) and values[field]:
            yield values[field]


def _is_planning(name: str) -> bool:
    """Whether a tool keeps the agent's list of things to do, which is shown as its plan."""
    return name in ("TodoWrite", "TaskCreate", "TaskUpdate", "TaskList", "TaskGet")


def _retry_text(data: Json) -> str:
    status = data.get("error_status") or "no status"
    wait = f" in {data['retry_delay_ms'] / 1000:.1f} s" if data.get("retry_delay_ms") else ""
    return (
        f"The API failed ({status}, {data.get('error') or 'unknown'}); "
        f"retrying, attempt {data.get('attempt')} of {data.get('max_retries')}{wait}."
    )


def _thought(data: Json, text: str) -> AgentThought:
    return AgentThought(message_id=str(data.get("uuid") or data["subtype"]), text=text, final=True)


def _next_id(stream: Json) -> str:
    stream["blocks"] += 1
    return f"{stream['id']}:{stream['blocks']}"


def _blocks(content: Any) -> list[Json]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []


def _plain(content: Any) -> str:
    return next((block["text"] for block in _blocks(content) if block["type"] == "text"), "")


def _text_of(content: Any) -> str:
    """Return a tool's result as text."""
    if isinstance(content, str):
        return content.removeprefix("<tool_use_error>").removesuffix("</tool_use_error>")
    parts = content if isinstance(content, list) else [content] if content else []
    return "\n".join(
        part["text"] if isinstance(part, dict) and part.get("type") == "text" else f"[{_kind_of(part)}]"
        for part in parts
    )


def _kind_of(part: Any) -> str:
    return str(part.get("type") or "data") if isinstance(part, dict) else str(part)


def _tokens(usage: Mapping[str, Any], *names: str) -> int:
    return sum(int(usage.get(name) or 0) for name in names)


def _time(moment: float) -> str:
    """Return a Unix time, in seconds or milliseconds, as RFC 3339."""
    seconds = moment / 1000 if moment > 1e11 else moment
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _capped(text: str) -> tuple[str, bool]:
    """Return the first 64 KiB of a text, and whether something is missing."""
    if len(text) <= CAP and text.isascii():
        return text, False
    encoded = text.encode("utf-8", "replace")
    return encoded[:CAP].decode(errors="ignore"), len(encoded) > CAP


def _control(request_id: str, request: Json) -> Line:
    return Line(_dump({"type": "control_request", "request_id": request_id, "request": request}))


def _respond(request_id: str, response: Json) -> Line:
    reply = {"subtype": "success", "request_id": request_id, "response": response}
    return Line(_dump({"type": "control_response", "response": reply}))


def _dump(value: Json) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # half of a surrogate pair, from a user's paste
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()


def _load(line: str) -> Json | None:
    """Return the JSON object of a line; None where there is none."""
    try:
        data = orjson.loads(line)
    except ValueError:
        try:
            # Programs in JavaScript write half surrogate pairs where they cut a text; no UTF-8 can hold them.
            data = orjson.loads(json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None
    return data if isinstance(data, dict) and isinstance(data.get("type"), str) else None
