"""The socket lies where nobody else can reach it or put another in its place, or the hub says why not (B1)."""

import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from orch_server.hub.address import AddressRefused, check_home, listen, peer_is_us

OTHER = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a directory to another user")


def place(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "run"


def a_link(run: Path) -> None:
    (run.parent / "elsewhere").mkdir(mode=0o700)
    run.symlink_to(run.parent / "elsewhere")


def a_file(run: Path) -> None:
    run.write_text("")


def open_to_the_group(run: Path) -> None:
    run.mkdir()
    run.chmod(0o750)


def open_to_all(run: Path) -> None:
    run.mkdir()
    run.chmod(0o777)


def of_another(run: Path) -> None:
    run.mkdir(mode=0o700)
    os.chown(run, OTHER, OTHER)


def below_one_that_all_write(run: Path) -> None:
    run.parent.chmod(0o777)


def below_one_of_another(run: Path) -> None:
    os.chown(run.parent, OTHER, OTHER)


def with_a_file_for_a_socket(run: Path) -> None:
    run.mkdir(mode=0o700)
    (run / "hub.sock").write_text("")


def with_a_link_for_a_socket(run: Path) -> None:
    run.mkdir(mode=0o700)
    (run / "hub.sock").symlink_to(run.parent / "elsewhere.sock")


@pytest.mark.parametrize(
    "planted",
    [
        a_link,
        a_file,
        open_to_the_group,
        open_to_all,
        pytest.param(of_another, marks=AS_ROOT),
        below_one_that_all_write,
        pytest.param(below_one_of_another, marks=AS_ROOT),
        with_a_file_for_a_socket,
        with_a_link_for_a_socket,
    ],
)
def test_a_place_that_others_reach_is_refused(planted: Callable[[Path], None], tmp_path: Path) -> None:
    run = place(tmp_path)
    planted(run)
    with pytest.raises(AddressRefused) as caught:
        listen(str(run / "hub.sock"))
    tmp_path.chmod(0o700)
    assert str(tmp_path) in str(caught.value)
    assert any(word in str(caught.value) for word in ("chmod", "Move", "Set"))


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AddressRefused, match="too long"):
        listen(str(tmp_path / ("x" * 120) / "hub.sock"))


@pytest.mark.parametrize("umask", [0o000, 0o777, 0o022])
def test_nobody_else_ever_could_connect(umask: int, tmp_path: Path) -> None:
    run = place(tmp_path)
    before = os.umask(umask)
    try:
        with listen(str(run / "hub.sock")):
            assert stat.S_IMODE(run.lstat().st_mode) & 0o077 == 0
            assert stat.S_IMODE((run / "hub.sock").lstat().st_mode) == 0o600
    finally:
        os.umask(before)


@AS_ROOT
def test_another_user_is_not_let_in(tmp_path: Path) -> None:
    """Even where the directory and the socket were opened to all, the kernel tells who calls."""
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == 0 and directory != Path("/") and directory != Path("/tmp"):
            directory.chmod(0o755)
    path = str(tmp_path / "open.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        os.chmod(path, 0o777)
        listener.listen()
        assert _connects_as(OTHER, path)
        with listener.accept()[0] as connection:
            assert not peer_is_us(connection)
        ours = threading.Thread(target=_connect, args=(path,))
        ours.start()
        with listener.accept()[0] as connection:
            assert peer_is_us(connection)
        ours.join()
        os.chmod(path, 0o600)
        assert not _connects_as(OTHER, path)


def test_a_home_that_others_write_is_refused(tmp_path: Path) -> None:
    check_home(str(tmp_path))
    tmp_path.chmod(0o770)
    with pytest.raises(AddressRefused, match="chmod 700"):
        check_home(str(tmp_path))
    tmp_path.chmod(0o700)


@AS_ROOT
def test_a_home_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, OTHER, OTHER)
    with pytest.raises(AddressRefused, match="another user"):
        check_home(str(tmp_path))


def _connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(path)


def _connects_as(user: int, path: str) -> bool:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgid(user)
            os.setuid(user)
            _connect(path)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
