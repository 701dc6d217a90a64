"""Where things live."""

import pytest

from orch_server.settings.places import LONGEST_SOCKET, find_places


def test_the_platforms_own_places() -> None:
    places = find_places({"HOME": "/home/ann"})
    assert places.home == "/home/ann/.local/state/orch"
    assert places.config_file == "/home/ann/.config/orch/config.toml"
    assert places.socket.startswith("/home/ann/.local/state/orch/run/")


def test_the_environment_names_them() -> None:
    places = find_places(
        {"HOME": "/h", "ORCH_HOME": "/x/orch", "XDG_RUNTIME_DIR": "/run/user/7", "ORCH_CONFIG": "/c.toml"}
    )
    assert (places.home, places.config_file) == ("/x/orch", "/c.toml")
    assert places.socket_dir.startswith("/run/user/7/orch/")
    assert find_places({"HOME": "/h", "ORCH_SOCKET": "/s/hub.sock"}).socket == "/s/hub.sock"


def test_two_homes_have_two_sockets() -> None:
    one, two = (find_places({"HOME": "/h", "ORCH_HOME": home, "XDG_RUNTIME_DIR": "/run"}) for home in ("/a", "/b"))
    assert one.socket != two.socket


@pytest.mark.parametrize("depth", [10, 90, 300])
def test_a_socket_is_never_too_deep(depth: int) -> None:
    places = find_places({"HOME": "/h", "ORCH_HOME": "/" + "d" * depth})
    assert len(places.socket) <= LONGEST_SOCKET
