"""What to do about collisions: the order in which to bring sessions home, and telling one side of the other."""

import os

from orch_server.domain.collision import Collision, CollisionAgainst
from orch_server.domain.errors import invalid_params, not_found
from orch_server.domain.session import ENDED
from orch_server.git.diff import diff_trees
from orch_server.services import collisions, plans, sessions
from orch_server.services.context import Caller, Context
from orch_server.store.records import SessionRecord

_LONGEST_PATCH = 20_000


async def plan(context: Context, project_id: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the order for a project's ended sessions, and the pairs that collide, the worst first."""
    project = context.collisions.project(project_id)
    await project.settled()
    ended = [each.id for each in project.sessions() if each.state in ENDED and project.brings(each.id)]
    found = collisions.list_(context, project_id=project_id)
    pairs = [
        (each.sessions[0], each.sessions[1])
        for each in found
        if each.sessions[1] is not None and {*each.sessions} <= {*ended}
    ]
    blocked = [each.sessions[0] for each in found if each.sessions[1] is None]
    return plans.order(ended, pairs, blocked), plans.settle_first(ended, pairs, blocked)


def find(context: Context, collision_id: str) -> Collision:
    """Return the collision with this id, or its unique beginning."""
    found = [each for each in context.store.collisions() if each.id.startswith(collision_id)]
    if len(found) != 1:
        raise not_found("collision", collision_id)
    return found[0]


async def tell(context: Context, caller: Caller, collision_id: str, reference: str) -> SessionRecord:
    """Give one side's session a follow-up that says what the other side changed in the files that collide."""
    collision = find(context, collision_id)
    session_id = sessions.find(context, reference).id
    if session_id not in collision.sessions:
        raise invalid_params(
            f"Session {session_id} has no part in collision {collision.id}.",
            hint=f"It is between {' and '.join(each or collision.against.value for each in collision.sessions)}.",
        )
    return await sessions.follow_up(context, caller, session_id, await _words(context, collision, session_id))


async def compare(context: Context, session: SessionRecord) -> str:
    """Return how the other sides differ from a session in the files that would not merge, as patches."""
    parts = []
    for collision in collisions.list_(context, session_id=session.id):
        here = collision.sessions.index(session.id)
        key = collision.sessions[1 - here] or collisions.KEYS[collision.against]
        project = context.collisions.project(collision.project_id)
        mine, theirs = project.commit_of(session.id), project.commit_of(key)
        if mine is None or theirs is None or project.sides.shadow is None:
            continue
        named = {path for file in collision.files for path in (*file.side_paths, file.path) if path is not None}
        found = await diff_trees(context.git, project.sides.shadow, mine, theirs, paths=sorted(named))
        parts.append(f"# From session {session.id} (-) to {_name(context, key)} (+)\n")
        parts += [file.patch or f"# {file.path}: too large to show\n" for file in found.files]
    return "\n".join(parts) or "# Nothing collides with this session.\n"


def places(context: Context, collision: Collision) -> list[dict[str, str | None]]:
    """Return where both sides of each file lie on the disk; None where a side does not have it, or no files."""
    project = context.store.project(collision.project_id)
    checkout = project.path if project is not None and collision.against is CollisionAgainst.CHECKOUT else None
    records = [context.store.session(each) if each is not None else None for each in collision.sessions]
    left, right = [record.worktree_path if record is not None else checkout for record in records]
    return [
        {"path": file.path, "left": _joined(left, file.side_paths[0]), "right": _joined(right, file.side_paths[1])}
        for file in collision.files
    ]


def _joined(root: str | None, path: str | None) -> str | None:
    return None if root is None or path is None else os.path.join(root, path)


def _name(context: Context, key: str) -> str:
    record = context.store.session(key)
    return f"session {key} ({record.agent})" if record is not None else f"the {key}"


async def _words(context: Context, collision: Collision, session_id: str) -> str:
    """Return what the session is told."""
    here = collision.sessions.index(session_id)
    there = 1 - here
    other = collision.sessions[there]
    if other is not None:
        record = sessions.find(context, other)
        who = f"Another session ({record.agent}: {record.title}; its files are in {record.worktree_path})"
    elif collision.against is CollisionAgainst.CHECKOUT:
        who = "The user, in the project's checkout,"
    else:
        who = "The branch this work began on"
    names = [file.side_paths[here] or file.path for file in collision.files]
    text = [
        f"{who} changed what you changed: your work would not merge with theirs in {', '.join(names)}.",
        "Here is what they have there. Take it into account, so that both go together; do not undo their work.",
    ]
    patches = await _patches(context, collision, there, other or collisions.KEYS[collision.against], session_id)
    return "\n\n".join([*text, *patches])


async def _patches(context: Context, collision: Collision, side: int, key: str, beside: str) -> list[str]:
    """Return what a side changed, in the files that collide, since it was the same as another."""
    project = context.collisions.project(collision.project_id)
    base, tree = await project.work_of(key, beside)
    if base is None or tree is None or project.sides.shadow is None:
        return []
    paths = [path for file in collision.files if (path := file.side_paths[side]) is not None]
    found = await diff_trees(context.git, project.sides.shadow, base, tree, paths=paths)
    patches = []
    room = _LONGEST_PATCH
    for file in found.files:
        patch = file.patch or f"({file.path} is too large to be shown, or binary)"
        if len(patch) > room:
            patch = f"{patch[:room]}\n(cut; see {file.path})"
        room -= len(patch)
        patches.append(f"```diff\n{patch.rstrip()}\n```")
        if room <= 0:
            break
    return patches
