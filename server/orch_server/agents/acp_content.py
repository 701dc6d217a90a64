"""What Agent Client Protocol messages carry, as plain values: texts, paths, details, questions.

Pure functions without memory. They take whatever a program sent and never trust its shape.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from orch_server.agents.texts import DETAIL_LIMIT, capped, json_text
from orch_server.domain.session import Question, QuestionAnswer, QuestionOption

TOOL_KINDS = frozenset({"read", "edit", "delete", "move", "search", "execute", "think", "fetch", "other"})
EFFECTS = {
    "edit": "edit",
    "delete": "edit",
    "move": "edit",
    "read": "read",
    "search": "read",
    "execute": "execute",
}
"""What a tool of a kind does to the project; every other kind is `other`."""

_PATH_KEYS = (
    "path",
    "file_path",
    "filePath",
    "filepath",
    "fileName",
    "filename",
    "notebook_path",
    "abs_path",
    "source",
    "destination",
    "old_path",
    "new_path",
)
_OUTPUT_KEYS = ("output", "content", "stdout", "text", "message", "error")


def block_text(block: Any) -> str:
    """Return the text of a content block; what is no text is named in brackets."""
    if not isinstance(block, Mapping):
        return ""
    match block.get("type"):
        case "text":
            text = block.get("text")
            return text if isinstance(text, str) else ""
        case "resource_link":
            return f"[{block.get('uri', 'resource')}]"
        case "resource":
            resource = block.get("resource")
            inner = resource if isinstance(resource, Mapping) else {}
            return str(inner.get("text") or f"[{inner.get('uri', 'resource')}]")
        case kind:
            return f"[{kind}]"


def content_text(content: Any) -> str:
    """Return the text of a tool call's `content`; of a diff only the path."""
    texts: list[str] = []
    for item in _mappings(content):
        if item.get("type") == "diff":
            texts.append(str(item.get("path", "")))
        elif item.get("type") == "content":
            texts.append(block_text(item.get("content")))
    return "\n".join(text for text in texts if text)


def diff_text(content: Any) -> str:
    """Return the changes in a tool call's `content`, as unified diffs."""
    return "\n".join(_one_diff(item) for item in _mappings(content) if item.get("type") == "diff")


def raw_output_text(raw: Any) -> str:
    """Return the text of a tool call's `rawOutput`, in whichever of the customary fields it is."""
    if isinstance(raw, Mapping):
        for key in _OUTPUT_KEYS:
            if isinstance(raw.get(key), str) and raw[key]:
                return str(raw[key])
    return json_text(raw)


def tool_paths(call: Mapping[str, Any]) -> list[str]:
    """Return every path that a tool call names: its locations, diffs and input, each once."""
    paths = [item.get("path") for item in _mappings(call.get("locations"))]
    paths += [item.get("path") for item in _mappings(call.get("content")) if item.get("type") == "diff"]
    raw = call.get("rawInput")
    if isinstance(raw, Mapping):
        paths += [raw.get(key) for key in _PATH_KEYS]
    return list(dict.fromkeys(path for path in paths if isinstance(path, str) and path))


def approval_detail(call: Mapping[str, Any]) -> str:
    """Return what a person should see before allowing a tool call: the command, the texts, the changes."""
    raw = call.get("rawInput")
    inputs = raw if isinstance(raw, Mapping) else {}
    command = inputs.get("command")
    if isinstance(command, Sequence) and not isinstance(command, str):
        command = " ".join(str(word) for word in command)
    parts = [command] if isinstance(command, str) else []
    changes = diff_text(call.get("content"))
    if not changes and isinstance(inputs.get("diff"), str):
        changes = inputs["diff"]
    texts = [
        block_text(item.get("content")) for item in _mappings(call.get("content")) if item.get("type") == "content"
    ]
    return capped("\n".join(part.strip("\n") for part in [*parts, *texts, changes] if part), DETAIL_LIMIT)[0]


def questions_of(message: str, schema: Any) -> tuple[list[Question], dict[str, dict[str, Any]]]:
    """Return the questions of an elicitation's form, and what is needed to write their answers.

    A field `<name>_custom` beside `<name>` is the free text for the same question.
    """
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    fields = {
        str(name): field
        for name, field in (properties.items() if isinstance(properties, Mapping) else ())
        if isinstance(field, Mapping)
    }
    names = [name for name in fields if not (name.endswith("_custom") and name.removesuffix("_custom") in fields)]
    questions: list[Question] = []
    form: dict[str, dict[str, Any]] = {}
    for name in names:
        field = fields[name]
        custom = f"{name}_custom" if f"{name}_custom" in fields else None
        options = _options_of(field)
        title = str(field.get("title") or "")
        description = str(field.get("description") or "")
        questions.append(
            Question(
                id=name,
                header=title if title != message else "",
                text=description or (message if len(names) == 1 else title) or name,
                options=options,
                multi_select=field.get("type") == "array",
                allows_text=custom is not None or not options,
                secret=field.get("format") == "password" or field.get("writeOnly") is True,
            )
        )
        form[name] = {"type": str(field.get("type") or "string"), "custom": custom, "options": bool(options)}
    return questions, form


def form_content(form: Mapping[str, Mapping[str, Any]], answers: Sequence[QuestionAnswer]) -> dict[str, Any]:
    """Return the `content` of an accepted elicitation."""
    content: dict[str, Any] = {}
    for answer in answers:
        field = form.get(answer.question_id)
        if field is None:
            continue
        if field["type"] == "array":
            if answer.option_ids:
                content[answer.question_id] = list(answer.option_ids)
        elif answer.option_ids:
            content[answer.question_id] = _typed(field["type"], answer.option_ids[0])
        if answer.text:
            if field["custom"]:
                content[str(field["custom"])] = answer.text
            elif answer.question_id not in content:
                content[answer.question_id] = _typed(field["type"], answer.text)
    return content


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _one_diff(item: Mapping[str, Any]) -> str:
    path, old, new = str(item.get("path", "")), str(item.get("oldText") or ""), str(item.get("newText") or "")
    if len(old) + len(new) > 4 * DETAIL_LIMIT:
        return f"{path}: {len(old)} characters become {len(new)}"  # difflib is quadratic
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), path, path, lineterm="", n=2)
    return "\n".join(lines)


def _options_of(field: Mapping[str, Any]) -> list[QuestionOption]:
    if field.get("type") == "boolean":
        return [QuestionOption(id="true", label="Yes"), QuestionOption(id="false", label="No")]
    items = field.get("items")
    source = items if field.get("type") == "array" and isinstance(items, Mapping) else field
    titled = _mappings(source.get("oneOf")) or _mappings(source.get("anyOf"))
    if titled:
        return [_titled_option(item) for item in titled if "const" in item]
    values = source.get("enum")
    names = source.get("enumNames")
    labels = names if isinstance(names, list) else values
    if not isinstance(values, list) or not isinstance(labels, list):
        return []
    return [QuestionOption(id=str(value), label=str(label)) for value, label in zip(values, labels, strict=False)]


def _titled_option(item: Mapping[str, Any]) -> QuestionOption:
    value = str(item["const"])
    label = str(item.get("title") or value)
    meta = item.get("_meta")
    notes = _mappings(list(meta.values())) if isinstance(meta, Mapping) else []
    description = str(item.get("description") or next((n["description"] for n in notes if n.get("description")), ""))
    if description and label == f"{value} \u2014 {description}":
        label = value  # claude-agent-acp writes the description into the title as well
    return QuestionOption(id=value, label=label, description=description)


def _typed(kind: str, text: str) -> Any:
    try:
        match kind:
            case "integer":
                return int(text)
            case "number":
                return float(text)
            case "boolean":
                return text.strip().lower() in {"true", "yes", "y", "1"}
    except ValueError:
        pass  # the program says what is wrong with it better than we can
    return text
