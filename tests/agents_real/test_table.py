"""The table in docs/agents.md is written from the cells, the same for the same cells, and has every row."""

from typing import Any

from tests.agents_real import table
from tests.agents_real.matrix import CANNOT, CELLS, ROWS

PAGE = table.PAGE.read_text("utf-8")
CANNOT_NAMES = {(program, row.__name__) for program, row in CANNOT}


def cells() -> list[dict[str, Any]]:
    """Every cell, as if a run had shown it."""
    return [
        {"program": program, "row": row, "passed": (program, row) not in CANNOT_NAMES, "remark": None}
        for program, row in CELLS
    ]


def test_the_page_is_written_once() -> None:
    once = table.written(PAGE, cells())
    assert table.written(once, cells()) == once
    assert once.count(table.BEGIN) == once.count(table.END) == 1


def test_a_part_of_the_matrix_is_not_the_whole() -> None:
    assert table.is_whole(cells())
    assert not table.is_whole(cells()[1:])


def test_the_page_tells_of_every_row_and_how_many_cells_pass() -> None:
    for row in ROWS:
        assert f"| **{row.__name__.replace('_', ' ')}**: " in PAGE
    assert f"{len(CELLS) - len(CANNOT)} of {len(CELLS)} cells pass" in PAGE
