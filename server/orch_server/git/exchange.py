"""Files of a checkout exchanged for others: all of them, or none.

What is to come lies ready in a directory beside the checkout before anything is touched, so neither a full disk nor a
filter can stop it half way. Each file that goes is moved aside and looked at there, and is put back with all others if
it is not what it was taken for; each one that comes is linked to its name, which never replaces anything. So nobody's
bytes are lost, whoever else writes meanwhile. What is done is written down first: where a hub was killed in the
middle, the next one undoes it.

    <runtime dir>/applying/<token>/
        plan.json       what is exchanged, and between which commits
        new/            what is to come, by its path
        old/<number>    what was moved aside
        done            it is over, and only needs clearing away
"""

import hashlib
import json
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git.command import visible
from orch_server.git.runtime_dir import make_runtime_dir, opened, opened_made
from orch_server.settings.crashpoint import crashpoint

log = logging.getLogger(__name__)

PLACE = "applying"


@dataclass(frozen=True, slots=True)
class Change:
    """A path and what lies there before and after, as `content_name` tells it."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Heads:
    """The commits between which the checkout's branch moves, if it does: the last step, which makes it all valid."""

    before: str | None = None
    after: str | None = None


@dataclass(slots=True)
class Exchange:
    """One exchange in a checkout, from its preparation to its end."""

    root: str
    place: str
    object_format: str
    changes: Sequence[Change] = ()
    heads: Heads = Heads()
    record: str = ""
    """The undo record that was made for it."""

    @property
    def new(self) -> str:
        """The directory in which what is to come is made ready."""
        return os.path.join(self.place, "new")

    def write_plan(self, changes: Sequence[Change], heads: Heads, record: str) -> None:
        """Write down what is about to be done."""
        self.changes, self.heads, self.record = changes, heads, record
        plan = {
            "format": self.object_format,
            "heads": [heads.before, heads.after],
            "record": record,
            "changes": [[change.path, change.before, change.after] for change in changes],
        }
        path = os.path.join(self.place, "plan.json")
        with open(path + ".new", "w", encoding="ascii") as file:  # json escapes what no encoding can carry
            json.dump(plan, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".new", path)

    def carry_out(self) -> None:
        """Exchange the files; where one is not what it was taken for, everything is as before and a conflict raised."""
        try:
            for number, change in enumerate(self.changes):
                if change.before is not None:
                    self._move_aside(number, change)
            for change in self.changes:
                if change.after is None:
                    _remove_empty(self.root, os.path.dirname(change.path))
            for change in self.changes:
                if change.after is not None:
                    self._put_in_place(change)
        except OSError as error:
            self.take_back()
            raise _stopped(str(error)) from error
        except OrchError:
            self.take_back()
            raise

    def take_back(self) -> None:
        """Undo what was done of it. Whatever somebody else put there meanwhile stays, and ours beside it in `old`."""
        for change in self.changes:
            if change.after is not None:
                self._take_away(change)
        for change in self.changes:
            if change.before is None:
                _remove_empty(self.root, os.path.dirname(change.path))
        for number, change in enumerate(self.changes):
            aside = os.path.join(self.place, "old", str(number))
            if os.path.lexists(aside):
                try:
                    self._put_back(aside, change.path)
                except OSError as error:
                    log.warning("%s stays in %s: %s", change.path, aside, error)
        if not os.listdir(os.path.join(self.place, "old")):
            shutil.rmtree(self.place)

    def finish(self) -> None:
        """Clear away what was moved aside: it is kept in the undo record."""
        crashpoint("apply.finishing")
        with open(os.path.join(self.place, "done"), "wb"):
            pass
        shutil.rmtree(self.place)

    def _move_aside(self, number: int, change: Change) -> None:
        aside = os.path.join(self.place, "old", str(number))
        with _parent(self.root, change.path) as (directory, name):
            os.rename(name, aside, src_dir_fd=directory)
        crashpoint("apply.aside")
        if content_name(aside, self.object_format) != change.before:
            raise _stopped(f"{visible(os.fsencode(change.path))} was changed meanwhile", change.path)

    def _put_in_place(self, change: Change) -> None:
        with _parent(self.root, change.path, make=True) as (directory, name):
            try:
                _link(os.path.join(self.new, change.path), name, directory)
            except FileExistsError as error:
                raise _stopped(f"{visible(os.fsencode(change.path))} is in the way", change.path) from error

    def _take_away(self, change: Change) -> None:
        """Remove a file that we put there, if it is still that."""
        try:
            with _parent(self.root, change.path) as (directory, name):
                if content_name(name, self.object_format, directory) == change.after:
                    os.unlink(name, dir_fd=directory)
        except OSError:
            return  # it is not there

    def _put_back(self, aside: str, path: str) -> None:
        with _parent(self.root, path, make=True) as (directory, name):
            _link(aside, name, directory)
        if os.path.lexists(aside):  # it is, where it was linked and not moved
            os.unlink(aside)


def begin(root: str, runtime_dir: str, object_format: str) -> Exchange:
    """Make the directory of a new exchange in the checkout `root`."""
    make_runtime_dir(root, runtime_dir)
    with opened(root, (runtime_dir,)) as directory:
        try:
            os.mkdir(PLACE, 0o700, dir_fd=directory)
        except FileExistsError:
            pass
    token = secrets.token_hex(8)
    with opened(root, (runtime_dir, PLACE)) as directory:
        os.mkdir(token, 0o700, dir_fd=directory)
    place = os.path.join(root, runtime_dir, PLACE, token)
    os.mkdir(os.path.join(place, "new"), 0o700)
    os.mkdir(os.path.join(place, "old"), 0o700)
    return Exchange(root, place, object_format)


def interrupted(root: str, runtime_dir: str) -> list[Exchange]:
    """Return the exchanges in a checkout that a killed hub left; what never began or is over is cleared away."""
    found = []
    try:
        with opened(root, (runtime_dir, PLACE)) as directory:
            names = os.listdir(directory)
    except OSError:
        return []
    for name in sorted(names):
        place = os.path.join(root, runtime_dir, PLACE, name)
        try:
            with open(os.path.join(place, "plan.json"), encoding="ascii") as file:
                plan = json.load(file)
        except OSError:
            plan = None
        if plan is None or os.path.exists(os.path.join(place, "done")):
            shutil.rmtree(place, ignore_errors=True)
            continue
        changes = [Change(*change) for change in plan["changes"]]
        found.append(Exchange(root, place, plan["format"], changes, Heads(*plan["heads"]), plan["record"]))
    return found


def content_name(path: str, object_format: str, directory: int | None = None) -> str | None:
    """Return mode and object name of the exact content of a file or link; None for nothing, or something else."""
    try:
        found = os.stat(path, dir_fd=directory, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(found.st_mode):
        content = os.fsencode(os.readlink(path, dir_fd=directory))
        digest = hashlib.new(object_format, b"blob %d\0" % len(content) + content)
        return f"120000 {digest.hexdigest()}"
    if not stat.S_ISREG(found.st_mode):
        return None
    digest = hashlib.new(object_format, b"blob %d\0" % found.st_size)
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory), "rb") as file:
        while chunk := file.read(1024 * 1024):
            digest.update(chunk)
    return f"{'100755' if found.st_mode & 0o100 else '100644'} {digest.hexdigest()}"


@contextmanager
def _parent(root: str, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """Open the directory that a path lies in, by real directories alone; with `make` what is missing is made."""
    *parts, name = path.split("/")
    with opened_made(root, parts) if make else opened(root, parts) as directory:
        yield directory, name


def _link(source: str, name: str, directory: int) -> None:
    """Give a file its name in a directory, never in the place of another."""
    try:
        os.link(source, name, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links: look, then move.
        try:
            os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(source, name, dst_dir_fd=directory)
            return
        raise FileExistsError(name) from None


def _remove_empty(root: str, path: str) -> None:
    """Remove directories that have become empty, upwards, as git does."""
    while path:
        above, _, name = path.rpartition("/")
        try:
            with opened(root, above.split("/") if above else ()) as directory:
                os.rmdir(name, dir_fd=directory)
        except OSError:
            return
        path = above


def _stopped(why: str, *paths: str) -> OrchError:
    names = [visible(os.fsencode(path)) for path in paths]
    return OrchError(
        ErrorKind.CONFLICT,
        f"Nothing was applied: {why}.",
        hint="Everything is as it was before. Try again when nobody else writes there.",
        files=names,
    )
