"""A real LSP client that announces nothing but open documents, and one with many documents while agents work."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_lsp
from lsprotocol import types
from pytest_lsp import LanguageClientProtocol

from tests.home import BIN, OrchHome
from tests.lsp import Client

Connect = Callable[..., Awaitable[Client]]
PATIENCE = 120.0
FILES, SESSIONS, LOOKS = 20, 10, 400
SLOWEST_SECONDS = 0.050
LINES = 400


class _Recording(LanguageClientProtocol):
    """pytest-lsp's protocol, which also keeps the name of every request and notification that came."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)  # type: ignore[no-untyped-call]
        self.heard: list[str] = []

    def handle_message(self, message: Any) -> None:
        if hasattr(message, "method"):
            self.heard.append(message.method)
        super().handle_message(message)


@pytest.fixture
async def plain(home: OrchHome) -> AsyncIterator[pytest_lsp.LanguageClient]:
    """A real client with the base capabilities, initialized."""
    client = pytest_lsp.LanguageClient(protocol_cls=_Recording)
    await client.start_io(f"{BIN}/orch-server", env=home.environment)
    base = types.TextDocumentClientCapabilities(synchronization=types.TextDocumentSyncClientCapabilities())
    folder = types.WorkspaceFolder((home.root / "shop").as_uri(), "shop")
    await client.initialize_session(
        types.InitializeParams(
            capabilities=types.ClientCapabilities(text_document=base),
            process_id=os.getpid(),
            workspace_folders=[folder],
        )
    )
    yield client
    await client.shutdown_session()
    await client.stop()  # type: ignore[no-untyped-call]


async def test_a_base_client_is_sent_nothing_that_it_did_not_announce(
    home: OrchHome, plain: pytest_lsp.LanguageClient
) -> None:
    """Whatever sessions do meanwhile; and what it asks by itself is answered."""
    uri = (home.root / "shop" / "src/cart.py").as_uri()
    plain.text_document_did_open(
        types.DidOpenTextDocumentParams(types.TextDocumentItem(uri, "python", 1, "total = 0\n"))
    )
    here = types.TextDocumentIdentifier(uri)
    whole = types.Range(types.Position(0, 0), types.Position(0, 5))
    await plain.text_document_code_lens_async(types.CodeLensParams(here))

    waiting = await _execute(
        plain, "orch.send", "demo", "implement", "shop", "[[write src/cart.py total = 1]] [[approve x]]"
    )
    failing = await _execute(plain, "orch.send", "demo", "implement", "shop", "[[plan a; b]] [[fail it broke]]")
    await asyncio.to_thread(home.wait, waiting["id"])
    await asyncio.to_thread(home.wait, failing["id"])
    async with asyncio.timeout(PATIENCE):
        while len(await plain.text_document_code_lens_async(types.CodeLensParams(here)) or []) != 2:
            await asyncio.sleep(0.02)
    hover = await plain.text_document_hover_async(types.HoverParams(here, types.Position(0, 0)))
    assert hover is not None
    assert isinstance(hover.contents, types.MarkupContent)
    assert hover.contents.kind == types.MarkupKind.PlainText
    assert waiting["id"] in hover.contents.value
    actions = await plain.text_document_code_action_async(
        types.CodeActionParams(here, whole, types.CodeActionContext(diagnostics=[]))
    )
    assert actions
    assert all(isinstance(action, types.Command) for action in actions)
    assert await plain.workspace_symbol_async(types.WorkspaceSymbolParams("demo"))
    await _execute(plain, "orch.respond", waiting["id"], "allow")
    await _execute(plain, "orch.transcript", waiting["id"])
    await asyncio.to_thread(home.wait, waiting["id"])
    assert isinstance(plain.protocol, _Recording)
    assert plain.protocol.heard == []


async def _execute(client: pytest_lsp.LanguageClient, command: str, *arguments: Any) -> Any:
    return await client.workspace_execute_command_async(types.ExecuteCommandParams(command, list(arguments)))


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_lens_and_hover_are_quick_and_typing_is_never_held_up(home: OrchHome, connect: Connect) -> None:
    """20 files are open and 10 sessions change them all the time; the time of every look is measured."""
    shop = home.root / "shop"
    text = "".join(f"line {number} of a file\n" for number in range(LINES))
    names = [f"src/file{number}.py" for number in range(FILES)]
    for name in names:
        (shop / name).write_text(text)
    for arguments in (
        ("add", "--all"),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "files"),
    ):
        git = await asyncio.create_subprocess_exec("git", "-C", str(shop), *arguments, env=home.environment)
        assert await git.wait() == 0
    editor = await connect()
    for name in names:
        document = {"uri": (shop / name).as_uri(), "languageId": "python", "version": 1, "text": text}
        editor.notify("textDocument/didOpen", {"textDocument": document})
    writes = [f"[[append {names[step % FILES]} more {step}]] [[wait 0.3]] [[tool think]]" for step in range(FILES * 20)]
    started = []
    for number in range(SESSIONS):
        turned = writes[number * 2 :] + writes[: number * 2]
        prompt = " ".join(turned)
        params = {"agent": "demo", "action": "implement", "project": "shop", "prompt": prompt}
        session = await editor.call("orch/session/start", params)
        started.append(session["id"])
    uri = (shop / names[0]).as_uri()
    async with asyncio.timeout(PATIENCE):
        while len(await editor.call("textDocument/codeLens", {"textDocument": {"uri": uri}})) < SESSIONS:
            await asyncio.sleep(0.1)

    seconds: dict[str, list[float]] = {"codeLens": [], "hover": [], "didChange": []}
    chance = random.Random(1)
    for look in range(LOOKS):
        uri = (shop / chance.choice(names)).as_uri()
        place = {"line": chance.randrange(LINES), "character": 3}
        asked = time.monotonic()
        await editor.call("textDocument/codeLens", {"textDocument": {"uri": uri}})
        seconds["codeLens"].append(time.monotonic() - asked)
        asked = time.monotonic()
        await editor.call("textDocument/hover", {"textDocument": {"uri": uri}, "position": place})
        seconds["hover"].append(time.monotonic() - asked)
        asked = time.monotonic()
        change = {"range": {"start": place, "end": place}, "text": "x"}
        version = {"uri": uri, "version": look + 2}
        editor.notify("textDocument/didChange", {"textDocument": version, "contentChanges": [change]})
        await editor.call("orch/hub/status")  # its reply says that the change was taken in
        seconds["didChange"].append(time.monotonic() - asked)
        await asyncio.sleep(0.02)
    states = [(await editor.call("orch/session/get", {"session": id_}))["state"] for id_ in started]
    assert states == ["running"] * SESSIONS, "the agents were done before the looks were"
    for id_ in started:
        await editor.call("orch/session/stop", {"session": id_})
    for what, times in seconds.items():
        times.sort()
        p50, p95 = times[len(times) // 2], times[int(len(times) * 0.95)]
        print(f"{what}: p50 {p50 * 1000:.1f} ms, p95 {p95 * 1000:.1f} ms, most {times[-1] * 1000:.1f} ms")
        assert p95 < SLOWEST_SECONDS, what
