"""Which repository a path belongs to, and whether orch may work there.

`inspect` is the only place where git is allowed to look for a repository by itself, and nothing is read there but
names. From then on every call names its git directory.
"""

import asyncio
import difflib
import os
import stat
from dataclasses import dataclass

from orch_server.domain.errors import ErrorKind, OrchError, invalid_params
from orch_server.git.command import Git, Output, Target, is_oid, run, visible

EMPTY_TREES = {
    "sha1": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    "sha256": "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}
HEAD_COMMIT = "HEAD^{commit}"


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository by the top level of its main working tree. All paths are real and absolute."""

    path: str
    common_dir: str
    device: int
    inode: int
    object_format: str
    head_commit: str | None

    @property
    def has_commits(self) -> bool:
        """Whether there is anything to start from."""
        return self.head_commit is not None

    @property
    def objects(self) -> str:
        """The directory of its objects."""
        return os.path.join(self.common_dir, "objects")

    @property
    def empty_tree(self) -> str:
        """The name of the tree with nothing in it: what an empty repository is compared with."""
        return EMPTY_TREES[self.object_format]

    def target(self) -> Target:
        """Return the target for calls that touch no file contents."""
        return Target(directory=self.path, git_dir=self.common_dir)


async def inspect(git: Git, path: str, *, runtime_dir: str = ".orchestrator") -> Repository:
    """Return the repository that `path` lies in; what orch cannot or must not work in is refused with the reason."""
    real = await asyncio.to_thread(_real_directory, path)
    if _is_ours(real, runtime_dir):
        raise _refused(path, "is inside a worktree that orch made", "Name the project's own directory instead.")
    seen = Target(directory=real)
    where = await _ask_where(git, seen, path)
    head_commit = where.head_commit
    common_dir, own_path, top_path = await asyncio.to_thread(_real_paths, where.common_dir, where.own_dir, where.top)
    if own_path != common_dir:
        if _is_ours(top_path, runtime_dir):
            raise _refused(path, "is a worktree that orch made", "Name the project's own directory instead.")
        top_path = await _main_work_tree(git, seen, path)
        head_commit = await _head_commit(git, Target(directory=top_path, git_dir=common_dir))
    found = await asyncio.to_thread(_check_top, path, top_path, common_dir)
    return Repository(
        path=top_path,
        common_dir=common_dir,
        device=found.st_dev,
        inode=found.st_ino,
        object_format=where.object_format,
        head_commit=head_commit,
    )


async def resolve_commit(git: Git, repository: Repository, ref: str) -> str:
    """Return the full name of the commit that the user's `ref` means."""
    if not ref or "\0" in ref or len(ref) > 1024:
        raise invalid_params(f"{ref[:80]!r} cannot name a commit.", hint="Name a branch, a tag or a commit.")
    arguments = ["rev-parse", "--quiet", "--verify", "--end-of-options", ref + "^{commit}"]
    answer = await run(git, repository.target(), arguments, accept=(0, 1, 128))
    if answer.status == 0 and is_oid(answer.line):  # `^main` is answered with a name that is none
        return answer.line
    arguments = ["for-each-ref", "--count=1000", "--sort=-committerdate", "--format=%(refname:short)"]
    known = visible((await run(git, repository.target(), [*arguments, "refs/heads", "refs/tags"])).stdout).splitlines()
    if not known and not repository.has_commits:
        raise OrchError(
            ErrorKind.CONFLICT,
            f"{repository.path} has no commit yet, so there is nothing to start from.",
            hint="Commit something first: `git add -A && git commit -m 'First commit'`.",
        )
    candidates = difflib.get_close_matches(ref, known, n=5, cutoff=0.5) or known[:5]
    hint = f"There is: {', '.join(candidates)}." if candidates else "There is no branch or tag."
    raise invalid_params(f"{ref!r} is no commit, branch or tag of {repository.path}.", hint=hint, candidates=candidates)


async def default_branch(git: Git, repository: Repository) -> str | None:
    """Return the branch that work starts from and goes back to: that of `origin`, else main or master, else None."""
    target = repository.target()
    refs = ["refs/remotes/origin/HEAD", "refs/heads/main", "refs/heads/master"]
    listed = await run(git, target, ["for-each-ref", "--format=%(refname)%00%(symref)%00", *refs])
    fields = listed.stdout.replace(b"\0\n", b"\0").split(b"\0")
    found = dict(zip(fields[0::2], fields[1::2], strict=False))
    upstream = found.get(b"refs/remotes/origin/HEAD", b"").removeprefix(b"refs/remotes/origin/")
    if upstream:
        local = await run(git, target, ["for-each-ref", "--format=x", "refs/heads/" + os.fsdecode(upstream)])
        if local.stdout == b"x\n":
            return visible(upstream)
    for name in (b"main", b"master"):
        if b"refs/heads/" + name in found:
            return visible(name)
    return None


def check_identity(repository: Repository) -> None:
    """Raise a conflict unless the same directory still stands at the repository's path."""
    try:
        now = os.stat(repository.path)
        here = now.st_ino == repository.inode and os.path.isdir(repository.common_dir)
    except OSError:
        here = False
    # The device number is recorded and not compared: on many file systems it changes with a restart.
    if not here:
        raise OrchError(
            ErrorKind.CONFLICT,
            f"{repository.path} is not the repository that was added as a project.",
            hint="Was it moved or replaced? Put it back, or remove the project and add it again.",
        )


async def _main_work_tree(git: Git, seen: Target, path: str) -> str:
    listed = await run(git, seen, ["worktree", "list", "--porcelain", "-z"])
    first = listed.stdout.split(b"\0\0", 1)[0].split(b"\0")
    if b"bare" in first:
        raise _refused(path, "is a worktree of a bare repository", "orch needs a repository with a main checkout.")
    return await asyncio.to_thread(os.path.realpath, os.fsdecode(first[0].removeprefix(b"worktree ")))


@dataclass(frozen=True, slots=True)
class _Where:
    """What git says of the place that it was asked in."""

    common_dir: str
    own_dir: str
    top: str
    object_format: str
    head_commit: str | None


async def _ask_where(git: Git, seen: Target, path: str) -> _Where:
    facts = ("--is-bare-repository", "--is-inside-work-tree", "--show-object-format", "--path-format=absolute")
    common, own, top = "--git-common-dir", "--absolute-git-dir", "--show-toplevel"
    told = await _ask(git, seen, *facts, common, own, top, HEAD_COMMIT)
    match told.line.split("\n"):
        case ["false", "true", object_format, common_dir, own_dir, top_dir, head] if is_oid(head):
            return _Where(common_dir, own_dir, top_dir, object_format, head)
        case ["false", "true", object_format, common_dir, own_dir, top_dir, head] if head == HEAD_COMMIT:
            return _Where(common_dir, own_dir, top_dir, object_format, None)  # there is none: asked back
    # Something is refused, or a path contains a line end: it is the last answer of a call of its own then.
    told, own_told, top_told = await asyncio.gather(
        _ask(git, seen, *facts, common), _ask(git, seen, own), _ask(git, seen, top)
    )
    if told.status != 0:
        raise _not_usable(path, told.stderr)
    bare, inside, object_format, common_dir = told.line.split("\n", 3)
    if bare == "true":
        raise _refused(path, "is a bare repository, without files to work on", "Name a checkout of it.")
    if inside != "true":
        raise _refused(path, "is a git directory, not a working tree", "Name the directory with the project's files.")
    if own_told.status != 0 or top_told.status != 0:
        raise _not_usable(path, own_told.stderr + top_told.stderr)
    return _Where(common_dir, own_told.line, top_told.line, object_format, await _head_commit(git, seen))


async def _head_commit(git: Git, target: Target) -> str | None:
    told = await run(git, target, ["rev-parse", "--quiet", "--verify", HEAD_COMMIT], accept=(0, 1, 128))
    return told.line if told.status == 0 else None


async def _ask(git: Git, seen: Target, *questions: str) -> Output:
    return await run(git, seen, ["rev-parse", *questions], accept=(0, 128))


def _real_paths(*paths: str) -> list[str]:
    return [os.path.realpath(path) for path in paths]


def _real_directory(path: str) -> str:
    if not path or "\0" in path:
        raise invalid_params("No path was given.", hint="Name the directory of a git repository.")
    real = os.path.realpath(path)
    try:
        real.encode()
    except UnicodeEncodeError as error:
        raise _refused(path, "has a name that is not UTF-8", "Rename the directory.") from error
    if not os.path.exists(real):
        raise _refused(path, "does not exist", "Check the path.")
    if not os.path.isdir(real):
        raise _refused(path, "is not a directory", "Name the directory of a git repository.")
    return real


def _is_ours(path: str, runtime_dir: str) -> bool:
    return f"/{runtime_dir}/worktrees/" in path + "/"


def _not_usable(path: str, stderr: bytes) -> OrchError:
    if b"dubious ownership" in stderr:
        return _refused(path, "belongs to another user", "Clone the repository for yourself.")
    if b"not a git repository" in stderr:
        return _refused(path, "is not in a git repository", f"Make it one: `git init {path}`, then commit.")
    reason = visible(stderr[-2048:]).strip().removeprefix("fatal: ")
    return OrchError(ErrorKind.GIT_FAILED, f"git cannot read the repository at {path}: {reason}", hint="Repair it.")


def _check_top(path: str, top: str, common_dir: str) -> os.stat_result:
    """Refuse a top level that the repository's configuration merely claims (core.worktree), or that is another's."""
    dot_git = os.path.join(top, ".git")
    try:
        owners = {os.stat(top).st_uid, os.stat(common_dir).st_uid}
        found = os.lstat(dot_git)
        points_to = dot_git if not stat.S_ISREG(found.st_mode) else _read_gitdir(dot_git, top)
        claimed = os.path.realpath(points_to) != common_dir
    except OSError:
        owners, claimed = set(), True
    if claimed:
        raise _refused(
            path, f"belongs to {common_dir}, whose files are elsewhere ({top})", "Name a checkout with its own `.git`."
        )
    if owners != {os.geteuid()}:
        raise _refused(path, "belongs to another user", "Clone the repository for yourself.")
    return os.stat(top)


def _read_gitdir(dot_git: str, top: str) -> str:
    with open(dot_git, "rb") as file:
        return os.path.join(top, os.fsdecode(file.read(8192).removeprefix(b"gitdir: ").removesuffix(b"\n")))


def _refused(path: str, why: str, hint: str) -> OrchError:
    return invalid_params(f"{path} {why}.", hint=hint, path=path)
