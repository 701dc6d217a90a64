"""Files that an agent names in its answer and that the session made: a report, a picture, a log of measurements.

Named is what stands in backquotes or is linked to. What the project had before is none, and its changes are in the
diff; hidden files are none either, since those that `.worktreeinclude` brings hold secrets.
"""

import asyncio
import hashlib
import mimetypes
import os
import re
import stat
import urllib.parse

from orch_server.domain.artifact import ArtifactKind
from orch_server.git.command import Git, Target, run
from orch_server.git.runtime_dir import opened
from orch_server.git.worktree import Worktree
from orch_server.services.artifacts import LARGEST, Content

MOST = 20
_NAMED = re.compile(r"\]\(<?([^)<>\n]+)>?\)|`([^`\n]+)`")
_LINE = re.compile(r"(:\d+(-\d+)?|#L\d+(-L?\d+)?)$")


async def named_files(git: Git, worktree: Worktree, answer: str) -> list[Content]:
    """Return the files that the answer names, to be kept as artifacts."""
    paths = paths_in(answer, worktree.path)[: 5 * MOST]
    if not paths:
        return []
    project = Target(git_dir=worktree.common_dir)
    listing = ["ls-tree", "-z", "--name-only", "--full-tree", worktree.base, "--", *paths]
    known = {os.fsdecode(name) for name in (await run(git, project, listing)).stdout.split(b"\0")}
    found = []
    for path in paths:
        data = await asyncio.to_thread(_read, worktree.path, path) if path not in known else None
        if data is not None:
            media_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
            found.append(Content(ArtifactKind.FILE, name_of(path), data, media_type=media_type))
    return found[:MOST]


def paths_in(answer: str, root: str) -> list[str]:
    """Return what may be paths below `root` in an answer, relative to it, each once."""
    found: dict[str, None] = {}
    for match in _NAMED.finditer(answer):
        word = urllib.parse.unquote(match[1]).removeprefix("file://") if match[1] else match[2]
        word = _LINE.sub("", word.strip())
        if not word or "\0" in word or "://" in word or len(word) > 4096:
            continue
        path = os.path.relpath(os.path.join(root, word), root)
        if not any(part.startswith(".") for part in path.split("/")):
            found[path] = None
    return list(found)


def name_of(path: str) -> str:
    """Return the artifact's name: the same for the same path, and harmless."""
    digest = hashlib.blake2b(os.fsencode(path), digest_size=4).hexdigest()
    return f"file-{digest}-" + re.sub(r"[^A-Za-z0-9._-]", "_", os.path.basename(path))[-80:]


def _read(root: str, path: str) -> bytes | None:
    """Return what a regular file of a bearable size holds; no link is followed."""
    *parts, name = path.split("/")
    try:
        with opened(root, parts) as directory:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        with open(file, "rb") as reader:
            seen = os.fstat(file)
            return reader.read() if stat.S_ISREG(seen.st_mode) and seen.st_size <= LARGEST else None
    except OSError:
        return None
