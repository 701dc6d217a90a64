"""Bringing one text's changes into another: it says the same as git, and what it cannot do it refuses."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orch_server.services.merging import edits_for

BASE = [f"{number}\n" for number in range(8)]
changes = st.lists(
    st.tuples(st.sampled_from(["keep", "keep", "keep", "drop", "change", "add"]), st.integers(0, 99)),
    min_size=len(BASE),
    max_size=len(BASE),
)


def _changed(plan: list[tuple[str, int]], who: str) -> list[str]:
    found = []
    for line, (what, number) in zip(BASE, plan, strict=True):
        if what == "add":
            found.append(f"{who} {number}\n")
        if what != "drop":
            found.append(f"{who} {number}\n" if what == "change" else line)
    return found


def _applied(ours: list[str], theirs: list[str]) -> list[str] | None:
    edits = edits_for(BASE, theirs, ours)
    if edits is None:
        return None
    result = list(ours)
    for edit in reversed(edits):
        result[edit.start : edit.end] = edit.lines
    return result


@given(ours=changes, theirs=changes, same=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_merges_as_git_does_or_not_at_all(
    tmp_path: Path, ours: list[tuple[str, int]], theirs: list[tuple[str, int]], same: bool
) -> None:
    sides = {"ours": _changed(ours, "x"), "base": BASE, "theirs": _changed(theirs, "x" if same else "y")}
    for name, lines in sides.items():
        (tmp_path / name).write_text("".join(lines))
    merged = _applied(sides["ours"], sides["theirs"])
    git = subprocess.run(
        ["git", "merge-file", "-p", *(str(tmp_path / name) for name in sides)], capture_output=True, text=True
    )
    if merged is not None:
        assert git.returncode == 0, "git calls it a conflict"
        assert "".join(merged) == git.stdout


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (BASE, ["new\n", *BASE], ["new\n", *BASE]),
        (BASE, [*BASE, "new\n"], [*BASE, "new\n"]),
        (["mine\n", *BASE], [*BASE[:4], *BASE[6:]], ["mine\n", *BASE[:4], *BASE[6:]]),
        ([*BASE, "new\n"], [*BASE, "new\n"], [*BASE, "new\n"]),
        ([*BASE, "mine\n"], [*BASE, "theirs\n"], None),
        (["mine\n", *BASE[1:]], [*BASE[:1], "theirs\n", *BASE[2:]], None),
        (BASE, BASE, BASE),
        (BASE, [], []),
    ],
)
def test_what_goes_together_is_brought_together(ours: list[str], theirs: list[str], expected: list[str] | None) -> None:
    assert _applied(ours, theirs) == expected
