"""Collisions seen before they happen: which sessions of a project would not merge with one another, with the branch
they began on, or with what lies in the user's checkout.

One loop a project looks at what changed, has git merge the pairs that have a changed side, and tells what is new. It
rests while nothing changes, and never keeps a processor busy for more than a third of the time.
"""

import asyncio
import base64
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from orch_server.domain.collision import Collision, CollisionAgainst, CollisionFile
from orch_server.domain.errors import OrchError
from orch_server.domain.events import CollisionCleared, CollisionDetected
from orch_server.domain.ids import random_id
from orch_server.domain.session import ENDED, LIVE, State
from orch_server.git import merge
from orch_server.git.command import visible
from orch_server.git.merge import Known, Prediction
from orch_server.git.worktree import Worktree
from orch_server.runtime.watch import Watcher
from orch_server.services import whereabouts
from orch_server.services.context import Context
from orch_server.services.feed import LocalListener, Subscription
from orch_server.services.sides import CHECKOUT, Side, Sides
from orch_server.services.worktrees import worktree_of
from orch_server.store.records import SessionRecord, StoredEvent
from orch_server.store.transaction import Transaction

log = logging.getLogger(__name__)

MOST_SESSIONS = 50
"""The newest sessions of a project that are looked at: pairs grow with the square of their number."""
_DEBOUNCE_SECONDS = 0.05
_REST = 2
"""How many times as long as it kept a processor busy a project's loop rests."""
_LONGEST_REST = 20.0
_RETRY_SECONDS = 5.0
_MOST_READ = 500
_MOST_COMMON = 10_000
_STATES = [State.CREATED, *LIVE, *ENDED]
_TOUCHING = (
    "worktree.created",
    "worktree.restored",
    "worktree.removed",
    "session.archived",
    "session.unarchived",
    "session.deleted",
    "session.restored",
    "session.purged",
    "project.updated",
    "project.removed",
    "turn.completed",
    "turn.failed",
)
BASE = "base"
KEYS = {CollisionAgainst.BASE: BASE, CollisionAgainst.CHECKOUT: CHECKOUT}
Changed = Callable[[str, frozenset[str] | None], None]
"""Called with a project's id, and the files in which somebody is at work elsewhere than before; None: any."""
Ends = tuple[str, str]
"""The keys of two sides: of a session, and of another, CHECKOUT or BASE."""


class Collisions:
    """The collisions of all projects. Lives on the event loop."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._watcher = Watcher(asyncio.get_running_loop())
        self._subscription = Subscription(random_id(8), LocalListener(self._take), types=_TOUCHING)
        self._projects: dict[str, ProjectCollisions] = {}
        self.changed: set[Changed] = set()
        """Called after each look."""

    def begin(self) -> None:
        """Look after every project from now on."""
        self._context.feed.subscribe(self._subscription, self._context.store, None)
        for project in self._context.store.projects(limit=1_000):
            self.project(project.id).touch()

    def project(self, project_id: str) -> "ProjectCollisions":
        """Return what is known of a project."""
        if project_id not in self._projects:
            self._projects[project_id] = ProjectCollisions(self._context, self._watcher, project_id, self._tell)
        return self._projects[project_id]

    def close(self) -> None:
        """Look after nothing any more."""
        self._context.feed.unsubscribe(self._subscription)
        for project in self._projects.values():
            project.close()
        self._projects.clear()
        self._watcher.close()

    def _take(self, event: StoredEvent) -> None:
        """Take an event that says there are other sides, or that one is to be looked at."""
        if event.project_id is not None:
            self.project(event.project_id).touch(event.session_id)

    def _tell(self, project_id: str, paths: frozenset[str] | None) -> None:
        for changed in tuple(self.changed):
            changed(project_id, paths)


@dataclass(slots=True)
class _Verdicts:
    """What was predicted, and of which two commits."""

    commits: dict[Ends, tuple[str, str]] = field(default_factory=dict)
    predictions: dict[Ends, Prediction] = field(default_factory=dict)

    def drop(self, ends: Iterable[Ends]) -> None:
        for each in list(ends):
            self.commits.pop(each, None)
            self.predictions.pop(each, None)


class ProjectCollisions:
    """The loop of one project, and what it found."""

    def __init__(self, context: Context, watcher: Watcher, project_id: str, changed: Changed) -> None:
        self.project_id = project_id
        self.known = Known()
        self.sides = Sides(context, watcher, project_id, self._wake)
        self._context = context
        self._tell = changed
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._working = False
        self._looked = asyncio.Event()
        self._open = False
        self._verdicts = _Verdicts()
        self._home: dict[str, str] = {}
        """The sessions all of whose work came home, each with the commit of which that is so."""
        self._common: dict[tuple[str, str], str | None] = {}

    def touch(self, key: str | None = None) -> None:
        """Have the sides looked at soon; the side named wholly."""
        if key is not None:
            self.sides.touch(key)
        self._wake()

    def close(self) -> None:
        """End the loop."""
        if self._task is not None:
            self._task.cancel()
        self.sides.close()

    def sessions(self) -> list[SessionRecord]:
        """Return the sessions that count: with a worktree, and neither archived nor deleted; oldest first."""
        found, _ = self._context.store.sessions(project_id=self.project_id, states=_STATES, limit=_MOST_READ)
        return [session for session in found if session.worktree is not None][MOST_SESSIONS - 1 :: -1]

    def brings(self, session_id: str) -> bool:
        """Whether a session did something that the base branch and the checkout do not have."""
        return session_id in self.sides.sides and not self.is_home(session_id)

    def is_home(self, session_id: str) -> bool:
        """Whether all that a session did is on the base branch or in the checkout."""
        return session_id in self._home

    async def settled(self) -> None:
        """Return once what changed so far is looked at."""
        while self._task is not None and not self._task.done() and (self._wanted.is_set() or self._working):
            self._looked.clear()
            await asyncio.wait(
                [self._task, asyncio.ensure_future(self._looked.wait())], return_when=asyncio.FIRST_COMPLETED
            )

    def commit_of(self, key: str) -> str | None:
        """Return the commit that a side's files make, the tip of the branch for BASE; None where there is none."""
        side = self.sides.sides.get(key)
        return (self.sides.base if key == BASE else side.commit if side is not None else None) or None

    async def common(self, one: Side, other: Side) -> str | None:
        """Return the commit in which two sides last were the same."""
        if one.head is None or other.head is None or self.sides.shadow is None:
            return None
        heads = (one.head, other.head)
        if heads not in self._common:
            self._common[heads] = await merge.merge_base(self._context.git, self.sides.shadow, *heads)
        return self._common[heads]

    async def work_of(self, key: str, beside: str) -> tuple[str | None, str | None]:
        """Return from which commit to which a side has come since it was the same as another."""
        own, other = self.commit_of(key), self.commit_of(beside)
        if own is None or other is None or self.sides.shadow is None:
            return None, None
        return await merge.merge_base(self._context.git, self.sides.shadow, own, other), own

    def _wake(self) -> None:
        self._wanted.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(_log_failure)

    async def _run(self) -> None:
        """Look whenever something changed, with rests in between; end when there is nothing to look after."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(_DEBOUNCE_SECONDS)
            self._wanted.clear()
            self._working = True
            before = _spent()
            try:
                if not await self._step():
                    await self.sides.leave()
                    self._open = False
                    if not self._wanted.is_set():
                        return
            except (OrchError, OSError) as error:
                log.warning("The collisions of project %s are seen later: %s", self.project_id, error)
                await asyncio.sleep(_RETRY_SECONDS)
                self._wanted.set()
            finally:
                self._working = False
                self._looked.set()
            await asyncio.sleep(min(_LONGEST_REST, _REST * (_spent() - before) - _DEBOUNCE_SECONDS))

    async def _step(self) -> bool:
        """Look, predict, tell. False where the project has nothing to look after."""
        project = self._context.store.project(self.project_id)
        worktrees: dict[str, Worktree] = {}
        for session in self.sessions() if project is not None else []:
            worktree = worktree_of(session)
            assert worktree is not None
            worktrees[session.id] = worktree
        if project is None or not worktrees:
            await self._settle([])
            self._tell(self.project_id, None)
            return False
        if not self._open:
            await self.sides.open(project)
            self._verdicts, self._open = _Verdicts(), True
        self.sides.keep_to(worktrees)
        await self.sides.look()
        await self._predict(list(worktrees))
        told = await self._settle(self._collisions(list(worktrees)))
        self.known.trim()
        if len(self._common) > _MOST_COMMON:
            self._common.clear()
        paths = self.sides.take_changed()
        if paths != frozenset() or told:
            self._tell(self.project_id, None if paths is None else paths | told)
        await self.sides.trim(project)
        return True

    # -- the merges ---------------------------------------------------------------------------------------------

    async def _predict(self, sessions: Sequence[str]) -> None:
        """Merge the pairs of which a side changed."""
        commits = {key: side.commit for key, side in self.sides.sides.items() if side.commit}
        if self.sides.base is not None:
            commits[BASE] = self.sides.base
        sessions = [key for key in sessions if key in commits]
        outside = [key for key in (BASE, CHECKOUT) if key in commits]
        pairs = [*((key, other) for key in sessions for other in outside), *combinations(sessions, 2)]
        await self._merge(pairs, commits)
        self._verdicts.drop(self._verdicts.commits.keys() - set(pairs))
        trees = {BASE: await self._tree_of_base(), CHECKOUT: self._tree_of_checkout()}
        self._take_home({key: commits[key] for key in sessions if self._came_home(key, commits[key], trees)})

    def _came_home(self, key: str, commit: str, trees: Mapping[str, str]) -> bool:
        """Whether all of a session's work is at home: merging it would add nothing there.

        Where it was and the lines were changed further at home, merging it again conflicts: it came home all the same.
        """
        found = {other: self._verdicts.predictions.get((key, other)) for other in trees}
        if any(prediction is not None and prediction.tree == trees[other] for other, prediction in found.items()):
            return True
        changed_since = any(prediction is not None and prediction.clashes for prediction in found.values())
        return changed_since and self._home.get(key) == commit

    def _take_home(self, home: dict[str, str]) -> None:
        if self.project_id in self._context.touches.known_projects:
            for key in self._home.keys() ^ home.keys():
                whereabouts.mark(self._context, key)
        self._home = home

    async def _merge(self, pairs: Sequence[Ends], commits: dict[str, str]) -> None:
        wanted = [(ends, (commits[ends[0]], commits[ends[1]])) for ends in pairs]
        wanted = [(ends, pair) for ends, pair in wanted if self._verdicts.commits.get(ends) != pair]
        assert self.sides.shadow is not None
        assert self.sides.repository is not None
        found = await merge.predict(
            self._context.git,
            self.sides.shadow,
            [pair for _, pair in wanted],
            work_tree=self.sides.repository.path,
            known=self.known,
        )
        for (ends, pair), prediction in zip(wanted, found, strict=True):
            self._verdicts.commits[ends], self._verdicts.predictions[ends] = pair, prediction

    async def _tree_of_base(self) -> str:
        return await self.sides.tree_of(self.sides.base) if self.sides.base is not None else ""

    def _tree_of_checkout(self) -> str:
        side = self.sides.sides.get(CHECKOUT)
        return side.whole if side is not None else ""

    # -- what is told -------------------------------------------------------------------------------------------

    def _collisions(self, sessions: Sequence[str]) -> list[Collision]:
        order = {key: number for number, key in enumerate(sessions)}
        # What came home collides no more; whatever it collided with collides with home now.
        found = [
            self._collision(ends, prediction)
            for ends, prediction in self._verdicts.predictions.items()
            if prediction.clashes and self._home.keys().isdisjoint(ends)
        ]
        return sorted(found, key=lambda one: (order[one.sessions[0]], one.against, order.get(one.sessions[1] or "", 0)))

    def _collision(self, ends: Ends, prediction: Prediction) -> Collision:
        against = next((against for against, key in KEYS.items() if key == ends[1]), CollisionAgainst.SESSION)
        return Collision(
            id=_id_of(self.project_id, ends),
            project_id=self.project_id,
            against=against,
            sessions=(ends[0], ends[1] if against is CollisionAgainst.SESSION else None),
            files=[
                CollisionFile(
                    path=visible(clash.path),
                    kind=clash.kind,
                    hunks=list(clash.hunks),
                    side_paths=(_named(clash.paths[0]), _named(clash.paths[1])),
                )
                for clash in prediction.clashes
            ],
            detected_at="",
        )

    async def _settle(self, present: Sequence[Collision]) -> frozenset[str]:
        """Make what is known in the store what is so now, tell the difference, and return the files it is about."""
        before = {each.id: each for each in self._context.store.collisions(project_id=self.project_id)}
        same = {each.id for each in present if each.id in before and _alike(each, before[each.id])}
        if len(same) == len(present) == len(before):
            return frozenset()

        def work(transaction: Transaction) -> None:
            touched: set[str] = set()
            for collision in present:
                if collision.id not in same:
                    known = before.get(collision.id)
                    at = known.detected_at if known is not None else transaction.now
                    told = collision.model_copy(update={"detected_at": at})
                    transaction.save_collision(told)
                    transaction.emit(CollisionDetected(collision=told), project_id=self.project_id)
                    touched |= set(_sessions(told))
            for gone in before.keys() - {each.id for each in present}:
                transaction.drop_collision(gone)
                transaction.emit(CollisionCleared(collision=before[gone]), project_id=self.project_id)
                touched |= set(_sessions(before[gone]))
            for session_id in touched:
                count = sum(session_id in each.sessions for each in present)
                if transaction.session(session_id).collisions != count:
                    transaction.session(session_id).collisions = count

        await self._context.store.write(work)
        others = [each for each in (*present, *before.values()) if each.id not in same]
        return frozenset(
            path for each in others for file in each.files for path in (file.path, *file.side_paths) if path is not None
        )


def list_(context: Context, *, project_id: str | None = None, session_id: str | None = None) -> list[Collision]:
    """Return the collisions there are now, of a project or a session."""
    found = context.store.collisions(project_id=project_id)
    return [each for each in found if session_id is None or session_id in each.sessions]


def _spent() -> float:
    """Return the seconds of a processor that the hub and its children have used."""
    return sum(os.times()[:4])


def _log_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("Collisions are not looked for any more in a project", exc_info=error)


def _named(path: bytes | None) -> str | None:
    return None if path is None else visible(path)


def _sessions(collision: Collision) -> list[str]:
    return [session_id for session_id in collision.sessions if session_id is not None]


def _alike(one: Collision, other: Collision) -> bool:
    return one.files == other.files and one.sessions == other.sessions


def _id_of(project_id: str, ends: Ends) -> str:
    digest = hashlib.blake2b("\0".join((project_id, *ends)).encode(), digest_size=10).digest()
    return base64.b32encode(digest).decode("ascii").lower()[:12]
