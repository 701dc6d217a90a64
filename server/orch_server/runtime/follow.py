"""Following files that grow: a callback soon after somebody appended.

Rules of this file: a callback means "read on", nothing more, and may come for nothing; gathering several into one read
is the caller's business. Each file is announced once when its watch begins, so that nothing written before is missed.
"""

import asyncio
import os
from collections.abc import Callable

from orch_server.runtime.inotify import IN_MODIFY, IN_Q_OVERFLOW, Inotify

SLOW_POLL_SECONDS = 1.0  # how a file that does not exist yet is found
QUICK_POLL_SECONDS = 0.05  # where there is no inotify
NET_ROUNDS = 5  # a net under inotify: each round looks at every fifth of the files that it watches


class Follower:
    """Calls back when any of the watched files grew, from the event loop that it was made for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._files: dict[str, _File] = {}
        self._by_watch: dict[int, _File] = {}
        self._inotify = Inotify.open()
        if self._inotify:
            loop.add_reader(self._inotify.descriptor, self._on_events)
        self._timer: asyncio.TimerHandle | None = None
        self._round = 0

    def watch(self, path: str, callback: Callable[[], None]) -> None:
        """Call `callback` soon, and then whenever the file at `path` grew; the file need not exist yet."""
        self.unwatch(path)
        file = self._files[path] = _File(path, callback)
        self._begin(file)
        self._announce(file)
        if self._timer is None:
            self._poll_later()

    def unwatch(self, path: str) -> None:
        """Stop following; no callback comes afterwards."""
        file = self._files.pop(path, None)
        if file and file.watch is not None and self._inotify:
            self._inotify.remove(file.watch)
            self._by_watch.pop(file.watch, None)

    def close(self) -> None:
        """Stop following everything."""
        self._files.clear()
        self._by_watch.clear()
        if self._timer:
            self._timer.cancel()
        if self._inotify:
            self._loop.remove_reader(self._inotify.descriptor)
            self._inotify.close()
            self._inotify = None

    def _begin(self, file: "_File") -> None:
        if self._inotify and file.watch is None:
            file.watch = self._inotify.add(file.path, IN_MODIFY)
            if file.watch is not None:
                self._by_watch[file.watch] = file
        file.size = _size(file.path)

    def _on_events(self) -> None:
        assert self._inotify is not None
        for watch, mask, _ in self._inotify.read():
            if mask & IN_Q_OVERFLOW:
                for any_file in self._files.values():
                    self._announce(any_file)
                continue
            file = self._by_watch.get(watch)
            if file is None:
                continue
            if mask & IN_MODIFY:
                self._announce(file)
            else:  # the file is gone; the poll sees it should it come back
                del self._by_watch[watch]
                file.watch = None

    def _announce(self, file: "_File") -> None:
        if not file.announced:
            file.announced = True
            self._loop.call_soon(self._call, file)

    def _call(self, file: "_File") -> None:
        file.announced = False
        if self._files.get(file.path) is file:
            file.callback()

    def _poll_later(self) -> None:
        watched = all(file.watch is not None or file.size is None for file in self._files.values())
        seconds = SLOW_POLL_SECONDS if self._inotify and watched else QUICK_POLL_SECONDS
        self._timer = self._loop.call_later(seconds, self._poll)

    def _poll(self) -> None:
        self._timer = None
        self._round += 1
        for number, file in enumerate(self._files.values()):
            before = file.size
            if file.watch is None:
                self._begin(file)
            elif (number + self._round) % NET_ROUNDS == 0:
                file.size = _size(file.path)
            if file.size != before:
                self._announce(file)
        if self._files:
            self._poll_later()


class _File:
    """One followed file."""

    __slots__ = ("announced", "callback", "path", "size", "watch")

    def __init__(self, path: str, callback: Callable[[], None]) -> None:
        self.path = path
        self.callback = callback
        self.announced = False
        self.size: int | None = None
        self.watch: int | None = None


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None
