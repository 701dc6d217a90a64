"""The files that a session leaves: kept in its project under names of ours, and listed in the database."""

import asyncio
import base64
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orch_server.domain.artifact import Artifact, ArtifactKind
from orch_server.domain.errors import ErrorKind, OrchError, not_found
from orch_server.domain.events import ArtifactCreated, ArtifactUpdated
from orch_server.domain.ids import random_id
from orch_server.git.runtime_dir import make_runtime_dir, opened
from orch_server.services import projects
from orch_server.services.context import Context
from orch_server.store.records import SessionRecord
from orch_server.store.transaction import Transaction

MEDIA_TYPES = {".md": "text/markdown", ".patch": "text/x-diff", ".jsonl": "application/jsonl"}
LARGEST = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """What an artifact is to hold. `append` adds to what was kept before."""

    kind: ArtifactKind
    name: str
    data: bytes
    append: bool = False
    media_type: str | None = None
    """Where the name does not say it."""


async def keep(
    context: Context, session: SessionRecord, contents: Sequence[Content], also: Callable[[Transaction], None]
) -> None:
    """Write artifacts of a session, and tell which are new and which changed; `also` is committed with that.

    If the hub dies before the commit, what was appended to a file is cut off by the next attempt.
    """
    project = projects.get(context, session.project_id)
    runtime_dir = context.settings.project_runtime_dirname
    known_sizes = await context.store.write(lambda transaction: _sizes(transaction, session.id, contents))
    sizes = await asyncio.to_thread(_write_all, project.path, runtime_dir, session.id, contents, known_sizes)

    def work(transaction: Transaction) -> None:
        also(transaction)
        for content, size in zip(contents, sizes, strict=True):
            known = transaction.artifact_named(session.id, content.name)
            artifact = Artifact(
                id=known.id if known else random_id(),
                session_id=session.id,
                project_id=session.project_id,
                kind=content.kind,
                name=content.name,
                path=os.path.join(project.path, runtime_dir, "artifacts", session.id, content.name),
                media_type=content.media_type or MEDIA_TYPES[os.path.splitext(content.name)[1]],
                bytes=size,
                created_at=known.created_at if known else transaction.now,
            )
            transaction.save_artifact(artifact)
            event = ArtifactUpdated(artifact=artifact) if known else ArtifactCreated(artifact=artifact)
            transaction.emit(event, session=transaction.session(session.id))

    await context.store.write(work)


async def read(context: Context, artifact_id: str) -> tuple[Artifact, str | None, str | None]:
    """Return an artifact with its content: as text, or as base64 where it is no UTF-8."""
    artifact = context.store.artifact(artifact_id)
    if artifact is None:
        raise not_found("artifact", artifact_id)
    project = projects.get(context, artifact.project_id)
    runtime_dir = context.settings.project_runtime_dirname
    try:
        data = await asyncio.to_thread(_read, project.path, runtime_dir, artifact.session_id, artifact.name)
    except OSError as error:
        raise OrchError(
            ErrorKind.NOT_FOUND,
            f"The file of artifact {artifact.id} cannot be read: {error.strerror}.",
            hint=f"It was at {artifact.path}.",
        ) from error
    try:
        return artifact, data.decode(), None
    except UnicodeDecodeError:
        return artifact, None, base64.b64encode(data).decode()


def _sizes(transaction: Transaction, session_id: str, contents: Sequence[Content]) -> list[int]:
    known = (transaction.artifact_named(session_id, content.name) for content in contents)
    return [artifact.bytes if artifact else 0 for artifact in known]


def _write_all(
    project: str, runtime_dir: str, session_id: str, contents: Sequence[Content], known_sizes: Sequence[int]
) -> list[int]:
    make_runtime_dir(project, runtime_dir)
    with opened(project, (runtime_dir, "artifacts")) as directory:
        try:
            os.mkdir(session_id, 0o700, dir_fd=directory)
        except FileExistsError:
            pass
    with opened(project, (runtime_dir, "artifacts", session_id)) as directory:
        return [_write(directory, content, size) for content, size in zip(contents, known_sizes, strict=True)]


def _write(directory: int, content: Content, known_size: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    if content.append:
        descriptor = os.open(content.name, flags | os.O_APPEND, 0o600, dir_fd=directory)
        if os.fstat(descriptor).st_size > known_size:
            os.ftruncate(descriptor, known_size)
    else:
        descriptor = os.open(content.name + ".new", flags | os.O_TRUNC, 0o600, dir_fd=directory)
    with open(descriptor, "ab" if content.append else "wb") as file:
        file.write(content.data)
        file.flush()
        size = os.fstat(file.fileno()).st_size
    if not content.append:
        os.rename(content.name + ".new", content.name, src_dir_fd=directory, dst_dir_fd=directory)
    return size


def _read(project: str, runtime_dir: str, session_id: str, name: str) -> bytes:
    with opened(project, (runtime_dir, "artifacts", session_id)) as directory:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    with open(descriptor, "rb") as file:
        return file.read(LARGEST)
