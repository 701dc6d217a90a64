"""A small file system in the place of a directory, for programs that run in a mount namespace of their own.

`unshare -rm` gives the program the right to mount; hubs are forked without any right, so that for them and all that
they start a file system counts as it does for an ordinary user.
"""

import subprocess
from pathlib import Path

UNSHARE = ("unshare", "-rm")
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")

LIMITS = "[limits]\nidle_seconds = 0.2\nstart_free_bytes = 0\nmin_free_bytes = 0\n"
"""The configuration of a home that has little room."""


def mount_small(place: Path, options: str) -> None:
    """Mount an empty file system there, with these options of tmpfs."""
    place.mkdir()
    _mount("-t", "tmpfs", "-o", f"mode=0700,{options}", "tmpfs", str(place))


def cover_read_only(place: Path) -> None:
    """Have all that is opened there from now on be read-only; what is open already stays as it is.

    The kernel makes no file system read-only in which a file is open for writing, as that of a hub always is; where a
    disk fails it does, and the hub then meets what a full disk shows.
    """
    _mount("--bind", str(place), str(place))
    _mount("-o", "remount,bind,ro", str(place))


def uncover(place: Path) -> None:
    """Undo that: what is opened there may be written again."""
    _mount("-o", "remount,bind,rw", str(place))


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)
