"""Where things live. Standard library only: the bridge and the command line start with it."""

import hashlib
import os
import sys
from collections.abc import Mapping

LONGEST_SOCKET = 100
"""Bytes of a socket's path that every platform takes."""


class Places:
    """The directories and files of one orch home. Paths are absolute.

    No dataclass: the import of `dataclasses` alone is a third of what the bridge needs to start.
    """

    __slots__ = ("config_file", "home", "socket", "socket_dir")

    def __init__(self, home: str, config_file: str, socket_dir: str, socket: str) -> None:
        self.home = home
        self.config_file = config_file
        self.socket_dir = socket_dir
        self.socket = socket

    @property
    def lock(self) -> str:
        """The file that the one hub holds locked for life."""
        return os.path.join(self.home, "hub.lock")

    @property
    def runs(self) -> str:
        """One directory an agent process: the run bundles."""
        return os.path.join(self.home, "runs")

    @property
    def pages(self) -> str:
        """Pages about sessions as files, for editors that cannot read them from the hub."""
        return os.path.join(self.home, "pages")

    @property
    def log(self) -> str:
        """The hub's own log."""
        return os.path.join(self.home, "hub.log")

    @property
    def env_file(self) -> str:
        """The user's settings as NAME=value lines."""
        return os.path.join(self.home, ".env")


def find_places(environment: Mapping[str, str]) -> Places:
    """Return the places that `environment` names: ORCH_HOME, ORCH_CONFIG and ORCH_SOCKET, else the platform's own.

    The socket lives in the runtime directory under a hash of the home. Its path may have some hundred bytes only, so
    where that directory lies too deep a directory of ours under /tmp takes its place.
    """
    user_home = environment.get("HOME") or os.path.expanduser("~")
    if sys.platform == "darwin":
        import platformdirs  # 30 ms, and only here

        state = platformdirs.user_state_dir()
        config = platformdirs.user_config_dir()
    else:
        state = environment.get("XDG_STATE_HOME") or os.path.join(user_home, ".local", "state")
        config = environment.get("XDG_CONFIG_HOME") or os.path.join(user_home, ".config")
    home = os.path.abspath(environment.get("ORCH_HOME") or os.path.join(state, "orch"))
    config_file = environment.get("ORCH_CONFIG") or os.path.join(config, "orch", "config.toml")
    runtime = environment.get("XDG_RUNTIME_DIR")
    root = os.path.join(runtime, "orch") if runtime else os.path.join(home, "run")
    digest = hashlib.blake2b(os.fsencode(os.path.realpath(home)), digest_size=6).hexdigest()
    socket = environment.get("ORCH_SOCKET") or os.path.join(root, digest, "hub.sock")
    if len(os.fsencode(socket)) > LONGEST_SOCKET and "ORCH_SOCKET" not in environment:
        socket = f"/tmp/orch-{os.geteuid()}/{digest}/hub.sock"  # noqa: S108 - its directories are checked before use
    return Places(home, os.path.abspath(config_file), os.path.dirname(os.path.abspath(socket)), os.path.abspath(socket))
