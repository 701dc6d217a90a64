"""The picture of the curves, and how their slopes are told."""

import re
from xml.etree import ElementTree

from tests.bench.curves import slope
from tests.bench.plot import HEIGHT, WIDTH, Panel, svg


def test_slopes_count_powers_of_ten() -> None:
    assert round(slope([(1, 5.0), (10, 50.0), (1_000, 5_000.0)]), 6) == 1
    assert round(slope([(1, 5.0), (100, 5.0)]), 6) == 0


def test_every_point_is_in_its_panel() -> None:
    points = [(1, 0.03), (20, 0.4), (1_000_000, 7.0)]
    picture = svg([Panel("a < b", "events", "ms", points, "slope 1")] * 3, "a & b")
    root = ElementTree.fromstring(picture)
    assert len(root.findall(".//{*}polyline")) == 3
    for line in re.findall(r'points="([^"]+)"', picture):
        places = [tuple(map(float, place.split(","))) for place in line.split()]
        assert len(places) == len(points)
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
        assert places == sorted(places, key=lambda place: (place[0], -place[1]))
