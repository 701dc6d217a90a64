"""Nothing that a repository contains runs a program, and nothing that only looks leaves a trace."""

import hashlib
import os
import shlex
from pathlib import Path

import pytest

from orch_server.domain.errors import OrchError
from orch_server.git.diff import diff, stat
from orch_server.git.repository import inspect, resolve_commit
from orch_server.git.snapshot import Fidelity, pin, project_files, snapshot, worktree_files
from orch_server.git.worktree import check, recover
from tests.git.conftest import Room, open_room
from tests.repositories import ScratchRepository, make_repository, write_files

HOOKS = (
    "post-checkout",
    "post-index-change",
    "reference-transaction",
    "pre-commit",
    "post-commit",
    "prepare-commit-msg",
    "commit-msg",
    "pre-auto-gc",
    "post-merge",
    "post-rewrite",
)
# What plain git is expected to fire in `everyday_git`; if it does not, the rest of the test proves nothing.
FIRED_BY_PLAIN_GIT = {
    "fsmonitor",
    "filter-clean",
    "filter-smudge",
    "filter-late",
    "filter-named",
    "filter-process",
    "textconv",
    "diff-command",
    "external-diff",
    "alias",
    "gpg",
    "editor",
    "submodule-fsmonitor",
    "nested-fsmonitor",
    "hook-post-checkout",
    "hook-post-index-change",
    "hook-reference-transaction",
    "hook-pre-commit",
    "merge-driver",
}


class Canaries:
    """Programs that each leave a mark when they run."""

    def __init__(self, place: Path) -> None:
        self.programs, self.marks = place / "programs", place / "marks"
        self.programs.mkdir(parents=True)
        self.marks.mkdir()

    def program(self, name: str, then: str = "true") -> str:
        file = self.programs / name
        file.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(self.marks / name))}\n{then}\n")
        file.chmod(0o755)
        return shlex.quote(str(file))

    def fired(self) -> set[str]:
        found = {mark.name for mark in self.marks.iterdir()}
        for mark in self.marks.iterdir():
            mark.unlink()
        return found


def make_hostile(scratch: ScratchRepository, canaries: Canaries) -> None:
    """Set every trap that configuration, attributes, hooks and nested repositories allow."""

    def config(name: str, value: str, cwd: Path | None = None) -> None:
        scratch.git("config", name, value, cwd=cwd)

    attributes = (
        "*.f1 filter=evil\n*.f2 filter=late\n*.f3 filter=a=b\n*.f4 filter=process\n"
        "*.t diff=conv\n*.c diff=command\n*.m merge=evil\n"
    )
    files = {f"file.{kind}": f"{kind}\n" for kind in ("f1", "f2", "f3", "f4", "t", "c", "m")}
    scratch.commit("files", {".gitattributes": attributes, **files})
    scratch.git("branch", "side")
    scratch.commit("more", {"file.m": "main\n"})
    sub = make_repository(scratch.path.parent / "sub", home=scratch.home)
    scratch.git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(sub.path), "sub")
    scratch.commit("submodule")
    config("core.fsmonitor", canaries.program("submodule-fsmonitor"), scratch.path / "sub")
    for driver, mark in (("evil", "filter"), ("a=b", "filter-named")):
        for verb in ("clean", "smudge"):
            name = f"{mark}-{verb}" if driver == "evil" else mark
            config(f"filter.{driver}.{verb}", canaries.program(name, "cat"))
        config(f"filter.{driver}.required", "true")
    config("core.fsmonitor", canaries.program("fsmonitor"))
    config("core.pager", canaries.program("pager", "cat"))
    config("core.editor", canaries.program("editor"))
    config("core.sshCommand", canaries.program("ssh", "exit 1"))
    config("core.askPass", canaries.program("askpass", "exit 1"))
    config("core.gitProxy", canaries.program("proxy", "exit 1"))
    config("core.alternateRefsCommand", canaries.program("alternate-refs"))
    config("credential.helper", "!" + canaries.program("credential"))
    config("sequence.editor", canaries.program("sequence-editor"))
    config("gpg.program", canaries.program("gpg", "exit 1"))
    config("diff.conv.textconv", canaries.program("textconv", 'cat "$1"'))
    config("diff.command.command", canaries.program("diff-command"))
    config("merge.evil.driver", canaries.program("merge-driver"))
    config("uploadpack.packObjectsHook", canaries.program("pack-objects-hook", 'exec "$@"'))
    config("alias.evil", "!" + canaries.program("alias"))
    for verb in ("ls-files", "diff-tree", "rev-parse", "worktree", "update-index"):
        config(f"alias.{verb}", "!" + canaries.program(f"alias-{verb}"))
    # Drivers that exist on our branches alone, which no look at the configuration from the main checkout shows.
    included = scratch.path / ".git/late-config"
    late = canaries.program("filter-late", "cat")
    included.write_text(f'[filter "late"]\n\tclean = {late}\n\tsmudge = {late}\n[diff]\n\texternal = {late}\n')
    config("includeIf.onbranch:orch/**.path", str(included))
    hooks = scratch.path / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for hook in HOOKS:
        canaries.program(f"hook-{hook}")
        (hooks / hook).symlink_to(canaries.programs / f"hook-{hook}")


def everyday_git(scratch: ScratchRepository, canaries: Canaries) -> None:
    """Do with plain git about what orch does, so that what it fires is known."""
    tree = scratch.path.parent / "plain worktree"
    scratch.git("worktree", "add", "-b", "orch/plain", str(tree))
    for kind in ("f1", "f2", "f3", "f4", "t", "c"):
        (tree / f"file.{kind}").write_text("changed\n")
    nested = make_repository(tree / "nested", home=scratch.home)
    nested.git("config", "core.fsmonitor", canaries.program("nested-fsmonitor"))
    for arguments in (
        ["status"],
        ["add", "--all"],
        ["diff", "--cached"],
        ["diff", "--no-ext-diff", "--cached"],
        ["-c", f"diff.external={canaries.program('external-diff')}", "diff", "HEAD"],
        ["evil"],
        ["commit", "-m", "x"],
        ["commit", "-S", "-m", "x", "--allow-empty"],
        ["commit", "--allow-empty", "--amend"],
    ):
        scratch.git(*arguments, cwd=tree, check=False)
    nested.git("status")
    scratch.git("status")
    side = scratch.path.parent / "side"
    scratch.git("worktree", "add", str(side), "side", check=False)
    (side / "file.m").write_text("side\n")
    scratch.git("-c", "core.fsmonitor=", "commit", "--no-verify", "-am", "side", cwd=side, check=False)
    scratch.git("merge", "main", cwd=side, check=False)
    # Last, since it is fatal to plain git.
    scratch.git("config", "filter.process.process", canaries.program("filter-process", "exit 1"))
    scratch.git("hash-object", "file.f4", check=False)


async def test_no_canary_fires(room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canaries = Canaries(tmp_path / "canaries")
    make_hostile(room.scratch, canaries)
    everyday_git(room.scratch, canaries)
    fired = canaries.fired()
    assert fired >= FIRED_BY_PLAIN_GIT, FIRED_BY_PLAIN_GIT - fired
    for name in ("GIT_EXTERNAL_DIFF", "GIT_SSH_COMMAND", "GIT_EDITOR", "GIT_PAGER", "GIT_ASKPASS"):
        monkeypatch.setenv(name, canaries.program(name.lower()))

    git, scratch = room.git, room.scratch
    repository = await inspect(git, str(scratch.path / "src"))
    room = await open_room(git, scratch)
    await resolve_commit(git, repository, "side")
    planned = await room.plan()
    made = await room.create(planned)
    tree = Path(made.path)
    for kind in ("f1", "f2", "f3", "f4", "t", "c", "m"):
        assert (tree / f"file.{kind}").exists()
        (tree / f"file.{kind}").write_text("changed\n")
    make_repository(tree / "nested", home=scratch.home)
    scratch.git("clone", "--quiet", str(scratch.path.parent / "sub"), str(tree / "sub"))  # at the recorded commit
    for place in ("nested", "sub"):
        scratch.git("config", "core.fsmonitor", canaries.program("nested-fsmonitor"), cwd=tree / place)
        scratch.git("config", "filter.nested.clean", canaries.program("nested-filter", "cat"), cwd=tree / place)
        write_files(tree / place / ".git/info", {"attributes": "* filter=nested\n"})
    for checkout in (tree, scratch.path):
        (checkout / "sub/README.md").write_text("# scratch\n")  # the same size: whoever looks has to read it
        (checkout / "README.md").write_text("changed")
    canaries.fired()  # making the nested ones with plain git
    for files in (worktree_files(made), project_files(repository)):
        for fidelity in Fidelity:
            taken = await snapshot(git, room.shadow, files, fidelity=fidelity)
        found = await diff(git, room.shadow, made.base, files)
        await stat(git, room.shadow, made.base, files)
        if files.recorded is made:
            assert {"file.f1", "file.f2", "file.f3", "file.t", "file.c"} <= {file.path for file in found.files}
    await pin(git, repository, room.shadow, taken, "refs/orch/wip/x", message="x")
    assert await check(git, made) == []
    assert await recover(git, planned) == made
    half = await room.plan()
    scratch_entry = Path(repository.common_dir, "refs/heads", half.branch)
    scratch_entry.parent.mkdir(parents=True, exist_ok=True)
    scratch_entry.write_text(half.base + "\n")
    assert await recover(git, half) is None
    assert canaries.fired() == set()

    # An agent puts a repository with traps of its own in the place of the worktree's `.git` file.
    (tree / ".git").unlink()
    replaced = make_repository(tree, home=scratch.home, commit=False)
    replaced.git("config", "core.fsmonitor", canaries.program("replaced-fsmonitor"))
    with pytest.raises(OrchError):
        await diff(git, room.shadow, made.base, worktree_files(made))
    await check(git, made)
    assert canaries.fired() == set()


def traces(root: Path) -> dict[str, tuple[object, ...]]:
    """Return everything that can be told about the files below `root`, but for what is ours."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, names, files in os.walk(root):
        here = Path(directory).relative_to(root)
        if here == Path():
            names.remove(".orchestrator") if ".orchestrator" in names else None
        if here == Path(".git"):
            names.remove("worktrees") if "worktrees" in names else None
        if here in (Path(".git/refs/heads"), Path(".git/logs/refs/heads")):
            names.remove("orch") if "orch" in names else None
        for name in files:
            path = Path(directory, name)
            status = path.lstat()
            content = os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
            # git marks objects that are in use by their time, against being collected; that is no change.
            when = None if ".git/objects" in str(path) else status.st_mtime_ns
            found[str(here / name)] = (content, status.st_mode, status.st_ino, when)
    return found


async def test_the_main_checkout_is_untouched(room: Room) -> None:
    scratch = room.scratch
    scratch.write({"README.md": "staged\n"})
    scratch.git("add", "README.md")
    scratch.write({"README.md": "unstaged\n", "untracked.txt": "x\n"})
    scratch.git("stash", "push", "--quiet")
    scratch.git("stash", "apply", "--quiet")
    os.utime(scratch.path / "src/main.py")  # a `git status` with locks would write the index now
    before = traces(scratch.path)
    refs = scratch.git("for-each-ref", "--exclude=refs/heads/orch", check=False) or scratch.git("show-ref")
    made = await room.create()
    write_files(Path(made.path), {"work.txt": "new object\n", "README.md": "other\n"})
    for files in (worktree_files(made), project_files(room.repository)):
        for fidelity in Fidelity:
            await snapshot(room.git, room.shadow, files, fidelity=fidelity)
        await diff(room.git, room.shadow, made.base, files)
        await stat(room.git, room.shadow, made.base, files)
    await check(room.git, made)
    await inspect(room.git, str(scratch.path))
    assert traces(scratch.path) == before
    after = [line for line in scratch.git("show-ref").splitlines() if "refs/heads/orch/" not in line]
    assert after == refs.splitlines()


async def test_the_worktree_is_untouched_by_looking(room: Room) -> None:
    made = await room.create()
    write_files(Path(made.path), {"work.txt": "new\n"})
    os.utime(Path(made.path, "README.md"))
    before = traces(Path(made.path)), traces(Path(made.admin_dir))
    await diff(room.git, room.shadow, made.base, worktree_files(made))
    await snapshot(room.git, room.shadow, worktree_files(made), fidelity=Fidelity.EXACT)
    assert (traces(Path(made.path)), traces(Path(made.admin_dir))) == before
