"""A session's work committed, brought into the checkout by every road, refused without a trace, and taken back."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git import checkout, exchange, locks, spares, undo
from orch_server.git.apply import Outcome, Strategy, Work, apply, prepare
from orch_server.git.commit import Committed, commit
from orch_server.git.dirty import dirty_tree, lay_out
from orch_server.git.identity import as_user
from orch_server.git.include import include
from orch_server.git.repository import inspect
from orch_server.git.worktree import Worktree
from tests.git.conftest import Room
from tests.git.test_safety import Canaries, make_hostile
from tests.repositories import ScratchRepository, write_files

RUNTIME_DIR = ".orchestrator"
ALL = list(Strategy)
COMMITTING = [Strategy.MERGE, Strategy.SQUASH, Strategy.REBASE]


@dataclass
class Home:
    """A project, a session's worktree in it, and the verbs under test."""

    room: Room
    made: Worktree

    @property
    def scratch(self) -> ScratchRepository:
        return self.room.scratch

    @property
    def top(self) -> Path:
        return self.scratch.path

    @property
    def tree(self) -> Path:
        return Path(self.made.path)

    async def commit(self, message: str = "Work", *, trusted: bool = False) -> Committed:
        room = self.room
        user = await as_user(room.git, room.repository, self.scratch.environment)
        return await commit(user, room.repository, room.shadow, self.made, message=message, trusted=trusted)

    async def prepare(self, strategy: Strategy) -> Outcome:
        self.room.repository = await inspect(self.room.git, str(self.top))
        return await prepare(self.room.git, self.room.repository, self.room.shadow, self.work(strategy))

    async def apply(self, strategy: Strategy, *, trusted: bool = False) -> Outcome:
        """Do as the service does: see whether it goes, commit what is not committed, then do it."""
        outcome = await self.prepare(strategy)
        user = await as_user(self.room.git, self.room.repository, self.scratch.environment)
        work = replace(self.work(strategy), trusted=trusted)
        if strategy is not Strategy.PATCH and not outcome.preview.conflicts:
            await self.commit(trusted=trusted)
            outcome = await prepare(user, self.room.repository, self.room.shadow, work)
        await apply(user, self.room.repository, self.room.shadow, work, outcome)
        return outcome

    async def undo(self) -> None:
        room = self.room
        room.repository = await inspect(room.git, str(self.top))
        record = (await undo.records(room.git, room.repository, self.made.session_id))[-1]
        await undo.take_back(room.git, room.repository, room.shadow, record, RUNTIME_DIR)

    def work(self, strategy: Strategy) -> Work:
        return Work(self.made, strategy, "Do the work", trusted=False, runtime_dir=RUNTIME_DIR)

    def state(self) -> dict[str, object]:
        """Return all of the checkout that a user or git could tell: files, index, branch, refs of the user."""
        refs = self.scratch.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags")
        return {
            "files": contents(self.top),
            "index": self.scratch.git("ls-files", "--stage", "-z"),
            "head": (self.top / ".git/HEAD").read_text(),
            "refs": [line for line in refs.splitlines() if not line.startswith("refs/heads/orch/")],
            "left": os.listdir(self.top / RUNTIME_DIR / "applying") if self.has_place else [],
        }

    @property
    def has_place(self) -> bool:
        return (self.top / RUNTIME_DIR / "applying").is_dir()

    def status(self) -> set[str]:
        return set(self.scratch.git("-c", "core.quotePath=false", "status", "--porcelain", "-uall").splitlines())


def contents(root: Path) -> dict[bytes, object]:
    """Return every file below `root` but git's and ours: its bytes, mode and, for a link, where it points."""
    found: dict[bytes, object] = {}
    for top, names, files in os.walk(os.fsencode(root)):
        names[:] = [name for name in names if name not in {b".git", os.fsencode(RUNTIME_DIR)}]
        found.update({os.path.join(top, name): "directory" for name in names})
        for name in files:
            path = os.path.join(top, name)
            if os.path.islink(path):
                found[path] = os.readlink(path)
            else:
                with open(path, "rb") as file:
                    found[path] = (file.read(), os.stat(path).st_mode)
    return found


def files_in(found: dict[bytes, object], root: Path) -> dict[str, object]:
    """Return the contents of files by their names below `root`, and whether those can be run."""
    by_name = {os.fsdecode(os.path.relpath(path, os.fsencode(root))): content for path, content in found.items()}
    return {
        name: content if not isinstance(content, tuple) else content[0] + b"x" * (content[1] & 0o100)
        for name, content in by_name.items()
        if content != "directory" and name != ".git"
    }


@pytest.fixture
async def home(room: Room) -> Home:
    room.scratch.commit(
        "more",
        {
            "keep.txt": "keep\n",
            "old/name.txt": "".join(f"line {number}\n" for number in range(30)),
            "gone/deep/file.txt": "gone\n",
            "run.sh": "#!/bin/sh\n",
            "picture.bin": bytes(range(256)),
            ".gitattributes": "*.crlf text eol=crlf\n*.bin -text\n",
            "lines.crlf": "one\r\ntwo\r\n",
            ".gitignore": "*.ignored\n",
        },
    )
    room.repository = await inspect(room.git, str(room.scratch.path))
    return Home(room, await room.create())


def _rename(tree: Path) -> None:
    (tree / "new").mkdir()
    (tree / "old/name.txt").rename(tree / "new/name.txt")


def _mode(tree: Path) -> None:
    (tree / "run.sh").chmod(0o755)


def _bytes_in_a_name(tree: Path) -> None:
    with open(os.path.join(os.fsencode(tree), b"caf\xe9 \n.txt"), "wb") as file:
        file.write(b"latin\n")


def _file_to_directory(tree: Path) -> None:
    (tree / "keep.txt").unlink()
    write_files(tree, {"keep.txt/inner.txt": "inner\n"})


def _directory_to_file(tree: Path) -> None:
    shutil.rmtree(tree / "gone")
    (tree / "gone").write_text("a file now\n")


def _link(tree: Path) -> None:
    (tree / "run.sh").unlink()
    (tree / "run.sh").symlink_to("README.md")


CASES: dict[str, Callable[[Path], object]] = {
    "edit": lambda tree: (tree / "keep.txt").write_text("changed\n"),
    "new file in new directories": lambda tree: write_files(tree, {"a/b/c/new.txt": "new\n"}),
    "deletion that empties directories": lambda tree: (tree / "gone/deep/file.txt").unlink(),
    "rename": _rename,
    "binary": lambda tree: (tree / "picture.bin").write_bytes(bytes(reversed(range(256)))),
    "line ends": lambda tree: (tree / "lines.crlf").write_bytes(b"one\r\nthree\r\n"),
    "mode": _mode,
    "a name that is not UTF-8": _bytes_in_a_name,
    "file to directory": _file_to_directory,
    "directory to file": _directory_to_file,
    "link": _link,
}
OTHER_KINDS = {"file to directory", "directory to file", "link"}  # of the same files as others here


@pytest.mark.parametrize("strategy", [Strategy.PATCH, Strategy.MERGE])
@pytest.mark.parametrize("cases", [set(CASES) - OTHER_KINDS, OTHER_KINDS], ids=["files", "kinds"])
async def test_what_was_changed_comes_home_and_goes_back(home: Home, cases: set[str], strategy: Strategy) -> None:
    home.scratch.commit("meanwhile", {"README.md": "# Meanwhile\n"})
    home.scratch.write({"notes.txt": "untracked, and the user's\n"})
    for case in cases:
        CASES[case](home.tree)
    before = home.state()
    wanted = contents(home.tree)
    outcome = await home.apply(strategy)
    assert outcome.preview.files
    ours, theirs = files_in(contents(home.top), home.top), files_in(wanted, home.tree)
    assert ours.pop("notes.txt") == b"untracked, and the user's\n"
    assert ours.pop("README.md") == b"# Meanwhile\n"
    assert theirs.pop("README.md") == b"# Project\n"
    assert ours == theirs
    if strategy is Strategy.MERGE:
        assert home.status() == {"?? notes.txt"}
        assert home.scratch.git("log", "-1", "--format=%an <%ae> %p").strip().startswith("Test <test@example.invalid>")
    await home.undo()
    assert home.state() == before


@pytest.mark.parametrize("strategy", COMMITTING)
async def test_commits(home: Home, strategy: Strategy) -> None:
    write_files(home.tree, {"one.txt": "one\n"})
    first = await home.commit("First\n\nWith a body.")
    assert [file.path for file in first.files] == ["one.txt"]
    write_files(home.tree, {"two.txt": "two\n"})
    await home.commit("Second")
    write_files(home.tree, {"three.txt": "three\n"})  # not committed: comes along
    head = home.scratch.commit("meanwhile", {"README.md": "# Meanwhile\n"})
    home.scratch.write({"keep.txt": "staged\n"})
    home.scratch.git("add", "keep.txt")
    home.scratch.write({"data/é.txt": "dirty\n"})
    before = home.state()
    await home.apply(strategy)
    assert home.status() == {"M  keep.txt", " M data/é.txt"}
    subjects = home.scratch.git("log", "--first-parent", "--format=%s", f"{head}..HEAD").splitlines()
    expected = {
        Strategy.MERGE: [f"Merge branch '{home.made.branch}'"],
        Strategy.SQUASH: ["Do the work"],
        Strategy.REBASE: ["Work", "Second", "First"],
    }
    assert subjects == expected[strategy]
    assert {"one.txt", "two.txt", "three.txt"} <= set(home.scratch.git("ls-tree", "--name-only", "HEAD").splitlines())
    home.scratch.git("fsck", "--strict", "--no-dangling")
    assert (await home.prepare(strategy)).preview.files == []
    await home.undo()
    assert home.state() == before


@pytest.mark.parametrize("strategy", [Strategy.MERGE, Strategy.REBASE])
async def test_a_checkout_that_stood_still_moves_forward(home: Home, strategy: Strategy) -> None:
    write_files(home.tree, {"one.txt": "one\n"})
    made = (await home.commit()).commit
    await home.apply(strategy)
    assert home.scratch.head == made
    assert home.status() == set()
    assert "main" in home.scratch.git("symbolic-ref", "HEAD")


@pytest.mark.parametrize("strategy", [Strategy.PATCH, Strategy.MERGE])
@pytest.mark.parametrize("place", ["detached", "another branch"])
async def test_whatever_is_checked_out(home: Home, place: str, strategy: Strategy) -> None:
    main = home.scratch.head
    home.scratch.git("checkout", "--quiet", *(["--detach"] if place == "detached" else ["-b", "topic"]), "HEAD~1")
    home.scratch.commit("aside", {"aside.txt": "x\n"})
    write_files(home.tree, {"one.txt": "one\n"})
    before = home.state()
    await home.apply(strategy)
    assert (home.top / "one.txt").read_text() == "one\n"
    assert home.scratch.git("rev-parse", "main").strip() == main
    assert (home.top / ".git/HEAD").read_text().startswith("ref: ") == (place == "another branch")
    await home.undo()
    assert home.state() == before


def _conflicting(home: Home) -> None:
    home.scratch.commit("theirs", {"keep.txt": "theirs\n"})
    write_files(home.tree, {"keep.txt": "ours\n"})


def _deleted_and_changed(home: Home) -> None:
    home.scratch.git("rm", "--quiet", "keep.txt")
    home.scratch.commit("gone")
    write_files(home.tree, {"keep.txt": "ours\n"})


def _dirty(home: Home) -> None:
    home.scratch.write({"old/name.txt": "mine\n" + (home.top / "old/name.txt").read_text()})
    write_files(home.tree, {"old/name.txt": (home.tree / "old/name.txt").read_text() + "theirs\n"})


def _staged_alone(home: Home) -> None:
    was = (home.top / "keep.txt").read_text()
    home.scratch.write({"keep.txt": "staged\n"})
    home.scratch.git("add", "keep.txt")
    home.scratch.write({"keep.txt": was})
    write_files(home.tree, {"keep.txt": "ours\n"})


def _untracked(home: Home) -> None:
    home.scratch.write({"fresh.txt": "mine\n"})
    write_files(home.tree, {"fresh.txt": "theirs\n"})


def _ignored(home: Home) -> None:
    home.scratch.write({"secret.ignored": "mine\n"})
    write_files(home.tree, {"secret.ignored": "theirs\n", ".gitignore": ""})


def _ignored_where_a_directory_comes(home: Home) -> None:
    home.scratch.write({"place.ignored": "mine\n"})
    write_files(home.tree, {"place.ignored/inner.txt": "theirs\n", ".gitignore": ""})


def _ignored_inside_what_becomes_a_file(home: Home) -> None:
    home.scratch.write({"gone/deep/x.ignored": "mine\n"})
    _directory_to_file(home.tree)


def _deleted_by_the_user(home: Home) -> None:
    (home.top / "keep.txt").unlink()
    write_files(home.tree, {"keep.txt": "ours\n"})


def _renamed_onto_dirty(home: Home) -> None:
    home.scratch.write({"new/name.txt": "mine\n"})
    _rename(home.tree)


REFUSED: dict[str, tuple[Callable[[Home], None], str]] = {
    "conflict": (_conflicting, "keep.txt"),
    "deleted and changed": (_deleted_and_changed, "keep.txt"),
    "dirty overlap that would merge": (_dirty, "old/name.txt"),
    "staged alone": (_staged_alone, "keep.txt"),
    "untracked": (_untracked, "fresh.txt"),
    "ignored": (_ignored, "secret.ignored"),
    "ignored in the place of a directory": (_ignored_where_a_directory_comes, "place.ignored"),
    "ignored inside": (_ignored_inside_what_becomes_a_file, "gone"),
    "deleted by the user": (_deleted_by_the_user, "keep.txt"),
    "rename onto an untracked file": (_renamed_onto_dirty, "new/name.txt"),
}


@pytest.mark.parametrize(
    ("case", "strategy"),
    [(case, Strategy.PATCH) for case in REFUSED]
    + [(case, Strategy.MERGE) for case in ("conflict", "staged alone", "ignored")],
)
async def test_refused_without_a_trace(home: Home, case: str, strategy: Strategy) -> None:
    change, name = REFUSED[case]
    change(home)
    before, work = home.state(), contents(home.tree)
    tip = home.scratch.git("rev-parse", home.made.branch)
    outcome = await home.prepare(strategy)
    assert name in {conflict.path for conflict in outcome.preview.conflicts}
    with pytest.raises(OrchError) as caught:
        await home.apply(strategy)
    assert caught.value.kind is ErrorKind.CONFLICT
    assert name in caught.value.data["files"]
    assert name in caught.value.message
    assert home.state() == before
    assert contents(home.tree) == work
    assert home.scratch.git("rev-parse", home.made.branch) == tip
    assert home.scratch.git("for-each-ref", "refs/orch") == ""


async def test_a_rebase_names_the_conflict_and_refuses_merges(home: Home) -> None:
    _conflicting(home)
    await home.commit()
    outcome = await home.prepare(Strategy.REBASE)
    assert [conflict.path for conflict in outcome.preview.conflicts] == ["keep.txt"]
    home.scratch.git("merge", "--quiet", "-s", "ours", "-m", "merge", "main", cwd=home.tree)
    home.scratch.commit("aside", {"aside.txt": "x\n"})
    with pytest.raises(OrchError, match="merges among its commits"):
        await home.prepare(Strategy.REBASE)


async def test_a_preview_touches_nothing(home: Home) -> None:
    CASES["rename"](home.tree)
    home.scratch.write({"README.md": "dirty\n"})
    before, work = home.state(), contents(home.tree)
    for strategy in ALL:
        outcome = await home.prepare(strategy)
        assert [(file.status, file.path, file.old_path) for file in outcome.preview.files] == [
            ("renamed", "new/name.txt", "old/name.txt")
        ]
    assert (home.state(), contents(home.tree)) == (before, work)


async def test_work_that_both_did_is_no_conflict(home: Home) -> None:
    write_files(home.tree, {"keep.txt": "same\n", "more.txt": "more\n"})
    home.scratch.write({"keep.txt": "same\n"})
    await home.apply(Strategy.PATCH)
    assert home.status() == {" M keep.txt", "?? more.txt"}


async def test_again_after_it_was_taken_back_and_went_on(home: Home) -> None:
    write_files(home.tree, {"keep.txt": "one\n"})
    await home.apply(Strategy.PATCH)
    await home.undo()
    write_files(home.tree, {"keep.txt": "two\n"})
    await home.apply(Strategy.PATCH)
    assert (home.top / "keep.txt").read_text() == "two\n"
    refs = home.scratch.git("for-each-ref", "--format=%(refname)", "refs/orch").splitlines()
    session_id = home.made.session_id
    assert refs == [f"refs/orch/undo/{session_id}/2", f"refs/orch/undone/{session_id}/1"]


async def test_what_was_changed_since_is_not_taken_back(home: Home) -> None:
    write_files(home.tree, {"keep.txt": "one\n", "more.txt": "x\n"})
    await home.apply(Strategy.PATCH)
    home.scratch.write({"more.txt": "mine by now\n"})
    before = home.state()
    with pytest.raises(OrchError, match=r"more\.txt"):
        await home.undo()
    assert home.state() == before


async def test_a_commit_that_was_built_upon_is_not_taken_back(home: Home) -> None:
    write_files(home.tree, {"more.txt": "x\n"})
    await home.apply(Strategy.SQUASH)
    home.scratch.commit("on top")
    before = home.state()
    with pytest.raises(OrchError, match="another commit"):
        await home.undo()
    assert home.state() == before


@pytest.mark.parametrize("strategy", [Strategy.PATCH, Strategy.MERGE])
async def test_a_file_written_at_the_last_moment_is_safe(
    home: Home, strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(home.tree, {"a.txt": "new\n", "keep.txt": "new\n", "zz.txt": "new\n"})
    plan = exchange.Exchange.write_plan

    def write_meanwhile(self: exchange.Exchange, *arguments: object) -> None:
        plan(self, *arguments)  # type: ignore[arg-type]
        home.scratch.write({"keep.txt": "mine, just now\n"})

    monkeypatch.setattr(exchange.Exchange, "write_plan", write_meanwhile)
    before = home.state()
    with pytest.raises(OrchError, match="changed meanwhile"):
        await home.apply(strategy)
    home_now = home.state()
    assert (home.top / "keep.txt").read_text() == "mine, just now\n"
    home.scratch.write({"keep.txt": "keep\n"})
    assert home.state()["files"] == before["files"]
    assert (home_now["head"], home_now["refs"], home_now["index"]) == (before["head"], before["refs"], before["index"])
    assert not any((home.top / RUNTIME_DIR / "applying").iterdir())


@pytest.mark.parametrize(
    ("step", "strategy"),
    [
        ("_put_in_place", Strategy.PATCH),
        ("finish", Strategy.PATCH),
        ("carry_out", Strategy.MERGE),
        ("set_index", Strategy.MERGE),
        ("finish", Strategy.MERGE),
    ],
)
async def test_killed_in_the_middle(home: Home, step: str, strategy: Strategy, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kill leaves is taken back, or is complete: whatever the step."""
    home.scratch.commit("meanwhile", {"README.md": "# Meanwhile\n"})
    for case in ("edit", "rename", "deletion that empties directories"):
        CASES[case](home.tree)
    await home.commit()
    before = home.state()

    class Killed(BaseException):
        pass

    def die(*_arguments: object) -> None:
        raise Killed

    where: object = checkout if step == "set_index" else exchange.Exchange
    with monkeypatch.context() as patch:
        patch.setattr(where, step, die)
        patch.setattr(checkout, "_take_back", lambda *_: _nothing())
        patch.setattr(undo, "set_aside", lambda *_: _nothing())
        with pytest.raises(Killed):
            await home.apply(strategy)
    assert undo.is_interrupted(str(home.top), RUNTIME_DIR)
    repository = await inspect(home.room.git, str(home.top))
    await undo.recover(home.room.git, repository, home.room.shadow, RUNTIME_DIR)
    if step == "finish" and strategy is Strategy.MERGE:
        assert home.status() == set()
        await home.undo()
    assert home.state() == before
    assert not undo.is_interrupted(str(home.top), RUNTIME_DIR)
    assert await undo.records(home.room.git, repository, home.made.session_id) == []


async def _nothing() -> None:
    return


# -- commits ------------------------------------------------------------------------------------------------------


async def test_commit(home: Home) -> None:
    for name, change in CASES.items():
        if name not in OTHER_KINDS:
            change(home.tree)
    (home.tree / "x.ignored").write_text("ignored\n")
    done = await home.commit("Say what\n\nAnd why.")
    assert {file.path for file in done.files} >= {"keep.txt", "new/name.txt", "run.sh", "caf\\xe9 \n.txt"}
    assert home.scratch.git("status", "--porcelain", cwd=home.tree) == ""
    assert home.scratch.git("rev-parse", home.made.branch).strip() == done.commit
    said = home.scratch.git("log", "-1", "--format=%an|%ae|%cn|%B", cwd=home.tree)
    assert said.strip() == "Test|test@example.invalid|Test|Say what\n\nAnd why."
    assert "commit: Say what" in home.scratch.git("reflog", "-1", cwd=home.tree)
    home.scratch.git("fsck", "--strict", "--no-dangling")
    again = await home.commit()
    assert (again.commit, again.files) == (done.commit, [])


async def test_a_commit_runs_hooks_and_filters_in_trusted_projects_alone(home: Home) -> None:
    for name in ("pre-commit", "commit-msg", "post-commit", "reference-transaction"):
        hook = home.top / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f'#!/bin/sh\necho {name} >> "{home.top.parent}/ran"\n')
        hook.chmod(0o755)
    home.scratch.git("config", "filter.up.clean", "tr a-z A-Z")
    ran = home.top.parent / "ran"
    write_files(home.tree, {".gitattributes": "*.up filter=up\n", "one.up": "one\n"})
    await home.commit()
    assert not ran.exists()
    assert home.scratch.git("show", f"{home.made.branch}:one.up") == "one\n"
    write_files(home.tree, {"two.up": "two\n"})
    done = await home.commit(trusted=True)
    assert {"pre-commit", "commit-msg"} <= set(ran.read_text().split())
    assert home.scratch.git("show", f"{done.commit}:two.up") == "TWO\n"
    (home.top / ".git/hooks/pre-commit").write_text("#!/bin/sh\necho 'no such luck' >&2\nexit 1\n")
    write_files(home.tree, {"three.txt": "x\n"})
    with pytest.raises(OrchError, match="no such luck"):
        await home.commit(trusted=True)
    assert home.scratch.git("rev-parse", home.made.branch).strip() == done.commit


@pytest.mark.parametrize("verb", ["update-index", "commit"])
async def test_a_git_that_is_killed_in_a_trusted_project_leaves_nothing_locked(
    home: Home, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    common = Path(home.made.common_dir)
    left = [Path(home.made.admin_dir) / "index.lock", Path(home.made.admin_dir) / "HEAD.lock"]
    left.append(common / f"refs/heads/{home.made.branch}.lock")
    dying = f"touch died {' '.join(map(repr, map(str, left)))}; kill -KILL $$"
    ours = '[ -e died -o -n "$GIT_INDEX_FILE" ]'  # or a copy of the index: a snapshot's
    home.room.put_before_git(f'case "$*" in *" {verb} "*) {ours} || {{ {dying}; }} ;; esac')
    CASES["edit"](home.tree)
    with pytest.raises(OrchError) as refused:
        await home.commit(trusted=True)
    assert refused.value.kind is ErrorKind.GIT_FAILED
    assert [lock for lock in left if lock.exists()] == []
    done = await home.commit(trusted=True)
    assert home.scratch.head != done.commit == home.scratch.git("rev-parse", home.made.branch).strip()


async def test_git_must_know_who_the_user_is(home: Home) -> None:
    environment = {name: value for name, value in home.scratch.environment.items() if not name.startswith("GIT_")}
    with pytest.raises(OrchError, match="does not know who you are") as caught:
        await as_user(home.room.git, home.room.repository, environment)
    assert "git config --global user.name" in caught.value.hint
    config = home.scratch.home / ".gitconfig"
    config.write_text("[user\n")
    with pytest.raises(OrchError, match="git var failed: bad config line 1"):
        await as_user(home.room.git, home.room.repository, environment)
    config.write_text("[user]\n\tname = Zoë O'Example\n\temail = zoe@example.invalid\n")
    user = await as_user(home.room.git, home.room.repository, environment)
    assert user.environment["GIT_AUTHOR_NAME"] == "Zoë O'Example"
    assert user.environment["GIT_COMMITTER_EMAIL"] == "zoe@example.invalid"


async def test_a_commit_is_refused_where_it_would_not_be_the_sessions(home: Home) -> None:
    write_files(home.tree, {"one.txt": "one\n"})
    home.scratch.git("checkout", "--quiet", "-b", "elsewhere", cwd=home.tree)
    with pytest.raises(OrchError, match="elsewhere checked out"):
        await home.commit()
    home.scratch.git("checkout", "--quiet", home.made.branch, cwd=home.tree)
    write_files(home.tree, {"keep.txt": "ours\n"})
    await home.commit()
    home.scratch.commit("theirs", {"keep.txt": "theirs\n"})
    home.scratch.git("merge", "main", cwd=home.tree, check=False)
    with pytest.raises(OrchError, match="merge is under way"):
        await home.commit()


async def test_a_merge_is_refused_while_one_is_under_way(home: Home) -> None:
    home.scratch.commit("main", {"keep.txt": "main\n"})
    home.scratch.git("checkout", "--quiet", "-b", "side", "HEAD~1")
    home.scratch.commit("side", {"keep.txt": "side\n"})
    home.scratch.git("merge", "main", check=False)
    write_files(home.tree, {"one.txt": "one\n"})
    before = home.state()
    with pytest.raises(OrchError, match="merge is under way"):
        await home.prepare(Strategy.MERGE)
    await home.apply(Strategy.PATCH)  # other files than these do no harm
    await home.undo()
    assert home.state() == before


async def test_a_directory_that_is_a_link_is_not_followed(home: Home, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (home.top / "linked.ignored").symlink_to(outside)
    write_files(home.tree, {"linked.ignored/x.txt": "x\n", ".gitignore": ""})
    with pytest.raises(OrchError):
        await home.apply(Strategy.PATCH)
    assert list(outside.iterdir()) == []


async def test_no_canary_fires(room: Room, tmp_path: Path) -> None:
    """Nothing that a repository names runs, whichever way work goes home or a worktree begins."""
    canaries = Canaries(tmp_path / "canaries")
    make_hostile(room.scratch, canaries)
    room.repository = await inspect(room.git, str(room.scratch.path))
    home = Home(room, await room.create())
    scratch = home.scratch
    scratch.git("config", "core.hooksPath", "/nowhere")
    scratch.git("commit", "--quiet", "--no-verify", "--allow-empty", "-m", "meanwhile")
    scratch.git("config", "--unset", "core.hooksPath")
    canaries.fired()
    for kind in ("f1", "f2", "f3", "f4", "t", "c", "m"):
        (home.tree / f"file.{kind}").write_text("changed\n")
    await home.apply(Strategy.PATCH)
    await home.undo()
    await home.apply(Strategy.MERGE)
    await home.undo()
    scratch.write(
        {"README.md": "dirty\n", ".worktreeinclude": "*.ignored\n", "x.ignored": "x\n", ".gitignore": "*.ign*\n"}
    )
    room.repository = await inspect(room.git, str(scratch.path))
    repository, shadow = room.repository, room.shadow
    base = str(repository.head_commit)
    await spares.make(room.git, repository, shadow, RUNTIME_DIR, home.made.base, trusted=False)
    claimed = await spares.claim(room.git, repository, shadow, await room.plan(base), trusted=False)
    assert claimed is not None
    await lay_out(room.git, shadow, claimed, await dirty_tree(room.git, repository, shadow, base))
    found = await include(room.git, repository, shadow, claimed.path, runtime_dir=RUNTIME_DIR, most_bytes=1000)
    assert found is not None
    assert found.files == 1
    await spares.make(room.git, repository, shadow, RUNTIME_DIR, base, trusted=False)
    (spare,) = await spares.listed(room.git, repository, RUNTIME_DIR)
    await spares.remove(room.git, repository, shadow, RUNTIME_DIR, spare)
    assert canaries.fired() == set()
