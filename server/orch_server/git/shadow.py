"""A repository of the hub's own that stands in for a project's when file contents are read or written.

Its configuration is ours, so no filter, text conversion, diff or merge driver exists in it, whatever the project's
configuration and attributes name. It borrows the project's objects (alternates) and keeps what we write in an object
directory of its own: looking at a user's work must not grow or change the user's repository. What is to outlive the
shadow is copied into the project by `snapshot.pin`.

    <directory>/            git directory for snapshots and differences as git would commit them
        objects/            our objects; info/alternates names the project's
        info/exclude        the runtime directory, then the project's own info/exclude
        info/attributes     an agent cannot hide a change from review by `-diff`
        exact/              the same with every conversion off: bytes as they lie on the disk
        indexes/            private indexes, one a working tree and fidelity
        index-*/            scratch indexes, for as long as a call needs one
"""

import asyncio
import os
import shutil
import stat
from dataclasses import dataclass

from orch_server.git.command import Git, Target, run
from orch_server.git.index import clear_scratch
from orch_server.git.repository import Repository
from orch_server.settings.crashpoint import crashpoint

# What a user (or their machine) says about how files look on disk and how they merge. None of it names a program.
FOLLOWED_SETTINGS = frozenset(
    {
        "core.autocrlf",
        "core.eol",
        "core.filemode",
        "core.symlinks",
        "core.ignorecase",
        "core.precomposeunicode",
        "core.excludesfile",
        "core.checkstat",
        "core.trustctime",
        "core.sparsecheckout",
        "core.sparsecheckoutcone",
        "merge.directoryrenames",
        "merge.renamelimit",
        "merge.renames",
        "merge.renormalize",
    }
)
MARKER_SIZE = 71
"""How long the marks of conflicts are: no line of a text is taken for one."""
REVIEW_ATTRIBUTES = b"* !diff conflict-marker-size=%d\n" % MARKER_SIZE
EXACT_ATTRIBUTES = b"* -text -filter -ident -working-tree-encoding\n"
LARGEST_EXCLUDE_FILE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Shadow:
    """A project's stand-in: its directory, and the settings of the project's user that matter to file contents."""

    directory: str
    project: str
    settings: tuple[tuple[str, str], ...]

    def target(self, *, work_tree: str | None = None, index: str | None = None, exact: bool = False) -> Target:
        """Return the target for reading contents: nothing of the project's configuration applies."""
        return Target(
            directory=self.directory,
            git_dir=os.path.join(self.directory, "exact") if exact else self.directory,
            objects=os.path.join(self.directory, "objects"),
            work_tree=work_tree,
            index=index,
            settings=self.settings,
        )


async def open_shadow(
    git: Git, repository: Repository, directory: str, *, runtime_dir: str = ".orchestrator"
) -> Shadow:
    """Return the shadow kept in `directory`, made or brought up to date."""
    async with git.lock(directory):
        if not await asyncio.to_thread(os.path.exists, os.path.join(directory, "exact", "HEAD")):
            await _make(git, repository, directory)
        if directory not in git.shadows:
            await asyncio.to_thread(clear_scratch, directory)
            git.shadows.add(directory)
        listed = await run(git, Target(git_dir=repository.common_dir, trusted=True), ["config", "--null", "--list"])
        await asyncio.to_thread(_refresh, repository, directory, runtime_dir)
    return Shadow(directory, repository.path, _followed(listed.stdout))


async def _make(git: Git, repository: Repository, directory: str) -> None:
    """Make the two repositories elsewhere, then give them their name: a git that is killed leaves nothing in use."""
    making = directory + ".making"
    await asyncio.to_thread(shutil.rmtree, making, ignore_errors=True)
    await asyncio.to_thread(os.makedirs, making, 0o700)
    for part in (making, os.path.join(making, "exact")):
        arguments = ["init", "--quiet", "--bare", "--template=", f"--object-format={repository.object_format}"]
        await run(git, Target(), [*arguments, "--", part])
    crashpoint("shadow.made")
    await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)  # half-made by a version before this
    await asyncio.to_thread(os.replace, making, directory)


def alternates(objects: str) -> bytes:
    """Return the file that makes a repository borrow the objects in a directory."""
    # Quoted as git reads it, so that no character of a path means anything.
    return b'"%b"\n' % os.fsencode(objects).replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")


def _followed(listing: bytes) -> tuple[tuple[str, str], ...]:
    found = {}
    for entry in listing.split(b"\0"):
        name, has_value, value = os.fsdecode(entry).partition("\n")
        if name in FOLLOWED_SETTINGS:
            found[name] = value if has_value else "true"
    return tuple(sorted(found.items()))


def _refresh(repository: Repository, directory: str, runtime_dir: str) -> None:
    exclude = b"/%b/\n%b" % (os.fsencode(runtime_dir), _read_exclude(repository.common_dir))
    exact = os.path.join(directory, "exact")
    for name in ("info", "indexes", "objects/info", "exact/info"):
        os.makedirs(os.path.join(directory, name), 0o700, exist_ok=True)
    for path, content in (
        (os.path.join(directory, "objects", "info", "alternates"), alternates(repository.objects)),
        (os.path.join(directory, "info", "exclude"), exclude),
        (os.path.join(exact, "info", "exclude"), exclude),
        (os.path.join(directory, "info", "attributes"), REVIEW_ATTRIBUTES),
        (os.path.join(exact, "info", "attributes"), EXACT_ATTRIBUTES),
    ):
        _write(path, content)


def _read_exclude(common_dir: str) -> bytes:
    try:
        file = os.open(os.path.join(common_dir, "info", "exclude"), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with open(file, "rb") as opened:
        return opened.read(LARGEST_EXCLUDE_FILE) if stat.S_ISREG(os.fstat(file).st_mode) else b""


def _write(path: str, content: bytes) -> None:
    try:
        with open(path, "rb") as file:
            if file.read() == content:
                return
    except FileNotFoundError:
        pass
    with open(path + ".new", "wb") as file:
        file.write(content)
    os.replace(path + ".new", path)
