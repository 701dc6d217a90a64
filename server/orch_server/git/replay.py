"""A session's commits made anew on top of another commit, in the shadow, with their authors and messages."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git.command import TIMEOUT, Git, run
from orch_server.git.objects import Conflict, join, make_commit, tree_of
from orch_server.git.repository import Repository
from orch_server.git.shadow import Shadow

MOST_COMMITS = 1000
AUTHOR = re.compile(rb"^author (.*) <(.*)> (\d+) ([+-]\d{4})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Replayed:
    """The new commits, oldest first, with their trees; or the conflicts of the first that does not go through."""

    commits: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


async def own_commits(git: Git, repository: Repository, base: str, tip: str) -> list[str]:
    """Return the commits from `base` to `tip`, oldest first; merges among them are refused."""
    arguments = ["rev-list", "--reverse", "--topo-order", "--parents", tip, f"^{base}"]
    listed = (await run(git, repository.target(), arguments, timeout=TIMEOUT)).stdout.decode("ascii").splitlines()
    names = [line.split(" ") for line in listed]
    if len(names) > MOST_COMMITS or any(len(name) > 2 for name in names):
        why = f"{len(names)} commits" if len(names) > MOST_COMMITS else "merges among its commits"
        raise OrchError(
            ErrorKind.CONFLICT,
            f"The session has {why}, which are not made anew one by one.",
            hint="Take the strategy merge or squash.",
        )
    return [name[0] for name in names]


async def replay(git: Git, shadow: Shadow, commits: Sequence[str], onto: str) -> Replayed:
    """Make the commits anew on top of `onto`; those that change nothing there are left out."""
    head, tree = onto, await tree_of(git, shadow, onto)
    made: list[str] = []
    trees: list[str] = []
    for commit in commits:
        base = await tree_of(git, shadow, f"{commit}^")
        joined = await join(git, shadow, base, tree, await tree_of(git, shadow, commit))
        if joined.conflicts:
            return Replayed(conflicts=joined.conflicts)
        if joined.tree != tree:
            head, tree = await _make_anew(git, shadow, commit, joined.tree, head), joined.tree
            made.append(head)
            trees.append(tree)
    return Replayed(tuple(made), tuple(trees))


async def _make_anew(git: Git, shadow: Shadow, commit: str, tree: str, parent: str) -> str:
    content = (await run(git, shadow.target(), ["cat-file", "commit", commit])).stdout
    head, _, message = content.partition(b"\n\n")
    author = AUTHOR.search(head)
    assert author is not None, commit
    name, email = (author[number].decode("utf-8", "surrogateescape") for number in (1, 2))
    environment = {
        **git.environment,
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_AUTHOR_DATE": f"@{int(author[3])} {author[4].decode('ascii')}",
    }
    return await make_commit(replace(git, environment=environment), shadow, tree, (parent,), message)
