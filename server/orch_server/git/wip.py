"""Snapshots of work in progress: `refs/orch/wip/<session-id>`, a chain of commits in the project's own repository.

They are out of reach of `git clean -ffdx` and of what an agent does to its branch. Each commit holds the files as
they lay on the disk, except what is ignored, and has the worktree's HEAD as a parent too, so the commits of the
session are kept alive with it. The chain holds the last LENGTH to twice that many; the files of each are there with
plain git, too: `git log refs/orch/wip/<session-id>`, `git show <commit>:<path>`.
"""

import asyncio
import os
import stat
from dataclasses import replace

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git.command import Git, is_oid, run
from orch_server.git.inventory import read_head, read_ref
from orch_server.git.refs import Update, update_refs
from orch_server.git.repository import Repository
from orch_server.git.shadow import Shadow
from orch_server.git.snapshot import PIN_SETTINGS, Fidelity, Snapshot, pin, snapshot, worktree_files
from orch_server.git.worktree import Worktree

LENGTH = 20
LARGEST_BYTES = 200 * 1024 * 1024
MOST_FILES = 50_000
SUBJECT = "orch: work in progress"


def wip_ref(session_id: str) -> str:
    """Return the ref that a session's snapshots are kept under."""
    return f"refs/orch/wip/{session_id}"


async def save(git: Git, repository: Repository, shadow: Shadow, worktree: Worktree) -> bool:
    """Add the files as they are now to the session's chain; tell whether they differ from the newest in it.

    A worktree in which nothing was done since it was made is not saved: its base commit is all there is.
    """
    ref = wip_ref(worktree.session_id)
    newest = await read_ref(git, repository.common_dir, ref)
    head, _ = await read_head(git, worktree)
    seen = await snapshot(git, shadow, worktree_files(worktree))
    mark = f"{head} {seen.tree}"
    if newest is None:
        number, saved = 0, await _untouched(git, repository, worktree)
    else:
        number, saved = await _read(git, repository, newest)
    if saved == mark:
        return False
    taken = await take_exact(git, shadow, worktree, head)
    if newest is not None and number >= 2 * LENGTH:
        newest, number = await _shorten(git, repository, ref, newest), LENGTH
    message = f"{SUBJECT} {number + 1}\n\n{mark}"
    parents = [commit for commit in (newest, head) if commit is not None]
    await pin(git, repository, shadow, taken, ref, message=message, parents=parents, replaces=newest or "")
    return True


async def take_exact(git: Git, shadow: Shadow, worktree: Worktree, head: str | None) -> Snapshot:
    """Return the files as they lie on the disk, unless there is too much to be stored beside what is committed."""
    files = worktree_files(worktree)
    seen = await snapshot(git, shadow, files)
    arguments = ["diff-tree", "-r", "-z", "--name-only", "--end-of-options", head or worktree.base, seen.tree]
    names = (await run(git, shadow.target(), arguments)).stdout.split(b"\0")[:-1]
    size = await asyncio.to_thread(_size, os.fsencode(worktree.path), names)
    if len(names) > MOST_FILES or size > LARGEST_BYTES:
        raise OrchError(
            ErrorKind.CONFLICT,
            f"{worktree.path} holds {len(names)} changed files of {size >> 20} MiB: too much for a snapshot.",
            hint="They are in the worktree alone. Ignore what need not be kept, or commit it.",
        )
    taken = await snapshot(git, shadow, files, fidelity=Fidelity.EXACT)
    await asyncio.to_thread(files.check)  # a directory that was removed meanwhile must not be taken for an empty one
    return taken


async def _untouched(git: Git, repository: Repository, worktree: Worktree) -> str:
    tree = (await run(git, repository.target(), ["rev-parse", "--verify", f"{worktree.base}^{{tree}}"])).line
    return f"{worktree.base} {tree}"


async def _read(git: Git, repository: Repository, commit: str) -> tuple[int, str]:
    """Return the number of a snapshot in its chain, and what was seen when it was taken."""
    message = (await run(git, repository.target(), ["log", "-1", "--format=%B", commit])).line
    subject, _, mark = message.strip().partition("\n\n")
    number = subject.rpartition(" ")[2]
    return (int(number) if number.isdigit() else 0), mark


async def _shorten(git: Git, repository: Repository, ref: str, newest: str) -> str:
    """Make the chain anew from its last LENGTH snapshots and return the newest of them."""
    project = replace(repository.target(), settings=PIN_SETTINGS)
    listing = ["log", "--first-parent", f"--max-count={LENGTH}", "--format=%T %P%x00%b%x00%x00", newest]
    listed = (await run(git, project, listing)).stdout.decode("utf-8", "replace").split("\0\0\n")
    last = ""
    for number, entry in enumerate(reversed([entry for entry in listed if entry.strip()]), 1):
        fields, _, mark = entry.rstrip("\0").partition("\0")
        tree, *parents = fields.split()
        kept = [*([last] if last else []), *parents[-1:]]
        arguments = ["commit-tree", *(word for parent in kept for word in ("-p", parent))]
        arguments += ["-m", f"{SUBJECT} {number}\n\n{mark.strip()}", tree]
        last = (await run(git, project, arguments)).line
        assert is_oid(last)
    await update_refs(git, project, [Update(ref, last, newest)])
    return last


def _size(root: bytes, paths: list[bytes]) -> int:
    total = 0
    for path in paths:
        try:
            seen = os.lstat(os.path.join(root, path))
        except OSError:
            continue
        total += seen.st_size if stat.S_ISREG(seen.st_mode) else 0
    return total
