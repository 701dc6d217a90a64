"""What there is, is documented; and what the documentation links to exists."""

import re
from dataclasses import Field, fields
from functools import cache
from pathlib import Path

import pytest

from orch_server.domain.events import EVENT_TYPES
from orch_server.hub.language.capabilities import Options
from orch_server.hub.language.commands import COMMANDS
from orch_server.protocol.methods import METHODS
from orch_server.settings.options import AgentTable, Limits, Settings
from tests.generate import ROOT, verbs

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SETTINGS = (
    *(name.upper() for name in Settings.model_fields),
    *Limits.model_fields,
    *AgentTable.model_fields,
    "ORCH_HOME",
    "ORCH_CONFIG",
    "ORCH_SOCKET",
)
VERBS = [name for name, _, _ in verbs()]


@cache
def _told() -> str:
    return "\n".join(page.read_text("utf-8") for page in PAGES)


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_documented(name: str) -> None:
    assert re.search(rf"{re.escape(name)}\b", _told())


@pytest.mark.parametrize("name", [*METHODS, *EVENT_TYPES, *SETTINGS])
def test_a_method_an_event_or_a_setting_is_documented(name: str) -> None:
    assert f"`{name}`" in _told()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_of_lsp_is_documented_with_its_plain_values(name: str) -> None:
    command = COMMANDS[name]
    does = command.title[0].lower() + command.title[1:]
    method = f": `{command.method}`" if command.method is not None else ""
    values = " ".join(f"`{value}`" for value in command.positional)
    assert f"| `{name}` | {values} | {does}{method} |" in (ROOT / "docs" / "editors.md").read_text("utf-8")


@pytest.mark.parametrize("option", fields(Options), ids=lambda option: str(option.name))
def test_an_option_of_a_client_is_documented_with_its_default(option: Field[bool]) -> None:
    page = (ROOT / "docs" / "editors.md").read_text("utf-8")
    assert f"| `{option.name}` | {str(option.default).lower()} |" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        assert "://" in target or (page.parent / target).exists(), f"{page.name} links to {target}"
    headings = {re.sub(r"[^a-z0-9 _-]", "", line.lower()).strip().replace(" ", "-") for line in _headings(text)}
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        assert anchor in headings, f"{page.name} has no heading for #{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_are_shown_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    shown = re.findall(r"(?:^|\$\()orch ([a-z][a-z-]*)(?: ([a-z-]+))?", blocks, re.MULTILINE)
    shown += re.findall(r"`orch ([a-z][a-z-]*)(?: ([a-z-]+))?", text)
    for first, second in shown:
        name = f"orch {first}"
        assert name in VERBS, f"{page.name} shows {name}"
        if second and any(verb.startswith(f"{name} ") for verb in VERBS):
            assert f"{name} {second}" in VERBS, f"{page.name} shows {name} {second}"


def _headings(text: str) -> list[str]:
    return [line.lstrip("#").strip() for line in text.splitlines() if line.startswith("#")]
