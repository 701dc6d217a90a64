"""Reading a growing file by whole lines."""

import os
from dataclasses import dataclass

_READ_BYTES = 1024 * 1024
LONGEST_LINE = 16 * 1024 * 1024
MOST_LINES = 2_000
"""A line of two bytes becomes an event of hundreds: what is read at once is to stay small as that, too."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines without their newlines, and where in the file they begin and end; `more` if it may go on after that."""

    lines: list[str]
    start: int
    end: int
    more: bool = False


class Tail:
    """A file that another process appends to. What was read counts only once `end` was accepted as `offset`."""

    def __init__(self, path: str, offset: int) -> None:
        self.path = path
        self.offset = offset

    def read(self, *, to_the_end: bool = False) -> Batch:
        """Return the next whole lines: at most `MOST_LINES`, and a megabyte of them unless one line is longer.

        A line over 16 MiB is left out and a note stands in its place. With `to_the_end` the writer is gone, and what
        follows the last newline counts as a line too.
        """
        try:
            there = os.stat(self.path).st_size - self.offset
            if there <= 0:  # most often: far cheaper than to open and read it
                return Batch([], self.offset, self.offset)
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return Batch([], self.offset, self.offset)
        try:
            return self._read(descriptor, there, to_the_end=to_the_end)
        finally:
            os.close(descriptor)

    def _read(self, descriptor: int, there: int, *, to_the_end: bool) -> Batch:
        data = bytearray()  # grows in place: a long line is not copied with every megabyte of it
        position = self.offset
        while True:
            chunk = os.pread(descriptor, _READ_BYTES if data else min(there, _READ_BYTES), position)
            position += len(chunk)
            data += chunk
            if b"\n" in chunk:
                break
            if len(data) > LONGEST_LINE:
                return self._skip(descriptor, position, to_the_end=to_the_end)
            if not chunk:
                if to_the_end and data:
                    break
                return Batch([], self.offset, self.offset)
        *whole, rest = data.split(b"\n", MOST_LINES)
        if not whole:  # the writer is gone, and this is the last line
            whole, rest = [rest], bytearray()
        lines = [line.decode("utf-8", "replace") for line in whole]
        taken = len(data) - len(rest)
        return Batch(lines, self.offset, self.offset + taken, more=taken < there)

    def _skip(self, descriptor: int, position: int, *, to_the_end: bool) -> Batch:
        while chunk := os.pread(descriptor, _READ_BYTES, position):
            newline = chunk.find(b"\n")
            if newline >= 0:
                position += newline + 1
                break
            position += len(chunk)
        else:
            if not to_the_end:
                return Batch([], self.offset, self.offset)
        note = f"[a line of {position - self.offset} bytes was left out: the longest is {LONGEST_LINE}]"
        return Batch([note], self.offset, position, more=True)
