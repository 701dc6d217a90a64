"""Everything that can go wrong in a way a user can act on, with its code on the wire."""

import errno
import os
from enum import Enum
from typing import Any


class ErrorKind(Enum):
    """What went wrong, with the JSON-RPC code that says so."""

    INVALID_REQUEST = ("invalidRequest", -32600)
    UNKNOWN_METHOD = ("unknownMethod", -32601)
    INVALID_PARAMS = ("invalidParams", -32602)
    INTERNAL = ("internal", -32603)
    CANCELLED = ("cancelled", -32800)
    NOT_INITIALIZED = ("notInitialized", -32002)
    NOT_FOUND = ("notFound", -32010)
    ILLEGAL_TRANSITION = ("illegalTransition", -32011)
    AGENT_UNAVAILABLE = ("agentUnavailable", -32012)
    GIT_FAILED = ("gitFailed", -32013)
    STALE_PREVIEW = ("stalePreview", -32014)
    ALREADY_ANSWERED = ("alreadyAnswered", -32015)
    BUSY = ("busy", -32016)
    NOT_TRUSTED = ("notTrusted", -32017)
    DISK_FULL = ("diskFull", -32018)
    DATABASE_UNUSABLE = ("databaseUnusable", -32019)
    PROTOCOL_MISMATCH = ("protocolMismatch", -32020)
    FORBIDDEN = ("forbidden", -32021)
    REQUEST_KEY_REUSED = ("requestKeyReused", -32022)
    CONFLICT = ("conflict", -32023)

    @property
    def wire_name(self) -> str:
        """The `kind` in the error's data."""
        return self.value[0]

    @property
    def code(self) -> int:
        """The JSON-RPC error code."""
        return self.value[1]


class OrchError(Exception):
    """A refusal or a failure with a message that a person can act on.

    `hint` says what to do next; `data` holds what a program may want (state, allowed, candidates ...).
    """

    def __init__(self, kind: ErrorKind, message: str, *, hint: str = "", **data: Any) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint
        self.data = data

    def wire_data(self) -> dict[str, Any]:
        """Return the `data` member of the JSON-RPC error."""
        return {"kind": self.kind.wire_name, "hint": self.hint, **self.data}


def not_found(what: str, name: str, *, hint: str = "", **data: Any) -> OrchError:
    """Return the error for a name that means nothing here."""
    hint = hint or f"`orch {what}s list` shows them."
    return OrchError(ErrorKind.NOT_FOUND, f"There is no {what} {name!r}.", hint=hint, **data)


def invalid_params(message: str, *, hint: str = "", **data: Any) -> OrchError:
    """Return the error for a request whose parameters cannot be meant."""
    return OrchError(ErrorKind.INVALID_PARAMS, message, hint=hint, **data)


_OF_THE_DISK = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})


def is_full(error: OSError) -> bool:
    """Tell whether the disk, or what the user may have of it, is full."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


def of_the_disk(error: BaseException) -> OrchError | None:
    """Return the error for what the disk refused, and None for any other, which is a mistake of ours."""
    if not isinstance(error, OSError) or not (is_full(error) or error.errno in _OF_THE_DISK):
        return None
    where = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, (str, bytes)) else ""
    if is_full(error):
        return OrchError(
            ErrorKind.DISK_FULL, f"{error.strerror}{where}.", hint="Free some space; orch goes on by itself."
        )
    return OrchError(
        ErrorKind.CONFLICT,
        f"The disk refuses: {error.strerror}{where}.",
        hint="Is it mounted read-only, or not writable for you? Nothing was lost; try again when it can be written.",
    )
