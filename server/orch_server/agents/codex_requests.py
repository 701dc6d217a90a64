"""What Codex asks its client, as input requests, and the answers as Codex wants them. Pure functions without memory.

`ask` returns beside the fact what must be kept until the answer: JSON, which `reply` and `chosen_option` take.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from orch_server.agents.acp_content import form_content, questions_of
from orch_server.agents.adapter import Answer, Asked, Subject, Withdrawn
from orch_server.agents.codex_items import plain_command
from orch_server.agents.texts import DETAIL_LIMIT, capped, json_text
from orch_server.domain.session import (
    ApprovalOption,
    InputRequest,
    InputRequestKind,
    OptionKind,
    Question,
    QuestionAnswer,
    QuestionOption,
)

Kept = dict[str, Any]

_DECISIONS = {
    "accept": ("Allow once", OptionKind.ALLOW_ONCE),
    "acceptForSession": ("Allow for this session", OptionKind.ALLOW_ALWAYS),
    "acceptWithExecpolicyAmendment": ("Always allow commands that begin so", OptionKind.ALLOW_ALWAYS),
    "applyNetworkPolicyAmendment": ("Always allow this host", OptionKind.ALLOW_ALWAYS),
    "decline": ("Reject", OptionKind.REJECT_ONCE),
    "cancel": ("Reject and end the turn", OptionKind.REJECT_ONCE),
}
_FILE_DECISIONS = ("accept", "acceptForSession", "decline", "cancel")


def ask(method: str, params: Mapping[str, Any], request_id: str, tool: Mapping[str, Any]) -> tuple[Asked, Kept] | None:
    """Return a request of Codex as what the user is asked, and what must be kept; None if it is not known.

    `tool` is what was told of the item that the request is about: its title, detail and paths.
    """
    match method:
        case "item/commandExecution/requestApproval":
            return _command(params, request_id)
        case "item/fileChange/requestApproval":
            return _file_change(params, request_id, tool)
        case "item/permissions/requestApproval":
            return _permissions(params, request_id)
        case "item/tool/requestUserInput":
            return _questions(params, request_id)
        case "mcpServer/elicitation/request":
            return _elicitation(params, request_id)
    return None


def reply(asked: Kept, answer: Answer) -> dict[str, Any]:
    """Return the result for an answer."""
    match asked["kind"]:
        case "decision":
            return {"decision": asked["decisions"].get(answer.option_id, "decline")}
        case "permissions":
            granted = asked["permissions"] if answer.option_id in {"turn", "session"} else {}
            return {"permissions": granted, "scope": "session" if answer.option_id == "session" else "turn"}
        case "questions":
            return {"answers": dict(_answers(asked["questions"], answer))}
    return _elicitation_reply(asked, answer)


def chosen_option(asked: Kept, result: Any) -> str | None:
    """Return the option that another client's answer amounts to, if it was about options."""
    result = result if isinstance(result, Mapping) else {}
    match asked["kind"]:
        case "decision":
            decision = result.get("decision")
            return next((option for option, value in asked["decisions"].items() if value == decision), None)
        case "permissions":
            return str(result.get("scope", "turn")) if result.get("permissions") else "reject"
        case "elicitation" if not asked["form"]:
            return "accept" if result.get("action") == "accept" else "decline"
    return None


def withdrawal(asked: Mapping[str, Kept], why: str) -> list[Withdrawn]:
    """Return that nobody waits for any of these answers."""
    return [Withdrawn(request_id, why) for request_id in asked]


def _command(params: Mapping[str, Any], request_id: str) -> tuple[Asked, Kept]:
    command = plain_command(str(params.get("command") or ""))
    network = params.get("networkApprovalContext")
    title = command.strip().split("\n")[0][:200] or "Run a command"
    if isinstance(network, Mapping):
        title = f"Connect to {network.get('host')}"
    elif params.get("kind") == "writeStdin":
        title = f"Type into a running command: {title}"
    more = json_text(params.get("additionalPermissions"))
    detail = [command, params.get("reason"), f"It wants more than the sandbox: {more}" if more else ""]
    available = params.get("availableDecisions") or _FILE_DECISIONS
    return _approval(request_id, title, detail, "shell", _decisions(available), Subject("execute"))


def _file_change(params: Mapping[str, Any], request_id: str, tool: Mapping[str, Any]) -> tuple[Asked, Kept]:
    root = params.get("grantRoot")
    paths = (*tool.get("paths", ()), *([str(root)] if root else ()))
    grant = f"It wants to write everywhere under {root} from now on." if root else ""
    detail = [tool.get("detail"), params.get("reason"), grant]
    title = str(tool.get("title") or "Edit files")
    return _approval(request_id, title, detail, "apply_patch", _decisions(_FILE_DECISIONS), Subject("edit", paths))


def _approval(
    request_id: str, title: str, detail: list[Any], tool: str, decisions: dict[str, Any], subject: Subject
) -> tuple[Asked, Kept]:
    options = []
    for option_id, decision in decisions.items():
        name = option_id.split("/")[0]
        label, kind = _DECISIONS[name]
        if isinstance(decision, Mapping):
            label, kind = _amendment(name, decision[name], label, kind)
        options.append(ApprovalOption(id=option_id, label=label, kind=kind))
    request = InputRequest(
        id=request_id,
        kind=InputRequestKind.APPROVAL,
        title=title,
        detail=capped("\n\n".join(str(part) for part in detail if part), DETAIL_LIMIT)[0],
        tool=tool,
        options=options,
    )
    return Asked(request, subject), {"kind": "decision", "decisions": decisions}


def _decisions(available: Any) -> dict[str, Any]:
    """Return the decisions that may be taken, by the ids of their options.

    Rejecting a command is often not offered without ending the turn, but understood: so it always is an option.
    """
    decisions: dict[str, Any] = {}
    for decision in available:
        name = str(next(iter(decision), "")) if isinstance(decision, Mapping) else str(decision)
        if name in _DECISIONS:
            decisions[name if name not in decisions else f"{name}/{len(decisions)}"] = decision
    if "decline" not in decisions:
        cancel = decisions.pop("cancel", None)
        decisions["decline"] = "decline"
        if cancel:
            decisions["cancel"] = cancel
    return decisions


def _amendment(name: str, amendment: Mapping[str, Any], label: str, kind: OptionKind) -> tuple[str, OptionKind]:
    if name == "acceptWithExecpolicyAmendment":
        return f"{label}: {' '.join(map(str, amendment.get('execpolicy_amendment') or ()))}", kind
    rule = amendment.get("network_policy_amendment") or {}
    if rule.get("action") == "deny":
        return f"Never allow {rule.get('host')}", OptionKind.REJECT_ALWAYS
    return f"Always allow {rule.get('host')}", kind


def _permissions(params: Mapping[str, Any], request_id: str) -> tuple[Asked, Kept]:
    permissions = {key: value for key, value in (params.get("permissions") or {}).items() if value is not None}
    request = InputRequest(
        id=request_id,
        kind=InputRequestKind.APPROVAL,
        title="More permissions",
        detail=capped("\n\n".join(filter(None, (json_text(permissions), params.get("reason")))), DETAIL_LIMIT)[0],
        tool="request_permissions",
        options=[
            ApprovalOption(id="turn", label="Allow for this turn", kind=OptionKind.ALLOW_ONCE),
            ApprovalOption(id="session", label="Allow for this session", kind=OptionKind.ALLOW_ALWAYS),
            ApprovalOption(id="reject", label="Reject", kind=OptionKind.REJECT_ONCE),
        ],
    )
    return Asked(request), {"kind": "permissions", "permissions": permissions}


def _questions(params: Mapping[str, Any], request_id: str) -> tuple[Asked, Kept]:
    questions = [
        Question(
            id=str(question["id"]),
            header=question.get("header") or "",
            text=question["question"],
            options=[
                QuestionOption(id=option["label"], label=option["label"], description=option.get("description") or "")
                for option in question.get("options") or []
            ],
            allows_text=bool(question.get("isOther")) or not question.get("options"),
            secret=bool(question.get("isSecret")),
        )
        for question in params["questions"]
    ]
    title = questions[0].text if questions else "Question"
    request = InputRequest(
        id=request_id,
        kind=InputRequestKind.QUESTION,
        title=title,
        tool="request_user_input",
        questions=questions,
    )
    ids = [question.id for question in questions]
    return Asked(request), {"kind": "questions", "questions": ids, "secret": any(q.secret for q in questions)}


def _answers(ids: list[str], answer: Answer) -> Iterator[tuple[str, dict[str, list[str]]]]:
    given = list(answer.answers)
    if not given and ids and (answer.text or answer.option_id):
        options = [answer.option_id] if answer.option_id else []
        given = [QuestionAnswer(question_id=ids[0], option_ids=options, text=answer.text)]
    for one in given:
        texts = [*one.option_ids, *([one.text] if one.text else [])]
        if texts and one.question_id in ids:
            yield one.question_id, {"answers": texts}


def _elicitation(params: Mapping[str, Any], request_id: str) -> tuple[Asked, Kept] | None:
    mode = params.get("mode", "form")
    if mode not in {"form", "openai/form", "openaiForm", "url"}:
        return None
    message, server = str(params.get("message") or ""), str(params.get("serverName") or "mcp")
    questions, form = questions_of(message, params.get("requestedSchema"))
    if questions:
        request = InputRequest(
            id=request_id, kind=InputRequestKind.QUESTION, title=message, tool=server, questions=questions
        )
        kept = {"kind": "elicitation", "form": form, "secret": any(question.secret for question in questions)}
        return Asked(request), kept
    # Without a field it is a question of yes or no: may a tool be used, will the user visit an address.
    meta = params.get("_meta")
    lasting = "session" in json_text(meta.get("persist")) if isinstance(meta, Mapping) else False
    options = [ApprovalOption(id="accept", label="Allow once", kind=OptionKind.ALLOW_ONCE)]
    if lasting:
        options.append(ApprovalOption(id="session", label="Allow for this session", kind=OptionKind.ALLOW_ALWAYS))
    options.append(ApprovalOption(id="decline", label="Reject", kind=OptionKind.REJECT_ONCE))
    detail = "\n\n".join(part for part in (str(params.get("url") or ""), json_text(meta)) if part)
    request = InputRequest(
        id=request_id,
        kind=InputRequestKind.APPROVAL,
        title=message or f"{server} asks",
        detail=capped(detail, DETAIL_LIMIT)[0],
        tool=server,
        options=options,
    )
    return Asked(request), {"kind": "elicitation", "form": {}}


def _elicitation_reply(asked: Kept, answer: Answer) -> dict[str, Any]:
    form = asked["form"]
    if not form:
        accepted = answer.option_id in {"accept", "session"}
        meta = {"persist": "session"} if answer.option_id == "session" else None
        return {"action": "accept" if accepted else "decline", "content": {} if accepted else None, "_meta": meta}
    answers = list(answer.answers)
    if not answers and (answer.text or answer.option_id):
        options = [answer.option_id] if answer.option_id else []
        answers = [QuestionAnswer(question_id=next(iter(form)), option_ids=options, text=answer.text)]
    content = form_content(form, answers) if answers else None
    return {"action": "accept" if answers else "decline", "content": content, "_meta": None}
