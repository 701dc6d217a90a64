"""Versions side by side: a newer one replaces the hub, an older one attaches, another protocol is refused."""

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import orch_server
from orch_server import PROTOCOL_VERSION
from orch_server.hub import hello
from tests.home import OrchHome, is_gone
from tests.lsp import Client, RawClient
from tests.waiting import wait_until, wait_until_async

Connect = Callable[..., Awaitable[Client]]
PATIENCE = 60.0
UNREACHABLE = 6
SERVER = Path(orch_server.__file__).parent


class Installation:
    """A second orch on the machine: a copy of the package in an environment of its own."""

    def __init__(self, root: Path, *, version: str, protocol_version: int = PROTOCOL_VERSION) -> None:
        packages = root / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        shutil.copytree(SERVER, packages / "orch_server", ignore=shutil.ignore_patterns("__pycache__"))
        about = packages / "orch_server" / "__init__.py"
        about.write_text(f'__version__ = "{version}"\nPROTOCOL_VERSION = {protocol_version}\n')
        (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        base = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
        (root / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
        (root / "bin").mkdir()
        (root / "bin" / "python").symlink_to(base)
        self.server = (str(root / "bin" / "python"), "-I", "-m", "orch_server")


@pytest.mark.timeout(300)
async def test_a_newer_version_replaces_the_hub_and_an_older_one_attaches(
    home: OrchHome, connect: Connect, tmp_path: Path
) -> None:
    newer = Installation(tmp_path / "newer", version="99.0.0")
    old = await connect()
    agent = await _hanging_agent(old)
    born = psutil.Process(agent["pid"]).create_time()
    old_hub = await old.call("orch/hub/status")
    new = await Client.run(home, newer.server)
    try:
        new_hub = await new.call("orch/hub/status")
        assert new_hub["version"] == "99.0.0"
        assert await old.gone(timeout=PATIENCE) == 75
        assert is_gone(old_hub["pid"])
        again = await connect()
        served_by = await again.call("orch/hub/status")
        assert served_by == {**new_hub, "connections": 2, "dataBytes": served_by["dataBytes"]}
        found = await again.call("orch/session/get", {"session": agent["id"]})
        assert (found["state"], found["pid"]) == ("running", agent["pid"])
        assert psutil.Process(agent["pid"]).create_time() == born
        events = (await again.call("orch/event/list", {"types": ["hub.*", "run.*"]}))["items"]
        assert [event["type"] for event in events][-3:] == ["hub.started", "run.adopted", "hub.recovered"]
        (left,) = (event["data"]["reason"] for event in events if event["type"] == "hub.stopping")
        assert "newer" in left
        assert (await again.call("orch/session/stop", {"session": agent["id"]}))["state"] == "stopped"
        assert await again.exit() == 0
        assert await new.exit() == 0
    finally:
        await new.close()


async def test_only_a_newer_version_makes_the_hub_leave(home: OrchHome, connect: Connect) -> None:
    client = await connect()
    status = await client.call("orch/hub/status")
    for version in ("0.0.1", status["version"], "", "x.y", "0.0.99"):
        answer = _say_hello(status["socket"], {"version": version, "protocolVersion": PROTOCOL_VERSION})
        assert (answer["accepted"], answer["reason"], answer["pid"]) == (True, "", status["pid"])
    answer = _say_hello(status["socket"], {"version": "0.0.1", "protocolVersion": PROTOCOL_VERSION + 1})
    assert (answer["accepted"], answer["reason"]) == (False, "protocol")
    assert answer["protocolVersion"] == PROTOCOL_VERSION
    assert (await client.call("orch/hub/status"))["pid"] == status["pid"]
    answer = _say_hello(status["socket"], {"version": "99.0", "protocolVersion": PROTOCOL_VERSION})
    assert (answer["accepted"], answer["reason"]) == (False, "older")
    assert await client.gone(timeout=PATIENCE) == 75
    await wait_until_async(lambda: is_gone(status["pid"]), PATIENCE)


def test_words_that_are_no_hello_harm_nobody(home: OrchHome) -> None:
    status = home.json("health")
    witness = RawClient(home)
    for words in (
        b"Content-Length: 2\r\n\r\n{}",
        (2**31).to_bytes(4, "big"),
        (3).to_bytes(4, "big") + b"\xff\xfe[",
        (2).to_bytes(4, "big") + b"[]",
        (4000).to_bytes(4, "big") + b"[" * 4000,
        hello.encode({"version": [1], "protocolVersion": {"a": 1}, "environment": 7}),
    ):
        with socket.socket(socket.AF_UNIX) as guest:
            guest.connect(status["socket"])
            guest.sendall(words)
            guest.settimeout(20)
            try:
                answer = guest.recv(4096)
            except ConnectionResetError:
                answer = b""
            assert not answer or json.loads(answer[4:])["reason"] == "protocol"
    assert witness.request("orch/hub/status")["pid"] == status["pid"]
    witness.close()


def test_another_protocol_is_refused_with_a_clear_word(home: OrchHome, tmp_path: Path) -> None:
    pid = home.json("health")["pid"]
    other = Installation(tmp_path / "other", version=orch_server.__version__, protocol_version=2)
    bridge = _run(home, *other.server)
    assert bridge.returncode == UNREACHABLE
    assert "speaks protocol 1" in bridge.stderr
    assert "Use the same version for both" in bridge.stderr
    assert bridge.stdout == ""
    command_line = _run(home, *other.server, "--cli", "sessions", "list")
    assert command_line.returncode == UNREACHABLE
    assert "speaks protocol 1" in command_line.stderr
    assert home.json("health")["pid"] == pid


def test_a_socket_directory_that_is_open_to_others_is_refused(home: OrchHome) -> None:
    status = home.json("health")
    directory = Path(status["socket"]).parent
    directory.chmod(0o755)
    for command in (["orch-server"], ["orch", "sessions", "list"]):
        refused = _run(home, *command)
        assert refused.returncode == UNREACHABLE
        assert f"chmod 700 {directory}" in refused.stderr
    home.kill_hub()
    for command in (["orch-server"], ["orch", "sessions", "list"]):
        refused = _run(home, *command)
        assert refused.returncode == UNREACHABLE
        assert f"chmod 700 {directory}" in refused.stderr
    assert home.hubs() == []
    directory.chmod(0o700)
    assert home.json("health")["pid"] != status["pid"]


def test_a_socket_directory_of_somebody_else_is_not_entered(home: OrchHome) -> None:
    directory = Path(home.json("health")["socket"]).parent
    home.cli("hub", "stop")
    wait_until(lambda: home.hubs() == [], PATIENCE)
    elsewhere = home.root / "elsewhere"
    elsewhere.mkdir(0o700)
    directory.symlink_to(elsewhere)
    try:
        refused = _run(home, "orch-server")
    finally:
        directory.unlink()
    assert refused.returncode == UNREACHABLE
    assert "is not a directory of yours" in refused.stderr


async def _hanging_agent(client: Client) -> dict[str, Any]:
    await client.call("orch/event/subscribe", {})
    params = {"agent": "demo", "action": "implement", "project": "shop", "prompt": "[[say begun]] [[hang]]"}
    session_id = (await client.call("orch/session/start", params))["id"]
    await client.until(lambda _: any(event["type"] == "agent.message" for event in client.events()), timeout=PATIENCE)
    session: dict[str, Any] = await client.call("orch/session/get", {"session": session_id})
    return session


def _say_hello(path: str, message: dict[str, Any]) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as guest:
        guest.connect(path)
        guest.settimeout(PATIENCE)
        return hello.call(guest, {"environment": dict(os.environ), **message})


def _run(home: OrchHome, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, env=home.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
    )
