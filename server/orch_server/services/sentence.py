"""A text as words: each with its place in the text, so that what is kept of it can be cut out as it was written."""

import re
from dataclasses import dataclass

from orch_server.services.names import fold

_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’", "«": "»", "„": "“"}
_OPENING, _CLOSING = "([{<", ")]}>,.:;!?…"
PAUSES = (",", ".", ":", ";", "!", "?", "…")
_COLON_INSIDE = re.compile(r"@?[^\W\d_][\w-]*:(?=[^\W\d_])")
DASHES = frozenset(("-", "–", "—", ":", ","))


@dataclass(frozen=True, slots=True)
class Token:
    """A word, or what stands in quotes; `start` and `end` include quotes and punctuation around it."""

    value: str
    start: int
    end: int
    quoted: bool
    bracketed: bool
    """Whether a bracket opens before it."""
    pauses: bool
    """Whether punctuation behind it ends a part of the sentence."""

    @property
    def word(self) -> str:
        """What the tables of words know it as; nothing in quotes is a word of the grammar."""
        return "" if self.quoted else fold(self.value)

    @property
    def key(self) -> str:
        """What it is compared with names as."""
        return fold(self.value).removeprefix("@")


def tokens_of(text: str) -> list[Token]:
    """Return the words of a text, in order."""
    found = []
    unclosed: set[str] = set()
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        token = _quoted(text, at, unclosed) or _plain(text, at)
        found.append(token)
        at = token.end
    return found


def _quoted(text: str, start: int, unclosed: set[str]) -> Token | None:
    opening = start
    while opening < len(text) and text[opening] in _OPENING:
        opening += 1
    closing = _QUOTES.get(text[opening : opening + 1])
    if closing is None or closing in unclosed:
        return None
    end = opening
    while (end := text.find(closing, end + 1)) >= 0:
        after = text[end + 1 : end + 2]
        if not after or after.isspace() or after in _CLOSING:
            break
    if end < 0:
        unclosed.add(closing)  # nor is there one for a quote further behind
        return None
    value = text[opening + 1 : end].strip()
    if not value:
        return None
    behind = end + 1
    while behind < len(text) and text[behind] in _CLOSING:
        behind += 1
    pauses = any(mark in PAUSES for mark in text[end + 1 : behind])
    return Token(value, start, behind, quoted=True, bracketed=opening > start, pauses=pauses)


def _plain(text: str, start: int) -> Token:
    end = start
    while end < len(text) and not text[end].isspace():
        end += 1
    inside = _COLON_INSIDE.match(text, start, end)
    if inside is not None:  # "claude:fix it" are three words
        end = inside.end()
    word = text[start:end]
    value = word.lstrip(_OPENING).rstrip(_CLOSING)
    behind = word[len(word.rstrip(_CLOSING)) :]
    if not value:
        value, behind = word, ""
    pauses = value in DASHES or any(mark in PAUSES for mark in behind)
    return Token(value, start, end, quoted=False, bracketed=word[0] in _OPENING, pauses=pauses)


def pause_of(text: str, token: Token) -> str:
    """Return the punctuation that parts a word from the next, "" where there is none."""
    word = text[token.start : token.end]
    return word[len(word.rstrip("".join(PAUSES))) :] if token.pauses else ""
