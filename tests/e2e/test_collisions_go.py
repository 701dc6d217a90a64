"""Diagnostics of collisions in a real LSP client: how soon they go with their cause, and that nothing goes on then."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_lsp
from lsprotocol import types

from tests.home import BIN, OrchHome
from tests.waiting import wait_until_async

PATIENCE = 60.0
SLOWEST_SECONDS = 3.0
QUIET_SECONDS = 2.0
NUMBERS = "".join(f"line {number}\n" for number in range(1, 21))
NAME = "numbers.txt"

pytestmark = pytest.mark.slow


class Shown:
    """A client, and the diagnostics that it shows."""

    def __init__(self) -> None:
        self.client = pytest_lsp.LanguageClient()
        self.told = 0
        self.by_uri: dict[str, list[types.Diagnostic]] = {}

        @self.client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)  # type: ignore[untyped-decorator]
        def published(params: types.PublishDiagnosticsParams) -> None:
            self.told += 1
            self.by_uri[params.uri] = list(params.diagnostics)

    async def ask(self, method: str, **params: Any) -> Any:
        """Send a request of orch's own."""
        return await self.client.protocol.send_request_async(method, params)  # type: ignore[no-untyped-call]

    def open(self, file: Path) -> str:
        """Open a file and return its uri."""
        item = types.TextDocumentItem(file.as_uri(), "text", 1, file.read_text())
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))
        return file.as_uri()

    def severities(self, file: Path) -> set[types.DiagnosticSeverity | None]:
        """Return how serious what is shown of a file is."""
        return {item.severity for item in self.by_uri[file.as_uri()]}

    def about(self, session: str) -> set[str]:
        """Return the documents with a diagnostic that names a session."""
        return {uri for uri, items in self.by_uri.items() if any(session in item.message for item in items)}


@pytest.fixture
async def shown(home: OrchHome) -> AsyncIterator[Shown]:
    """A client that shows diagnostics, in the project `shop` with the numbers in it."""
    shop = home.root / "shop"
    (shop / NAME).write_text(NUMBERS)
    who = (("config", "user.name", "a"), ("config", "user.email", "a@b"))
    for arguments in (*who, ("add", "--all"), ("commit", "--quiet", "--message", "numbers")):
        git = await asyncio.create_subprocess_exec("git", "-C", str(shop), *arguments, env=home.environment)
        assert await git.wait() == 0
    shown = Shown()
    await shown.client.start_io(f"{BIN}/orch-server", env=home.environment)
    shows = types.TextDocumentClientCapabilities(publish_diagnostics=types.PublishDiagnosticsClientCapabilities())
    await shown.client.initialize_session(
        types.InitializeParams(
            capabilities=types.ClientCapabilities(text_document=shows),
            process_id=os.getpid(),
            workspace_folders=[types.WorkspaceFolder(shop.as_uri(), "shop")],
        )
    )
    yield shown
    await shown.client.shutdown_session()
    await shown.client.stop()  # type: ignore[no-untyped-call]


async def _work(home: OrchHome, shown: Shown, word: str) -> tuple[str, Path]:
    """Have a session change the fifth line; return its id and its file."""
    text = NUMBERS.replace("line 5\n", f"{word}\n").replace("\n", "\\n").removesuffix("\\n")
    params = {"agent": "demo", "action": "implement", "project": "shop", "prompt": f"[[write {NAME} {text}]]"}
    session: str = (await shown.ask("orch/session/start", **params)).id
    await asyncio.to_thread(home.wait, session)
    return session, home.root / "shop" / ".orchestrator" / "worktrees" / session / NAME


@pytest.mark.parametrize("cause", ["undone", "merged", "deleted"])
async def test_they_go_soon_after_one_side_did(home: OrchHome, shown: Shown, cause: str) -> None:
    """In the checkout and in the other side's worktree; then nothing is looked at or told while nothing changes."""
    one, own = await _work(home, shown, "one")
    _, theirs = await _work(home, shown, "other")
    uris = {shown.open(home.root / "shop" / NAME), shown.open(theirs)}
    await wait_until_async(lambda: shown.about(one) == uris, PATIENCE)
    # First that both are at work on the line, then that they would not merge.
    await wait_until_async(lambda: shown.severities(theirs) == {types.DiagnosticSeverity.Warning}, PATIENCE)

    if cause == "undone":
        own.write_text(NUMBERS)
    elif cause == "merged":
        assert (await shown.ask("orch/session/apply", session=one, strategy="merge")).applied
    else:
        await shown.ask("orch/session/delete", session=one)
    began = time.monotonic()
    await wait_until_async(lambda: not shown.about(one), PATIENCE)
    seconds = time.monotonic() - began
    print(f"{cause}: the diagnostics went after {seconds:.2f} s")
    assert seconds < SLOWEST_SECONDS

    hub = psutil.Process(home.hub_pid())
    await _quiet(shown, hub)


async def _quiet(shown: Shown, hub: psutil.Process) -> None:
    """Wait until for a while no git has run and nothing was told; fail where that never comes."""

    def done() -> tuple[int, float, float]:
        times = hub.cpu_times()
        return shown.told, times.children_user, times.children_system

    deadline = time.monotonic() + PATIENCE
    before, since = done(), time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        assert time.monotonic() < deadline, "the hub is never at rest"
        await asyncio.sleep(0.05)
        if (now := done()) != before:
            before, since = now, time.monotonic()
