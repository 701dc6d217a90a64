"""What a client can show, and what orch tells it that it may ask for. Both sides of `initialize` are here alone.

Nothing is sent to a client that it did not announce: every feature asks one of the properties below first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from lsprotocol import types

from orch_server.services.pages import SCHEME

ASK = "orch"
"""The kind of code actions that mend nothing by themselves."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a client may choose by `initializationOptions`.

    A client that names a `protocolVersion` there is made for orch. It has verbs and views of its own, so it is given
    of these only what it chooses.
    """

    approvals: bool = False
    """Ask for approvals and answers by `window/showMessageRequest`."""
    notices: bool = False
    """Tell what became of sessions by `window/showMessage`."""
    progress: bool = True
    """Show working sessions as `$/progress`, where the client announces it."""
    lenses: bool = True
    """Offer code lenses."""
    actions: bool = True
    """Offer code actions."""
    commands: bool = True
    """Announce the commands of `workspace/executeCommand`; they are carried out all the same."""

    @classmethod
    def read(cls, given: Any) -> "Options":
        """Return the options that were given; what is no yes or no keeps its default."""
        given = given if isinstance(given, dict) else {}
        made_for_orch = given.get("protocolVersion") is not None
        return cls(
            **{
                field.name: value
                for field in fields(cls)
                if isinstance(value := given.get(field.name, False if made_for_orch else None), bool)
            }
        )


class Capabilities:
    """What one client announced."""

    def __init__(self, said: types.ClientCapabilities, options: Options) -> None:
        self._said = said
        self.options = options

    @property
    def shows_documents(self) -> bool:
        """Whether it opens a file on request."""
        return self._true("window.show_document.support")

    @property
    def shows_progress(self) -> bool:
        """Whether it shows progress that the server begins."""
        return self._true("window.work_done_progress")

    @property
    def shows_diagnostics(self) -> bool:
        """Whether it takes diagnostics that are pushed."""
        return self._said_of("text_document.publish_diagnostics") is not None

    @property
    def shows_related_information(self) -> bool:
        """Whether a diagnostic may lead to other places."""
        return self._true("text_document.publish_diagnostics.related_information")

    @property
    def applies_edits(self) -> bool:
        """Whether it changes its buffers on request."""
        return self._true("workspace.apply_edit")

    @property
    def applies_versioned_edits(self) -> bool:
        """Whether an edit may say for which version of a document it is."""
        return self._true("workspace.workspace_edit.document_changes")

    @property
    def refreshes_lenses(self) -> bool:
        """Whether it asks again for its code lenses when told to."""
        return self._true("workspace.code_lens.refresh_support")

    @property
    def reads_content(self) -> bool:
        """Whether it reads documents of the scheme `orch` from the server."""
        return self._said_of("workspace.text_document_content") is not None

    @property
    def takes_code_actions(self) -> bool:
        """Whether a code action may be more than a bare command."""
        return self._said_of("text_document.code_action.code_action_literal_support") is not None

    @property
    def reads_markdown(self) -> bool:
        """Whether a hover may be Markdown."""
        formats = self._said_of("text_document.hover.content_format")
        return isinstance(formats, Sequence) and types.MarkupKind.Markdown in formats

    def _true(self, path: str) -> bool:
        return self._said_of(path) is True

    def _said_of(self, path: str) -> Any:
        value: Any = self._said
        for name in path.split("."):
            value = getattr(value, name, None)
        return value


def announce(server: types.ServerCapabilities, capabilities: Capabilities, commands: Sequence[str]) -> None:
    """Fill in what the client may ask for."""
    options = capabilities.options
    server.text_document_sync = types.TextDocumentSyncOptions(
        open_close=True, change=types.TextDocumentSyncKind.Incremental
    )
    server.hover_provider = True
    server.workspace_symbol_provider = True
    if options.lenses:
        server.code_lens_provider = types.CodeLensOptions()
    if options.actions:
        kinds = [types.CodeActionKind.QuickFix, ASK]
        server.code_action_provider = types.CodeActionOptions(kinds) if capabilities.takes_code_actions else True
    server.execute_command_provider = types.ExecuteCommandOptions(commands) if options.commands else None
    if capabilities.reads_content:
        server.workspace = server.workspace or types.WorkspaceOptions()
        server.workspace.text_document_content = types.TextDocumentContentOptions([SCHEME])
