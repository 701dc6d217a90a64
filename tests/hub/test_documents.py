"""Open documents: whatever is typed, and in whatever encoding positions are counted, the text is the client's."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsprotocol import types
from pygls.workspace import PositionCodec

from orch_server.hub.language.documents import Document, Documents, path_of, uri_of

UNITS = {"utf-8": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
WIDTH = {"utf-8": 1, "utf-16": 2, "utf-32": 4}
texts = st.text(st.sampled_from("ab\n\r é\N{GRINNING FACE}\u2028\x0b"), max_size=30)


def _position(text: str, offset: int, encoding: str) -> types.Position:
    """Return where an offset lies, as a client counts: lines end with \\n, \\r\\n or \\r, and with nothing else."""
    before = text[:offset]
    lines = before.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if before.endswith("\r") and text[offset : offset + 1] == "\n":
        raise ValueError("no client points between \\r and \\n")
    return types.Position(len(lines) - 1, len(lines[-1].encode(UNITS[encoding])) // WIDTH[encoding])


@pytest.mark.parametrize("encoding", list(UNITS))
@given(text=texts, edits=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), texts), max_size=6))
@settings(max_examples=150, deadline=None)
def test_every_change_leaves_the_text_that_the_client_has(
    encoding: str, text: str, edits: list[tuple[int, int, str]]
) -> None:
    document = Document("file:///a", "text", 1, text, PositionCodec(encoding))
    for first, second, new in edits:
        start, end = sorted((min(first, len(text)), min(second, len(text))))
        try:
            where = types.Range(_position(text, start, encoding), _position(text, end, encoding))
        except ValueError:
            continue
        assert document.text_in(where) == text[start:end]
        document.change(where, new)
        text = text[:start] + new + text[end:]
        assert document.text == text


def test_what_lies_beyond_an_end_is_taken_as_that_end() -> None:
    document = Document("file:///a", "text", 1, "one\ntwo", PositionCodec())
    document.change(types.Range(types.Position(0, 99), types.Position(0, 99)), "!")
    assert document.text == "one!\ntwo"
    document.change(types.Range(types.Position(9, 0), types.Position(99, 5)), "\nend")
    assert document.text == "one!\ntwo\nend"
    document.change(None, "all new")
    assert document.text == "all new"


def test_documents_are_kept_by_their_uri() -> None:
    documents = Documents()
    text_document = {"uri": "untitled:1", "languageId": "lua", "version": 1, "text": "a"}
    documents.open({"textDocument": text_document})
    change = {"textDocument": {"uri": "untitled:1", "version": 2}, "contentChanges": [{"text": "b"}]}
    changed = documents.change(change)
    assert changed is not None
    assert (changed.text, changed.version, changed.path, changed.language) == ("b", 2, None, "lua")
    assert documents.change({**change, "textDocument": {"uri": "file:///never", "version": 1}}) is None
    documents.close({"textDocument": {"uri": "untitled:1"}})
    assert len(documents) == 0


def test_a_path_and_its_uri_belong_together() -> None:
    assert path_of(uri_of("/tmp/a b/é#%.py")) == "/tmp/a b/é#%.py"
    assert path_of("orch:///sessions/x/transcript.md") is None


def test_a_keystroke_in_a_huge_file_costs_next_to_nothing() -> None:
    document = Document("file:///a", "text", 1, "some words in a line\n" * 200_000, PositionCodec())
    seconds = []
    for line in range(0, 100_000, 1000):
        began = time.perf_counter()
        document.change(types.Range(types.Position(line, 4), types.Position(line, 4)), "x")
        seconds.append(time.perf_counter() - began)
    median = sorted(seconds)[len(seconds) // 2]
    assert median < 0.005, f"{median * 1000:.2f} ms"
