"""When a test runs that is not part of `make test`."""

import pytest

NIGHTLY = (pytest.mark.slow, pytest.mark.nightly)
"""In the long form of the fault tests alone: a further case of what other tests show every time."""
