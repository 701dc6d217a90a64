"""What somebody may do to worktrees, branches and repositories by hand, each with the flags that it must be shown by.

All of it is done while no hub runs. The tree of a deleted session is where the trash has it.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.repositories import ScratchRepository, make_repository


@dataclass(frozen=True, slots=True)
class Scene:
    """A session's tree, and the repository that it belongs to."""

    tree: Path
    repository: ScratchRepository

    @property
    def shop(self) -> Path:
        """The project's checkout."""
        return self.repository.path

    @property
    def entry(self) -> Path:
        """git's entry for the worktree."""
        return self.shop / ".git" / "worktrees" / self.tree.name

    @property
    def branch(self) -> str:
        """The session's branch; the worktree of a deleted one is detached from it."""
        return self.git("for-each-ref", "--format=%(refname:short)", f"refs/heads/orch/*/*/{self.tree.name}")

    def git(self, *arguments: str, cwd: Path | None = None, check: bool = True) -> str:
        """Run git in the project, or elsewhere, as its user would."""
        return self.repository.git(*arguments, cwd=cwd, check=check).strip()

    def in_tree(self, *arguments: str, check: bool = True) -> str:
        """Run git in the session's tree."""
        return self.git(*arguments, cwd=self.tree, check=check)

    def beside(self, name: str) -> Path:
        """A path beside the project that only this session's case uses."""
        return self.shop.parent / f"{name}-{self.tree.name}"

    def commit(self, content: str) -> str:
        """Commit another content of the README in the tree, and return the commit."""
        (self.tree / "README.md").write_text(content)
        self.in_tree("commit", "--quiet", "-m", content, "--", "README.md")
        return self.in_tree("rev-parse", "HEAD")


def removed(scene: Scene) -> None:
    shutil.rmtree(scene.tree)


def moved_away(scene: Scene) -> None:
    scene.tree.rename(scene.beside("away"))


def moved_with_git(scene: Scene) -> None:
    unlocked(scene)
    scene.git("worktree", "move", str(scene.tree), str(scene.beside("moved")))


def replaced_by_a_file(scene: Scene) -> None:
    moved_away(scene)
    scene.tree.write_text("a file\n")


def replaced_by_a_link(scene: Scene) -> None:
    moved_away(scene)
    scene.tree.symlink_to(scene.beside("away"))


def replaced_by_a_repository(scene: Scene) -> None:
    moved_away(scene)
    make_repository(scene.tree, {"other.txt": "x\n"}, home=scene.repository.home)


def emptied(scene: Scene) -> None:
    for path in scene.tree.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".git":
            path.unlink()


def git_file_edited(scene: Scene) -> None:
    (scene.tree / ".git").write_text("gitdir: /nowhere\n")


def git_file_removed(scene: Scene) -> None:
    (scene.tree / ".git").unlink()


def git_file_a_directory(scene: Scene) -> None:
    git_file_removed(scene)
    (scene.tree / ".git").mkdir()


def branch_deleted(scene: Scene) -> None:
    scene.git("update-ref", "-d", f"refs/heads/{scene.branch}")


def branch_moved(scene: Scene) -> None:
    orphan = scene.git("commit-tree", "-m", "elsewhere", scene.git("rev-parse", "HEAD^{tree}"))
    scene.git("update-ref", f"refs/heads/{scene.branch}", orphan)


def branch_renamed(scene: Scene) -> None:
    scene.git("branch", "-m", scene.branch, f"renamed-{scene.tree.name}")


def branch_checked_out_elsewhere(scene: Scene) -> None:
    scene.git("worktree", "add", "--quiet", "--force", str(scene.beside("taken")), scene.branch)


def branch_locked(scene: Scene) -> None:
    lock = scene.shop / ".git" / "refs" / "heads" / f"{scene.branch}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text("")


def refs_packed(scene: Scene) -> None:
    scene.git("pack-refs", "--all", "--prune")


def commit_lost(scene: Scene) -> None:
    lost = scene.commit("soon lost\n")
    scene.git("update-ref", f"refs/heads/{scene.branch}", lost)
    (scene.shop / ".git" / "objects" / lost[:2] / lost[2:]).unlink()


def detached(scene: Scene) -> None:
    scene.in_tree("checkout", "--quiet", "--detach")


def another_branch(scene: Scene) -> None:
    scene.in_tree("checkout", "--quiet", "-b", f"another-{scene.tree.name}")


def rebasing(scene: Scene) -> None:
    _conflicting(scene, "rebase")
    assert (scene.entry / "rebase-merge").is_dir()


def merging(scene: Scene) -> None:
    _conflicting(scene, "merge")
    assert (scene.entry / "MERGE_HEAD").is_file()


def picking(scene: Scene) -> None:
    _conflicting(scene, "cherry-pick")
    assert (scene.entry / "CHERRY_PICK_HEAD").is_file()


def bisecting(scene: Scene) -> None:
    good = scene.in_tree("rev-parse", "HEAD")
    bad = [scene.commit(f"number {number}\n") for number in range(3)][-1]
    scene.in_tree("bisect", "start", bad, good)
    assert not scene.in_tree("symbolic-ref", "--quiet", "HEAD", check=False)


def unlocked(scene: Scene) -> None:
    scene.git("worktree", "unlock", str(scene.tree))


def pruned(scene: Scene) -> None:
    moved_away(scene)
    scene.git("worktree", "prune")


def removed_with_force(scene: Scene) -> None:
    scene.git("worktree", "remove", "-f", "-f", str(scene.tree))


def entry_removed(scene: Scene) -> None:
    shutil.rmtree(scene.entry)


def entry_elsewhere(scene: Scene) -> None:
    (scene.entry / "gitdir").write_text(f"{scene.beside('nowhere')}/.git\n")


def head_damaged(scene: Scene) -> None:
    (scene.entry / "HEAD").write_text("no such thing\n")


def head_removed(scene: Scene) -> None:
    (scene.entry / "HEAD").unlink()


def index_damaged(scene: Scene) -> None:
    (scene.entry / "index").write_bytes(b"DIRC" + b"\xff" * 60)


def index_removed(scene: Scene) -> None:
    (scene.entry / "index").unlink()


def index_locked(scene: Scene) -> None:
    (scene.entry / "index.lock").write_text("")


def attributes_a_directory(scene: Scene) -> None:
    (scene.tree / ".gitattributes").mkdir()


def repository_inside(scene: Scene) -> None:
    make_repository(scene.tree / "inner", {"inner.txt": "x\n"}, home=scene.repository.home)


def submodule_added(scene: Scene) -> None:
    library = make_repository(scene.beside("library"), {"library.txt": "x\n"}, home=scene.repository.home)
    scene.in_tree("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library.path), "library")


def made_sparse(scene: Scene) -> None:
    scene.in_tree("sparse-checkout", "set", "src")


Case = tuple[Callable[[Scene], None], frozenset[str]]


def _shown(*flags: str) -> frozenset[str]:
    return frozenset(flags)


WORKTREES: dict[str, Case] = {
    "removed": (removed, _shown("worktree_missing")),
    "moved away": (moved_away, _shown("worktree_missing")),
    "moved with git": (moved_with_git, _shown("worktree_moved")),
    "a file in its place": (replaced_by_a_file, _shown("worktree_replaced")),
    "a link in its place": (replaced_by_a_link, _shown("worktree_replaced")),
    "a repository in its place": (replaced_by_a_repository, _shown("worktree_replaced")),
    "emptied": (emptied, _shown()),
    "its .git file edited": (git_file_edited, _shown("worktree_replaced")),
    "its .git file removed": (git_file_removed, _shown("worktree_replaced")),
    "its .git file a directory": (git_file_a_directory, _shown("worktree_replaced")),
    "its branch deleted": (branch_deleted, _shown("branch_missing")),
    "its branch moved": (branch_moved, _shown("branch_moved")),
    "its branch renamed": (branch_renamed, _shown("branch_missing")),
    "its branch checked out elsewhere": (branch_checked_out_elsewhere, _shown()),
    "its branch locked": (branch_locked, _shown()),
    "refs packed": (refs_packed, _shown()),
    "HEAD detached": (detached, _shown("branch_moved")),
    "another branch checked out": (another_branch, _shown("branch_moved")),
    "in the middle of a rebase": (rebasing, _shown()),
    "in the middle of a merge": (merging, _shown()),
    "in the middle of a cherry-pick": (picking, _shown()),
    "in the middle of a bisect": (bisecting, _shown()),
    "unlocked": (unlocked, _shown()),
    "pruned": (pruned, _shown("worktree_missing")),
    "removed with force": (removed_with_force, _shown("worktree_missing")),
    "git's entry removed": (entry_removed, _shown("worktree_replaced")),
    "git's entry points elsewhere": (entry_elsewhere, _shown("worktree_moved")),
    "HEAD damaged": (head_damaged, _shown("branch_moved")),
    "HEAD removed": (head_removed, _shown("worktree_replaced")),
    "the index damaged": (index_damaged, _shown()),
    "the index removed": (index_removed, _shown()),
    "a lock left behind": (index_locked, _shown()),
    "attributes a directory": (attributes_a_directory, _shown()),
    "a repository inside": (repository_inside, _shown()),
    "a submodule added": (submodule_added, _shown()),
    "made sparse": (made_sparse, _shown()),
    "its commit lost": (commit_lost, _shown("branch_missing")),
}
"""To one worktree of many in a project. The last makes a repository that git itself does not take for sound."""


def cleaned(shop: ScratchRepository) -> None:
    shop.git("clean", "-ffdxq")


def stashed(shop: ScratchRepository) -> None:
    (shop.path / "README.md").write_text("changed by hand\n")
    shop.git("stash", "push", "--quiet", "--all")


def project_moved(shop: ScratchRepository) -> None:
    shop.path.rename(away(shop))


def project_removed(shop: ScratchRepository) -> None:
    shutil.rmtree(shop.path)


def project_cloned_anew(shop: ScratchRepository) -> None:
    project_moved(shop)
    shop.git("clone", "--quiet", str(away(shop)), str(shop.path), cwd=shop.path.parent)


def runtime_directory_removed(shop: ScratchRepository) -> None:
    shutil.rmtree(shop.path / ".orchestrator")


def repository_locked(shop: ScratchRepository) -> None:
    for lock in _locks(shop):
        lock.write_text("")


def repository_unlocked(shop: ScratchRepository) -> None:
    for lock in _locks(shop):
        lock.unlink()


def declared_bare(shop: ScratchRepository) -> None:
    shop.git("config", "core.bare", "true")


def declared_with_files(shop: ScratchRepository) -> None:
    shop.git("config", "core.bare", "false")


def put_back(shop: ScratchRepository) -> None:
    if shop.path.exists():
        shop.path.rename(shop.path.with_name("clone"))
    away(shop).rename(shop.path)


def nothing(_: ScratchRepository) -> None:
    pass


def away(shop: ScratchRepository) -> Path:
    """Return where a project was moved to."""
    return shop.path.with_name(f"{shop.path.name}-away")


Meddling = Callable[[ScratchRepository], None]

PROJECTS: dict[str, tuple[Meddling, frozenset[str], Meddling | None]] = {
    "cleaned with git": (cleaned, _shown("worktree_missing"), nothing),
    "stashed with all": (stashed, _shown(), nothing),
    "moved": (project_moved, _shown("project_missing"), put_back),
    "removed": (project_removed, _shown("project_missing"), None),
    "cloned anew": (project_cloned_anew, _shown("worktree_missing", "branch_missing"), put_back),
    "its directory of orch removed": (runtime_directory_removed, _shown("worktree_missing"), nothing),
    "locked": (repository_locked, _shown(), repository_unlocked),
    "declared bare": (declared_bare, _shown(), declared_with_files),
}
"""To a project with all its sessions, and what its user does afterwards to have them again; None where all is gone."""


def _locks(shop: ScratchRepository) -> list[Path]:
    names = ("HEAD.lock", "index.lock", "config.lock", "packed-refs.lock", "shallow.lock")
    return [shop.path / ".git" / name for name in names]


def _conflicting(scene: Scene, verb: str) -> None:
    """Have git stop in the middle of bringing two changes of one line together."""
    base = scene.in_tree("rev-parse", "HEAD")
    theirs = scene.commit("theirs\n")
    scene.in_tree("reset", "--quiet", "--hard", base)
    scene.commit("mine\n")
    scene.in_tree(verb, theirs, check=False)
