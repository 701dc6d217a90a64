"""When a test runs that is not part of `make test`."""

import os

import pytest

FULL = bool(os.environ.get("FULL"))
"""Whether this is the long form of the fault tests: `make test-faults FULL=1`."""
NIGHTLY = (pytest.mark.slow, pytest.mark.nightly)
"""In the long form of the fault tests alone: a further case of what other tests show every time."""
