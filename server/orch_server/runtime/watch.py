"""Watching trees of files: a callback with the names of what changed in the directories that were named.

Rules of this file: whoever watches says which directories, so nothing is walked here and what is ignored costs
nothing; a callback without a name means "anything"; nothing is gathered or delayed here. Where the kernel tells
nothing (another system, or its limit is reached), a tree is announced as a whole every few seconds instead.
"""

import asyncio
import os
from collections.abc import Callable, Iterable

from orch_server.runtime.inotify import (
    IN_ATTRIB,
    IN_CREATE,
    IN_DELETE,
    IN_DONT_FOLLOW,
    IN_EXCL_UNLINK,
    IN_IGNORED,
    IN_ISDIR,
    IN_MODIFY,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_ONLYDIR,
    IN_Q_OVERFLOW,
    Inotify,
)

POLL_SECONDS = 5.0
WATCHED = IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO
HOW = IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK
LIMIT_FILE = "/proc/sys/fs/inotify/max_user_watches"

Changed = Callable[[bytes | None, bool], None]
"""Called with the path of what changed, None for anything, and whether a directory came or went."""


class Watch:
    """The directories of one tree."""

    def __init__(self, watcher: "Watcher", changed: Changed) -> None:
        self._watcher = watcher
        self.changed = changed
        self.watches: dict[bytes, int] = {}
        self.complete = True
        """Whether the kernel tells of all of them."""

    def keep_to(self, directories: Iterable[bytes]) -> list[bytes]:
        """Watch these directories and no others; return those that are new."""
        return self._watcher.keep_to(self, frozenset(directories))

    def close(self) -> None:
        """Stop watching."""
        self._watcher.keep_to(self, frozenset())
        self._watcher.forget(self)


class Watcher:
    """All watched trees of the hub. Lives on the event loop it was made for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._trees: set[Watch] = set()
        self._by_watch: dict[int, tuple[Watch, bytes]] = {}
        self._most = _most_watches()
        self._timer: asyncio.TimerHandle | None = None
        self._inotify = Inotify.open()
        if self._inotify is not None:
            loop.add_reader(self._inotify.descriptor, self._on_events)

    def watch(self, changed: Changed) -> Watch:
        """Return a watch on no directories yet."""
        tree = Watch(self, changed)
        self._trees.add(tree)
        return tree

    def keep_to(self, tree: Watch, directories: frozenset[bytes]) -> list[bytes]:
        """Bring a tree's watches to these directories; return those that are new."""
        for gone in tree.watches.keys() - directories:
            self._remove(tree, gone)
        new = [directory for directory in directories if directory not in tree.watches]
        tree.complete = True
        for directory in new:
            if not self._add(tree, directory):
                tree.complete = not os.path.isdir(directory) and tree.complete
        if not tree.complete and self._timer is None:
            self._timer = self._loop.call_later(POLL_SECONDS, self._poll)
        return new

    def forget(self, tree: Watch) -> None:
        """Drop a tree without directories."""
        self._trees.discard(tree)

    def close(self) -> None:
        """Stop watching everything."""
        if self._timer is not None:
            self._timer.cancel()
        if self._inotify is not None:
            self._loop.remove_reader(self._inotify.descriptor)
            self._inotify.close()
            self._inotify = None
        self._trees.clear()

    def _add(self, tree: Watch, directory: bytes) -> bool:
        if self._inotify is None or len(self._by_watch) >= self._most:
            return False
        watch = self._inotify.add(directory, WATCHED | HOW)
        if watch is None:
            return False
        tree.watches[directory] = watch
        self._by_watch[watch] = (tree, directory)
        return True

    def _remove(self, tree: Watch, directory: bytes) -> None:
        watch = tree.watches.pop(directory)
        if self._by_watch.pop(watch, None) is not None and self._inotify is not None:
            self._inotify.remove(watch)

    def _on_events(self) -> None:
        assert self._inotify is not None
        for watch, mask, name in self._inotify.read():
            if mask & IN_Q_OVERFLOW:
                for tree in tuple(self._trees):
                    tree.changed(None, True)
                continue
            if watch not in self._by_watch:
                continue
            tree, directory = self._by_watch[watch]
            if mask & IN_IGNORED:  # the directory is gone
                del self._by_watch[watch]
                if tree.watches.get(directory) == watch:
                    del tree.watches[directory]
            elif mask & WATCHED and name:
                moved = bool(mask & IN_ISDIR and mask & (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO))
                if moved and mask & IN_MOVED_FROM:
                    self._forget_below(tree, os.path.join(directory, name))
                tree.changed(os.path.join(directory, name), moved)

    def _forget_below(self, tree: Watch, top: bytes) -> None:
        """Drop the watches on a directory that went elsewhere: the kernel would tell of it under its old name."""
        for directory in [each for each in tree.watches if each == top or each.startswith(top + b"/")]:
            self._remove(tree, directory)

    def _poll(self) -> None:
        self._timer = None
        for tree in tuple(self._trees):
            if not tree.complete:
                tree.changed(None, True)
        if any(not tree.complete for tree in self._trees):
            self._timer = self._loop.call_later(POLL_SECONDS, self._poll)


def _most_watches() -> int:
    """Return how many watches to take: half of what the user may have, for editors want theirs."""
    try:
        with open(LIMIT_FILE, encoding="ascii") as file:
            return int(file.read()) // 2
    except (OSError, ValueError):
        return 4096
