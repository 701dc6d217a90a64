"""What merges would say, without making them: which files conflict, how, and on exactly which lines of each side.

git itself merges (`merge-tree`), in the shadow and into objects that are thrown away, so a prediction is what
`git merge` of the same two commits does, short of merge drivers that are programs. The lines come from git, too: the
conflicts are those that it marks in the merged file, and where they stand in each side follows from its own
differences between the common ancestor and that side (`lines.py`).
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from orch_server.domain.collision import CollisionHunk, CollisionKind
from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git import lines
from orch_server.git.command import Git, Target, run
from orch_server.git.lines import Change, Conflict
from orch_server.git.shadow import MARKER_SIZE, Shadow, alternates

TIMEOUT = 120.0
LARGEST_FILE = 4 * 1024 * 1024
MOST_FILES = 200
"""So many files of one merge get lines; a merge with more conflicts is told by its files alone."""

IDENTITY = (("user.name", "orch"), ("user.email", "orch@localhost"))
REGULAR = frozenset({"100644", "100755"})
KINDS = {
    b"rename": CollisionKind.RENAME,
    b"modify/delete": CollisionKind.MODIFY_DELETE,
    b"file/directory": CollisionKind.ADD_ADD,
}
"""By words in git's own names of conflicts, the first that fits."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as one of the three versions has it: a name in the merge's result, a mode and the content."""

    path: bytes
    mode: str
    oid: str


@dataclass(frozen=True, slots=True)
class Clash:
    """One thing that does not merge: the versions of the common ancestor and of both sides, as far as there are any.

    `numbered` is git's own account, with its stages; `paths` are the names under which the sides themselves have it.
    """

    path: bytes
    kind: CollisionKind
    numbered: tuple[tuple[int, Entry], ...]
    versions: tuple[Entry | None, Entry | None, Entry | None]
    merged: bytes | None = None
    """The name in the merge's result of a text in which git marks conflicts."""
    paths: tuple[bytes | None, bytes | None] = (None, None)
    hunks: tuple[CollisionHunk, ...] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """What merging two commits would give: a tree, which has conflict markers in it where there are clashes."""

    tree: str
    clashes: tuple[Clash, ...] = ()


@dataclass(slots=True)
class Known:
    """Lines found before, by the three contents they follow from."""

    hunks: dict[tuple[str, ...], tuple[CollisionHunk, ...]] = field(default_factory=dict)
    changes: dict[tuple[str, str], tuple[Change, ...]] = field(default_factory=dict)

    def trim(self, most: int = 5_000) -> None:
        """Forget the oldest where it became too much."""
        while len(self.hunks) > most:
            del self.hunks[next(iter(self.hunks))]
        while len(self.changes) > most:
            del self.changes[next(iter(self.changes))]


Pair = tuple[str, str]


async def predict(
    git: Git, shadow: Shadow, pairs: Sequence[Pair], *, work_tree: str, known: Known | None = None
) -> list[Prediction]:
    """Return what merging each pair of commits would do; attributes (`merge=union`, say) are those in `work_tree`."""
    if not pairs:
        return []
    known = known or Known()
    async with _throwaway(shadow, work_tree) as target:
        found = await _merge(git, target, pairs)
        found = await _name(git, target, pairs, found)
        return await _locate(git, target, pairs, found, known)


async def commit_of(git: Git, shadow: Shadow, tree: str, head: str) -> str:
    """Return the commit that would follow `head` if this tree were committed."""
    # Always the same for the same content, so that nothing is merged again for it.
    dates = {"GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"}
    fixed = replace(git, environment={**git.environment, **dates})
    inside = replace(shadow.target(), settings=(*IDENTITY, *shadow.settings))
    return (await run(fixed, inside, ["commit-tree", "-p", head, "-m", "work in progress", tree])).line


async def changes_of(git: Git, shadow: Shadow, pairs: Sequence[Pair], known: Known) -> list[tuple[Change, ...]]:
    """Return in which lines each pair of contents differs."""
    missing = [pair for pair in dict.fromkeys(pairs) if pair not in known.changes and pair[0] != pair[1]]
    if missing:
        async with _throwaway(shadow, None) as target:
            known.changes |= await _differences(git, target, missing)
    return [known.changes.get(pair, ()) for pair in pairs]


@asynccontextmanager
async def _throwaway(shadow: Shadow, work_tree: str | None) -> AsyncIterator[Target]:
    """Yield a target whose new objects are gone afterwards: merges of every pair after every change add up."""
    objects = await asyncio.to_thread(_make_objects, shadow)
    try:
        yield replace(shadow.target(work_tree=work_tree), objects=objects)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, objects, ignore_errors=True))


def _make_objects(shadow: Shadow) -> str:
    objects = tempfile.mkdtemp(prefix="merging-", dir=shadow.directory)
    os.mkdir(os.path.join(objects, "info"))
    with open(os.path.join(objects, "info", "alternates"), "wb") as file:
        file.write(alternates(os.path.join(shadow.directory, "objects")))
    return objects


# -- the merges -----------------------------------------------------------------------------------------------------


async def _merge(git: Git, target: Target, pairs: Sequence[Pair]) -> list[Prediction]:
    stdin = "".join(f"{ours} {theirs}\n" for ours, theirs in pairs).encode("ascii")
    merging = ["merge-tree", "--write-tree", "--allow-unrelated-histories", "--stdin"]
    answer = await run(git, target, merging, stdin=stdin, timeout=TIMEOUT)
    fields = iter(answer.stdout.split(b"\0"))
    found = [_read_merge(fields, pair) for pair in pairs]
    if list(fields) != [b""]:
        raise OrchError(ErrorKind.GIT_FAILED, "git merge-tree answered in a form that orch does not know.")
    return found


def _read_merge(fields: Iterator[bytes], pair: Pair) -> Prediction:
    clean, tree = next(fields) == b"1", next(fields).decode("ascii")
    entries: list[tuple[int, Entry]] = []
    if clean:
        assert next(fields) == b""
        return Prediction(tree)
    while about := next(fields):
        (mode, oid, stage), path = about.split(b"\t", 1)[0].decode("ascii").split(" "), about.split(b"\t", 1)[1]
        entries.append((int(stage), Entry(path, mode, oid)))
    told: list[tuple[bytes, list[bytes]]] = []
    while count := next(fields):
        paths = [next(fields) for _ in range(int(count))]
        told.append((next(fields), paths))
        next(fields)  # the words for a person
    return Prediction(tree, tuple(_clashes(entries, told, pair)))


def _clashes(entries: list[tuple[int, Entry]], told: list[tuple[bytes, list[bytes]]], pair: Pair) -> Iterator[Clash]:
    """Yield one clash for all paths that a conflict names together, in the order of their names."""
    groups: list[set[bytes]] = [{entry.path} for _, entry in entries]
    conflicts = [(about, set(paths)) for about, paths in told if about.startswith(b"CONFLICT")]
    for _, paths in conflicts:
        together = [group for group in groups if group & paths]
        groups = [group for group in groups if not group & paths]
        groups.append(set().union(paths, *together))
    for group in sorted({frozenset(group) for group in groups}, key=min):
        inside = [(stage, entry) for stage, entry in entries if entry.path in group]
        abouts = [about for about, paths in conflicts if paths & group]
        yield _clash(min(group), inside, abouts, pair)


def _clash(name: bytes, entries: list[tuple[int, Entry]], abouts: list[bytes], pair: Pair) -> Clash:
    stages: dict[bytes, set[int]] = {name: set()}
    for stage, entry in entries:
        stages.setdefault(entry.path, set()).add(stage)
    main = max(sorted(stages), key=lambda path: (len(stages[path] & {2, 3}), 1 in stages[path]))
    named = sorted(entries, key=lambda item: item[1].path != main)
    first = {stage: next((entry for number, entry in named if number == stage), None) for stage in (1, 2, 3)}
    kind = CollisionKind.CONTENT if first[1] else CollisionKind.ADD_ADD
    kind = next((kind for word, kind in KINDS.items() if any(word in about for about in abouts)), kind)
    ours, theirs = first[2], first[3]
    texts = ours is not None and theirs is not None and {ours.mode, theirs.mode} <= REGULAR
    marks = b"CONFLICT (contents)" in abouts or b"CONFLICT (rename/rename)" in abouts
    merged = ours.path if ours is not None and texts and marks else None
    return Clash(_unlabelled(main, pair), kind, tuple(entries), (first[1], ours, theirs), merged)


def _unlabelled(path: bytes, pair: Pair) -> bytes:
    """Return a name without what git puts behind it where a file cannot stay in its place."""
    for commit in pair:
        head, label, _ = path.rpartition(b"~" + commit.encode("ascii"))
        if label:
            return head
    return path


# -- the names that the sides themselves have -----------------------------------------------------------------------


async def _name(git: Git, target: Target, pairs: Sequence[Pair], found: Sequence[Prediction]) -> list[Prediction]:
    asked = [
        (pair[side], _unlabelled(entry.path, pair), entry.oid)
        for pair, prediction in zip(pairs, found, strict=True)
        for clash in prediction.clashes
        for side, entry in enumerate(clash.versions[1:])
        if entry is not None
    ]
    if not asked:
        return list(found)
    stdin = b"".join(b"%s:%s\0" % (commit.encode("ascii"), path) for commit, path, _ in asked)
    checking = ["cat-file", "-z", "--batch-check=%(objectname) %(objecttype) %(objectsize)"]
    answers = (await run(git, target, checking, stdin=stdin, timeout=TIMEOUT)).stdout
    present: dict[tuple[str, bytes], str] = {}
    large: set[str] = set()
    # An answer for a missing object repeats the name, line ends and all: read by the next name asked for.
    for commit, path, _ in asked:
        missing = b"%s:%s missing\n" % (commit.encode("ascii"), path)
        if answers.startswith(missing):
            answers = answers.removeprefix(missing)
        else:
            answer, _, answers = answers.partition(b"\n")
            oid, kind, size = answer.decode("ascii").split(" ")
            present[commit, path] = oid
            if kind != "blob" or int(size) > LARGEST_FILE:
                large.add(oid)
    lost = {commit for commit, path, _ in asked if (commit, path) not in present}
    elsewhere = dict(zip(lost, await asyncio.gather(*(_by_content(git, target, c) for c in lost)), strict=True))

    def own(commit: str, entry: Entry | None, pair: Pair) -> Entry | None:
        """Return a side's own version: its name there, and its content where git gave that of a half-made merge."""
        if entry is None:
            return None
        path = _unlabelled(entry.path, pair)
        if (commit, path) in present:
            return replace(entry, path=path, oid=present[commit, path])
        candidates = elsewhere[commit].get(entry.oid, [])
        same = [name for name in candidates if os.path.basename(name) == os.path.basename(path)]
        return replace(entry, path=next(iter([*same, *candidates]), path))

    def named(clash: Clash, pair: Pair) -> Clash:
        base, ours, theirs = clash.versions
        mine, other = own(pair[0], ours, pair), own(pair[1], theirs, pair)
        paths = (mine.path if mine else None, other.path if other else None)
        merged = clash.merged if large.isdisjoint({mine.oid if mine else "", other.oid if other else ""}) else None
        return replace(clash, versions=(base, mine, other), paths=paths, merged=merged)

    return [
        replace(prediction, clashes=tuple(named(clash, pair) for clash in prediction.clashes))
        for pair, prediction in zip(pairs, found, strict=True)
    ]


async def _by_content(git: Git, target: Target, commit: str) -> dict[str, list[bytes]]:
    """Return a commit's files by their content."""
    listed = await run(git, target, ["ls-tree", "-r", "-z", commit], timeout=TIMEOUT)
    found: dict[str, list[bytes]] = {}
    for line in listed.stdout.split(b"\0")[:-1]:
        about, path = line.split(b"\t", 1)
        found.setdefault(about.decode("ascii").split(" ")[2], []).append(path)
    return found


# -- the lines ------------------------------------------------------------------------------------------------------


async def _locate(
    git: Git, target: Target, pairs: Sequence[Pair], found: Sequence[Prediction], known: Known
) -> list[Prediction]:
    """Fill in the lines of the conflicts that git marks."""
    wanted = [
        (pair, prediction, clash)
        for pair, prediction in zip(pairs, found, strict=True)
        for clash in prediction.clashes[:MOST_FILES]
        if clash.merged is not None and _contents(clash) not in known.hunks
    ]
    if wanted:
        await _find_hunks(git, target, wanted, known)
    return [
        replace(
            prediction,
            clashes=tuple(
                clash if clash.merged is None else replace(clash, hunks=known.hunks.get(_contents(clash), ()))
                for clash in prediction.clashes
            ),
        )
        for prediction in found
    ]


def _contents(clash: Clash) -> tuple[str, ...]:
    return tuple("" if entry is None else entry.oid for entry in clash.versions)


async def _find_hunks(git: Git, target: Target, wanted: Sequence[tuple[Pair, Prediction, Clash]], known: Known) -> None:
    names = [b"%s:%s" % (prediction.tree.encode("ascii"), clash.merged or b"") for _, prediction, clash in wanted]
    sides = [oid for _, _, clash in wanted for oid in _contents(clash)[1:]]
    contents = await _read(git, target, [*names, *(oid.encode("ascii") for oid in sides)])
    usable = [
        (item, contents[number], contents[len(names) + 2 * number], contents[len(names) + 2 * number + 1])
        for number, item in enumerate(wanted)
    ]
    # A file that only the sides have has an empty ancestor.
    alone = any(not _contents(clash)[0] for _, _, clash in wanted)
    empty = await _empty(git, target) if alone else ""
    bases = {id(clash): _contents(clash)[0] or empty for _, _, clash in wanted}
    diffs = [
        (bases[id(clash)], oid)
        for (_, _, clash), merged, ours, theirs in usable
        if merged is not None and ours is not None and theirs is not None
        for oid in _contents(clash)[1:]
    ]
    missing = [pair for pair in dict.fromkeys(diffs) if pair not in known.changes and pair[0] != pair[1]]
    if missing:
        known.changes |= await _differences(git, target, missing)
    for (pair, _, clash), merged, ours, theirs in usable:
        if merged is None or ours is None or theirs is None:
            continue
        base = bases[id(clash)]
        _, mine, other = _contents(clash)
        conflict = Conflict(
            merged,
            ours,
            theirs,
            known.changes.get((base, mine), ()),
            known.changes.get((base, other), ()),
            (pair[0].encode("ascii"), pair[1].encode("ascii")),
        )
        known.hunks[_contents(clash)] = await asyncio.to_thread(lines.hunks, conflict, MARKER_SIZE)


async def _empty(git: Git, target: Target) -> str:
    """Return the name of the empty content."""
    return (await run(git, target, ["hash-object", "-w", "--stdin"], stdin=b"")).line


async def _read(git: Git, target: Target, names: Sequence[bytes]) -> list[bytes | None]:
    """Return contents by name; None for what is missing."""
    stdin = b"".join(name + b"\0" for name in names)
    output = (await run(git, target, ["cat-file", "-z", "--batch=%(objectsize)"], stdin=stdin)).stdout
    found: list[bytes | None] = []
    position = 0
    for name in names:
        missing = name + b" missing\n"
        if output.startswith(missing, position):
            found.append(None)
            position += len(missing)
            continue
        end = output.index(b"\n", position)
        size = int(output[position:end])
        found.append(output[end + 1 : end + 1 + size])
        position = end + 2 + size
    return found


async def _differences(git: Git, target: Target, pairs: Sequence[Pair]) -> dict[tuple[str, str], tuple[Change, ...]]:
    """Return the changed lines of pairs of contents, all by two calls of git, as git's merge sees them."""
    olds, news = (_tree_of(pair[side] for pair in pairs) for side in (0, 1))
    made = await run(git, target, ["mktree", "-z", "--batch"], stdin=olds + b"\0" + news + b"\0")
    old, new = made.stdout.decode("ascii").split()
    comparing = ["diff-tree", "--histogram", "--no-indent-heuristic", "--unified=0", "--text", "--no-renames"]
    comparing += ["--no-ext-diff", "--no-textconv", "-r", "-p", "--end-of-options", old, new]
    patch = await run(git, target, comparing, timeout=TIMEOUT)
    found: dict[tuple[str, str], tuple[Change, ...]] = dict.fromkeys(pairs, ())
    for number, changes in lines.read_patch(patch.stdout):
        found[pairs[number]] = changes
    return found


def _tree_of(oids: Iterable[str]) -> bytes:
    return b"".join(b"100644 blob %s\t%d\0" % (oid.encode("ascii"), number) for number, oid in enumerate(oids))


async def contents_at(git: Git, shadow: Shadow, trees: Sequence[str], path: bytes) -> list[str | None]:
    """Return the content that a file has in each of these trees or commits, by name; None where there is none."""
    names = [b"%s:%s" % (tree.encode("ascii"), path) for tree in trees]
    stdin = b"".join(name + b"\0" for name in names)
    checking = ["cat-file", "-z", "--batch-check=%(objecttype) %(objectname)"]
    answers = (await run(git, shadow.target(), checking, stdin=stdin, timeout=TIMEOUT)).stdout
    found: list[str | None] = []
    for name in names:
        if answers.startswith(name + b" missing\n"):
            answers = answers.removeprefix(name + b" missing\n")
            found.append(None)
            continue
        answer, _, answers = answers.partition(b"\n")
        kind, _, oid = answer.decode("ascii").partition(" ")
        found.append(oid if kind == "blob" else None)
    return found


async def merge_base(git: Git, shadow: Shadow, ours: str, theirs: str) -> str | None:
    """Return the best common ancestor of two commits."""
    found = await run(git, shadow.target(), ["merge-base", ours, theirs], accept=(0, 1))
    return found.line or None
