"""Where the hub listens: a unix socket (0600) in a directory of ours (0700). Standard library only."""

import os
import socket
import stat
import struct
import sys

from orch_server.settings.places import LONGEST_SOCKET


class AddressRefused(Exception):
    """A place that others could get at, or that cannot hold a socket; the message says what to do."""


def check_directory(path: str, *, create: bool) -> None:
    """Make sure that `path` is a directory of ours that nobody else can enter; make it if asked to."""
    if create:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise AddressRefused(f"{path} is not a directory of yours. Move it away, or set ORCH_SOCKET.")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise AddressRefused(f"{path} is open to others. Run: chmod 700 {path}")
    parent = os.path.dirname(path)
    above = os.lstat(parent)
    if above.st_uid not in {os.geteuid(), 0} or (above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX):
        raise AddressRefused(f"{parent} is in the hands of others. Set XDG_RUNTIME_DIR or ORCH_SOCKET.")


def check_home(path: str) -> None:
    """Make sure that nobody else can put something into the hub's home."""
    found = os.stat(path)
    if found.st_uid != os.geteuid():
        raise AddressRefused(f"{path} belongs to another user. Set ORCH_HOME to a directory of your own.")
    if found.st_mode & 0o022:
        raise AddressRefused(f"Others can write into {path}. Run: chmod 700 {path}")


def listen(path: str) -> socket.socket:
    """Bind and listen. Called only by the hub that holds the lock, so a socket that is there is a dead one."""
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise AddressRefused(
            f"The socket path {path} is too long. Set XDG_RUNTIME_DIR or ORCH_SOCKET to a shorter one."
        )
    check_directory(os.path.dirname(path), create=True)
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise AddressRefused(f"{path} is in the way and no socket. Move it, or set ORCH_SOCKET.")
        os.unlink(path)
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(512)
    listener.setblocking(False)
    return listener


def peer_is_us(connection: socket.socket) -> bool:
    """Whether the other end belongs to our own user."""
    if sys.platform == "linux":
        size = struct.calcsize("3i")
        _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        return bool(uid == os.geteuid())
    return True  # the directory lets nobody else in
