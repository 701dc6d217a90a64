"""Fill the orch home of a test with sessions and events: `seed.py HOME SESSIONS EVENTS`."""

import sys
from pathlib import Path

from tests.bench.crowd import fill
from tests.home import OrchHome

if __name__ == "__main__":
    root, sessions, events = sys.argv[1:]
    fill(OrchHome(Path(root)), sessions=int(sessions), events=int(events))
