"""What a person can do about a failure, in the words that follow the program's own."""

from orch_server.domain.session import Reason

_ADVICE = {
    Reason.AGENT_ERROR: "`orch resume {id}` goes on from here.",
    Reason.API_ERROR: "`orch resume {id}` tries again.",
    Reason.USAGE_LIMIT: "When the limit has ended, `orch resume {id}` goes on from here.",
    Reason.NOT_LOGGED_IN: "Log in with the agent's own program (or set its key); `orch resume {id}` goes on from here.",
    Reason.AGENT_UNAVAILABLE: "Once it can be started, `orch resume {id}` tries again.",
    Reason.EXITED_WITHOUT_RESULT: "`orch logs {id}` shows its last words; `orch resume {id}` goes on from here.",
    Reason.KILLED: "`orch resume {id}` goes on from here.",
    Reason.LOST: "`orch resume {id}` goes on from here.",
    Reason.MACHINE_RESTARTED: "`orch resume {id}` goes on from here.",
    Reason.OUTPUT_LIMIT: "`[limits] output_bytes` in config.toml is the limit; `orch resume {id}` goes on from here.",
    Reason.SILENT_LIMIT: (
        "`[limits] silent_stop_seconds` in config.toml is the limit; `orch resume {id}` goes on from here."
    ),
    Reason.DISK_FULL: "Free some space; then `orch resume {id}` goes on from here.",
    Reason.REFUSED: "`orch followup {id}` says what else is to be done.",
}
_ANEW = "`orch resume {id} --anew` begins a new conversation, with what was said so far as its context."
_SILENT = "The agent said nothing for longer than the limit and was ended."


def told(reason: Reason, text: str, session_id: str, *, conversation_lost: bool = False) -> str:
    """Return what a person should know about the end of a session's work: what happened, and what to do."""
    happened = _SILENT if reason == Reason.SILENT_LIMIT else text.strip()
    # A login that is missing stands in the way of resuming as well, and then the conversation is not lost.
    advice = _ANEW if conversation_lost and reason == Reason.AGENT_ERROR else _ADVICE.get(reason, "")
    return "\n".join(part for part in (happened, advice.format(id=session_id)) if part)
