"""Reading a growing file by whole lines."""

from pathlib import Path

from orch_server.services import tail
from orch_server.services.tail import Batch, Tail


def test_only_whole_lines_count(tmp_path: Path) -> None:
    path = tmp_path / "out.log"
    reader = Tail(str(path), 0)
    assert reader.read() == Batch([], 0, 0)
    path.write_bytes(b"one\ntw")
    assert reader.read() == Batch(["one"], 0, 4, more=True)
    assert reader.read() == Batch(["one"], 0, 4, more=True), "until it is accepted it is read again"
    reader.offset = 4
    assert reader.read() == Batch([], 4, 4)
    assert reader.read(to_the_end=True) == Batch(["tw"], 4, 6)
    path.write_bytes(b"one\ntwo\n\n\xff\n")
    assert reader.read() == Batch(["two", "", "\ufffd"], 4, 11)


def test_a_line_longer_than_a_chunk_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.log"
    path.write_bytes(b"x" * 3_000_000 + b"\nnext\n")
    batch = Tail(str(path), 0).read()
    assert len(batch.lines[0]) == 3_000_000
    assert batch.lines[1:] == ["next"]


def test_many_small_lines_are_read_a_part_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "out.log"
    path.write_bytes(b"x\n" * (2 * tail.MOST_LINES) + b"last")
    reader = Tail(str(path), 0)
    sizes = []
    while (batch := reader.read(to_the_end=True)).start != batch.end:
        sizes.append(len(batch.lines))
        reader.offset = batch.end
    assert sizes == [tail.MOST_LINES, tail.MOST_LINES, 1]
    assert batch.end == path.stat().st_size


def test_a_monstrous_line_is_left_out_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "out.log"
    path.write_bytes(b"x" * (tail.LONGEST_LINE + 2_000_000))
    reader = Tail(str(path), 0)
    assert reader.read().lines == [], "it may still end"
    with path.open("ab") as file:
        file.write(b"\nnext\n")
    batch = reader.read()
    assert "left out" in batch.lines[0]
    reader.offset = batch.end
    assert reader.read().lines == ["next"]
