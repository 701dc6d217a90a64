"""From an agent's edit until an editor shows its diagnostic: ten agents in a large repository, and what that costs."""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest_lsp
from lsprotocol import types

from tests.bench.measure import Line, Samples, Scale, below
from tests.bench.scene import orch_home
from tests.home import BIN, OrchHome
from tests.repositories import ScratchRepository, make_repository
from tests.waiting import wait_until_async

AGENTS = 10
FILES = 20_000
EVERY_SECONDS = 10
LINES = 60
FIRST = 20
"""The first line an agent edits; each edit is of the next line."""


@dataclass
class Seen:
    """What a client was told, and how long after the edit."""

    ready: bool = False
    latencies: list[float] = field(default_factory=list)
    lines: dict[str, set[int]] = field(default_factory=dict)


def run(scale: Scale) -> Iterator[Line]:
    """Measure a minute of ten agents, each of which edits every ten seconds; half of the files the user edits, too.

    They begin together, when the editor shows what each of them did first: how long ten worktrees take is another row.
    """
    edits = 3 if scale.quick else 6
    with orch_home(project=False) as home:
        repository = make_repository(home.root / "big", files=_files())
        home.cli("projects", "add", str(home.root / "big"))
        mine = {_name(number): _text(number, "mine", range(FIRST, LINES, 2)) for number in range(0, AGENTS, 2)}
        repository.write(mine)
        taken, cost = asyncio.run(_watch(home, repository, edits))
    what = f"edit -> diagnostic, {AGENTS} agents, {FILES:,} files"
    for share, limit in ((0.5, 1_000.0), (0.95, 3_000.0)):
        value = taken.percentile(share)
        note = f"{len(taken.values)} edits" if share == 0.5 else f"slowest {max(taken.values):.0f} ms"
        yield Line(
            "collisions", f"{what}, p{share * 100:g}", "ms", value, taken.spread(), "-", 0.0, below(limit, "ms"), note
        )
    hub, children, seconds = cost
    note = f"git children beside it: {100 * children / seconds:.1f} % of a core"
    what = f"the hub's processor, an edit every {EVERY_SECONDS} s an agent"
    yield Line("collisions", what, "%", 100 * hub / seconds, None, "-", 0.0, below(15, "%"), note)


async def _watch(
    home: OrchHome, repository: ScratchRepository, edits: int
) -> tuple[Samples, tuple[float, float, float]]:
    seen = Seen()
    client = pytest_lsp.LanguageClient()
    trees: dict[str, Path] = {}

    @client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)  # type: ignore[untyped-decorator]
    def published(params: types.PublishDiagnosticsParams) -> None:
        now = time.time()
        lines = {line for item in params.diagnostics for line in range(item.range.start.line, item.range.end.line + 1)}
        before = seen.lines.get(params.uri, set())
        seen.lines[params.uri] = lines
        if seen.ready and params.uri in trees and max(lines, default=0) > max(before, default=0):
            seen.latencies.append(1000 * (now - os.stat(trees[params.uri]).st_mtime))

    await client.start_io(f"{BIN}/orch-server", env=home.environment)
    shows = types.PublishDiagnosticsClientCapabilities(related_information=True)
    await client.initialize_session(
        types.InitializeParams(
            capabilities=types.ClientCapabilities(
                text_document=types.TextDocumentClientCapabilities(publish_diagnostics=shows)
            ),
            process_id=os.getpid(),
            workspace_folders=[types.WorkspaceFolder(repository.path.as_uri(), "big")],
        )
    )
    for number in range(AGENTS):
        file = repository.path / _name(number)
        item = types.TextDocumentItem(file.as_uri(), "text", 1, file.read_text())
        client.text_document_did_open(types.DidOpenTextDocumentParams(item))
    before = _state(repository)
    locks = _LockWatch(repository.path)
    ask: Any = client.protocol.send_request_async
    sessions: list[str] = []
    for number in range(AGENTS):
        params = {"agent": "demo", "action": "implement", "project": "big", "prompt": _script(number, edits)}
        sessions.append((await ask("orch/session/start", params)).id)
        root = repository.path / ".orchestrator" / "worktrees" / sessions[-1]
        trees[(repository.path / _name(number)).as_uri()] = root / _name(number)
    await wait_until_async(lambda: all(seen.lines.get(uri) for uri in trees), 300)
    asked = [(session, await _question(client, session)) for session in sessions]
    hub = psutil.Process(home.hub_pid())
    seen.ready = True
    began, times = time.monotonic(), hub.cpu_times()
    for session, request in asked:
        await ask("orch/session/respond", {"session": session, "inputRequestId": request, "optionId": "allow"})
    last = FIRST + 2 * edits
    await wait_until_async(lambda: all(last in seen.lines[uri] for uri in trees), 120 + edits * EVERY_SECONDS * 2)
    seconds, after = time.monotonic() - began, hub.cpu_times()
    assert before == _state(repository)
    locks.check()
    with contextlib.suppress(Exception):
        await client.shutdown_session()
        await client.stop()  # type: ignore[no-untyped-call]
    own = after.user + after.system - times.user - times.system
    children = after.children_user + after.children_system - times.children_user - times.children_system
    return Samples(seen.latencies), (own, children, seconds)


async def _question(client: pytest_lsp.LanguageClient, session: str) -> str:
    """Return what a session asks, once it does."""
    ask: Any = client.protocol.send_request_async
    while not (requests := (await ask("orch/session/get", {"session": session})).inputRequests):
        await asyncio.sleep(0.05)
    name: str = requests[0].id
    return name


def _state(repository: ScratchRepository) -> tuple[str, str, bytes]:
    """Return what of the user's must not change: files, refs but orch's own, the index to its last byte."""
    status = repository.git("--no-optional-locks", "status", "--porcelain=v2", "--untracked-files=all")
    # The sessions' own branches come meanwhile.
    refs = [line for line in repository.git("for-each-ref").splitlines() if "/orch/" not in line]
    return status, "\n".join(refs), (repository.path / ".git" / "index").read_bytes()


class _LockWatch:
    """Notices whoever takes the lock of the user's index."""

    def __init__(self, project: Path) -> None:
        from orch_server.runtime.watch import Watcher

        self.taken: list[bytes] = []
        self._watcher = Watcher(asyncio.get_running_loop())
        watch = self._watcher.watch(self._changed)
        watch.keep_to([os.fsencode(project / ".git")])

    def _changed(self, path: bytes | None, moved: bool) -> None:
        del moved
        if path is None or path.endswith(b"/index.lock"):
            self.taken.append(path or b"?")

    def check(self) -> None:
        """Assert that nobody did."""
        self._watcher.close()
        assert self.taken == []


def _script(number: int, edits: int) -> str:
    """Return what a demo agent does: an edit; when it may go on, an edit in the next line and a pause, so often."""
    parts = [_write(number, 0), "[[approve go on]]"]
    # The agents do not beat together.
    parts.append(f"[[wait {random.Random(number).uniform(0, EVERY_SECONDS):.2f}]]")
    for edit in range(1, edits + 1):
        parts += [_write(number, edit), f"[[wait {EVERY_SECONDS}]]"]
    return " ".join(parts)


def _write(number: int, edit: int) -> str:
    text = _text(number, f"edit {edit}", [FIRST + 2 * edit]).replace("\n", "\\n").removesuffix("\\n")
    return f"[[write {_name(number)} {text}]]"


def _name(number: int) -> str:
    return f"d{number}/work{number}.txt"


def _text(number: int, word: str, lines: "range | list[int]") -> str:
    changed = set(lines)
    return "".join(f"{word if line in changed else 'line'} {number} {line}\n" for line in range(LINES))


def _files() -> dict[str, str]:
    files = {f"d{number // 200}/file{number}.txt": f"line of {number}\n" * 20 for number in range(FILES - AGENTS)}
    return files | {_name(number): _text(number, "line", []) for number in range(AGENTS)}
