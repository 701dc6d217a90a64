"""A session lives its whole life in a repository of every kind that git makes (C.8)."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.faults.driver import Driver, Zygote
from tests.faults.scenario import complete, new_home, start
from tests.repositories import ScratchRepository, make_repository
from tests.world import Known, digest_of, tree_of

pytestmark = pytest.mark.timeout(300)

FILES: dict[str, str | bytes] = {"README.md": "# Shop\n", "src/cart.py": "total = 0\n", ".gitignore": "*.log\n"}
MEMORY = Path("/dev/shm")
Kind = Callable[[ScratchRepository, Path], None]


def shallow(origin: ScratchRepository, place: Path) -> None:
    _clone(origin, place, "--depth=1")


def partial(origin: ScratchRepository, place: Path) -> None:
    origin.git("config", "uploadpack.allowFilter", "true")
    _clone(origin, place, "--filter=blob:none", "--no-checkout")
    origin.git("checkout", "--quiet", "main", cwd=place)
    assert "?" in origin.git("rev-list", "--objects", "--missing=print", "main", cwd=place), "no blob is missing"


def sharing_objects(origin: ScratchRepository, place: Path) -> None:
    origin.git("clone", "--quiet", "--shared", str(origin.path), str(place))


def sparse(origin: ScratchRepository, place: Path) -> None:
    _clone(origin, place)
    origin.git("sparse-checkout", "set", "src", cwd=place)


def with_a_submodule(origin: ScratchRepository, place: Path) -> None:
    library = make_repository(origin.path.with_name("library"), {"library.txt": "x\n"}, home=origin.home)
    _clone(origin, place)
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library.path), "library")
    origin.git(*add, cwd=place)
    origin.git("commit", "--quiet", "-m", "a submodule", cwd=place)


def sha256(origin: ScratchRepository, place: Path) -> None:
    make_repository(place, FILES, home=origin.home, options=("--object-format=sha256",))


def git_directory_apart(origin: ScratchRepository, place: Path) -> None:
    make_repository(place, FILES, home=origin.home, options=(f"--separate-git-dir={place}.git",))


KINDS: tuple[Kind, ...] = (shallow, partial, sharing_objects, sparse, with_a_submodule, sha256, git_directory_apart)
SHORT = {shallow, partial}


@pytest.fixture
def origin(tmp_path: Path) -> ScratchRepository:
    scratch = make_repository(tmp_path / "origin", {**FILES, "old.txt": "old\n"})
    (scratch.path / "old.txt").unlink()
    scratch.commit("second", {"README.md": "# The shop\n"})
    return scratch


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, id=kind.__name__, marks=() if kind in SHORT else pytest.mark.nightly) for kind in KINDS],
)
def test_a_life_in_a_repository_of_another_kind(
    kind: Kind, origin: ScratchRepository, tmp_path: Path, zygote: Zygote
) -> None:
    live(tmp_path, zygote, lambda place: kind(origin, place), tmp_path / "repository")


@pytest.mark.nightly
def test_a_life_on_another_file_system(
    another_file_system: Path, origin: ScratchRepository, tmp_path: Path, zygote: Zygote
) -> None:
    live(tmp_path, zygote, lambda place: _clone(origin, place), another_file_system / "repository")


@pytest.mark.nightly
def test_a_repository_without_a_commit_is_told_what_it_lacks(tmp_path: Path, zygote: Zygote) -> None:
    repository = make_repository(tmp_path / "empty", {}, commit=False)
    with Driver(new_home(tmp_path), zygote) as driver:
        driver.call("orch/project/add", path=str(repository.path))
        session = start(driver, "[[write made.txt hello]]", "empty")
        failed = driver.until(session, "failed")
        assert failed["reason"] == "worktree_failed"
        assert "no commit yet" in failed["message"], failed
        repository.commit("first", {"README.md": "# Now there is one\n"})
        complete(driver, session)
        driver.settle()


@pytest.fixture
def another_file_system(tmp_path: Path) -> Iterator[Path]:
    if not os.access(MEMORY, os.W_OK) or MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip(f"needs {MEMORY} as another file system than {tmp_path}")
    with TemporaryDirectory(dir=MEMORY, prefix="orch-test-") as directory:
        yield Path(directory)


def live(root: Path, zygote: Zygote, make: Callable[[Path], None], place: Path) -> None:
    """Have a session work, commit, come home, be thrown away, come back and be purged."""
    make(place)
    with Driver(new_home(root), zygote) as driver:
        driver.call("orch/project/add", path=str(place), name="repository")
        untouched = {place: digest_of(place)}
        session = start(
            driver, "[[write made.txt hello]] [[append README.md more]] [[write x.log ignored]]", "repository"
        )
        complete(driver, session)
        tree = place / ".orchestrator" / "worktrees" / session
        content = tree_of(tree)
        diff = driver.call("orch/session/diff", session=session)
        assert {file["path"] for file in diff["files"]} == {"made.txt", "README.md"}
        driver.call("orch/session/delete", session=session)
        assert not tree.exists()
        driver.call("orch/session/restore", session=session)
        driver.settle(Known(untouched, contents={session: content}))
        driver.call("orch/session/commit", session=session, message="made")
        driver.call("orch/session/apply", session=session, strategy="squash")
        assert (place / "made.txt").read_text() == "hello\n"
        token = driver.call("orch/session/cleanupPreview", session=session)["token"]
        driver.call("orch/session/delete", session=session, token=token, purge=True, deleteBranch=True)
        assert not tree.exists()
        driver.settle()


def _clone(origin: ScratchRepository, place: Path, *options: str) -> None:
    origin.git("clone", "--quiet", *options, origin.path.as_uri(), str(place))
