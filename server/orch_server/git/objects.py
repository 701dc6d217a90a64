"""Trees and commits made in the shadow, looked at, joined, and carried over into the project."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from orch_server.domain.wire import WireModel
from orch_server.git.command import TIMEOUT, Git, Output, run, visible
from orch_server.git.repository import Repository
from orch_server.git.shadow import Shadow
from orch_server.git.snapshot import PIN_SETTINGS, storing

GITLINK = "160000"
NOTHING = "000000"


class ConflictKind(StrEnum):
    """Why a file cannot be brought together with what is there."""

    CONTENT = "content"
    ADD_ADD = "add_add"
    MODIFY_DELETE = "modify_delete"
    RENAME = "rename"
    UNCOMMITTED = "uncommitted"
    IN_THE_WAY = "in_the_way"
    SUBMODULE = "submodule"


class Conflict(WireModel):
    """A file that cannot be brought together."""

    path: str
    kind: ConflictKind


@dataclass(frozen=True, slots=True)
class Changed:
    """A path that differs between two trees; a mode of zeros means that it is not there."""

    path: bytes
    old_mode: str
    new_mode: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Joined:
    """The result of a three-way merge; without conflicts `tree` is whole."""

    tree: str
    conflicts: tuple[Conflict, ...] = ()


async def tree_of(git: Git, shadow: Shadow, name: str) -> str:
    """Return the tree of a commit."""
    return (await run(git, shadow.target(), ["rev-parse", "--verify", "--end-of-options", f"{name}^{{tree}}"])).line


async def changed(git: Git, shadow: Shadow, old: str, new: str) -> list[Changed]:
    """Return every path in which two trees differ; a rename is two of them."""
    arguments = ["diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-ext-diff", "--end-of-options", old, new]
    return read_raw(await run(git, shadow.target(), arguments, timeout=TIMEOUT))


def read_raw(output: Output) -> list[Changed]:
    """Return what git's raw listing of differences says."""
    fields = output.stdout.split(b"\0")
    found = []
    for head, path in zip(fields[0:-1:2], fields[1::2], strict=True):
        old_mode, new_mode, old, new, _status = head.decode("ascii").removeprefix(":").split(" ")
        found.append(Changed(path, old_mode, new_mode, old, new))
    return found


async def make_commit(git: Git, shadow: Shadow, tree: str, parents: Sequence[str], message: bytes = b"") -> str:
    """Return a new commit in the shadow, of whoever `git` runs as."""
    inside = replace(shadow.target(), settings=(*PIN_SETTINGS, *shadow.settings))
    named = [word for parent in parents for word in ("-p", parent)]
    return (await run(git, inside, ["commit-tree", *named, "-F", "-", tree], stdin=message)).line


async def join(git: Git, shadow: Shadow, base: str, ours: str, theirs: str) -> Joined:
    """Merge three trees in the shadow: nothing of the project is touched, and none of its merge drivers runs."""
    if theirs in {base, ours}:
        return Joined(ours)
    if base == ours:
        return Joined(theirs)
    # Commits of our own, so that only these trees count, whatever history lies behind them.
    root = await make_commit(git, shadow, base, ())
    sides = [await make_commit(git, shadow, tree, (root,)) for tree in (ours, theirs)]
    arguments = ["merge-tree", "--write-tree", "-z", "--messages", *sides]
    answer = await run(git, shadow.target(), arguments, accept=(0, 1), timeout=TIMEOUT)
    tree, *fields = answer.stdout.split(b"\0")
    return Joined(tree.decode("ascii"), () if answer.status == 0 else tuple(_conflicts(fields)))


async def carry_over(
    git: Git, repository: Repository, shadow: Shadow, commits: Sequence[str], trees: Sequence[str], known: Sequence[str]
) -> None:
    """Write commits and trees of the shadow into the project, on the disk before this returns.

    `known` are trees that the project has. History is not walked: what lies behind the commits is the project's own.
    """
    listing = "".join([*(f"{tree}\n" for tree in trees), *(f"^{tree}\n" for tree in known)])
    arguments = ["rev-list", "--objects", "--no-object-names", "--stdin"]
    listed = await run(git, shadow.target(), arguments, stdin=listing.encode("ascii"), timeout=TIMEOUT)
    names = listed.stdout + "".join(f"{commit}\n" for commit in commits).encode("ascii")
    packing = ["pack-objects", "--quiet", "--local", "--stdout"]
    pack = (await run(git, shadow.target(), packing, stdin=names, timeout=TIMEOUT)).stdout
    project = replace(repository.target(), settings=PIN_SETTINGS)
    await run(git, project, storing(pack), stdin=pack, timeout=TIMEOUT)
    # By the project's own eyes: whatever is named in it from now on is there.
    check = ["cat-file", "--batch-check"]
    seen = await run(git, repository.target(), check, stdin=names, timeout=TIMEOUT)
    assert b" missing\n" not in seen.stdout, "the pack was written before"


def _conflicts(fields: list[bytes]) -> list[Conflict]:
    """Read git's account: entries of unmerged files, then an empty field, then messages."""
    stages: dict[bytes, set[str]] = {}
    end = fields.index(b"")
    for entry in fields[:end]:
        about, path = entry.split(b"\t", 1)
        stages.setdefault(path, set()).add(about.decode("ascii").split(" ")[2])
    kinds = {frozenset("123"): ConflictKind.CONTENT, frozenset("23"): ConflictKind.ADD_ADD}
    kinds |= {frozenset(pair): ConflictKind.MODIFY_DELETE for pair in ("12", "13")}
    found = {path: kinds.get(frozenset(which), ConflictKind.RENAME) for path, which in stages.items()}
    rest = iter(fields[end + 1 : -1])
    for count in rest:
        paths = [next(rest) for _ in range(int(count))]
        about, _message = next(rest), next(rest)
        if about.startswith(b"CONFLICT") and not found.keys() & set(paths):
            found |= dict.fromkeys(paths, ConflictKind.RENAME)
    return [Conflict(path=visible(path), kind=kind) for path, kind in sorted(found.items())]
