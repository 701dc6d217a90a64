"""Scratch repositories for tests: real git, with nothing of the machine's configuration and a fixed identity."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ScratchRepository:
    """A repository of a test, and plain git for it (what a user's terminal would do)."""

    path: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of the user whose repository this is."""
        return hermetic_environment(self.home)

    def git(self, *arguments: str | bytes, check: bool = True, cwd: Path | None = None) -> str:
        """Run plain git in it and return what it prints."""
        done = subprocess.run(
            ["git", *arguments], cwd=cwd or self.path, env=self.environment, capture_output=True, timeout=60
        )
        if check and done.returncode != 0:
            raise AssertionError(f"git {arguments!r}: {done.stderr.decode(errors='replace')}")
        return os.fsdecode(done.stdout)

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Write files into its working tree."""
        write_files(self.path, files)

    def commit(self, message: str = "change", files: Mapping[str, str | bytes] | None = None) -> str:
        """Commit everything there is, `files` written before, and return the commit's name."""
        self.write(files or {})
        self.git("add", "--all")
        self.git("-c", "maintenance.auto=false", "commit", "--quiet", "--allow-empty", "--message", message)
        return self.head

    @property
    def head(self) -> str:
        """The commit that is checked out."""
        return self.git("rev-parse", "HEAD").strip()


def make_repository(
    path: Path,
    files: Mapping[str, str | bytes] | None = None,
    *,
    commit: bool = True,
    home: Path | None = None,
    options: tuple[str, ...] = (),
) -> ScratchRepository:
    """Make a repository at `path` on the branch main; with `commit` its files are committed."""
    home = home or path.parent / "home"
    home.mkdir(parents=True, exist_ok=True)
    path.mkdir(parents=True, exist_ok=True)
    repository = ScratchRepository(path, home)
    repository.git("init", "--quiet", "--template=", "--initial-branch=main", *options)
    repository.write({"README.md": "# Scratch\n"} if files is None else files)
    if commit:
        repository.commit("first")
    return repository


def write_files(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files below `root`, directories made as needed."""
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)


def hermetic_environment(home: Path) -> dict[str, str]:
    """Return an environment in which git knows only `home` and a fixed identity and time zone."""
    identity = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Test"), ("EMAIL", "test@example.invalid"))
    }
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        **identity,
    }
