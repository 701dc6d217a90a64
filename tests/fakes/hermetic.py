"""A sandbox for real programs: only the loopback interface, an environment of its own, and nothing survives it.

`run_in_sandbox` runs one command, mostly a Python scenario that starts a model server, a hub and a real agent inside.
The command is the child of process 1 of a fresh pid namespace; when it ends, or this process dies, the kernel kills
all that it started, whatever session or group it hid in. Its network namespace has no way out, so that
a program with a real key by mistake could still reach nobody.
"""

import functools
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ")
"""All that a sandboxed program sees of this process's environment."""

# Process 1 of the sandbox: the shell stays, so that the command gets signals as ever and orphans are reaped.
_INSIDE = 'ip link set lo up || exit 125; "$@"; exit $?'


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a sandboxed command ended."""

    code: int
    stdout: str
    stderr: str

    def check(self) -> str:
        """Return the standard output; an assertion fails with everything that was said where the command did."""
        assert self.code == 0, f"exit code {self.code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        return self.stdout


@functools.cache
def why_not() -> str | None:
    """Say why a sandbox cannot be made here; None if it can. Tests skip with what this says."""
    if not sys.platform.startswith("linux"):
        return f"a sandbox needs the namespaces of Linux, and this is {sys.platform}"
    try:
        tried = subprocess.run(_wrapped(["true"]), capture_output=True, text=True, timeout=20)
    except FileNotFoundError as error:
        return f"a sandbox needs {error.filename} (util-linux)"
    except subprocess.TimeoutExpired:
        return "a sandbox could not be made within 20 seconds"
    if tried.returncode != 0:
        return f"namespaces are not permitted here: {tried.stderr.strip() or f'exit code {tried.returncode}'}"
    return None


def run_in_sandbox(
    command: Sequence[str],
    *,
    tmp: str | os.PathLike[str],
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    timeout: float = 90,
) -> Outcome:
    """Run a command without network, with HOME and the XDG directories under `tmp`, and with `env` beside them."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        # Files, not pipes: a pipe would be held open by what the command leaves behind until the kernel ends it.
        process = subprocess.Popen(
            _wrapped(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=cwd or tmp,
            env=environment(tmp, env or {}),
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except BaseException as error:
            process.kill()
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            code = -signal.SIGKILL
            err.write(f"\n[the sandbox was ended after {timeout} seconds]\n".encode())
        out.seek(0)
        err.seek(0)
        return Outcome(code, out.read().decode(errors="replace"), err.read().decode(errors="replace"))


def environment(tmp: str | os.PathLike[str], more: Mapping[str, str]) -> dict[str, str]:
    """Return a whole environment: an allow-list of this one, directories under `tmp` that exist, and `more`."""
    variables = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    variables.setdefault("LANG", "C.UTF-8")
    variables["TERM"] = "dumb"
    for name, path in _directories(os.path.abspath(tmp)):
        os.makedirs(path, mode=0o700, exist_ok=True)
        variables[name] = path
    return {**variables, **more}


def _directories(tmp: str) -> Iterator[tuple[str, str]]:
    home = os.path.join(tmp, "home")
    yield "HOME", home
    yield "TMPDIR", os.path.join(tmp, "tmp")
    yield "XDG_CONFIG_HOME", os.path.join(home, ".config")
    yield "XDG_DATA_HOME", os.path.join(home, ".local", "share")
    yield "XDG_STATE_HOME", os.path.join(home, ".local", "state")
    yield "XDG_CACHE_HOME", os.path.join(home, ".cache")
    yield "XDG_RUNTIME_DIR", os.path.join(tmp, "run")


def _wrapped(command: Sequence[str]) -> list[str]:
    """Return the command line that runs `command` in namespaces of its own."""
    dies_with_us = ["setpriv", "--pdeathsig", "KILL", "--"]
    unshare = ["unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if os.geteuid() != 0:
        unshare += ["--user", "--map-root-user"]
    return [*dies_with_us, *unshare, "--", "sh", "-c", _INSIDE, "sh", *command]
