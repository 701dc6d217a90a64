"""What a session changed: its diff, and how much that is."""

from collections.abc import Sequence
from enum import StrEnum

from orch_server.domain.errors import ErrorKind, OrchError, invalid_params
from orch_server.domain.events import WorktreeChanged
from orch_server.domain.session import ENDED, State, refuse_put_away
from orch_server.git import diff as git_diff
from orch_server.git.diff import Diff
from orch_server.git.repository import Repository, resolve_commit
from orch_server.git.shadow import Shadow
from orch_server.git.snapshot import WorkingTree, project_files, snapshot, worktree_files
from orch_server.services import projects
from orch_server.services.context import Context
from orch_server.services.worktrees import worktree_of
from orch_server.store.records import SessionRecord
from orch_server.store.transaction import Transaction


class Against(StrEnum):
    """What a session's files are compared with."""

    BASE = "base"
    HEAD = "head"
    TURN = "turn"


async def diff(context: Context, session: SessionRecord, against: Against, paths: Sequence[str]) -> Diff:
    """Return how a session's files differ from where it began, its last commit, or the beginning of its last turn.

    Uncommitted and untracked work counts.
    """
    repository, shadow, files = await open_files(context, session)
    start = await _start(context, session, repository, against)
    return await git_diff.diff(context.git, shadow, start, files, paths=paths)


async def file_before(context: Context, session: SessionRecord, against: Against, path: str) -> bytes | None:
    """Return a file as it was where a diff begins; None where it did not exist."""
    repository, shadow, _files = await open_files(context, session)
    start = await _start(context, session, repository, against)
    return await git_diff.read_file(context.git, shadow, start, path)


async def refresh(context: Context, session_id: str) -> None:
    """Note what a session has changed by now; for when a turn has ended."""
    session = context.store.session(session_id)
    if session is None or session.base_commit is None or worktree_of(session) is None:
        return
    repository, shadow, files = await open_files(context, session)
    del repository
    taken = await snapshot(context.git, shadow, files)
    changes = await git_diff.stat(context.git, shadow, session.base_commit, files)

    def work(transaction: Transaction) -> None:
        draft = transaction.session(session_id)
        draft.turn_trees = [*draft.turn_trees, taken.tree][-2:]
        if draft.changes != changes:
            draft.changes = changes
            assert draft.worktree_path is not None
            assert draft.branch is not None
            changed = WorktreeChanged(path=draft.worktree_path, branch=draft.branch, changes=changes)
            transaction.emit(changed, session=draft)

    await context.store.write(work)


async def open_files(context: Context, session: SessionRecord) -> tuple[Repository, Shadow, WorkingTree]:
    """Return the project's repository, its shadow, and the files that a session works on."""
    if session.state == State.DELETED:
        refuse_put_away(session, "be compared")
    project = projects.get(context, session.project_id)
    repository = await projects.open_repository(context, project)
    shadow = await projects.shadow_of(context, project, repository)
    worktree = worktree_of(session)
    return repository, shadow, worktree_files(worktree) if worktree is not None else project_files(repository)


async def _start(context: Context, session: SessionRecord, repository: Repository, against: Against) -> str:
    if against == Against.BASE and session.base_commit is not None:
        return session.base_commit
    if against == Against.TURN:
        running = session.state not in ENDED
        trees = session.turn_trees if running else session.turn_trees[:-1]
        if trees:
            return trees[-1]
        if session.base_commit is not None:
            return session.base_commit
    if session.branch is not None and worktree_of(session) is None:
        raise OrchError(
            ErrorKind.CONFLICT,
            f"Session {session.id} has no worktree yet.",
            hint="`orch sessions show` says how far it is.",
        )
    if against == Against.HEAD and session.branch is not None:
        return await resolve_commit(context.git, repository, f"refs/heads/{session.branch}")
    if not repository.has_commits:
        raise invalid_params("The repository has no commit to compare with.", hint="Commit something first.")
    return await resolve_commit(context.git, repository, "HEAD")
