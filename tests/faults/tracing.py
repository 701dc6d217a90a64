"""strace: the calls of a process as it makes them, or made to fail."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def can_trace() -> bool:
    """Whether there is strace, and leave to trace with it."""
    strace = shutil.which("strace")
    return strace is not None and subprocess.run([strace, "-o", "/dev/null", "true"], check=False).returncode == 0


@contextmanager
def failing(pid: int, calls: str, error: str, files: list[Path], log: Path) -> Iterator[None]:
    """Have these calls of a running process's threads fail with an error where they are about one of these files.

    Asserts at the end that at least one did.
    """
    threads = ",".join(os.listdir(f"/proc/{pid}/task"))  # and not what it forks, which would have to be let go as well
    about = [word for file in files for word in ("-P", str(file))]
    command = ["strace", "-p", threads, "-o", str(log), *about, "-e", f"trace={calls}"]
    strace = subprocess.Popen([*command, "-e", f"inject={calls}:error={error}"], stderr=subprocess.PIPE, text=True)
    try:
        assert strace.stderr is not None
        said = strace.stderr.readline()
        if "Operation not permitted" in said:
            pytest.skip("needs leave to trace a process that runs already: kernel.yama.ptrace_scope=0")
        assert "attached" in said, said
        yield
    finally:
        strace.terminate()  # it lets go of what it traces
        strace.communicate(timeout=30)
    assert "(INJECTED)" in log.read_text(), f"no {calls} was made to fail"
