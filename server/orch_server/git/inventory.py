"""What lies in a session's worktree, and what of it exists nowhere else: for whoever is about to delete it.

git calls a tree clean while it holds ignored files, hidden changes, commits on a detached HEAD or whole repositories
of their own. So the directory itself is walked, and git is asked only what each file means to it, by way of the
shadow. Where looking fails the answer is "unknown", which is never taken for "nothing".

The token is a digest of all that was seen. It reads no contents: a file that changed has another size, time or number.
"""

import asyncio
import hashlib
import os
import stat
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from heapq import nlargest
from typing import TypeVar

import psutil

from orch_server.domain.errors import OrchError
from orch_server.git.command import TIMEOUT, Git, Target, is_oid, run, visible
from orch_server.git.index import copy_index, scratch_index
from orch_server.git.shadow import Shadow
from orch_server.git.worktree import Worktree

ResultT = TypeVar("ResultT")

LARGEST_SHOWN = 20
COMMITS_SHOWN = 100
# What git leaves in a worktree's own directory while an operation is under way, and what the operation is called.
OPERATIONS = {
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "BISECT_LOG": "bisect",
}


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that a commit does not hold, by its visible name."""

    path: str
    kind: str
    bytes: int


@dataclass(frozen=True, slots=True)
class FoundCommit:
    """A commit that no other ref leads to."""

    commit: str
    subject: str


@dataclass(frozen=True, slots=True)
class FoundProcess:
    """A process that works in the worktree."""

    pid: int
    name: str


@dataclass(slots=True)
class Inventory:
    """What there is. Counts are of files; `unknown` says what could not be looked at."""

    path: str
    present: bool = False
    bytes: int = 0
    files: int = 0
    modified: int = 0
    staged: int = 0
    untracked: int = 0
    ignored: int = 0
    hidden: int = 0
    special: int = 0
    unsaved_bytes: int = 0
    """How much of the modified and untracked files a snapshot would have to store."""
    largest: list[FoundFile] = field(default_factory=list)
    nested: list[str] = field(default_factory=list)
    commits: list[FoundCommit] = field(default_factory=list)
    operation: str | None = None
    processes: list[FoundProcess] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    token: str = ""


async def take(git: Git, shadow: Shadow | None, worktree: Worktree, path: str) -> Inventory:
    """Return what lies at `path`, which is the worktree or where it was moved; without a shadow git is not asked."""
    found = Inventory(path)
    walk = await asyncio.to_thread(_walk, os.fsencode(path))
    _count(found, walk)
    facts: list[bytes] = [walk.digest]
    found.processes = await asyncio.to_thread(_processes_in, path) if found.present else []
    found.operation = await asyncio.to_thread(_operation, worktree.admin_dir)
    facts.append(str(found.operation).encode())
    if shadow is None:
        found.unknown.append("The project's repository cannot be read, so git was not asked.")
    else:
        facts += await _refs(git, worktree, found)
        if found.present:
            facts += await _contents(git, shadow, worktree, found, walk)
    found.token = hashlib.sha256(b"\0".join([worktree.session_id.encode(), *facts])).hexdigest()[:32]
    return found


async def read_head(git: Git, worktree: Worktree) -> tuple[str | None, str | None]:
    """Return the commit that the worktree stands at, and the full name of the ref it is on (None if detached)."""
    own = Target(git_dir=worktree.admin_dir, common_dir=worktree.common_dir)
    commit = await run(git, own, ["rev-parse", "--quiet", "--verify", "HEAD^{commit}"], accept=(0, 1, 128))
    ref = await run(git, own, ["symbolic-ref", "--quiet", "HEAD"], accept=(0, 1, 128))
    return commit.line if is_oid(commit.line) else None, ref.line or None


async def read_ref(git: Git, common_dir: str, ref: str) -> str | None:
    """Return what a ref points at, None where there is no such ref."""
    found = await run(
        git,
        Target(git_dir=common_dir),
        ["rev-parse", "--quiet", "--verify", "--end-of-options", ref],
        accept=(0, 1, 128),
    )
    return found.line if is_oid(found.line) else None


# -- git's part -------------------------------------------------------------------------------------------------


async def _refs(git: Git, worktree: Worktree, found: Inventory) -> list[bytes]:
    async def look() -> list[bytes]:
        branch = f"refs/heads/{worktree.branch}"
        head, ref = await read_head(git, worktree)
        tip = await read_ref(git, worktree.common_dir, branch)
        tips = sorted({commit for commit in (head, tip) if commit is not None})
        if tips:
            # `--single-worktree`, or the worktree's own HEAD would count as another place for its commits.
            arguments = ["rev-list", "--no-commit-header", "--format=%H %s", f"--max-count={COMMITS_SHOWN}"]
            arguments += ["--single-worktree", *tips, "--not", f"--exclude={branch}", "--exclude=refs/orch/*", "--all"]
            listed = await run(git, Target(git_dir=worktree.common_dir), arguments, timeout=TIMEOUT)
            for line in listed.stdout.splitlines():
                commit, _, subject = line.partition(b" ")
                found.commits.append(FoundCommit(commit.decode(), visible(subject)))
        return [str((head, ref, tip)).encode()]

    return await _or_unknown(look(), found, "the commits of the branch") or []


async def _contents(git: Git, shadow: Shadow, worktree: Worktree, found: Inventory, walk: "_Walk") -> list[bytes]:
    async def look() -> list[bytes]:
        with scratch_index(shadow.directory) as index:
            return await _compare(git, shadow, worktree, found, walk, index)

    return await _or_unknown(look(), found, "what git knows of the files") or []


async def _compare(
    git: Git, shadow: Shadow, worktree: Worktree, found: Inventory, walk: "_Walk", index: str
) -> list[bytes]:
    """Compare the files with a copy of the index from which all marks that hide changes are taken."""
    copied = await asyncio.to_thread(copy_index, os.path.join(worktree.admin_dir, "index"), index)
    target = shadow.target(work_tree=found.path, index=index)

    async def names(*arguments: str) -> list[bytes]:
        listed = await run(git, target, ["ls-files", "-z", "--deduplicate", *arguments], timeout=TIMEOUT)
        return listed.stdout.split(b"\0")[:-1]

    entries = await names("--stage") if copied else []
    marked = [(entry[:1], entry[2:]) for entry in await names("-v", "--cached")] if copied else []
    hidden = {
        "--no-assume-unchanged": [name for tag, name in marked if tag.islower()],
        "--no-skip-worktree": [name for tag, name in marked if tag in b"Ss" and name in walk.entries],
    }
    for option, paths in hidden.items():
        if paths:
            stdin = b"".join(path + b"\0" for path in paths)
            await run(git, target, ["update-index", option, "-z", "--stdin"], stdin=stdin)
    # A submodule's own state would be read with the submodule's configuration; that it is there is seen by the walk.
    gitlinks = {entry.partition(b"\t")[2] for entry in entries if entry.startswith(b"160000 ")}
    sparse = {name for tag, name in marked if tag in b"Ss" and name not in walk.entries}
    modified = set(await names("--modified")) - gitlinks - sparse
    untracked = await names("--others", "--exclude-standard")
    ignored = await names("--others", "--ignored", "--exclude-standard")
    head, _ = await read_head(git, worktree)
    found.staged = len(await _staged(git, target, head)) if copied else 0
    found.modified, found.untracked, found.ignored = len(modified), len(untracked), len(ignored)
    found.hidden = len({name for paths in hidden.values() for name in paths} & modified)
    found.nested = sorted(visible(path) for path in walk.repositories if path not in gitlinks)
    kinds = [("ignored", ignored), ("untracked", untracked), ("modified", sorted(modified))]
    sized = [(walk.size_below(name), name, kind) for kind, paths in kinds for name in paths]
    found.unsaved_bytes = sum(size for size, name, kind in sized if kind != "ignored" and not name.endswith(b"/"))
    found.largest = [FoundFile(visible(name), kind, size) for size, name, kind in nlargest(LARGEST_SHOWN, sized)]
    flags = [tag + name for tag, name in marked if tag != b"H"]
    return [hashlib.sha256(b"\0".join([*entries, b"", *flags])).digest()]


async def _staged(git: Git, target: Target, head: str | None) -> list[bytes]:
    bare = replace(target, work_tree=None)
    start = head or (await run(git, bare, ["hash-object", "-t", "tree", "--stdin"], stdin=b"")).line
    arguments = ["diff-index", "--cached", "--name-only", "-z", "--no-ext-diff", "--end-of-options", start, "--"]
    return (await run(git, bare, arguments, timeout=TIMEOUT)).stdout.split(b"\0")[:-1]


async def _or_unknown(look: Awaitable[ResultT], found: Inventory, what: str) -> ResultT | None:
    try:
        return await look
    except (OrchError, OSError) as error:
        found.unknown.append(f"It could not be seen: {what} ({error}).")
        return None


# -- the directory's part ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Walk:
    """Every entry below a directory, by its path from there, with its size."""

    present: bool = False
    digest: bytes = b""
    entries: dict[bytes, int] = field(default_factory=dict)
    repositories: list[bytes] = field(default_factory=list)
    special: int = 0
    files: int = 0
    unknown: list[str] = field(default_factory=list)

    def size_below(self, name: bytes) -> int:
        """Return the size of a file, or of all files in a directory whose name ends in a slash."""
        if not name.endswith(b"/"):
            return self.entries.get(name, 0)
        return sum(size for path, size in self.entries.items() if path.startswith(name))


def _walk(top: bytes) -> _Walk:
    """Look at everything below `top`, following no link and entering no other file system."""
    walk = _Walk()
    try:
        device = os.lstat(top).st_dev
        walk.present = not os.path.islink(top) and os.path.isdir(top)
    except OSError:
        return walk
    facts: list[tuple[bytes, str]] = []
    waiting = [b""] if walk.present else []
    while waiting:
        directory = waiting.pop()
        try:
            listed = list(os.scandir(os.path.join(top, directory)))
        except OSError as error:
            walk.unknown.append(f"{visible(directory) or '.'} cannot be read: {error.strerror}.")
            facts.append((directory, "unreadable"))
            continue
        for entry in listed:
            path = os.path.join(directory, entry.name)
            try:
                seen = entry.stat(follow_symlinks=False)
            except OSError as error:
                walk.unknown.append(f"{visible(path)} cannot be read: {error.strerror}.")
                continue
            if stat.S_ISDIR(seen.st_mode):
                # Its times change with every entry, and the entries are looked at themselves.
                facts.append((path, f"{seen.st_mode}"))
                if seen.st_dev == device:
                    waiting.append(path)
                else:
                    walk.unknown.append(f"{visible(path)} is another file system; it was not looked into.")
                continue
            if entry.name == b".git" and directory:
                walk.repositories.append(directory)
            walk.files += 1
            walk.special += not (stat.S_ISREG(seen.st_mode) or stat.S_ISLNK(seen.st_mode))
            walk.entries[path] = seen.st_size
            facts.append((path, f"{seen.st_mode} {seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns} {seen.st_ino}"))
        if directory and any(entry.name == b".git" and entry.is_dir(follow_symlinks=False) for entry in listed):
            walk.repositories.append(directory)
    digest = hashlib.sha256(str(walk.present).encode())
    for path, said in sorted(facts):
        digest.update(path + b"\0" + said.encode() + b"\0")
    walk.digest = digest.digest()
    return walk


def _count(found: Inventory, walk: _Walk) -> None:
    found.present = walk.present
    found.files, found.special = walk.files, walk.special
    found.bytes = sum(walk.entries.values())
    found.unknown += walk.unknown
    if found.special:
        found.unknown.append(f"{found.special} files are no regular files; a snapshot cannot hold them, the trash can.")


def _operation(admin_dir: str) -> str | None:
    for name, operation in OPERATIONS.items():
        if os.path.lexists(os.path.join(admin_dir, name)):
            return operation
    return None


def _processes_in(path: str) -> list[FoundProcess]:
    found = []
    for process in psutil.process_iter(["pid", "name", "cwd"]):
        cwd = process.info["cwd"]
        if cwd and (cwd == path or cwd.startswith(path + os.sep)):
            found.append(FoundProcess(process.info["pid"], process.info["name"] or ""))
    return found
