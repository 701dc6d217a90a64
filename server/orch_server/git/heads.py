"""At which commits working trees stand, many at once: HEAD is read as a file, git is asked but once for the refs."""

import asyncio
import os
import stat
from collections.abc import Sequence

from orch_server.git.command import Git, is_oid, run
from orch_server.git.repository import Repository

LONGEST = 4096


async def read_heads(
    git: Git, repository: Repository, git_dirs: Sequence[str], branches: Sequence[str] = ()
) -> tuple[list[str | None], list[str | None]]:
    """Return the commits at which the HEADs in these git directories stand, and those of the branches."""
    said = await asyncio.to_thread(lambda: [read_head_file(git_dir) for git_dir in git_dirs])
    wanted = {ref for ref in said if ref.startswith("refs/")} | {f"refs/heads/{branch}" for branch in branches}
    commits: dict[str, str] = {}
    if wanted:
        listing = ["for-each-ref", "--format=%(objectname) %(refname)", *sorted(wanted)]
        listed = await run(git, repository.target(), listing)
        for line in listed.stdout.splitlines():
            oid, _, ref = os.fsdecode(line).partition(" ")
            commits[ref] = oid
    heads = [ref if is_oid(ref) else commits.get(ref) for ref in said]
    return heads, [commits.get(f"refs/heads/{branch}") for branch in branches]


def ref_directories(repository: Repository) -> list[bytes]:
    """Return the directories in which something changes whenever a branch moves."""
    common = os.fsencode(repository.common_dir)
    heads = os.path.join(common, b"refs", b"heads")
    return [common, heads, *(os.path.join(top, name) for top, names, _ in os.walk(heads) for name in names)]


def read_head_file(git_dir: str) -> str:
    """Return the ref or the commit that HEAD names, "" where it cannot be read."""
    try:
        file = os.open(os.path.join(git_dir, "HEAD"), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with open(file, "rb") as opened:
        text = opened.read(LONGEST) if stat.S_ISREG(os.fstat(file).st_mode) else b""
    return os.fsdecode(text.removeprefix(b"ref: ").removesuffix(b"\n"))
