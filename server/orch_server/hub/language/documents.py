"""The documents that a client has open, with every change it types.

A change costs the lines it touches and no more, so that typing is never held up: a document is a list of lines, and
the rest of it is not looked at.
"""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from lsprotocol import types
from pygls import uris
from pygls.workspace import PositionCodec

log = logging.getLogger(__name__)

_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


class Document:
    """One open document."""

    def __init__(self, uri: str, language: str, version: int, text: str, codec: PositionCodec) -> None:
        self.uri = uri
        self.path = path_of(uri)
        """Where the file is, without symbolic links; None for what is no file."""
        self.language = language
        self.version = version
        self._codec = codec
        self._lines: list[str] = _LINES.findall(text)

    @property
    def text(self) -> str:
        """The whole of it, as the client has it."""
        return "".join(self._lines)

    @property
    def lines(self) -> Sequence[str]:
        """Its lines with their ends."""
        return self._lines

    def width(self, line: int) -> int:
        """Return how long a line is without its end, in the units of the client."""
        units: int = self._codec.client_num_units(self._lines[line].rstrip("\r\n"))
        return units

    def text_in(self, range_: types.Range) -> str:
        """Return what lies in a range."""
        start, end = self._place(range_.start), self._place(range_.end)
        if end <= start:
            return ""
        covered = [*self._lines[start[0] : end[0] + 1]]
        if end[0] < len(self._lines):
            covered[-1] = covered[-1][: end[1]]
        covered[0] = covered[0][start[1] :]
        return "".join(covered)

    def change(self, range_: types.Range | None, text: str) -> None:
        """Take one change: a text for a range, or for the whole document."""
        if range_ is None:
            self._lines = _LINES.findall(text)
            return
        start, end = self._place(range_.start), self._place(range_.end)
        end = max(start, end)
        first, last = start[0], end[0]
        before = self._lines[first][: start[1]] if first < len(self._lines) else ""
        after = self._lines[last][end[1] :] if last < len(self._lines) else ""
        if first > 0:  # its end may be "\r", and what comes after it begin with "\n"
            first -= 1
            before = self._lines[first] + before
        last += 1
        if last < len(self._lines) and not after:  # what was the next line may go on this one
            after, last = self._lines[last], last + 1
        self._lines[first:last] = _LINES.findall(before + text + after)

    def _place(self, position: types.Position) -> tuple[int, int]:
        """Return line and character in Python's counting; what lies beyond an end is taken as that end."""
        if position.line >= len(self._lines):
            return len(self._lines), 0
        line = self._lines[position.line]
        body = line.rstrip("\r\n")
        if body.isascii():
            return position.line, min(position.character, len(body))
        found = self._codec.position_from_client_units([body], types.Position(0, position.character))
        return position.line, min(found.character, len(body))


class Documents:
    """All open documents of one client, by the uri that it gave them."""

    def __init__(self) -> None:
        self._open: dict[str, Document] = {}
        self.codec = PositionCodec()

    def __iter__(self) -> Iterator[Document]:
        return iter(tuple(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def get(self, uri: str) -> Document | None:
        """Return an open document."""
        return self._open.get(uri)

    def open(self, params: Any) -> Document:
        """Take `textDocument/didOpen`."""
        given = params["textDocument"]
        document = Document(given["uri"], str(given.get("languageId", "")), given["version"], given["text"], self.codec)
        self._open[document.uri] = document
        return document

    def change(self, params: Any) -> Document | None:
        """Take `textDocument/didChange`; of a document that was never opened, nothing."""
        document = self._open.get(params["textDocument"]["uri"])
        if document is not None:
            for change in params["contentChanges"]:
                document.change(_range(change.get("range")), change["text"])
            document.version = params["textDocument"]["version"]
        return document

    def close(self, params: Any) -> Document | None:
        """Take `textDocument/didClose`."""
        return self._open.pop(params["textDocument"]["uri"], None)


def path_of(uri: str) -> str | None:
    """Return the file that a uri names, without symbolic links; None for what is no file."""
    path = uris.to_fs_path(uri)
    return os.path.realpath(path) if path and "\0" not in path else None


def uri_of(path: str) -> str:
    """Return the uri of a file."""
    uri: str | None = uris.from_fs_path(path)
    assert uri is not None
    return uri


def _range(given: Any) -> types.Range | None:
    if given is None:
        return None
    start, end = given["start"], given["end"]
    return types.Range(types.Position(start["line"], start["character"]), types.Position(end["line"], end["character"]))
