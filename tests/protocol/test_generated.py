"""Generated files are what their sources give now."""

import pytest

from tests.generate import FILES, ROOT, generate


@pytest.mark.parametrize("path", FILES)
def test_a_generated_file_is_up_to_date(path: str) -> None:
    found = (ROOT / path).read_text("utf-8") if (ROOT / path).exists() else ""
    assert found == generate(path), f"{path} is stale: `make gen` refreshes it."
