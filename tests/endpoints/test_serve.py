"""The hub as a process: what it does to itself before it serves."""

import subprocess
import sys

import pytest

_FLOOD = """
import ctypes, os, sys
from orch_server.endpoints.serve import give_memory_back

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

if sys.argv[1] == "tuned":
    give_memory_back()
del (blocks := [bytearray(31 << 20)])[:]
before = resident()
blocks = [bytearray(100_000) for _ in range(500)]
del blocks
print((resident() - before) >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the malloc of glibc, and reads /proc")
def test_what_a_flood_took_goes_back_to_the_system() -> None:
    def left(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", _FLOOD, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert left("as it is") > 30  # else the test shows nothing
    assert left("tuned") < 5
