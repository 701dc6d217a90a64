"""Predictions against the verdict of a real `git merge` of the same two states: files, stages, and every line."""

import os
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orch_server.domain.collision import CollisionKind
from orch_server.git.command import Git
from orch_server.git.lines import split
from orch_server.git.merge import Prediction, predict
from orch_server.git.repository import inspect
from orch_server.git.shadow import open_shadow
from tests.repositories import ScratchRepository, make_repository

Files = Mapping[str, str | bytes | None]
TWENTY = "".join(f"line {number}\n" for number in range(1, 21))
TABLE = "a\n" * 6 + "=======\n" + "a\n" * 6
DIRECTORY = {f"old/{name}.txt": f"{name}\n" * 9 for name in "abcd"}


def edit(text: str, **lines: str) -> str:
    """Return a text with other lines: `edit(TWENTY, l3="three")`; an empty one deletes the line."""
    parts: list[str | None] = list(text.splitlines(keepends=True))
    for name, line in lines.items():
        parts[int(name[1:]) - 1] = f"{line}\n" if line else None
    return "".join(part for part in parts if part is not None)


@dataclass(frozen=True)
class Case:
    """What the two sides make of a base: paths with their new content, None for a deletion, or a program's bit.

    `lines` are the hunks as they must be found, where the test says them itself.
    """

    ours: Files
    theirs: Files
    base: Files = field(default_factory=lambda: {"f": TWENTY})
    kinds: tuple[str, ...] = ()
    lines: tuple[tuple[int, int, int, int], ...] | None = None
    runnable: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    links: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {})


CASES = {
    "nothing": Case({}, {}),
    "one side only": Case({"f": edit(TWENTY, l5="five")}, {}),
    "the same on both sides": Case({"f": edit(TWENTY, l5="five")}, {"f": edit(TWENTY, l5="five")}),
    "same line": Case(
        {"f": edit(TWENTY, l5="five")}, {"f": edit(TWENTY, l5="FIVE")}, kinds=("content",), lines=((5, 5, 5, 5),)
    ),
    "adjacent lines": Case(
        {"f": edit(TWENTY, l5="five")}, {"f": edit(TWENTY, l6="six")}, kinds=("content",), lines=((5, 6, 5, 6),)
    ),
    "a line between": Case({"f": edit(TWENTY, l5="five")}, {"f": edit(TWENTY, l7="seven")}),
    "far apart": Case({"f": edit(TWENTY, l2="two")}, {"f": edit(TWENTY, l19="nineteen")}),
    "shifted": Case(
        {"f": "new\n" * 3 + edit(TWENTY, l15="x")},
        {"f": edit(TWENTY, l1="", l2="", l15="y")},
        kinds=("content",),
        lines=((1, 5, 1, 0), (18, 18, 13, 13)),
    ),
    "two places": Case(
        {"f": edit(TWENTY, l3="three", l12="twelve")},
        {"f": edit(TWENTY, l3="THREE", l12="TWELVE")},
        kinds=("content",),
        lines=((3, 3, 3, 3), (12, 12, 12, 12)),
    ),
    "two places close together are one": Case(
        {"f": edit(TWENTY, l3="three", l6="six")},
        {"f": edit(TWENTY, l3="THREE", l6="SIX")},
        kinds=("content",),
        lines=((3, 6, 3, 6),),
    ),
    "partly the same": Case(
        {"f": edit(TWENTY, l4="same", l5="five", l6="same")},
        {"f": edit(TWENTY, l4="same", l5="FIVE", l6="same")},
        kinds=("content",),
        lines=((5, 5, 5, 5),),
    ),
    "deleted lines against changed ones": Case(
        {"f": edit(TWENTY, l8="", l9="", l10="")},
        {"f": edit(TWENTY, l9="nine")},
        kinds=("content",),
        lines=((8, 7, 8, 10),),
    ),
    "inserted at the same place": Case(
        {"f": TWENTY.replace("line 7\n", "line 7\nours\n")},
        {"f": TWENTY.replace("line 7\n", "line 7\ntheirs\ntoo\n")},
        kinds=("content",),
        lines=((8, 8, 8, 9),),
    ),
    "appended": Case(
        {"f": TWENTY + "ours\n"}, {"f": TWENTY + "theirs\n"}, kinds=("content",), lines=((21, 21, 21, 21),)
    ),
    "at the very top": Case({"f": "x\n" + TWENTY}, {"f": "y\n" + TWENTY}, kinds=("content",), lines=((1, 1, 1, 1),)),
    "no end of line at the end": Case({"f": TWENTY + "ours"}, {"f": TWENTY + "theirs"}, kinds=("content",)),
    "everything": Case({"f": "all\nnew\n"}, {"f": "another\n"}, kinds=("content",), lines=((1, 2, 1, 1),)),
    "repeated lines": Case(
        {"f": "a\n" * 9 + "x\n" + "a\n" * 9},
        {"f": "a\n" * 9 + "y\n" + "a\n" * 9},
        base={"f": "a\n" * 19},
        kinds=("content",),
        lines=((10, 10, 10, 10),),
    ),
    "a clean insertion of equal lines before": Case(
        {"f": edit(TWENTY, l15="x")},
        {"f": edit(TWENTY, l3="line 15\nline 15", l15="y")},
        kinds=("content",),
        lines=((15, 15, 16, 16),),
    ),
    "lines that look like marks": Case(
        {"f": TABLE.replace("=======", "=======\nours\n=======")},
        {"f": TABLE.replace("=======", "=======\ntheirs\n=======")},
        base={"f": TABLE},
        kinds=("content",),
    ),
    "added on both sides, equal": Case({"new": TWENTY}, {"new": TWENTY}),
    "added on both sides, different": Case(
        {"new": "ours\n"}, {"new": "theirs\n"}, kinds=("add_add",), lines=((1, 1, 1, 1),)
    ),
    "added on both sides, alike": Case(
        {"new": edit(TWENTY, l5="five")}, {"new": edit(TWENTY, l5="FIVE")}, kinds=("add_add",), lines=((5, 5, 5, 5),)
    ),
    "added on both sides, one empty": Case({"new": ""}, {"new": "theirs\n"}),
    "modified and deleted": Case({"f": edit(TWENTY, l5="five")}, {"f": None}, kinds=("modify_delete",)),
    "deleted and modified": Case({"f": None}, {"f": edit(TWENTY, l5="five")}, kinds=("modify_delete",)),
    "deleted on both sides": Case({"f": None}, {"f": None}),
    "renamed and modified elsewhere": Case({"f": None, "g": TWENTY}, {"f": edit(TWENTY, l5="five")}),
    "renamed and modified in the same line": Case(
        {"f": None, "g": edit(TWENTY, l5="five")},
        {"f": edit(TWENTY, l5="FIVE")},
        kinds=("content",),
        lines=((5, 5, 5, 5),),
    ),
    "modified and renamed in the same line": Case(
        {"f": "top\n" + edit(TWENTY, l5="five")},
        {"f": None, "deep/er/g": edit(TWENTY, l5="FIVE")},
        kinds=("content",),
        lines=((6, 6, 5, 5),),
    ),
    "renamed to two names": Case({"f": None, "g": TWENTY}, {"f": None, "h": TWENTY}, kinds=("rename",)),
    "renamed to two names and modified": Case(
        {"f": None, "g": edit(TWENTY, l5="five")},
        {"f": None, "h": edit(TWENTY, l5="FIVE")},
        kinds=("rename",),
        lines=((5, 5, 5, 5),),
    ),
    "renamed to the same name": Case({"f": None, "g": TWENTY}, {"f": None, "g": TWENTY}),
    "two files renamed to one name": Case(
        {"f": None, "n": TWENTY},
        {"g": None, "n": TWENTY.replace("line", "row")},
        base={"f": TWENTY, "g": TWENTY.replace("line", "row")},
        kinds=("add_add",),
    ),
    "renamed and deleted": Case({"f": None, "g": TWENTY}, {"f": None}, kinds=("rename",)),
    "renamed onto a file that is added": Case({"f": None, "g": TWENTY}, {"g": "something else\n"}, kinds=("add_add",)),
    "nested folder renamed, file changed": Case(
        {"a/b/c/f": None, "a/x/c/f": TWENTY}, {"a/b/c/f": edit(TWENTY, l5="five")}, base={"a/b/c/f": TWENTY}
    ),
    "nested folder renamed, same line changed": Case(
        {"a/b/c/f": None, "a/x/c/f": edit(TWENTY, l5="five")},
        {"a/b/c/f": edit(TWENTY, l5="FIVE")},
        base={"a/b/c/f": TWENTY},
        kinds=("content",),
        lines=((5, 5, 5, 5),),
    ),
    "folder renamed, file added to the old one": Case(
        {**dict.fromkeys(DIRECTORY), **{name.replace("old", "new"): text for name, text in DIRECTORY.items()}},
        {"old/e.txt": "e\n"},
        base=DIRECTORY,
        kinds=("rename",),
    ),
    "folder split in two, file added": Case(
        {
            **dict.fromkeys(DIRECTORY),
            **{f"{'new' if name[4] in 'ab' else 'other'}/{name[4:]}": text for name, text in DIRECTORY.items()},
        },
        {"old/e.txt": "e\n"},
        base=DIRECTORY,
        kinds=("rename",),
    ),
    "file against folder": Case({"new": "a file\n"}, {"new/inside": "a folder\n"}, kinds=("add_add",)),
    "folder against file": Case({"new/inside": "a folder\n"}, {"new": "a file\n"}, kinds=("add_add",)),
    "mode only, one side": Case({}, {}, runnable=(("f",), ())),
    "mode on one side, content on the other": Case({}, {"f": edit(TWENTY, l5="five")}, runnable=(("f",), ())),
    "mode and content on both": Case(
        {"f": edit(TWENTY, l5="five")}, {"f": edit(TWENTY, l5="FIVE")}, kinds=("content",), runnable=(("f",), ())
    ),
    "added with two modes": Case({"new": TWENTY}, {"new": TWENTY}, kinds=("add_add",), runnable=(("new",), ())),
    "link against file": Case({"new": "file\n"}, {}, kinds=("add_add",), links=({}, {"new": "f"})),
    "two links": Case({}, {}, kinds=("add_add",), links=({"new": "f"}, {"new": "g"})),
    "binary on both sides": Case(
        {"b": b"\0\1ours"}, {"b": b"\0\1theirs"}, base={"b": b"\0\1base"}, kinds=("content",), lines=()
    ),
    "binary by attribute": Case(
        {"f.lock": edit(TWENTY, l5="five")},
        {"f.lock": edit(TWENTY, l5="FIVE")},
        base={"f.lock": TWENTY, ".gitattributes": "*.lock binary\n"},
        kinds=("content",),
        lines=(),
    ),
    "union by attribute": Case(
        {"LOG": TWENTY + "ours\n"},
        {"LOG": TWENTY + "theirs\n"},
        base={"LOG": TWENTY, ".gitattributes": "LOG merge=union\n"},
    ),
    "CRLF": Case(
        {"f": edit(TWENTY, l5="five").replace("\n", "\r\n")},
        {"f": edit(TWENTY, l5="FIVE").replace("\n", "\r\n")},
        base={"f": TWENTY.replace("\n", "\r\n")},
        kinds=("content",),
        lines=((5, 5, 5, 5),),
    ),
    "line ends changed on one side": Case(
        {"f": TWENTY.replace("\n", "\r\n")}, {"f": edit(TWENTY, l5="five")}, kinds=("content",)
    ),
    "line ends by attribute": Case(
        {"f": edit(TWENTY, l5="five").replace("\n", "\r\n")},
        {"f": edit(TWENTY, l9="nine")},
        base={"f": TWENTY, ".gitattributes": "* text=auto\n"},
    ),
    "white space on one side": Case({"f": TWENTY.replace("line 5", "line  5 ")}, {}),
    "white space on both sides": Case(
        {"f": TWENTY.replace("line 5\n", "line 5 \n")},
        {"f": TWENTY.replace("line 5\n", "\tline 5\n")},
        kinds=("content",),
        lines=((5, 5, 5, 5),),
    ),
    "a name that is no UTF-8": Case(
        {"caf\udce9": edit(TWENTY, l5="five")},
        {"caf\udce9": edit(TWENTY, l5="FIVE")},
        base={"caf\udce9": TWENTY},
        kinds=("content",),
        lines=((5, 5, 5, 5),),
    ),
    "names with a line end and a tab": Case(
        {"odd\nna\tme": edit(TWENTY, l5="five"), "odd\n2": None},
        {"odd\nna\tme": edit(TWENTY, l5="FIVE"), "odd\n2": "x\n"},
        base={"odd\nna\tme": TWENTY, "odd\n2": TWENTY},
        kinds=("modify_delete", "content"),
    ),
    "text that is no UTF-8": Case(
        {"f": TWENTY.encode().replace(b"line 5", b"\xe9\xff")},
        {"f": TWENTY.encode().replace(b"line 5", b"\xff\xe9")},
        kinds=("content",),
        lines=((5, 5, 5, 5),),
    ),
    "several files at once": Case(
        {"a": "1\n", "b": "1\n", "c": None},
        {"a": "2\n", "b": "2\n", "c": "2\n"},
        base={"a": "0\n", "b": "0\n", "c": "0\n"},
        kinds=("content", "content", "modify_delete"),
    ),
}


@dataclass(frozen=True)
class Verdict:
    """What `git merge` left: its index's unmerged entries, and the texts of each conflict it marked, by file."""

    clean: bool
    unmerged: set[tuple[str, str, int, bytes]]
    marked: dict[bytes, list[tuple[list[bytes], list[bytes]]]]


async def both(git: Git, scratch: ScratchRepository, ours: str, theirs: str) -> tuple[Prediction, Verdict]:
    """Return what is predicted of a merge, and then what it really does."""
    scratch.git("checkout", "--quiet", "--detach", ours)
    repository = await inspect(git, str(scratch.path))
    shadow = await open_shadow(git, repository, str(scratch.path.parent / "shadow"))
    before = scratch.git("status", "--porcelain=v2", "--untracked-files=all"), scratch.git("for-each-ref")
    objects = sum(len(files) for _, _, files in os.walk(scratch.path / ".git"))
    [prediction] = await predict(git, shadow, [(ours, theirs)], work_tree=str(scratch.path))
    assert objects == sum(len(files) for _, _, files in os.walk(scratch.path / ".git"))
    assert before == (scratch.git("status", "--porcelain=v2", "--untracked-files=all"), scratch.git("for-each-ref"))
    return prediction, merged(scratch, theirs)


def merged(scratch: ScratchRepository, theirs: str) -> Verdict:
    """Merge for real."""
    scratch.git("-c", "merge.conflictStyle=merge", "merge", "--quiet", "--no-edit", theirs, check=False)
    unmerged = set()
    for line in os.fsencode(scratch.git("ls-files", "-z", "--unmerged")).split(b"\0")[:-1]:
        about, path = line.split(b"\t", 1)
        mode, oid, stage = about.decode().split(" ")
        unmerged.add((mode, oid, int(stage), path))
    marked = {}
    for path in sorted({path for _, _, _, path in unmerged}):
        file = Path(os.fsdecode(os.path.join(os.fsencode(scratch.path), path)))
        if file.is_file() and not file.is_symlink():
            found = re.findall(
                rb"^<{7,8} [^\n]*\n(.*?)^={7,8}\r?\n((?:(?!^<{7,8} ).)*?)^>{7,8} [^\n]*\n",
                file.read_bytes(),
                re.MULTILINE | re.DOTALL,
            )
            marked[path] = [(split(mine), split(other)) for mine, other in found]
    clean = not unmerged and scratch.git("rev-parse", "--quiet", "--verify", "MERGE_HEAD", check=False) == ""
    scratch.git("reset", "--quiet", "--hard")
    return Verdict(clean, unmerged, marked)


def check(scratch: ScratchRepository, sides: tuple[str, str], prediction: Prediction, verdict: Verdict) -> None:
    """The prediction is the verdict."""
    assert (not prediction.clashes) == verdict.clean
    named = {
        (entry.mode, entry.oid, stage, _plain(entry.path, sides))
        for clash in prediction.clashes
        for stage, entry in clash.numbered
    }
    left = {(mode, oid, stage, _plain(path, sides)) for mode, oid, stage, path in verdict.unmerged}
    half_made = {path for _, oid, _, path in named ^ left if b"<<<<<<< " in _content(scratch, oid)}
    assert {entry for entry in named if entry[3] not in half_made} == {e for e in left if e[3] not in half_made}
    assert {(entry[0], *entry[2:]) for entry in named} == {(entry[0], *entry[2:]) for entry in left}
    for clash in prediction.clashes:
        names = {_plain(path, sides) for path in (clash.path, *(entry.path for _, entry in clash.numbered))}
        marked = [marks for path, marks in verdict.marked.items() if _plain(path, sides) in names]
        if clash.merged is None:
            continue
        assert len(clash.hunks) == len(marked[0])
        for hunk, texts in zip(clash.hunks, marked[0], strict=True):
            for side, text in enumerate(texts):
                path = clash.paths[side]
                assert path is not None
                own = split(os.fsencode(scratch.git("cat-file", "blob", os.fsencode(sides[side]) + b":" + path)))
                lines = hunk.sides[side]
                assert own[lines.start_line - 1 : lines.end_line] == text
                places = [n for n in range(len(own)) if text and own[n : n + len(text)] == text]
                if len(places) == 1:
                    assert lines.start_line == places[0] + 1


def _plain(path: bytes, sides: tuple[str, str]) -> bytes:
    for label in (b"HEAD", *(side.encode() for side in sides), *(side[:7].encode() for side in sides)):
        path = path.removesuffix(b"~" + label)
    return path


def _content(scratch: ScratchRepository, oid: str) -> bytes:
    """Return a content; names of marked texts differ, for the marks hold the names of the branches."""
    return os.fsencode(scratch.git("cat-file", "blob", oid, check=False)) or b"<<<<<<< "


def _state(scratch: ScratchRepository, base: str, side: int, case: Case) -> str:
    scratch.git("checkout", "--quiet", "--detach", base)
    for name, content in (case.ours, case.theirs)[side].items():
        file = scratch.path / name
        if content is None:
            file.unlink()
        else:
            scratch.write({name: content})
    for name, target in case.links[side].items():
        (scratch.path / name).symlink_to(target)
    for name in case.runnable[side]:
        (scratch.path / name).chmod(0o755)
    return scratch.commit("side")


@pytest.mark.parametrize("name", CASES)
async def test_prediction_is_what_git_merge_does(git: Git, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    base = {path: content for path, content in case.base.items() if content is not None}
    scratch = make_repository(tmp_path / "project", {"README.md": "# It\n", **base}, home=tmp_path / "home")
    start = scratch.head
    sides = (_state(scratch, start, 0, case), _state(scratch, start, 1, case))
    prediction, verdict = await both(git, scratch, *sides)
    check(scratch, sides, prediction, verdict)
    assert tuple(clash.kind.value for clash in prediction.clashes) == case.kinds
    if case.lines is not None:
        found = [
            (hunk.sides[0].start_line, hunk.sides[0].end_line, hunk.sides[1].start_line, hunk.sides[1].end_line)
            for clash in prediction.clashes
            for hunk in clash.hunks
        ]
        assert tuple(found) == case.lines


async def test_many_pairs_are_asked_at_once_and_keep_their_order(git: Git, tmp_path: Path) -> None:
    scratch = make_repository(tmp_path / "project", {"f": TWENTY}, home=tmp_path / "home")
    base = scratch.head
    commits = []
    for number in range(1, 7):
        scratch.git("checkout", "--quiet", "--detach", base)
        commits.append(scratch.commit("side", {"f": edit(TWENTY, **{f"l{number}": f"side {number}"})}))
    repository = await inspect(git, str(scratch.path))
    shadow = await open_shadow(git, repository, str(tmp_path / "shadow"))
    pairs = [(ours, theirs) for at, ours in enumerate(commits) for theirs in commits[at + 1 :]]
    found = await predict(git, shadow, pairs, work_tree=str(scratch.path))
    collide = [commits.index(theirs) - commits.index(ours) == 1 for ours, theirs in pairs]
    assert [bool(prediction.clashes) for prediction in found] == collide
    assert not [name for name in os.listdir(tmp_path / "shadow") if name.startswith("merging")]


@pytest.mark.parametrize("seed", range(6))
async def test_random_edits_of_repetitive_texts(git: Git, tmp_path: Path, seed: int) -> None:
    """Texts of few different lines, so that nearly every line stands in many places."""
    chance = random.Random(seed)
    scratch = make_repository(tmp_path / "project", {f"f{n}": _text(chance) for n in range(8)}, home=tmp_path / "home")
    base = scratch.head
    sides = []
    for _ in range(2):
        scratch.git("checkout", "--quiet", "--detach", base)
        sides.append(
            scratch.commit("side", {f"f{n}": _changed((scratch.path / f"f{n}").read_text(), chance) for n in range(8)})
        )
    prediction, verdict = await both(git, scratch, sides[0], sides[1])
    check(scratch, (sides[0], sides[1]), prediction, verdict)
    assert all(clash.kind == CollisionKind.CONTENT for clash in prediction.clashes)


def _text(chance: random.Random) -> str:
    return "".join(chance.choice(["a\n", "b\n", "\n", "}\n", "    x\n"]) for _ in range(chance.randint(10, 60)))


def _changed(text: str, chance: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(lines) + 1)
        lines[at : at + chance.randint(0, 3)] = [
            chance.choice(["a\n", "b\n", "new\n"]) for _ in range(chance.randint(0, 3))
        ]
    return "".join(lines)
