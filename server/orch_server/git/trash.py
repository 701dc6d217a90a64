"""Into the trash and back: how a session's worktree is taken away so that every byte of it can be given back.

Delete is a rename into `<project>/.orchestrator/trash/<session-id>`, on the same file system. Before it everything
that git can hold is pinned under `refs/orch/trash/<session-id>/`, out of reach of whoever empties the directory; after
it git's entry for the worktree, which stays locked until the purge, is pointed there. The rename is the commit point:
an attempt that died before it is undone (`undo`), one that died after it is finished. Every step may be repeated.

    prepare     refs: head, branch, index (the raw index, a blob), wip (the files, a commit)
    move        both manifests, then the rename; all synced
    settle      git's entry points at the trash, HEAD is detached at its commit, the branch goes if that was asked for
    bring_back  the exact inverse; where the directory was removed meanwhile, the files are made anew from the pins
    destroy     the directory by its descriptor, following no link and entering no other file system; entry and pins

`git worktree repair` is not used: it also rewrites the `.git` file of any other worktree that it takes for broken,
and fails with it. One line of an entry of our own is all there is to be written, after comparing what it says.
"""

import asyncio
import dataclasses
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git import runtime_dir
from orch_server.git.command import TIMEOUT, Git, Target, is_oid, run
from orch_server.git.index import scratch_index
from orch_server.git.inventory import read_head, read_ref
from orch_server.git.refs import Update, attach_head, update_refs
from orch_server.git.repository import Repository
from orch_server.git.shadow import Shadow
from orch_server.git.snapshot import PIN_SETTINGS, pin
from orch_server.git.undo import UNDO, UNDONE
from orch_server.git.wip import take_exact, wip_ref
from orch_server.git.worktree import Worktree
from orch_server.settings.crashpoint import crashpoint

PURGING = ".purging-"
REBUILDING = ".rebuilding-"
DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Trashed:
    """What is taken away and what it takes to give it back: plain values, stored before the rename."""

    worktree: Worktree
    runtime_dir: str
    manifest: str
    """A copy of these values outside of the project."""
    present: bool
    """Whether there is a directory to move; someone may have removed it before."""
    mode: int = 0
    readable: bool = True
    """Whether the project's repository could be read, so that refs are pinned."""
    own_git_file: bool = True
    head: str | None = None
    head_ref: str | None = None
    branch_commit: str | None = None
    index: str | None = None
    wip: str | None = None
    drop_branch: bool = False
    warnings: list[str] = field(default_factory=list)

    @property
    def session_id(self) -> str:
        """Whose worktree it is."""
        return self.worktree.session_id

    @property
    def place(self) -> str:
        """Where it lies while it is in the trash."""
        return os.path.join(self.worktree.project, self.runtime_dir, "trash", self.session_id)

    @property
    def branch_ref(self) -> str:
        """The full name of the session's branch."""
        return f"refs/heads/{self.worktree.branch}"

    @property
    def pins(self) -> str:
        """What the names of all pins begin with."""
        return f"refs/orch/trash/{self.session_id}/"

    def as_json(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Trashed":
        """Return what `as_json` gave."""
        return cls(**{**values, "worktree": Worktree(**values["worktree"])})


# -- into the trash ---------------------------------------------------------------------------------------------


async def prepare(
    git: Git,
    repository: Repository | None,
    shadow: Shadow | None,
    worktree: Worktree,
    *,
    runtime_dir: str,
    manifests: str,
    drop_branch: bool,
) -> Trashed:
    """Pin all that git can hold of the worktree and return what is to be stored before `move`.

    What cannot be pinned is said in `warnings` and holds nothing up: the rename keeps every byte. Where another
    directory stands at the worktree's path than the one that was made there, a conflict is raised.
    """
    present, mode, own_git_file = await asyncio.to_thread(_identify, worktree)
    trashed = Trashed(
        worktree,
        runtime_dir,
        os.path.join(manifests, f"{worktree.session_id}.json"),
        present,
        mode,
        readable=repository is not None,
        own_git_file=own_git_file,
        drop_branch=drop_branch,
    )
    if present and await asyncio.to_thread(os.path.lexists, trashed.place):
        raise OrchError(
            ErrorKind.CONFLICT,
            f"{trashed.place} exists already.",
            hint="It was not put there by this session's delete. Look at it, and move it away.",
        )
    if repository is None or shadow is None:
        return replace(trashed, warnings=["The repository cannot be read: nothing is pinned, the directory is kept."])
    await _drop_pins(git, trashed)  # of an attempt that died; what they hold is still in its place
    head, head_ref = await read_head(git, worktree)
    branch_commit = await read_ref(git, worktree.common_dir, trashed.branch_ref)
    project = replace(repository.target(), settings=PIN_SETTINGS)
    index = await _store_index(git, project, worktree)
    wanted = {"head": head, "branch": branch_commit, "index": index}
    await update_refs(
        git, project, [Update(f"{trashed.pins}{name}", oid, "") for name, oid in wanted.items() if oid is not None]
    )
    wip, warnings = None, list[str]()
    if present and own_git_file:
        try:
            taken = await take_exact(git, shadow, worktree, head)
            message = f"orch: the files of session {worktree.session_id} when it was deleted"
            parents = [] if head is None else [head]
            ref = f"{trashed.pins}wip"
            wip = await pin(git, repository, shadow, taken, ref, message=message, parents=parents)
            warnings += [f"{name} is a repository of its own: only the trash holds it." for name in taken.nested]
        except OrchError as error:
            if error.kind in {ErrorKind.DISK_FULL, ErrorKind.CANCELLED}:
                raise
            warnings.append(f"There is no snapshot of the files, only the trash holds them: {error.message}")
    return replace(
        trashed,
        head=head,
        head_ref=head_ref,
        branch_commit=branch_commit,
        index=index,
        wip=wip,
        warnings=warnings,
    )


async def is_moved(trashed: Trashed) -> bool:
    """Tell whether the rename has happened."""
    return await asyncio.to_thread(_is_there, trashed.place, trashed)


async def move(trashed: Trashed) -> None:
    """Write the manifests and rename the directory into the trash: from here on there is only forward."""
    await asyncio.to_thread(_write_manifests, trashed)
    crashpoint("trash.written")
    if trashed.present and not await is_moved(trashed):
        await asyncio.to_thread(_rename, trashed, trashed.worktree.path, trashed.place)


async def undo(git: Git, trashed: Trashed) -> None:
    """Take back what `prepare` did; nothing was moved yet."""
    assert not await is_moved(trashed)
    await asyncio.to_thread(_close_again, trashed)
    await asyncio.to_thread(_remove_manifests, trashed)
    if await asyncio.to_thread(os.path.isdir, trashed.worktree.common_dir):
        await _drop_pins(git, trashed)


async def settle(git: Git, trashed: Trashed) -> None:
    """Have git's entry follow the directory, and let go of the branch. What was tampered with is left as it is."""
    if trashed.present and trashed.own_git_file:
        await asyncio.to_thread(_point, trashed, trashed.worktree.path, trashed.place)
        crashpoint("trash.pointed")
    if not trashed.readable:
        return
    if trashed.head is not None and trashed.head_ref is not None:
        head, head_ref = await read_head(git, trashed.worktree)
        if (head, head_ref) == (trashed.head, trashed.head_ref):
            await update_refs(git, _entry(trashed), [Update("HEAD", trashed.head, trashed.head)], detach=True)
            crashpoint("trash.detached")
    if trashed.drop_branch and trashed.branch_commit is not None:
        await _drop_branch(git, trashed)


async def _drop_branch(git: Git, trashed: Trashed) -> None:
    """Delete the branch while it is as it was pinned, and nobody else has it checked out (git would not ask)."""
    project = Target(git_dir=trashed.worktree.common_dir, settings=PIN_SETTINGS)
    listing = ["for-each-ref", "--format=%(objectname) %(worktreepath)", trashed.branch_ref]
    commit, _, elsewhere = (await run(git, project, listing)).line.partition(" ")
    if commit == trashed.branch_commit and not elsewhere:
        await update_refs(git, project, [Update(trashed.branch_ref, "", commit)])
        crashpoint("trash.branch_gone")


# -- and back ---------------------------------------------------------------------------------------------------


async def bring_back(git: Git, shadow: Shadow | None, trashed: Trashed) -> Worktree:
    """Put the directory, HEAD and the branch back; return the worktree, under another branch if its own is taken.

    A directory that was removed from the trash is made anew from the pins.
    """
    made = trashed.worktree
    if await is_moved(trashed):
        await asyncio.to_thread(runtime_dir.make_runtime_dir, made.project, trashed.runtime_dir)
        await asyncio.to_thread(_rename, trashed, trashed.place, made.path)
    elif trashed.present and not await asyncio.to_thread(_is_there, made.path, trashed):
        if trashed.wip is None or shadow is None:
            raise OrchError(
                ErrorKind.CONFLICT,
                f"{trashed.place} is gone, and there is no snapshot of it.",
                hint="Was it moved away? Put it back and try again.",
            )
        made = await rebuild(git, shadow, made, trashed.wip, trashed.index, runtime_dir_name=trashed.runtime_dir)
    if trashed.present and trashed.own_git_file:
        await asyncio.to_thread(_point, trashed, trashed.place, made.path)
        crashpoint("trash.pointed_back")
    if not trashed.readable:
        return made
    async with git.lock(made.common_dir):
        branch = await _bring_ref_back(git, trashed, trashed.branch_ref, trashed.branch_commit)
        head_ref = branch
        if trashed.head_ref != trashed.branch_ref:
            head_ref = await _bring_ref_back(git, trashed, trashed.head_ref, trashed.head)
        now, now_ref = await read_head(git, made)
        if head_ref is not None and now_ref is None and now == trashed.head:
            await attach_head(git, _entry(trashed), head_ref)
    return made if branch is None else replace(made, branch=branch.removeprefix("refs/heads/"))


async def forget(git: Git, trashed: Trashed) -> None:
    """Drop the pins and manifests of a worktree that is back."""
    if await asyncio.to_thread(os.path.isdir, trashed.worktree.common_dir):
        await _drop_pins(git, trashed)
    await asyncio.to_thread(_remove_manifests, trashed)


async def rebuild(
    git: Git, shadow: Shadow, worktree: Worktree, commit: str, index: str | None, *, runtime_dir_name: str
) -> Worktree:
    """Make the removed directory of a worktree anew, with the files that a snapshot holds.

    git's entry, which the lock has kept, still knows HEAD and the index; the directory appears in one rename, and one
    that an earlier attempt made is taken as it is.
    """
    made = await asyncio.to_thread(_as_found, worktree)
    if made is not None:
        return made
    entry = await asyncio.to_thread(_text, worktree.admin_dir, "gitdir")
    if entry is None or await asyncio.to_thread(os.path.lexists, worktree.path):
        raise OrchError(
            ErrorKind.CONFLICT,
            f"{worktree.path} cannot be made anew: "
            + ("git does not know the worktree any more." if entry is None else "something is there."),
            hint=f"The files are in the commit {commit}: `git archive {commit}` gives them.",
        )
    root = await asyncio.to_thread(runtime_dir.make_runtime_dir, worktree.project, runtime_dir_name)
    place = os.path.join(root, "worktrees", f"{REBUILDING}{worktree.session_id}")
    await asyncio.to_thread(_clear, root, "worktrees", os.path.basename(place))  # an earlier attempt's, ours alone
    await asyncio.to_thread(os.mkdir, place, 0o700)
    with scratch_index(shadow.directory) as scratch:
        target = shadow.target(work_tree=place, index=scratch, exact=True)
        await run(git, target, ["read-tree", f"{commit}^{{tree}}"], timeout=TIMEOUT)
        await run(git, target, ["checkout-index", "--all", "--quiet"], timeout=TIMEOUT)
    crashpoint("rebuild.filled")
    own_index = os.path.join(worktree.admin_dir, "index")
    if index is not None and not await asyncio.to_thread(os.path.lexists, own_index):
        content = (await run(git, shadow.target(), ["cat-file", "blob", index])).stdout
        await asyncio.to_thread(_write, own_index, content)
    return await asyncio.to_thread(_present_rebuilt, worktree, place)


def _as_found(worktree: Worktree) -> Worktree | None:
    """Return the worktree as it is at its path, None where no directory with its `.git` file is there."""
    try:
        with runtime_dir.opened(worktree.path, ()) as directory:
            found = os.fstat(directory)
            own = runtime_dir.read_file(directory, ".git") == worktree.dot_git
    except OSError:
        return None
    return replace(worktree, device=found.st_dev, inode=found.st_ino) if own else None


def _present_rebuilt(worktree: Worktree, place: str) -> Worktree:
    _write(os.path.join(place, ".git"), os.fsencode(worktree.dot_git))
    found = os.stat(place)
    os.rename(place, worktree.path)
    _sync(os.path.dirname(worktree.path))
    return replace(worktree, device=found.st_dev, inode=found.st_ino)


async def _bring_ref_back(git: Git, trashed: Trashed, ref: str | None, commit: str | None) -> str | None:
    """Make a ref again if it is gone; where it now belongs to someone else, make one of another name beside it."""
    if ref is None or commit is None:
        return None
    project = Target(git_dir=trashed.worktree.common_dir, settings=PIN_SETTINGS)
    for ending in ("", "-restored", *(f"-restored-{number}" for number in range(2, 100))):
        name = ref + ending
        listing = ["for-each-ref", "--format=%(refname) %(objectname) %(worktreepath)", name]
        lines = (await run(git, project, listing)).stdout.decode("utf-8", "surrogateescape").splitlines()
        present = [line.split(" ", 2) for line in lines if line.startswith(f"{name} ")]
        if not present:
            await update_refs(git, project, [Update(name, commit, "")])
            return name
        _, found, elsewhere = present[0]
        if found == commit and elsewhere in {"", trashed.worktree.path}:
            return name
    raise OrchError(ErrorKind.CONFLICT, f"No name is free for the branch {ref}.", hint="Delete old -restored branches.")


# -- for good ---------------------------------------------------------------------------------------------------


async def destroy(git: Git, trashed: Trashed) -> None:
    """Remove what lies in the trash, git's entry for it, and the pins. This alone cannot be taken back."""
    root = os.path.join(trashed.worktree.project, trashed.runtime_dir)
    await asyncio.to_thread(_condemn, root, trashed)
    crashpoint("purge.condemned")
    is_there = await asyncio.to_thread(os.path.isdir, trashed.worktree.common_dir)
    if is_there:
        with _as_far_as_git_is_of_use(trashed):
            async with git.lock(trashed.worktree.common_dir):
                await _remove_entry(git, trashed)
    await asyncio.to_thread(_remove_condemned, root, trashed)
    crashpoint("purge.cleared")
    if is_there:
        own = (wip_ref(trashed.session_id), *(f"{kind}/{trashed.session_id}/" for kind in (UNDO, UNDONE)))
        with _as_far_as_git_is_of_use(trashed):
            await _drop_refs(git, trashed, trashed.pins, *own)
    await asyncio.to_thread(_remove_manifests, trashed)


@contextmanager
def _as_far_as_git_is_of_use(trashed: Trashed) -> Iterator[None]:
    """Let git fail where it could not be used at the delete already: nothing is pinned then."""
    try:
        yield
    except OrchError:
        if trashed.readable:
            raise


def remove_directory(root: str, part: str, name: str) -> None:
    """Remove a directory of ours, `<root>/<part>/<name>`, following no link and entering no other file system."""
    _clear(root, part, name)


async def _remove_entry(git: Git, trashed: Trashed) -> None:
    """Unlock and remove git's entry, if it is still ours and its directory is gone."""
    entry = trashed.worktree.admin_dir
    gitdir = await asyncio.to_thread(_text, entry, "gitdir")
    locked = await asyncio.to_thread(_text, entry, "locked")
    places = {f"{trashed.place}/.git\n": trashed.place, f"{trashed.worktree.path}/.git\n": trashed.worktree.path}
    place = places.get(gitdir or "")
    ours = locked is None or locked.strip() == f"orch:{trashed.session_id}"
    if place is None or not ours or await asyncio.to_thread(os.path.lexists, place):
        return
    project = Target(git_dir=trashed.worktree.common_dir)
    if locked is not None:
        await run(git, project, ["worktree", "unlock", place])
    await run(git, project, ["worktree", "remove", place])


def _condemn(root: str, trashed: Trashed) -> None:
    """Rename what is to be removed, so that nobody takes a half-removed tree for one that can be restored."""
    if not _is_there(trashed.place, trashed):
        return
    with runtime_dir.opened(root, ("trash",)) as trash:
        os.rename(trashed.session_id, PURGING + trashed.session_id, src_dir_fd=trash, dst_dir_fd=trash)
        os.fsync(trash)


def _remove_condemned(root: str, trashed: Trashed) -> None:
    half_made = f"half-made-{trashed.session_id}-"
    try:
        with runtime_dir.opened(root, ("trash",)) as trash:
            names = os.listdir(trash)
    except OSError:
        return
    for name in names:
        if name == PURGING + trashed.session_id or name.startswith(half_made):
            _clear(root, "trash", name)


# -- the file system --------------------------------------------------------------------------------------------


def _identify(worktree: Worktree) -> tuple[bool, int, bool]:
    """Tell whether the directory is there, its mode, and whether its `.git` file is the one that git wrote."""
    gitdir = _text(worktree.admin_dir, "gitdir")
    if gitdir is not None and gitdir != f"{worktree.path}/.git\n":
        raise OrchError(
            ErrorKind.CONFLICT,
            f"The worktree {worktree.path} was moved to {gitdir.strip().removesuffix('/.git')}.",
            hint="It is left where it is. Move it back with `git worktree move`, then try again.",
        )
    try:
        with runtime_dir.opened(worktree.path, ()) as directory:
            found = os.fstat(directory)
            try:
                own = runtime_dir.read_file(directory, ".git") == worktree.dot_git
            except OSError:
                own = False
    except FileNotFoundError:
        return False, 0, True
    except PermissionError:
        found, own = os.lstat(worktree.path), False
    except OSError as error:
        raise _replaced(worktree) from error
    if found.st_ino != worktree.inode or not stat.S_ISDIR(found.st_mode):
        raise _replaced(worktree)
    return True, stat.S_IMODE(found.st_mode), own and gitdir is not None


def _replaced(worktree: Worktree) -> OrchError:
    return OrchError(
        ErrorKind.CONFLICT,
        f"{worktree.path} is not the directory that orch made there.",
        hint="It is left as it is. Move it away (or put the right one back), then try again.",
        path=worktree.path,
    )


def _is_there(path: str, trashed: Trashed) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_ino == trashed.worktree.inode


def _rename(trashed: Trashed, source: str, target: str) -> None:
    """Rename the worktree's directory between the two folders of the runtime directory, and sync both."""
    project = trashed.worktree.project
    runtime_dir.make_runtime_dir(project, trashed.runtime_dir)
    parts = [(trashed.runtime_dir, os.path.basename(os.path.dirname(path))) for path in (source, target)]
    name = trashed.session_id
    with runtime_dir.opened(project, parts[0]) as old, runtime_dir.opened(project, parts[1]) as new:
        try:
            os.stat(name, dir_fd=new, follow_symlinks=False)
        except FileNotFoundError:
            pass
        else:
            raise OrchError(ErrorKind.CONFLICT, f"{target} exists already.", hint="Move it away, then try again.")
        closed = not trashed.mode & stat.S_IWUSR
        if closed:  # its own entry `..` changes
            os.chmod(name, trashed.mode | stat.S_IRWXU, dir_fd=old)
        try:
            os.rename(name, name, src_dir_fd=old, dst_dir_fd=new)
        except OSError as error:
            if closed:
                os.chmod(name, trashed.mode, dir_fd=old)
            raise OrchError(
                ErrorKind.CONFLICT,
                f"{source} cannot be moved to {target}: {error.strerror}.",
                hint="Nothing was removed. Are both on one file system, and yours?",
            ) from error
        if closed:
            os.chmod(name, trashed.mode, dir_fd=new)
        crashpoint("trash.renamed")
        os.fsync(new)
        os.fsync(old)


def _close_again(trashed: Trashed) -> None:
    """Take a read-only directory's leave to be written away again, which an interrupted move has left."""
    path = trashed.worktree.path
    if trashed.present and not trashed.mode & stat.S_IWUSR and _is_there(path, trashed):
        os.chmod(path, trashed.mode)


def _point(trashed: Trashed, old: str, new: str) -> None:
    """Write into git's entry where the worktree is now, if the entry is still what we know."""
    gitdir = _text(trashed.worktree.admin_dir, "gitdir")
    if gitdir == f"{old}/.git\n":
        path = os.path.join(trashed.worktree.admin_dir, "gitdir")
        _write(path + ".orch", os.fsencode(f"{new}/.git\n"))
        os.rename(path + ".orch", path)
        _sync(trashed.worktree.admin_dir)


def _write_manifests(trashed: Trashed) -> None:
    text = json.dumps(trashed.as_json(), indent=1).encode()
    os.makedirs(os.path.dirname(trashed.manifest), 0o700, exist_ok=True)
    _write(trashed.manifest + ".new", text)
    os.rename(trashed.manifest + ".new", trashed.manifest)
    _sync(os.path.dirname(trashed.manifest))
    if trashed.present:
        runtime_dir.make_runtime_dir(trashed.worktree.project, trashed.runtime_dir)
        with runtime_dir.opened(trashed.worktree.project, (trashed.runtime_dir, "trash")) as trash:
            name = f"{trashed.session_id}.json"
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            with open(os.open(name, flags, 0o600, dir_fd=trash), "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.fsync(trash)


def _remove_manifests(trashed: Trashed) -> None:
    Path(trashed.manifest).unlink(missing_ok=True)
    try:
        with runtime_dir.opened(trashed.worktree.project, (trashed.runtime_dir, "trash")) as trash:
            os.unlink(f"{trashed.session_id}.json", dir_fd=trash)
    except OSError:
        pass  # it is a convenience for whoever looks into the trash


def _clear(root: str, part: str, name: str) -> None:
    """Remove `<root>/<part>/<name>` with all below it, following no link and entering no other file system."""
    try:
        with runtime_dir.opened(root, (part,)) as parent:
            while _remove_below(parent, name, parent, os.fstat(parent).st_dev, 0):
                pass
            os.fsync(parent)
    except FileNotFoundError:
        pass


def _remove_below(parent: int, name: str, top: int, device: int, depth: int) -> bool:
    """Remove one entry; return whether something deep was only moved up into `top`, for another round."""
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=parent)
        return False
    if found.st_dev != device:
        raise OrchError(
            ErrorKind.CONFLICT, f"{name!r} in the trash is another file system.", hint="Unmount it, then try again."
        )
    directory = _open_writable(parent, name, found)
    again = False
    try:
        for entry in os.listdir(directory):
            if depth < DEEPEST:
                again |= _remove_below(directory, entry, top if depth else directory, device, depth + 1)
            else:
                os.rename(entry, f"deep-{secrets.token_hex(8)}", src_dir_fd=directory, dst_dir_fd=top)
                again = True
    finally:
        os.close(directory)
    if depth or not again:
        os.rmdir(name, dir_fd=parent)
    return again


def _open_writable(parent: int, name: str, found: os.stat_result) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        directory = os.open(name, flags, dir_fd=parent)
    except PermissionError:
        os.chmod(name, stat.S_IRWXU, dir_fd=parent)
        directory = os.open(name, flags, dir_fd=parent)
    now = os.fstat(directory)
    if now.st_ino != found.st_ino:
        os.close(directory)
        raise OrchError(ErrorKind.CONFLICT, f"{name!r} changed while it was removed.", hint="Try again.")
    if now.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        os.fchmod(directory, stat.S_IRWXU)
    return directory


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _text(directory: str, name: str) -> str | None:
    try:
        with open(os.path.join(directory, name), encoding="utf-8", errors="surrogateescape") as file:
            return file.read(16 * 1024)
    except OSError:
        return None


# -- git --------------------------------------------------------------------------------------------------------


def _entry(trashed: Trashed) -> Target:
    worktree = trashed.worktree
    return Target(git_dir=worktree.admin_dir, common_dir=worktree.common_dir, settings=PIN_SETTINGS)


async def _store_index(git: Git, project: Target, worktree: Worktree) -> str | None:
    content = await asyncio.to_thread(_bytes, os.path.join(worktree.admin_dir, "index"))
    if content is None:
        return None
    stored = await run(git, project, ["hash-object", "-w", "--no-filters", "--stdin"], stdin=content)
    return stored.line if is_oid(stored.line) else None


def _bytes(path: str) -> bytes | None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with open(file, "rb") as reader:
        return reader.read()


async def _drop_pins(git: Git, trashed: Trashed) -> None:
    await _drop_refs(git, trashed, trashed.pins)


async def _drop_refs(git: Git, trashed: Trashed, *names: str) -> None:
    """Delete refs of ours: those with these names, or below them, and no ref of anybody else."""
    project = Target(git_dir=trashed.worktree.common_dir, settings=PIN_SETTINGS)
    listed = await run(git, project, ["for-each-ref", "--format=%(refname) %(objectname)", *names])
    found = [line.split(" ") for line in os.fsdecode(listed.stdout).splitlines()]
    await update_refs(git, project, [Update(name, "", oid) for name, oid in found])
