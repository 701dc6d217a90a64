"""What all adapters need to say plainly: texts within limits, the reasons of failures, lines that are almost JSON.

Pure functions without memory. They take whatever a program sent and never trust its shape.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from orch_server.agents.adapter import Exit
from orch_server.domain.session import Reason

TEXT_LIMIT = 64 * 1024
DETAIL_LIMIT = 16 * 1024

_SURROGATES = re.compile("[\ud800-\udfff]")

# Texts of failures as the programs write them; the first that matches decides. `limit` goes before `login`,
# since "429 ... check your plan or log in" is about the limit.
_USAGE_LIMIT = re.compile(
    r"\b429\b|usage.?limit|rate.?limit|quota|too many requests|limit reached|billing_error|insufficient.credit",
    re.IGNORECASE,
)
_NOT_LOGGED_IN = re.compile(
    r"\b401\b|not logged in|log ?in required|please (?:run|log|sign)|authenticat|unauthori[sz]ed|auth_required"
    r"|(?:invalid|missing|incorrect) api.?key",
    re.IGNORECASE,
)


def clean(text: str) -> str:
    """Return `text` without halves of surrogate pairs, which cannot be stored as UTF-8."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def capped(text: str, limit: int = TEXT_LIMIT) -> tuple[str, bool]:
    """Return as much of `text` as fits into `limit` bytes of UTF-8, and whether something is missing."""
    if len(text) * 4 <= limit:
        return text, False
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return text, False
    return data[:limit].decode("utf-8", "ignore"), True


def json_text(value: Any) -> str:
    """Return a value as text for a person: strings as they are, everything else as JSON."""
    if isinstance(value, str):
        return value
    if value is None or value == {}:
        return ""
    return orjson.dumps(value, default=str).decode()


def rfc3339(seconds: float) -> str:
    """Return a Unix time as the wire has it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_line(line: str) -> Any:
    """Return the JSON value of a line; None where there is none."""
    try:
        return orjson.loads(line)
    except ValueError:
        # Node programs may cut a text between the halves of a surrogate pair; only the slower parser reads that.
        try:
            return json.loads(clean(json.dumps(json.loads(line), ensure_ascii=False)))
        except (ValueError, RecursionError):
            return None


def error_text(error: Mapping[str, Any]) -> str:
    """Return what a JSON-RPC error says, for a person."""
    message = _inner_message(str(error.get("message") or f"error {error.get('code')}")).removeprefix("Internal error: ")
    data = error.get("data")
    more = data
    if isinstance(data, Mapping):
        more = next((data[key] for key in ("details", "message", "error", "reason") if data.get(key)), None)
    text = json_text(more)
    if not text or text in message:
        return message
    return text if message.strip(". ") == "Internal error" else f"{message}: {text}"


def error_reason(error: Mapping[str, Any], otherwise: Reason) -> Reason:
    """Return why a request failed, by the error's code and texts."""
    if error.get("code") == -32000:
        return Reason.USAGE_LIMIT if _USAGE_LIMIT.search(error_text(error)) else Reason.NOT_LOGGED_IN
    return text_reason(f"{error.get('code')} {error_text(error)} {json_text(error.get('data'))}", otherwise)


def text_reason(text: str, otherwise: Reason) -> Reason:
    """Return why a program failed, by the words of its error message."""
    if _USAGE_LIMIT.search(text):
        return Reason.USAGE_LIMIT
    if _NOT_LOGGED_IN.search(text):
        return Reason.NOT_LOGGED_IN
    return otherwise


def exit_failure(end: Exit, name: str = "The agent") -> tuple[Reason, str]:
    """Return why a turn has no end of its own, and how to say it: the program is gone."""
    tail = end.stderr_tail.strip()
    after = f"\n{tail}" if tail else ""
    signal = end.signal
    if signal is None and end.code is not None and 128 < end.code < 160:
        signal = end.code - 128  # how shells and Node programs pass on a signal
    if signal is not None:
        return Reason.KILLED, f"{name} was ended by signal {signal}.{after}"
    if end.code is None:
        return Reason.LOST, f"It is not known how {name} ended.{after}"
    reason = text_reason(tail, Reason.EXITED_WITHOUT_RESULT) if end.code else Reason.EXITED_WITHOUT_RESULT
    return reason, f"{name} ended with exit code {end.code} in the middle of the turn.{after}"


def _inner_message(text: str) -> str:
    # Gemini passes on the body of the model's HTTP response.
    try:
        body = orjson.loads(text)
        return str(body["error"]["message"])
    except (KeyError, TypeError, ValueError):
        return text
