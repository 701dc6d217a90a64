"""Codex over `codex app-server`: one JSON message a line, in both directions.

Written from recordings of 0.169.0 (tests/recordings/codex/) and the protocol's own TypeScript, which
`codex app-server generate-ts --experimental --out DIR` writes. What is worth knowing:

* The sandbox and the approval policy are not kept with a thread: they are sent with every start and resume.
* A thread that is started in the sandbox `workspace-write` marks its project as trusted in the user's config.toml, and
  trust makes the project's own hooks and settings count. So every thread is started `read-only`, and each turn
  names the sandbox that it really runs in.
* A turn's rules follow from the session's policy, so that orch is asked about what it has a say in (`_rules`):
  `untrusted` asks about every edit and command; `on-request` asks before anything that the sandbox forbids, so that in
  `workspace-write` commands run that can write in the worktree and the temporary directory and reach no network, and in
  `read-only` every edit asks; `never` with `read-only` cannot write at all.
* Questions to the user and proposed plans exist in the collaboration mode `plan` alone.
* Tokens are counted over the whole thread; what it had used before this run is subtracted.
* The end of a turn leaves its shell command running until the program's input is closed.
* The numbers of the program's requests begin at 0 and share their space with ours: `method` tells them apart.

Lines of `codex exec --json` are understood too (codex_exec.py), for replays.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from orch_server import __version__
from orch_server.agents import codex_exec
from orch_server.agents.adapter import (
    Adapter,
    Answer,
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
    Task,
    TurnEnded,
    UsageSeen,
    Withdrawn,
)
from orch_server.agents.codex_items import SILENT_ITEMS, finished, overheard, started
from orch_server.agents.codex_requests import ask, chosen_option, reply, withdrawal
from orch_server.agents.texts import capped, clean, error_text, exit_failure, parse_line, rfc3339, text_reason
from orch_server.domain.events import AgentLog, AgentMessage, AgentPlan, AgentThought, InputAnswered, PlanEntry
from orch_server.domain.session import Action, Policy, Reason, Usage

METHOD_NOT_FOUND = -32601
NAME = "Codex"
LOGIN_HINT = "Log in by running `codex login` in a terminal (or set its API key), then resume the session."

_PROGRAM_MAKES_NO_SENSE = (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError)
_READ_ONLY: dict[str, Any] = {"type": "readOnly", "networkAccess": False}
_WORKSPACE: dict[str, Any] = {
    "type": "workspaceWrite",
    "writableRoots": [],
    "networkAccess": False,
    "excludeTmpdirEnvVar": False,
    "excludeSlashTmp": False,
}
_STEP_STATUS = {"inProgress": "in_progress"}

# What a turn's error is called -> why it failed. What is not here is judged by its HTTP status and its words.
_REASONS = {
    "usageLimitExceeded": Reason.USAGE_LIMIT,
    "rateLimitExceeded": Reason.USAGE_LIMIT,
    "sessionBudgetExceeded": Reason.USAGE_LIMIT,
    "unauthorized": Reason.NOT_LOGGED_IN,
    "contextWindowExceeded": Reason.AGENT_ERROR,
    "sandboxError": Reason.AGENT_ERROR,
    "threadRollbackFailed": Reason.AGENT_ERROR,
    "cyberPolicy": Reason.REFUSED,
    "misalignmentPolicyViolation": Reason.REFUSED,
    "inferenceHookDenied": Reason.REFUSED,
    "tooManyDenials": Reason.REFUSED,
}
_STATUS_REASONS = {401: Reason.NOT_LOGGED_IN, 429: Reason.USAGE_LIMIT}

# Notifications that tell a user nothing, or nothing that another one does not tell. Of groups the beginning.
_SILENT = (
    "account/",
    "app/",
    "autoApprovalReview/",
    "command/exec/",
    "deprecationNotice",
    "externalAgentConfig/",
    "fs/",
    "fuzzyFileSearch/",
    "hook/",
    "item/autoApprovalReview/",
    "item/commandExecution/",
    "item/fileChange/",
    "item/mcpToolCall/",
    "item/plan/delta",
    "item/reasoning/summaryPartAdded",
    "mcpServer/",
    "model/",
    "modelProvider/",
    "process/",
    "project/",
    "rawResponse",
    "remoteControl/",
    "skills/",
    "thread/",
    "turn/diff/",
    "turn/environment",
    "turn/moderationMetadata",
    "windows",
)
# Requests that we are not equipped for; the program goes on without.
_NOT_OFFERED = frozenset(
    {"account/chatgptAuthTokens/refresh", "attestation/generate", "currentTime/read", "item/tool/call"}
)


class CodexAdapter(Adapter):
    """Codex."""

    name: str = "codex"
    display_name: str = NAME
    rank: int = 20
    protocol: str = "app-server"
    programs: tuple[str, ...] = ("codex",)
    install_hint: str = "Install Codex: npm install -g @openai/codex"
    capabilities: Capabilities = Capabilities(
        resume=True, follow_up="steer", approvals=True, questions=True, read_only=True, model=True
    )

    def launch(self, task: Task) -> Launch:  # noqa: ARG002 - everything about the task is said in the handshake
        """Start the server; what it is for is said in the handshake."""
        return Launch(["app-server"])

    def dialogue(self, task: Task, state: dict[str, Any] | None = None) -> "CodexDialogue":
        """Return a new dialogue, or the one that was saved as `state`."""
        return CodexDialogue(task, state or _new_state())


ADAPTER = CodexAdapter


class CodexDialogue(Dialogue):
    """One run's conversation with Codex."""

    @property
    def busy(self) -> bool:
        """Whether a turn runs, or a text was handed in that begins or joins one."""
        state = self.state
        return bool(state["turn"] or state["starting"] or state["steering"] or state["waiting"])

    def begin(self) -> Output:
        """Return the first line of the handshake."""
        output = Output()
        client = {"name": "orch", "title": "orch", "version": __version__}
        # The diff of the whole turn, repeated after every step, is what our own git tells.
        capabilities = {"experimentalApi": True, "optOutNotificationMethods": ["turn/diff/updated"]}
        self._call(output, "initialize", {"clientInfo": client, "capabilities": capabilities})
        return output

    def prompt(self, prompt: Prompt) -> Output:
        """Hand in a user's text: it begins a turn, or joins the one that runs."""
        output = Output()
        self.state["waiting"].append([prompt.id, prompt.text])
        self._advance(output)
        return output

    def answer(self, request_id: str, answer: Answer) -> Output:
        """Answer an open input request."""
        output = Output()
        asked = self.state["asked"].pop(request_id, None)
        if asked is not None:
            self._write(output, {"id": asked["id"], "result": reply(asked, answer)}, secret=asked.get("secret", False))
        return output

    def interrupt(self) -> Output:
        """Ask for the end of the turn; texts that wait for the handshake are dropped as stopped."""
        output = Output()
        state = self.state
        if state["turn"] or state["starting"]:
            state["interrupting"] = True
            self._interrupt_turn(output)
        else:
            output.facts += [TurnEnded(Reason.USER_STOPPED) for _ in state["waiting"]]
            state["waiting"].clear()
        return output

    def receive(self, line: str) -> Output:
        """Take one line: a response, a request, or a notification."""
        output = Output()
        message = parse_line(line)
        if not isinstance(message, dict):
            if line.strip():
                output.facts.append(_log("raw", line))
            return output
        try:
            for one in codex_exec.translated(message, self.state):
                self._receive(output, one, line)
        except _PROGRAM_MAKES_NO_SENSE:
            output.facts.append(_log("unknown", line))
            if "method" in message and "id" in message:
                self._refuse(output, message["id"], "orch does not understand these params")
        return output

    def observe(self, line: str) -> Output:
        """Take note of a line that another client wrote, as if it were written here; from then on only listen."""
        output = Output()
        state = self.state
        state["observed"] = True
        parsed = parse_line(line)
        message = parsed if isinstance(parsed, dict) else {}
        method, number = message.get("method"), message.get("id")
        if method == "turn/interrupt":
            state["interrupting"] = True
        if method is not None and number is not None:
            self._noted_call(number, str(method), f"observed-{number}", message.get("params"))
        elif method is None:
            request_id = next((key for key, asked in state["asked"].items() if asked["id"] == number), None)
            if request_id is not None:
                option = chosen_option(state["asked"].pop(request_id), message.get("result"))
                output.facts.append(InputAnswered(input_request_id=request_id, by="user", option_id=option))
        return output

    def ended(self, end: Exit) -> Output:
        """Close what is open, and say how a running turn ended."""
        output = Output()
        state = self.state
        busy, interrupted = self.busy, state["interrupting"]
        self._close_turn(output, why="Codex ended")
        state.update(turn=None, starting=[], steering={}, waiting=[], interrupting=False)
        if interrupted:
            output.facts.append(TurnEnded(Reason.USER_STOPPED))
        elif busy:
            reason, text = state["failure"] or exit_failure(end, NAME)
            output.facts.append(TurnEnded(Reason(reason), text))
        return output

    # What the program says.

    def _receive(self, output: Output, message: Mapping[str, Any], line: str) -> None:
        method = message.get("method")
        if method is None:
            self._response(output, message, line)
        elif "id" in message:
            self._request(output, message["method"], message["id"], message.get("params") or {}, line)
        else:
            self._notification(output, method, message.get("params") or {}, line)

    def _notification(self, output: Output, method: str, params: Mapping[str, Any], line: str) -> None:
        ours = self._is_ours(params)
        match method:
            case "item/agentMessage/delta" | "item/reasoning/summaryTextDelta" | "item/reasoning/textDelta":
                if ours:
                    self._delta(output, method, params)
            case "item/started" | "item/completed":
                self._item(output, params["item"], over=method == "item/completed", ours=ours, line=line)
            case "thread/started":
                if self.state["conversation"] is None:
                    self._name(output, params["thread"]["id"])
            case "turn/started" if ours:
                self._turn_started(output, params["turn"]["id"])
            case "turn/completed" if ours:
                self._turn_completed(output, params["turn"])
            case "turn/plan/updated":
                if ours:
                    steps = [(str(step["step"]), str(step["status"])) for step in params["plan"]]
                    entries = [PlanEntry(text=text, status=_STEP_STATUS.get(status, status)) for text, status in steps]
                    output.facts.append(AgentPlan(entries=entries))
            case "thread/tokenUsage/updated":
                self._tokens(output, params["threadId"], params["tokenUsage"], ours=ours)
            case "account/rateLimits/updated":
                self._limits(params["rateLimits"])
            case "serverRequest/resolved":
                self._resolved(output, params["requestId"])
            case "error":
                self._error(output, params, ours=ours)
            case "warning" | "guardianWarning":
                output.facts.append(AgentLog(stream="stderr", text=str(params["message"])))
            case "configWarning":
                texts = (params.get("summary"), params.get("details"))
                output.facts.append(AgentLog(stream="stderr", text="\n".join(str(text) for text in texts if text)))
            case "model/rerouted":
                text = f"The model {params['fromModel']} was replaced by {params['toModel']}."
                output.facts.append(AgentThought(message_id=self._new_message_id(), text=text, final=True))
            case "turn/started" | "turn/completed":
                pass  # of a subagent
            case _:
                if not method.startswith(_SILENT):
                    output.facts.append(_log("unknown", line))

    def _is_ours(self, params: Mapping[str, Any]) -> bool:
        # Subagents are threads of their own, and are heard as well.
        return params.get("threadId") in {None, self.state["conversation"]}

    # Messages: streamed, then repeated whole.

    def _delta(self, output: Output, method: str, params: Mapping[str, Any]) -> None:
        part = f"{params['itemId']}/{method}/{params.get('summaryIndex', params.get('contentIndex', 0))}"
        text = params["delta"]
        said = self.state["said"].get(part) or [self._new_message_id(), 0]
        event = AgentMessage if method == "item/agentMessage/delta" else AgentThought
        output.facts.append(event(message_id=said[0], text=text, final=False))
        self.state["said"][part] = [said[0], said[1] + len(text)]

    def _whole(self, output: Output, item_id: str, method: str, texts: Iterable[str]) -> None:
        for index, text in enumerate(texts):
            said = self.state["said"].pop(f"{item_id}/{method}/{index}", None)
            if said is None and not text:
                continue
            message_id, length = said or (self._new_message_id(), 0)
            event = AgentMessage if method == "item/agentMessage/delta" else AgentThought
            output.facts.append(event(message_id=message_id, text=text[length:], final=True))

    def _new_message_id(self) -> str:
        # Models name their items, and some name them alike in every turn.
        self.state["messages"] += 1
        return f"{self.task.run_id}-m{self.state['messages']}"

    # Items.

    def _item(self, output: Output, item: Mapping[str, Any], *, over: bool, ours: bool, line: str) -> None:
        kind, item_id = item["type"], str(item["id"])
        match kind:
            case "agentMessage" | "reasoning" | "plan" | "exitedReviewMode":
                if over and ours:
                    self._said(output, kind, item_id, item)
                elif over and (text := overheard(item)):
                    output.facts.append(AgentThought(message_id=self._new_message_id(), text=text, final=True))
            case "contextCompaction" | "subAgentActivity":
                if over and (text := overheard(item)):
                    output.facts.append(AgentThought(message_id=self._new_message_id(), text=text, final=True))
            case _ if kind in SILENT_ITEMS:
                pass
            case _:
                self._tool(output, item_id, item, over=over, ours=ours, line=line)

    def _said(self, output: Output, kind: str, item_id: str, item: Mapping[str, Any]) -> None:
        if kind == "reasoning":
            self._whole(output, item_id, "item/reasoning/summaryTextDelta", item.get("summary") or ())
            self._whole(output, item_id, "item/reasoning/textDelta", item.get("content") or ())
            return
        text = str(item["review"] if kind == "exitedReviewMode" else item["text"])
        self._whole(output, item_id, "item/agentMessage/delta", [text])
        if kind == "plan":
            self.state["plan"] = text
        elif text:
            self.state["text"] = text

    def _tool(
        self, output: Output, item_id: str, item: Mapping[str, Any], *, over: bool, ours: bool, line: str
    ) -> None:
        state = self.state
        if item_id in state["finished"]:
            return  # a command that went on after its turn
        if item_id not in state["tools"]:
            tool = started(item, self.task.cwd, "" if ours else "[subagent] ")
            if tool is None:
                output.facts.append(_log("unknown", line))
                return
            output.facts.append(tool)
            kept = {"title": tool.title, "detail": capped(tool.input, 16 * 1024)[0], "paths": tool.paths}
            state["tools"][item_id] = {"ours": ours, **kept}
        if over:
            self._finish_tool(output, item_id, item)

    def _finish_tool(self, output: Output, item_id: str, item: Mapping[str, Any] | None) -> None:
        del self.state["tools"][item_id]
        self.state["finished"] = [*self.state["finished"][-99:], item_id]
        output.facts.append(finished(item_id, item))

    # Requests of the program.

    def _request(self, output: Output, method: str, number: Any, params: Mapping[str, Any], line: str) -> None:
        if method in _NOT_OFFERED:
            self._refuse(output, number, f"orch does not offer {method}")
            return
        self.state["requests"] += 1
        request_id = f"{self.task.run_id}-r{self.state['requests']}"
        known = self.state["tools"].get(params.get("itemId")) or {}
        question = ask(method, params, request_id, known)
        if question is None:
            output.facts.append(_log("unknown", line))
            self._refuse(output, number, f"orch does not offer {method}")
            return
        fact, kept = question
        self.state["asked"][request_id] = {"id": number, **kept}
        output.facts.append(fact)

    def _resolved(self, output: Output, number: Any) -> None:
        for request_id, asked in list(self.state["asked"].items()):
            if asked["id"] == number:
                del self.state["asked"][request_id]
                output.facts.append(Withdrawn(request_id, "withdrawn by the agent"))

    # Responses to what we asked.

    def _response(self, output: Output, message: Mapping[str, Any], line: str) -> None:
        call = self.state["calls"].pop(str(message.get("id")), None)
        if call is None:
            output.facts.append(_log("unknown", line))
            return
        method, prompt_id = call
        error, result = message.get("error"), message.get("result") or {}
        if error is not None and not isinstance(error, Mapping):
            error = {"message": str(error)}
        match method:
            case "initialize" | "thread/start" | "thread/resume" if error is not None:
                self._handshake_failed(output, method, error)
            case "initialize":
                self._write(output, {"method": "initialized"})
                self._open_thread(output)
            case "thread/start" | "thread/resume":
                self._thread_opened(output, result)
            case "turn/start":
                self._turn_answered(output, prompt_id, result, error)
            case "turn/steer":
                self._steered(output, prompt_id, error)
            case _:
                pass  # an interrupt, which the turn's end confirms; or a request of another client

    def _open_thread(self, output: Output) -> None:
        task = self.task
        params: dict[str, Any] = {"cwd": task.cwd, "sandbox": "read-only", "approvalPolicy": _rules(task)[0]}
        if task.model:
            params["model"] = task.model
        if task.conversation_id:
            resumed = {"threadId": task.conversation_id, "excludeTurns": True}
            self._call(output, "thread/resume", {**resumed, **params})
        else:
            self._call(output, "thread/start", params)

    def _thread_opened(self, output: Output, result: Mapping[str, Any]) -> None:
        state = self.state
        self._name(output, result["thread"]["id"])
        state["model"] = result.get("model")
        state["open"] = True
        self._advance(output)

    def _name(self, output: Output, thread_id: str) -> None:
        if thread_id != self.state["named"]:
            self.state["conversation"] = self.state["named"] = str(thread_id)
            output.facts.append(ConversationNamed(str(thread_id)))

    def _handshake_failed(self, output: Output, method: str, error: Mapping[str, Any]) -> None:
        # Without a thread no text can be sent: those that wait fail now, those that come fail at once.
        doing = {"initialize": "start", "thread/start": "begin a conversation", "thread/resume": "resume it"}[method]
        text = f"Codex could not {doing}: {error_text(error)}"
        self.state["failure"] = [text_reason(text, Reason.AGENT_ERROR).value, text]
        if method == "thread/resume":
            output.facts.append(ConversationLost())
        self._advance(output)

    def _advance(self, output: Output) -> None:
        # Send what may be sent now.
        state = self.state
        if state["failure"]:
            reason, text = state["failure"]
            output.facts += [TurnEnded(Reason(reason), text) for _ in state["waiting"]]
            state["waiting"].clear()
        while state["waiting"] and state["open"] and not (state["observed"] or state["starting"]):
            if state["turn"] and (state["interrupting"] or state["unsteerable"]):
                return
            prompt_id, text = state["waiting"].pop(0)
            given = {"threadId": state["conversation"], "input": [{"type": "text", "text": text, "text_elements": []}]}
            if state["turn"]:
                state["steering"][prompt_id] = text
                self._call(output, "turn/steer", {**given, "expectedTurnId": state["turn"]}, prompt_id)
            else:
                self._call(output, "turn/start", {**given, **self._turn_settings()}, prompt_id)

    def _turn_settings(self) -> dict[str, Any]:
        approval, sandbox = _rules(self.task)
        settings: dict[str, Any] = {"approvalPolicy": approval, "sandboxPolicy": sandbox}
        model = self.task.model or self.state["model"]
        if self.task.action == Action.PLAN and model:
            # Null: the program's own instructions of the mode.
            mode = {"model": model, "reasoning_effort": None, "developer_instructions": None}
            settings["collaborationMode"] = {"mode": "plan", "settings": mode}
        return settings

    # Turns.

    def _turn_answered(
        self, output: Output, prompt_id: str, result: Mapping[str, Any], error: Mapping[str, Any] | None
    ) -> None:
        state = self.state
        if error is not None:
            if prompt_id in state["starting"]:
                state["starting"].remove(prompt_id)
                text = error_text(error)
                output.facts.append(TurnEnded(text_reason(text, Reason.AGENT_ERROR), text))
                state["interrupting"] = False
                self._advance(output)
        elif prompt_id in state["starting"] and state["turn"] and result["turn"]["id"] == state["turn"]:
            # Another client's text that was written while a turn ran: it joined that turn.
            state["starting"].remove(prompt_id)
            output.facts.append(PromptAccepted(prompt_id, begins_turn=False))

    def _steered(self, output: Output, prompt_id: str, error: Mapping[str, Any] | None) -> None:
        state = self.state
        text = state["steering"].pop(prompt_id, None)
        if error is None:
            output.facts.append(PromptAccepted(prompt_id, begins_turn=False))
        elif text:
            # The turn ended meanwhile, or takes no texts (a review, a compaction): it begins the next one.
            state["unsteerable"] = state["turn"] is not None
            state["waiting"].insert(0, [prompt_id, text])
            self._advance(output)

    def _turn_started(self, output: Output, turn_id: str) -> None:
        state = self.state
        state.update(turn=turn_id, turns=state["turns"] + 1, text="", plan="", error=None, unsteerable=False)
        if state["starting"]:
            output.facts.append(PromptAccepted(state["starting"].pop(0)))
        if state["interrupting"]:
            self._interrupt_turn(output)
        self._advance(output)

    def _interrupt_turn(self, output: Output) -> None:
        state = self.state
        if state["turn"]:
            self._call(output, "turn/interrupt", {"threadId": state["conversation"], "turnId": state["turn"]})

    def _turn_completed(self, output: Output, turn: Mapping[str, Any]) -> None:
        state = self.state
        if state["starting"] and not state["turn"]:  # it failed before it began
            output.facts.append(PromptAccepted(state["starting"].pop(0)))
        ended = self._verdict(turn)
        self._close_turn(output, why="the turn ended")
        output.facts.append(ended)
        state.update(turn=None, interrupting=False, error=None, unsteerable=False)
        self._advance(output)

    def _verdict(self, turn: Mapping[str, Any]) -> TurnEnded:
        state = self.state
        text = state["plan"] or state["text"]
        error = turn.get("error") or (state["error"] if turn["status"] == "failed" else None)
        match turn["status"]:
            case "completed":
                return TurnEnded(text=text)
            case "interrupted" if state["interrupting"] or not error:
                return TurnEnded(Reason.USER_STOPPED, text)
            case "interrupted" | "failed":
                return self._failed(error or {"message": "The turn failed."})
            case other:
                return TurnEnded(Reason.AGENT_ERROR, f"Codex ended the turn in an unknown way: {other}.")

    def _failed(self, error: Mapping[str, Any]) -> TurnEnded:
        info = error.get("codexErrorInfo")
        name = info if isinstance(info, str) else next(iter(info), "") if isinstance(info, Mapping) else ""
        details = info.get(name) if isinstance(info, Mapping) else None
        status = details.get("httpStatusCode") if isinstance(details, Mapping) else None
        text = "\n".join(str(part) for part in (error.get("message"), error.get("additionalDetails")) if part)
        reason = _REASONS.get(name) or _STATUS_REASONS.get(status or 0) or text_reason(text, Reason.API_ERROR)
        if reason == Reason.NOT_LOGGED_IN:
            text += f"\n{LOGIN_HINT}"
        return TurnEnded(reason, text, self._resets_at() if reason == Reason.USAGE_LIMIT else None)

    def _close_turn(self, output: Output, *, why: str) -> None:
        state = self.state
        for part, (message_id, _) in state["said"].items():
            event = AgentMessage if "/item/agentMessage/" in part else AgentThought
            output.facts.append(event(message_id=message_id, text="", final=True))
        state["said"].clear()
        for item_id in list(state["tools"]):
            self._finish_tool(output, item_id, None)
        output.facts += withdrawal(state["asked"], why)
        state["asked"].clear()

    def _error(self, output: Output, params: Mapping[str, Any], *, ours: bool) -> None:
        error = params["error"]
        if params.get("willRetry"):
            text = "\n".join(str(part) for part in (error["message"], error.get("additionalDetails")) if part)
            output.facts.append(AgentLog(stream="stderr", text=text))
        elif ours:
            self.state["error"] = dict(error)  # the end of the turn repeats it, mostly

    # What it costs.

    def _tokens(self, output: Output, thread: str, usage: Mapping[str, Any], *, ours: bool) -> None:
        state = self.state
        total, last = _tokens_of(usage["total"]), _tokens_of(usage.get("last") or {})
        if ours and not state["turns"]:
            state["before"] = total  # of earlier runs of the conversation
            return
        if ours and state["before"] is None:
            state["before"] = [a - b for a, b in zip(total, last, strict=True)] if self._resumed() else [0, 0]
        state["used"][thread] = [a - b for a, b in zip(total, state["before"] if ours else [0, 0], strict=True)]
        tokens_in, tokens_out = (sum(column) for column in zip(*state["used"].values(), strict=True))
        if [tokens_in, tokens_out] != state["told"]:
            state["told"] = [tokens_in, tokens_out]
            output.facts.append(UsageSeen(Usage(input_tokens=max(0, tokens_in), output_tokens=max(0, tokens_out))))

    def _resumed(self) -> bool:
        return bool(self.task.conversation_id or self.state["resumed"])

    def _limits(self, limits: Mapping[str, Any]) -> None:
        # Sparse: what is null says nothing new.
        for name in ("primary", "secondary"):
            window = limits.get(name)
            if isinstance(window, Mapping):
                self.state["limits"][name] = [window.get("usedPercent") or 0, window.get("resetsAt")]

    def _resets_at(self) -> str | None:
        times = [resets for used, resets in self.state["limits"].values() if used >= 100 and resets]
        return rfc3339(max(times)) if times else None

    # Writing, and taking note of what was written.

    def _call(self, output: Output, method: str, params: Mapping[str, Any], prompt_id: str = "") -> None:
        if not self.state["observed"]:
            number = self.state["next_id"]
            self._write(output, {"id": number, "method": method, "params": params}, prompt_id=prompt_id or None)
            self._noted_call(number, method, prompt_id, params)

    def _noted_call(self, number: Any, method: str, prompt_id: str, params: Any) -> None:
        state = self.state
        state["calls"][str(number)] = [method, prompt_id]
        if isinstance(number, int):
            state["next_id"] = max(state["next_id"], number + 1)
        match method:
            case "turn/start":
                state["starting"].append(prompt_id)
            case "turn/steer":
                state["steering"].setdefault(prompt_id, "")
            case "thread/resume":
                state["resumed"] = True
                state["conversation"] = params.get("threadId") if isinstance(params, Mapping) else None

    def _refuse(self, output: Output, number: Any, why: str) -> None:
        self._write(output, {"id": number, "error": {"code": METHOD_NOT_FOUND, "message": why}})

    def _write(
        self, output: Output, message: Mapping[str, Any], *, prompt_id: str | None = None, secret: bool = False
    ) -> None:
        if not self.state["observed"]:
            output.lines.append(Line(orjson.dumps(message).decode(), prompt_id=prompt_id, secret=secret))


def _new_state() -> dict[str, Any]:
    return {
        "version": 1,
        "observed": False,
        "next_id": 1,
        "calls": {},  # number of a request of ours -> its method and the text that it carries, until it is answered
        "conversation": None,
        "named": None,  # the conversation, once the program told it
        "resumed": False,
        "model": None,
        "open": False,
        "failure": None,  # [reason, text] of a handshake that failed
        "waiting": [],  # [id, text] of texts that could not be sent yet
        "starting": [],  # of texts that were sent to begin a turn
        "steering": {},  # id -> text of those that were sent to join the running turn
        "turn": None,
        "turns": 0,
        "unsteerable": False,
        "interrupting": False,
        "messages": 0,
        "said": {},  # part of an item -> [our id, length] of what was streamed of it
        "text": "",  # the last message of the turn
        "plan": "",  # the proposed plan of the turn
        "error": None,
        "tools": {},
        "finished": [],
        "requests": 0,
        "asked": {},
        "before": None,  # [input, output] that the conversation had used before this run
        "used": {},  # thread -> [input, output] of this run
        "told": [0, 0],
        "limits": {},  # window -> [used percent, Unix time of its reset]
    }


def _rules(task: Task) -> tuple[str, dict[str, Any]]:
    """Return when Codex asks, and the sandbox that it works in."""
    if task.read_only:
        return "never", _READ_ONLY
    match task.policy:
        case Policy.DENY:
            return "on-request", _READ_ONLY
        case Policy.AUTO_ALL:
            return "on-request", _WORKSPACE
        case _:
            return "untrusted", _WORKSPACE


def _tokens_of(counts: Mapping[str, Any]) -> list[int]:
    return [int(counts.get("inputTokens") or 0), int(counts.get("outputTokens") or 0)]


def _log(stream: str, line: str) -> Fact:
    return AgentLog(stream=stream, text=capped(clean(line))[0])
