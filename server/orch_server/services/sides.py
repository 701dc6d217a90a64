"""The sides of a project as commits that can be merged: the files of each session at work, and the user's checkout.

A side is looked at again only when the kernel said that something in it changed, and then only at what changed. The
commits live in a shadow of their own that is thrown away whenever it grows, so neither the project's repository nor
the shadow that keeps the turns is touched.
"""

import asyncio
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orch_server.domain.errors import OrchError
from orch_server.domain.project import Project
from orch_server.git import merge
from orch_server.git.heads import read_heads, ref_directories
from orch_server.git.objects import changed, tree_of
from orch_server.git.repository import Repository, default_branch
from orch_server.git.shadow import Shadow, open_shadow
from orch_server.git.snapshot import WorkingTree, directories, overlay, project_files, snapshot, worktree_files
from orch_server.git.worktree import Worktree
from orch_server.runtime.watch import Watch, Watcher
from orch_server.services import projects
from orch_server.services.context import Context

log = logging.getLogger(__name__)

CHECKOUT = "checkout"
_MOST_PATHS = 200
"""If more changed, all is looked at."""
_AT_ONCE = 2
_MOST_OBJECTS = 20_000
_MOST_TREES = 1_000
_MOST_LISTS = 20
_RETRY_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class Side:
    """One working tree: what changed in it since it was looked at, and the commit that its files would make."""

    key: str
    files: WorkingTree
    watch: Watch
    admin: Watch
    dirty: set[bytes] | None = None
    """Changed paths since the last look; None where anything may have changed."""
    stale: bool = True
    """Whether it is to be looked at again."""
    moved: bool = True
    """Whether directories came or went."""
    known: set[bytes] = field(default_factory=set)
    """Files that git need not be asked for, as `snapshot` keeps them."""
    head: str | None = None
    tree: str = ""
    whole: str = ""
    """The tree with what editors hold."""
    commit: str = ""
    """"" while it cannot be looked at."""
    buffers: dict[bytes, bytes] = field(default_factory=dict)
    """What editors hold of its files and have not written."""

    @property
    def root(self) -> bytes:
        """The top of its files."""
        return os.fsencode(self.files.path)

    def inside(self, names: Iterable[bytes]) -> list[bytes]:
        """Return paths from the top as paths on the disk."""
        return [os.path.join(self.root, name) for name in names]

    def close(self) -> None:
        """Watch it no more."""
        self.watch.close()
        self.admin.close()


class Sides:
    """The sides of one project. `wake` is called whenever one is to be looked at again."""

    def __init__(self, context: Context, watcher: Watcher, project_id: str, wake: Callable[[], None]) -> None:
        self._context = context
        self._watcher = watcher
        self._project_id = project_id
        self._wake = wake
        self._refs: Watch | None = None
        self._refs_stale = True
        self._generation = 0
        self.repository: Repository | None = None
        self._default_branch: str | None = None
        self.shadow: Shadow | None = None
        self.sides: dict[str, Side] = {}
        self.base: str | None = None
        """The tip of the base branch."""
        self.changed: set[str] | None = None
        """The files that became others since somebody took this; None where it may be any."""
        self._trees: dict[str, str] = {}
        self._directories: dict[str, list[bytes]] = {}
        """Of trees, for all sides begin with the same one."""

    async def open(self, project: Project) -> None:
        """Begin to watch the project's refs, with nothing kept of what an earlier hub saw."""
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)
        await self._begin(project)

    async def leave(self) -> None:
        """Watch nothing any more, and remove what was kept."""
        self.close()
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    def close(self) -> None:
        """Watch nothing any more."""
        for side in self.sides.values():
            side.close()
        self.sides.clear()
        if self._refs is not None:
            self._refs.close()
            self._refs = None

    def keep_to(self, worktrees: Mapping[str, Worktree]) -> None:
        """Have these sessions' worktrees as sides, and the checkout; others are dropped."""
        assert self.repository is not None
        for key in [key for key, side in self.sides.items() if not _is_wanted(key, side, worktrees)]:
            self.sides.pop(key).close()
            self.changed = None
        for key, worktree in worktrees.items():
            if key not in self.sides:
                self._add(key, worktree_files(worktree))
        if CHECKOUT not in self.sides:
            self._add(CHECKOUT, project_files(self.repository))

    def touch(self, key: str) -> None:
        """Have a side looked at wholly: for what no watch tells."""
        side = self.sides.get(key)
        if side is not None:
            side.watch.keep_to([side.root, *side.watch.watches])  # it may have come back after it was gone
            self._mark(side, None, True)

    def hold(self, key: str, path: bytes, content: bytes | None) -> None:
        """Take what an editor holds of a file for its content; None: what is on the disk counts again."""
        side = self.sides.get(key)
        if side is None or side.buffers.get(path) == content:
            return
        if content is None:
            del side.buffers[path]
        else:
            side.buffers[path] = content
        if side.dirty is not None:
            side.dirty.add(path)
        side.stale = True
        self._wake()

    async def look(self) -> None:
        """Bring the commits of all sides up to date."""
        project = projects.get(self._context, self._project_id)
        if self._refs_stale:
            self._refs_stale = False
            await self._read_refs(project)
        limit = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._look(side, limit) for side in list(self.sides.values()) if side.stale))

    async def tree_of(self, commit: str) -> str:
        """Return the tree of a commit."""
        assert self.shadow is not None
        if commit not in self._trees:
            if len(self._trees) > _MOST_TREES:
                self._trees.clear()
            self._trees[commit] = await tree_of(self._context.git, self.shadow, commit)
        return self._trees[commit]

    def take_changed(self) -> frozenset[str] | None:
        """Return which files became others since the last time; None where it may be any."""
        changed, self.changed = self.changed, set()
        return None if changed is None else frozenset(changed)

    async def trim(self, project: Project) -> None:
        """Begin with an empty shadow again where it grew large; all is looked at anew."""
        assert self.shadow is not None
        if await asyncio.to_thread(_count_objects, self.shadow.directory) > _MOST_OBJECTS:
            old = self.shadow.directory
            await self._begin(project)
            for side in self.sides.values():
                side.dirty, side.stale = None, True
            self._wake()
            await asyncio.to_thread(shutil.rmtree, old, ignore_errors=True)

    @property
    def _directory(self) -> str:
        return os.path.join(self._context.places.home, "git", f"{self._project_id}.sides")

    async def _begin(self, project: Project) -> None:
        repository = await projects.open_repository(self._context, project)
        self._generation += 1
        directory = os.path.join(self._directory, str(self._generation))
        name = self._context.settings.project_runtime_dirname
        self.shadow = await open_shadow(self._context.git, repository, directory, runtime_dir=name)
        self._default_branch = await default_branch(self._context.git, repository)
        self.repository = repository
        if self._refs is None:
            self._refs = self._watcher.watch(self._ref_changed)
        self._refs.keep_to(await asyncio.to_thread(ref_directories, repository))

    def _add(self, key: str, files: WorkingTree) -> None:
        side: Side

        def marked(path: bytes | None, moved: bool) -> None:
            self._mark(side, path, moved)

        side = self.sides[key] = Side(key, files, self._watcher.watch(marked), self._watcher.watch(self._ref_changed))
        side.watch.keep_to([side.root])
        git_dir = os.fsencode(files.git_dir)
        side.admin.keep_to([git_dir, os.path.join(git_dir, b"logs")] if key != CHECKOUT else [])
        self._refs_stale = True
        self._wake()

    def _mark(self, side: Side, path: bytes | None, moved: bool) -> None:
        if path is None:
            side.dirty = None
        else:
            inside = path[len(side.root) + 1 :]
            if inside.split(b"/", 1)[0] in {b".git", os.fsencode(self._context.settings.project_runtime_dirname)}:
                return
            if side.dirty is not None:
                side.dirty.add(inside)
        side.moved = side.moved or moved
        side.stale = True
        self._wake()

    def _ref_changed(self, path: bytes | None, moved: bool) -> None:
        if path is not None and path.endswith(b".lock"):
            return
        self._refs_stale = True
        if moved and self._refs is not None and self.repository is not None:
            self._refs.keep_to(ref_directories(self.repository))
        if path is None or os.path.basename(path) == b"index":  # what is tracked may be other files than before
            for side in self.sides.values():
                if path is None or os.path.dirname(path) == os.fsencode(side.files.git_dir):
                    side.dirty, side.stale = None, True
        self._wake()

    async def _read_refs(self, project: Project) -> None:
        assert self.repository is not None
        branch = project.default_branch or self._default_branch
        sides = list(self.sides.values())
        git_dirs = [side.files.git_dir for side in sides]
        heads, [base] = await read_heads(self._context.git, self.repository, git_dirs, [branch or "HEAD"])
        if base != self.base:
            self.base, self.changed = base, None
        for side, head in zip(sides, heads, strict=True):
            if head != side.head:
                side.head, side.stale, self.changed = head, True, None

    async def _look(self, side: Side, limit: asyncio.Semaphore) -> None:
        assert self.shadow is not None
        git, shadow = self._context.git, self.shadow
        dirty, moved = side.dirty, side.moved
        side.dirty, side.stale, side.moved = set(), False, False
        paths = None if dirty is None or len(dirty) > _MOST_PATHS else sorted(dirty)
        async with limit:
            try:
                before = side.whole
                if dirty is None and side.head is not None:
                    # Watched before it is looked at, so that nothing of this need be looked at again.
                    known = await self._directories_in(await self.tree_of(side.head))
                    side.watch.keep_to({side.root, *side.watch.watches, *side.inside(known)})
                if paths != [] or not side.tree:
                    if moved:
                        side.known.clear()
                    side.tree = (await snapshot(git, shadow, side.files, paths=paths, known=side.known)).tree
                tree = side.tree
                if side.buffers:
                    tree = await overlay(git, shadow, side.files, tree, side.buffers)
                side.whole = tree
                side.commit = await self._commit_of(tree, side.head)
                await self._note(before, tree, None if moved or paths is None else paths)
                if moved or dirty is None:
                    await self._watch(side, side.tree)
            except (OrchError, OSError) as error:
                log.info("%s is left out of the predictions: %s", side.files.path, error)
                side.tree = side.whole = side.commit = ""
                side.dirty = self.changed = None
                asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._look_again, side)

    def _look_again(self, side: Side) -> None:
        """Try a side again that could not be looked at; one that came back shows so."""
        if self.sides.get(side.key) is side and not side.commit:
            self.touch(side.key)

    async def _commit_of(self, tree: str, head: str | None) -> str:
        assert self.shadow is not None
        if head is None or tree == await self.tree_of(head):
            return head or ""
        return await merge.commit_of(self._context.git, self.shadow, tree, head)

    async def _note(self, before: str, after: str, paths: Sequence[bytes] | None) -> None:
        """Note which files became others; `paths` are all that can be meant, where that is known."""
        assert self.shadow is not None
        if not before:
            self.changed = None
        if self.changed is None or before == after:
            return
        if paths is not None:
            self.changed |= {os.fsdecode(path) for path in paths}
        else:
            found = await changed(self._context.git, self.shadow, before, after)
            self.changed |= {os.fsdecode(each.path) for each in found}

    async def _watch(self, side: Side, tree: str) -> None:
        new = side.watch.keep_to([side.root, *side.inside(await self._directories_in(tree))])
        # What changed between the look and the watch is not told: it is looked at once more.
        if new and side.dirty is not None:
            side.dirty |= {name[len(side.root) + 1 :] for name in new if name != side.root}
        side.stale = side.stale or bool(new)

    async def _directories_in(self, tree: str) -> list[bytes]:
        assert self.shadow is not None
        if tree not in self._directories:
            if len(self._directories) > _MOST_LISTS:
                self._directories.clear()
            self._directories[tree] = await directories(self._context.git, self.shadow, tree)
        return self._directories[tree]


def _is_wanted(key: str, side: Side, worktrees: Mapping[str, Worktree]) -> bool:
    return key == CHECKOUT or (key in worktrees and side.files.recorded == worktrees[key])


def _count_objects(directory: str) -> int:
    """Return about how many loose objects there are, from one of the 256 directories they are spread over."""
    try:
        return 256 * len(os.listdir(os.path.join(directory, "objects", "17")))
    except OSError:
        return 0
