"""Where in one file others are at work: the lines that would not merge, and those that somebody else changes, too.

In the line numbers of whoever looks at the file: the user in the checkout, or in a session's worktree. An editor's
unsaved text counts as the side's own.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from orch_server.domain.collision import Collision, CollisionAgainst, CollisionFile, CollisionKind, LineRange
from orch_server.git import merge
from orch_server.git.lines import as_range, regions
from orch_server.services.collisions import BASE, ProjectCollisions, list_
from orch_server.services.context import Context
from orch_server.services.sides import CHECKOUT

_WHOLE = LineRange(start_line=1, end_line=1)


@dataclass(frozen=True, slots=True)
class Mark:
    """Lines of a file, and who else is at work there. Without a collision both changes go together."""

    mine: LineRange
    theirs: LineRange
    other: str
    """The other side: a session's id, CHECKOUT or BASE."""
    other_path: str | None
    """The file, from the top of the other side; None where it does not have it."""
    collision: Collision | None = None
    kind: CollisionKind | None = None


async def marks(context: Context, project_id: str, key: str, path: str) -> list[Mark]:
    """Return the marks in a file of one side, in the order of its lines."""
    found = _conflicts(list_(context, project_id=project_id), key, path)
    found += await _changes(context, context.collisions.project(project_id), key, path)
    return sorted(found, key=lambda mark: (mark.mine.start_line, mark.collision is None, mark.other))


def _conflicts(collisions: Sequence[Collision], key: str, path: str) -> list[Mark]:
    found = []
    for collision in collisions:
        ends = (collision.sessions[0], _other_end(collision))
        if key not in ends:
            continue
        side = ends.index(key)
        for file in collision.files:
            if path in {file.side_paths[side], None if file.side_paths[side] else file.path}:
                found += _of_file(collision, file, side, ends[1 - side])
    # What lies in the checkout is told once, though it may be on the base branch as well.
    told = {(mark.mine.start_line, mark.mine.end_line) for mark in found if mark.other == CHECKOUT}
    return [mark for mark in found if mark.other != BASE or (mark.mine.start_line, mark.mine.end_line) not in told]


def _other_end(collision: Collision) -> str:
    if collision.sessions[1] is not None:
        return collision.sessions[1]
    return BASE if collision.against is CollisionAgainst.BASE else CHECKOUT


def _of_file(collision: Collision, file: CollisionFile, side: int, other: str) -> list[Mark]:
    ranges = [(hunk.sides[side], hunk.sides[1 - side]) for hunk in file.hunks] or [(_WHOLE, _WHOLE)]
    there = file.side_paths[1 - side]
    return [Mark(mine, theirs, other, there, collision, file.kind) for mine, theirs in ranges]


async def _changes(context: Context, project: ProjectCollisions, key: str, path: str) -> list[Mark]:
    """Return where others changed lines that this side left alone."""
    shadow = project.sides.shadow
    if shadow is None or key not in project.sides.sides:
        return []
    own = project.sides.sides[key]
    others = [side for side in project.sides.sides.values() if side is not own and side.commit]
    others = [side for side in others if side.key == CHECKOUT or project.brings(side.key)]
    if not own.commit or not others:
        return []
    bases = [await project.common(own, side) for side in others]
    trees = [own.commit, *(side.commit for side in others), *(base or own.commit for base in bases)]
    contents = await merge.contents_at(context.git, shadow, trees, os.fsencode(path))
    here, there, before = contents[0], contents[1 : len(others) + 1], contents[len(others) + 1 :]
    work = [
        (side, base, theirs)
        for side, base, theirs in zip(others, before, there, strict=True)
        if here is not None and base is not None and theirs is not None and theirs not in {base, here}
    ]
    assert here is not None or not work
    pairs = [pair for _, base, theirs in work for pair in ((base, here or ""), (base, theirs))]
    changes = await merge.changes_of(context.git, shadow, pairs, project.known)
    return [
        Mark(as_range(*region.ours), as_range(*region.theirs), side.key, path)
        for number, (side, _, _) in enumerate(work)
        for region in regions(changes[2 * number], changes[2 * number + 1])
        if region.by_them and not region.by_us
    ]
