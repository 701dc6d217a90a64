"""The state of a working tree as a tree object: committed, staged, unstaged and untracked work, not what is ignored.

The working tree, its index and the project's refs are only read. The work is done in the shadow with a private index
for each working tree, a copy of the real one: what git knows about unchanged files is reused, so a further snapshot
reads only files that changed. Plumbing is used on purpose: `git add` and `git status` start a git inside every
submodule they meet, with that submodule's configuration.
"""

import asyncio
import hashlib
import os
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git.command import TIMEOUT, Git, Output, Target, kill_survivors, run, visible
from orch_server.git.index import copy_index, mark_of, scratch_index
from orch_server.git.refs import Update, update_refs
from orch_server.git.repository import Repository, check_identity
from orch_server.git.shadow import Shadow
from orch_server.git.worktree import Worktree, check_recorded
from orch_server.settings.crashpoint import crashpoint

UPDATE_OPTIONS = ("--add", "--remove", "--replace")
PIN_SETTINGS = (
    ("user.name", "orch"),
    ("user.email", "orch@localhost"),
    ("core.fsync", "all"),  # git does not sync objects by itself, and what is pinned is to be relied on
    ("core.fsyncMethod", "batch"),
)
MOST_UNPACKED = 100  # as git does with what it fetches


class Fidelity(StrEnum):
    """What becomes of line ends and the like."""

    COMMITTED = "committed"  # as `git add` would store it (line ends, no filters): what a difference is read from
    EXACT = "exact"  # the bytes on the disk: what can be given back


@dataclass(frozen=True, slots=True)
class WorkingTree:
    """Where files are, and the git directory whose index belongs to them."""

    path: str
    git_dir: str
    recorded: Worktree | Repository

    def check(self) -> None:
        """Raise a conflict unless this is still the directory that was recorded."""
        if isinstance(self.recorded, Worktree):
            check_recorded(self.recorded)
        else:
            check_identity(self.recorded)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A tree in the shadow's objects, and what is known to be missing from it.

    `nested` are other repositories lying untracked within; `warnings` is what git could not look into.
    """

    tree: str
    nested: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def worktree_files(worktree: Worktree) -> WorkingTree:
    """Return the files of a session's worktree."""
    return WorkingTree(worktree.path, worktree.admin_dir, worktree)


def project_files(repository: Repository) -> WorkingTree:
    """Return the files of the project's own checkout."""
    return WorkingTree(repository.path, repository.common_dir, repository)


async def snapshot(
    git: Git,
    shadow: Shadow,
    files: WorkingTree,
    *,
    fidelity: Fidelity = Fidelity.COMMITTED,
    paths: Sequence[bytes] | None = None,
    known: set[bytes] | None = None,
) -> Snapshot:
    """Return the present state of the files as a tree.

    With `paths`, files and directories, whatever else there is counts as it did at the last snapshot: for who knows
    that nothing else was changed. `known` is a set that is kept here from one snapshot of the same files to the next:
    the files that were stored, so that git need not be asked what the paths are while a few files are written again and
    again. It is to be empty where a directory may be among the paths.
    """
    await asyncio.to_thread(files.check)
    key = hashlib.blake2b(os.fsencode(f"{fidelity}\0{files.path}"), digest_size=12).hexdigest()
    index = os.path.join(shadow.directory, "indexes", key)
    work = _Work(git, shadow, files, fidelity, index, f"snapshot-{key}", known if known is not None else set())
    async with git.lock(index):
        if await asyncio.to_thread(os.path.lexists, index + ".lock"):
            # Only a call of an earlier hub can have left it: calls of this one wait for each other.
            await kill_survivors(git, work.intent)
            await asyncio.to_thread(_forget, index)
        if fidelity is Fidelity.EXACT:
            return await _again(work, _take_listed)
        try:
            return await _again(work, partial(_take_changed, paths=paths))
        except OrchError as error:
            if error.kind is not ErrorKind.GIT_FAILED:
                raise
            # The copied index is not usable by itself (split in two files, damaged): begin with none.
            await asyncio.to_thread(_forget, index)
            return await _take_listed(work)


async def overlay(git: Git, shadow: Shadow, files: WorkingTree, tree: str, buffers: Mapping[bytes, bytes]) -> str:
    """Return a tree in which some files have the contents that an editor holds and has not written."""
    with scratch_index(shadow.directory) as index:
        target = shadow.target(work_tree=files.path, index=index)
        await run(git, target, ["read-tree", tree], timeout=TIMEOUT)
        entries = []
        for path, content in buffers.items():
            known = (await run(git, target, ["ls-files", "-z", "--stage", "--", os.fsdecode(path)])).stdout
            mode = known.split(b" ", 1)[0] if known.endswith(b"\t" + path + b"\0") else b"100644"
            if mode.startswith(b"100"):
                hashing = ["hash-object", "-w", "--stdin", "--path", os.fsdecode(path)]
                oid = (await run(git, target, hashing, stdin=content)).line
                entries.append(b"%b %b\t%b\0" % (mode, oid.encode("ascii"), path))
        updating = ["update-index", "--add", "--replace", "-z", "--index-info"]
        await run(git, target, updating, stdin=b"".join(entries))
        return (await run(git, target, ["write-tree"])).line


async def pin(
    git: Git,
    repository: Repository,
    shadow: Shadow,
    taken: Snapshot,
    ref: str,
    *,
    message: str,
    parents: Sequence[str] = (),
    replaces: str = "",
) -> str:
    """Keep a snapshot in the project under the ref `refs/orch/...`; return the commit that was made for it.

    The ref must be new, or point at the commit that it `replaces`. The parents are commits that the project has.
    """
    assert ref.startswith("refs/orch/"), ref
    inside = replace(shadow.target(), settings=(*shadow.settings, *PIN_SETTINGS))
    arguments = ["commit-tree", *(word for parent in parents for word in ("-p", parent)), "-m", message, taken.tree]
    commit = (await run(git, inside, arguments)).line
    wanted = "\n".join([commit, *(f"^{parent}" for parent in parents), ""])
    packing = ["pack-objects", "--quiet", "--revs", "--local", "--stdout"]
    pack = (await run(git, inside, packing, stdin=wanted.encode(), timeout=TIMEOUT)).stdout
    crashpoint("pin.packed")
    project = replace(repository.target(), settings=PIN_SETTINGS)
    await run(git, project, storing(pack), stdin=pack, timeout=TIMEOUT)
    crashpoint("pin.stored")
    await run(git, project, ["rev-list", "--objects", "--quiet", "--max-count=1", commit], timeout=TIMEOUT)
    await update_refs(git, project, [Update(ref, commit, replaces)])
    crashpoint("pin.made")
    return commit


def storing(pack: bytes) -> list[str]:
    """Return how a pack is taken into the project: a file for each small one would slow its git down."""
    objects = int.from_bytes(pack[8:12])
    return ["unpack-objects", "-q"] if objects <= MOST_UNPACKED else ["index-pack", "--stdin"]


@dataclass(frozen=True, slots=True)
class _Work:
    git: Git
    shadow: Shadow
    files: WorkingTree
    fidelity: Fidelity
    index: str
    intent: str
    known: set[bytes]

    @property
    def target(self) -> Target:
        exact = self.fidelity is Fidelity.EXACT
        return self.shadow.target(work_tree=self.files.path, index=self.index, exact=exact)

    @property
    def real_index(self) -> Target:
        """The project's own index, read with the shadow's configuration."""
        target = self.shadow.target(work_tree=self.files.path)
        return replace(target, git_dir=self.files.git_dir, common_dir=self.shadow.directory)


async def _again(work: _Work, take: Callable[[_Work], Awaitable[Snapshot]]) -> Snapshot:
    """Take it a second time if it fails: an agent may have turned a file into a directory under our hands."""
    try:
        return await take(work)
    except OrchError as error:
        if error.kind is not ErrorKind.GIT_FAILED:
            raise
    return await take(work)


async def _take_changed(work: _Work, paths: Sequence[bytes] | None) -> Snapshot:
    """Begin with a copy of the real index and look at what differs from it."""
    extra: list[bytes] = []
    if await asyncio.to_thread(_seed, os.path.join(work.files.git_dir, "index"), work.index):
        extra, paths = await _unhide(work), None
        work.known.clear()
    if paths is not None and await asyncio.to_thread(_are_known, work, paths):
        return await _write_tree(work, paths, b"")
    listing = ["ls-files", "-z", "--modified", "--others", "--exclude-standard", "--deduplicate"]
    if paths is not None:
        listing += ["--", *map(os.fsdecode, paths)]
    listed = await run(work.git, work.target, listing, timeout=TIMEOUT)
    return await _write_tree(work, [*extra, *_names(listed)], listed.stderr)


async def _take_listed(work: _Work) -> Snapshot:
    """Look at every file, with what the private index knows already."""
    listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    listed = await run(work.git, work.real_index, listing, timeout=TIMEOUT)
    known = await run(work.git, work.target, ["ls-files", "-z", "--cached"])
    present = set(_names(listed))
    gone = [name for name in _names(known) if name not in present]
    return await _write_tree(work, sorted(present), listed.stderr, gone)


async def _write_tree(work: _Work, names: Sequence[bytes], stderr: bytes, gone: Sequence[bytes] = ()) -> Snapshot:
    changed = await asyncio.to_thread(_sort, work.files.path, names)
    stored = work.known.difference(gone, changed.gone).union(changed.here)
    work.known.clear()  # nothing is certain of an index that could not be written
    for paths, options in (((*gone, *changed.gone), ("--force-remove",)), (changed.here, UPDATE_OPTIONS)):
        if paths:
            stdin = b"".join(path + b"\0" for path in paths)
            arguments = ["update-index", *options, "-z", "--stdin"]
            await run(work.git, work.target, arguments, stdin=stdin, intent=work.intent, timeout=TIMEOUT)
    written, tree = work.git.trees.get(work.index, ("", ""))
    if not written or written != await asyncio.to_thread(mark_of, work.index):
        tree = (await run(work.git, work.target, ["write-tree"], intent=work.intent, timeout=TIMEOUT)).line
        work.git.trees[work.index] = (await asyncio.to_thread(mark_of, work.index), tree)
    work.known.update(stored)
    warnings = tuple(line for line in visible(stderr).splitlines() if line.startswith("warning: "))
    return Snapshot(tree, tuple(visible(name) for name in changed.nested), warnings)


async def _unhide(work: _Work) -> list[bytes]:
    """Take off the marks that keep git from looking at files (assume-unchanged, skip-worktree); return the unmerged."""
    listed = await run(work.git, work.target, ["ls-files", "-z", "-v", "--cached"])
    marked = [(entry[:1], entry[2:]) for entry in _names(listed) if not entry.startswith(b"H ")]
    assumed = [name for tag, name in marked if tag.islower()]
    sparse = [name for tag, name in marked if tag in b"Ss"]
    skipped = await asyncio.to_thread(_present, work.files.path, sparse)  # what is not there is meant to be away
    for names, option in ((assumed, "--no-assume-unchanged"), (skipped, "--no-skip-worktree")):
        if names:
            stdin = b"".join(name + b"\0" for name in names)
            await run(work.git, work.target, ["update-index", option, "-z", "--stdin"], stdin=stdin, intent=work.intent)
    return [name for tag, name in marked if tag in b"Mm"]


def _are_known(work: _Work, paths: Sequence[bytes]) -> bool:
    """Tell whether each of these files was stored before, or is not there any more."""
    top = os.fsencode(work.files.path)
    return bool(work.known) and all(
        path in work.known or not os.path.lexists(os.path.join(top, path)) for path in paths
    )


def _present(root: str, names: Sequence[bytes]) -> list[bytes]:
    top = os.fsencode(root)
    return [name for name in names if os.path.lexists(os.path.join(top, name))]


@dataclass(frozen=True, slots=True)
class _Sorted:
    here: list[bytes]
    gone: list[bytes]
    nested: list[bytes]


def _sort(root: str, names: Sequence[bytes]) -> _Sorted:
    """Tell the paths with something that git can store from those without, as the disk is now."""
    result = _Sorted([], [], [])
    top = os.fsencode(root)
    real: dict[bytes, bool] = {b"": True}
    for name in dict.fromkeys(names):
        path = os.path.join(top, name)
        if name.endswith(b"/"):
            result.nested.append(name)
        elif _is_real(top, os.path.dirname(name), real) and _is_storable(path):
            result.here.append(name)
        else:
            result.gone.append(name)
    return result


def _is_real(top: bytes, directory: bytes, known: dict[bytes, bool]) -> bool:
    """Tell whether a directory is reached without a symbolic link."""
    if directory not in known:
        link = os.path.islink(os.path.join(top, directory))
        known[directory] = not link and _is_real(top, os.path.dirname(directory), known)
    return known[directory]


def _is_storable(path: bytes) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    submodule = stat.S_ISDIR(mode) and os.path.lexists(os.path.join(path, b".git"))
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode) or submodule


def _seed(real: str, index: str) -> bool:
    """Copy the real index if it is another one than the last time; tell whether it was."""
    mark = mark_of(real)
    if mark and os.path.exists(index) and _read(index + ".seed") == mark:
        return False
    mark = copy_index(real, index + ".new")
    if not mark:
        _forget(index)
        return False
    os.replace(index + ".new", index)
    with open(index + ".seed", "w", encoding="ascii") as seed:
        seed.write(mark)
    return True


def _forget(index: str) -> None:
    for suffix in (".lock", ".seed", ""):
        Path(index + suffix).unlink(missing_ok=True)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _names(output: Output) -> list[bytes]:
    return output.stdout.split(b"\0")[:-1]


async def directories(git: Git, shadow: Shadow, tree: str) -> list[bytes]:
    """Return the directories in a tree; none of them is ignored."""
    listed = await run(git, shadow.target(), ["ls-tree", "-r", "-d", "-z", "--name-only", tree], timeout=TIMEOUT)
    return _names(listed)
