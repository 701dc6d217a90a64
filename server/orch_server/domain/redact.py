"""Keys and tokens that an agent lets slip are not kept: what has the known shape of one is left out.

Only what is known for certain is taken out, by the way it begins. What an agent writes into its own output file is
its own, and stays there as it is until the session is purged.
"""

import re

OF_AGENTS = frozenset(
    {
        "agent.message",
        "agent.thought",
        "agent.log",
        "agent.tool_started",
        "agent.tool_finished",
        "agent.plan",
        "turn.completed",
        "turn.failed",
        "input.requested",
    }
)
"""The types of events whose text is an agent's."""
REDACTED = b"[redacted]"
# Not in the middle of a word; but after an escape of JSON, whose last letter is no part of one.
_BEGIN = rb"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrt]))"
_KEY = rb"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^\"\\]|\\.)*?(?:-----END [A-Z ]*PRIVATE KEY-----|(?=\"))"
# A shape is searched for only where its beginning occurs: finding that costs next to nothing.
_SHAPES = tuple(
    (beginning, re.compile(_BEGIN + shape))
    for beginning, shape in (
        (b"sk-", rb"sk-(?:ant-|proj-|or-|svcacct-)?[A-Za-z0-9_-]{20,}"),
        (b"gh", rb"gh[pousr]_[A-Za-z0-9]{36,}"),
        (b"github_pat_", rb"github_pat_[A-Za-z0-9_]{40,}"),
        (b"glpat-", rb"glpat-[A-Za-z0-9_-]{20,}"),
        (b"AKIA", rb"AKIA[0-9A-Z]{16}(?![0-9A-Z])"),
        (b"AIza", rb"AIza[0-9A-Za-z_-]{35}"),
        (b"xox", rb"xox[abprs]-[A-Za-z0-9-]{10,}"),
        (b"npm_", rb"npm_[A-Za-z0-9]{36}"),
        (b"eyJ", rb"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
        (b"PRIVATE KEY-----", _KEY),
    )
)


def redacted(json: bytes) -> bytes:
    """Return JSON without the keys and tokens that its texts hold."""
    for beginning, shape in _SHAPES:
        if beginning in json:
            json = shape.sub(REDACTED, json)
    return json
