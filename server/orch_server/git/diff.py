"""What changed between two trees, or between a tree and the files as they are now, for people to read.

Names travel as bytes until the last moment (`-z`), and a patch is cut by file as git prints it, so that neither a
name nor a huge change can upset the reading. Rename detection is on, everything a repository could configure is off.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import Field

from orch_server.domain.errors import ErrorKind, OrchError, invalid_params
from orch_server.domain.session import Changes
from orch_server.domain.wire import WireModel
from orch_server.git.command import Git, is_oid, run, visible
from orch_server.git.shadow import Shadow
from orch_server.git.snapshot import WorkingTree, snapshot

LARGEST_PATCH = 1024 * 1024
LARGEST_DIFF = 16 * 1024 * 1024
TIMEOUT = 5 * 60.0
OPTIONS = ("diff-tree", "-r", "--no-ext-diff", "--no-textconv", "--find-renames=50%", "-l1000")
SECTION = b"\ndiff --git "


class FileStatus(StrEnum):
    """What happened to a file."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    RENAMED = "renamed"
    TYPE_CHANGED = "type_changed"


class DiffFile(WireModel):
    """One file that differs."""

    path: str = Field(description="A name that is not UTF-8 shows its other bytes as \\xNN.")
    old_path: str | None = Field(default=None, description="Where it was, if it was renamed.")
    status: FileStatus
    insertions: int = 0
    deletions: int = 0
    binary: bool = False
    patch: str | None = Field(default=None, description="Unified text; null if `truncated`.")
    truncated: bool = Field(default=False, description="Whether the patch is left out for its size.")


class Diff(WireModel):
    """All files that differ, and by how much."""

    files: list[DiffFile] = []
    insertions: int = 0
    deletions: int = 0


async def diff(git: Git, shadow: Shadow, base: str, files: WorkingTree, *, paths: Sequence[str] = ()) -> Diff:
    """Return how the files as they are now, uncommitted and untracked work included, differ from a commit or tree."""
    taken = await snapshot(git, shadow, files)
    return await diff_trees(git, shadow, base, taken.tree, paths=paths)


async def diff_trees(git: Git, shadow: Shadow, old: str, new: str, *, paths: Sequence[str] = ()) -> Diff:
    """Return how one commit or tree differs from another; `paths` are files or directories to keep to."""
    listed = await _list(git, shadow, old, new, paths)
    if listed:
        cutter = _Cutter()
        arguments = [*OPTIONS, "--patch", "--end-of-options", old, new, "--", *paths]
        await run(git, shadow.target(), arguments, timeout=TIMEOUT, on_stdout=cutter.feed)
        _attach(listed, cutter.finish())
    return Diff(
        files=[entry.file for entry in listed],
        insertions=sum(entry.file.insertions for entry in listed),
        deletions=sum(entry.file.deletions for entry in listed),
    )


async def read_file(git: Git, shadow: Shadow, tree: str, path: str) -> bytes | None:
    """Return a file as it is in a commit or tree; None where there is none. Raises conflict for one over 16 MiB."""
    name = f"{tree}:{path}"
    if (await run(git, shadow.target(), ["cat-file", "-t", name], accept=(0, 128))).stdout != b"blob\n":
        return None
    size = int((await run(git, shadow.target(), ["cat-file", "-s", name])).stdout)
    if size > LARGEST_DIFF:
        raise OrchError(ErrorKind.CONFLICT, f"{path} is too large to be shown: {size} bytes.")
    return (await run(git, shadow.target(), ["cat-file", "blob", name], timeout=TIMEOUT)).stdout


async def list_files(git: Git, shadow: Shadow, old: str, new: str) -> list[DiffFile]:
    """Return the files in which two commits or trees differ, without their patches."""
    return [entry.file for entry in await _list(git, shadow, old, new, ())]


async def stat(git: Git, shadow: Shadow, base: str, files: WorkingTree) -> Changes:
    """Return how much the files as they are now differ from a commit or tree."""
    taken = await snapshot(git, shadow, files)
    listed = [entry.file for entry in await _list(git, shadow, base, taken.tree, ())]
    return Changes(
        files=len(listed),
        insertions=sum(file.insertions for file in listed),
        deletions=sum(file.deletions for file in listed),
    )


@dataclass(slots=True)
class _Entry:
    file: DiffFile
    sections: int


async def _list(git: Git, shadow: Shadow, old: str, new: str, paths: Sequence[str]) -> list[_Entry]:
    assert is_oid(old), old
    assert is_oid(new), new
    for path in paths:
        if not path or "\0" in path or path.startswith("/") or ".." in path.split("/"):
            raise invalid_params(f"{path!r} is not a path in the project.", hint="Give it from the top of the project.")
    arguments = [*OPTIONS, "--raw", "--numstat", "-z", "--end-of-options", old, new, "--", *paths]
    listed = await run(git, shadow.target(), arguments, timeout=TIMEOUT)
    fields = iter(listed.stdout.split(b"\0"))
    entries: list[_Entry] = []
    counted = 0
    for line in fields:
        if line.startswith(b":"):
            entries.append(_read_raw(line, fields))
        elif line:
            _count(entries[counted].file, line, fields)
            counted += 1
    return entries


def _read_raw(line: bytes, fields: Iterator[bytes]) -> _Entry:
    letter = line.rsplit(b" ", 1)[1][:1]
    path = next(fields)
    match letter:
        case b"R":
            return _Entry(DiffFile(path=visible(next(fields)), old_path=visible(path), status=FileStatus.RENAMED), 1)
        case b"A":
            status = FileStatus.ADDED
        case b"D":
            status = FileStatus.DELETED
        case b"T":
            # git prints the old thing as deleted and the new one as added.
            return _Entry(DiffFile(path=visible(path), status=FileStatus.TYPE_CHANGED), 2)
        case _:
            status = FileStatus.MODIFIED
    return _Entry(DiffFile(path=visible(path), status=status), 1)


def _count(file: DiffFile, line: bytes, fields: Iterator[bytes]) -> None:
    insertions, deletions, name = line.split(b"\t", 2)
    if not name:  # a rename has its two names in fields of their own
        next(fields)
        next(fields)
    if insertions == b"-":
        file.binary = True
    else:
        file.insertions, file.deletions = int(insertions), int(deletions)


def _attach(entries: list[_Entry], sections: list[bytes | None]) -> None:
    remaining = iter(sections)
    total = 0
    for entry in entries:
        parts = [next(remaining, None) for _ in range(entry.sections)]
        size = sum(len(part) for part in parts if part is not None)
        if None in parts or size > LARGEST_PATCH or total + size > LARGEST_DIFF:
            entry.file.truncated = True
            continue
        total += size
        entry.file.patch = b"".join(part for part in parts if part is not None).decode("utf-8", "replace")


@dataclass(slots=True)
class _Cutter:
    """Cuts git's output into one section a file and drops what is too long while it arrives.

    Within a file every line begins with one of " +-\\@" or a word of the header, so nothing in it looks like a section.
    """

    sections: list[bytes | None] = field(default_factory=list)
    current: bytearray = field(default_factory=bytearray)
    too_long: bool = False
    kept: int = 0
    rest: bytes = b""

    def feed(self, chunk: bytes) -> bool:
        *ended, self.rest = (self.rest + chunk).split(SECTION)
        for part in ended:
            self._add(part)
            self._close()
        if len(self.rest) > len(SECTION):  # the end may be the beginning of the next section's mark
            self._add(self.rest[: -len(SECTION)])
            self.rest = self.rest[-len(SECTION) :]
        return self.kept <= LARGEST_DIFF

    def finish(self) -> list[bytes | None]:
        if self.kept <= LARGEST_DIFF:  # else the last section is not whole
            self._add(self.rest)
            self._close()
        return self.sections

    def _add(self, part: bytes) -> None:
        self.too_long = self.too_long or len(self.current) + len(part) > LARGEST_PATCH
        if not self.too_long:
            self.current += part

    def _close(self) -> None:
        if self.too_long:
            self.sections.append(None)
        else:
            text = bytes(self.current).removesuffix(b"\n") + b"\n"
            self.sections.append(text if not self.sections else SECTION[1:] + text)
            self.kept += len(text)
        self.current, self.too_long = bytearray(), False
