"""The kernel's notifications of Linux, one descriptor for any number of files and directories."""

import ctypes
import os
import struct
import sys

IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ONLYDIR = 0x0100_0000
IN_DONT_FOLLOW = 0x0200_0000
IN_EXCL_UNLINK = 0x0400_0000
IN_ISDIR = 0x4000_0000
EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows


class Inotify:
    """One descriptor, and the watches on it."""

    def __init__(self, library: ctypes.CDLL, descriptor: int) -> None:
        self._library = library
        self.descriptor = descriptor

    @classmethod
    def open(cls) -> "Inotify | None":
        """Return None where there is none, or no more of them."""
        if sys.platform != "linux":
            return None
        library = ctypes.CDLL(None, use_errno=True)
        descriptor = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        return cls(library, descriptor) if descriptor >= 0 else None

    def add(self, path: str | bytes, mask: int) -> int | None:
        """Return the watch on a path; None where it cannot be watched."""
        watch: int = self._library.inotify_add_watch(self.descriptor, os.fsencode(path), mask)
        return watch if watch >= 0 else None

    def remove(self, watch: int) -> None:
        """End a watch."""
        self._library.inotify_rm_watch(self.descriptor, watch)

    def read(self) -> list[tuple[int, int, bytes]]:
        """Return the watch, the mask and the name within the directory of every event that is there."""
        try:
            data = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return []
        events = []
        position = 0
        while position < len(data):
            watch, mask, _, length = EVENT.unpack_from(data, position)
            name = data[position + EVENT.size : position + EVENT.size + length].rstrip(b"\0")
            events.append((watch, mask, name))
            position += EVENT.size + length
        return events

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.descriptor)
