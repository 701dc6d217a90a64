"""Names that a shell completes: agents, projects and sessions, as the hub knows them, if one runs."""

from typing import TYPE_CHECKING, Any

import click

from orch_server.endpoints.cli.client import Client

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_MOST = 100


class Named(click.types.StringParamType):
    """A text that is the name of something in a list of the hub's."""

    def __init__(self, method: str, field: str, described_by: str) -> None:
        self._method = method
        self._field = field
        self._described_by = described_by

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> "list[CompletionItem]":
        """Return what begins so; nothing where no hub runs, since a key press starts none."""
        from click.shell_completion import CompletionItem  # which nothing else needs

        return [
            CompletionItem(item[self._field], help=item[self._described_by])
            for item in self._items()
            if item[self._field].startswith(incomplete)
        ]

    def _items(self) -> list[dict[str, Any]]:
        try:
            client = Client(start=False)
            try:
                found: list[dict[str, Any]] = client.call(self._method)["items"][:_MOST]
                return found
            finally:
                client.close()
        except Exception:  # a shell that completes shows no errors
            return []


NAMED = {
    "agent": Named("orch/agent/list", "name", "displayName"),
    "project": Named("orch/project/list", "slug", "path"),
    "session": Named("orch/session/list", "id", "title"),
    "session_ids": Named("orch/session/list", "id", "title"),
}
"""By the name of the parameter that takes it."""
