"""`orch doctor`: is everything there that orch needs, and what to do where it is not."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from orch_server import __version__
from orch_server.endpoints.cli import show
from orch_server.endpoints.cli.client import Client, HubGone
from orch_server.endpoints.cli.main import DONE, FAILED, Verb, orch
from orch_server.hub.address import AddressRefused, check_directory
from orch_server.hub.dial import HubUnreachable, ProtocolMismatch
from orch_server.settings.places import LONGEST_SOCKET, Places, find_places

_OLDEST_GIT = (2, 36)
_FREE_BYTES = 1024**3

Finding = tuple[str, bool, str, str]
"""What was looked at, whether it is well, what was seen, and what to do."""


@orch.command(cls=Verb, prints="Checkup")
def doctor(as_json: bool) -> int:
    """Check git, the agents, the socket, the database, the settings and the disk, and say what to do."""
    places = find_places(os.environ)
    findings: list[Finding] = []
    for check in (_python, _git, _home, _disk, _settings, _database, _socket, _hub_and_agents):
        findings.extend(check(places))
    if as_json:
        names = ("name", "ok", "found", "advice")
        show.as_json({"checks": [dict(zip(names, finding, strict=True)) for finding in findings]})
    else:
        for name, well, found, advice in findings:
            mark = "BAD" if not well else "--" if advice else "ok"  # "--": it works without
            show.line(f"{mark:<4} {name:<16}  {found}")
            if advice:
                show.line(f"{'':<23}{advice}")
    return DONE if all(well for _, well, _, _ in findings) else FAILED


def _python(places: Places) -> Iterator[Finding]:
    del places
    yield "orch", True, f"{__version__} on Python {sys.version.split()[0]}", ""


def _git(places: Places) -> Iterator[Finding]:
    del places
    path = shutil.which("git")
    if path is None:
        yield "git", False, "not on your PATH", "Install git 2.36 or newer."
        return
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    numbers = re.search(r"(\d+)\.(\d+)", said)
    version = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    advice = "" if version >= _OLDEST_GIT else "Install git 2.36 or newer."
    yield "git", not advice, f"{said.strip()} at {path}", advice


def _home(places: Places) -> Iterator[Finding]:
    if not os.path.isdir(places.home):
        yield "home", True, f"{places.home} (made at the first start)", ""
        return
    status = os.stat(places.home)
    advice = ""
    if status.st_uid != os.geteuid():
        advice = "It belongs to another user. Set ORCH_HOME to a directory of yours."
    elif status.st_mode & 0o077:
        advice = f"Others can look into it. Run: chmod 700 {places.home}"
    yield "home", not advice, places.home, advice


def _disk(places: Places) -> Iterator[Finding]:
    path = places.home
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    free = shutil.disk_usage(path).free
    advice = "" if free >= _FREE_BYTES else "Free some space: no session is begun below 1 GiB (start_free_bytes)."
    yield "disk", not advice, f"{free / 1024**3:.1f} GiB free", advice


def _settings(places: Places) -> Iterator[Finding]:
    from orch_server.settings.options import ConfigError, read_config, read_settings

    for name, path, read in (
        ("settings", places.env_file, lambda: read_settings(places)),
        ("config", places.config_file, lambda: read_config(places.config_file)),
    ):
        yield _tried(name, path, read, ConfigError)


def _tried(name: str, path: str, read: Callable[[], object], failure: type[Exception]) -> Finding:
    try:
        read()
    except failure as error:
        return name, False, str(error), "Correct it, then: orch hub restart"
    return name, True, path if os.path.exists(path) else f"{path} (absent: defaults)", ""


def _database(places: Places) -> Iterator[Finding]:
    from orch_server.settings.options import ConfigError, database_path, read_settings

    try:
        url = read_settings(places).database_url
    except ConfigError:
        return  # said above
    path = database_path(places.home, url)
    if path is None:
        yield "database", False, url, "orch keeps its data in SQLite: write sqlite:///FILE."
        return
    if not os.path.exists(path):
        yield "database", True, f"{path} (made at the first start)", ""
        return
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            said = connection.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.Error as error:
        said = str(error)
    advice = "" if said == "ok" else f"Stop the hub, keep a copy of {path}, and move it away to begin anew."
    yield "database", not advice, f"{path}: {said}", advice


def _socket(places: Places) -> Iterator[Finding]:
    if len(os.fsencode(places.socket)) > LONGEST_SOCKET:
        yield "socket", False, f"{places.socket} is too long a path", "Set ORCH_SOCKET to a shorter one."
        return
    try:
        check_directory(places.socket_dir, create=False)
    except FileNotFoundError:
        pass
    except AddressRefused as error:
        yield "socket", False, places.socket, str(error)
        return
    yield "socket", True, places.socket, ""


def _hub_and_agents(places: Places) -> Iterator[Finding]:
    del places
    try:
        client = Client()
        status = client.call("orch/hub/status")
        agents = client.call("orch/agent/list")["items"]
    except (HubUnreachable, HubGone, ProtocolMismatch, AddressRefused) as error:
        yield "hub", False, str(error), ""
        return
    finally:
        client.close()
    version: Any = status["version"]
    advice = "" if version == __version__ else "Another version runs: orch hub restart"
    yield "hub", not advice, f"orch {version}, pid {status['pid']}, {status['runs']} agents running", advice
    for agent in agents:
        if agent["available"]:
            yield agent["name"], True, f"{agent['version'] or 'version not known'} at {agent['path']}", ""
        else:
            yield agent["name"], True, "not installed", agent["hint"]
