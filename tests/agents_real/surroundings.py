"""What each real program needs to work against the scripted model: files in its home, variables, a model's name."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orch_server.agents.adapter import Adapter
from orch_server.agents.claude import ClaudeAdapter
from orch_server.agents.codex import CodexAdapter
from orch_server.agents.copilot import CopilotAdapter
from orch_server.agents.gemini import GeminiAdapter
from orch_server.agents.opencode import OpenCodeAdapter


@dataclass(frozen=True, slots=True)
class Real:
    """What a real program needs to work against the scripted model."""

    adapter: Adapter
    model: str
    prepare: Callable[[Path, str], dict[str, str]]
    """Given a home and the model's address, writes what the program wants to find and returns its variables."""
    later: Callable[[Path], None] = lambda home: None
    """Given a home, makes it look as it would some minutes later, where that matters to the program."""


def claude_at_home(home: Path, url: str) -> dict[str, str]:
    """Name the scripted model in variables of Claude Code."""
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "sk-test",
        "CLAUDE_CONFIG_DIR": str(home / ".claude"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "0",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_TELEMETRY": "1",
    }


def codex_at_home(home: Path, url: str) -> dict[str, str]:
    """Name the scripted model in a config of Codex."""
    directory = home / ".codex"
    directory.mkdir(parents=True, exist_ok=True)
    config = [
        'model_provider = "local"',
        "check_for_update_on_startup = false",
        "[analytics]",
        "enabled = false",
        "[model_providers.local]",
        'name = "local"',
        f'base_url = "{url}/v1"',
        'wire_api = "responses"',
        'env_key = "LOCAL_KEY"',
        "request_max_retries = 0",
        "stream_max_retries = 0",
    ]
    (directory / "config.toml").write_text("\n".join(config) + "\n")
    return {"CODEX_HOME": str(directory), "LOCAL_KEY": "sk-test"}


def copilot_at_home(home: Path, url: str) -> dict[str, str]:
    """Name the scripted model in variables of Copilot."""
    return {
        "COPILOT_OFFLINE": "true",
        "COPILOT_PROVIDER_BASE_URL": f"{url}/v1",
        "COPILOT_PROVIDER_API_KEY": "sk-test",
        "COPILOT_HOME": str(home / ".copilot"),
    }


def gemini_at_home(home: Path, url: str) -> dict[str, str]:
    """Choose the login by key in the settings of Gemini."""
    directory = home / ".gemini"
    directory.mkdir(parents=True, exist_ok=True)
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "telemetry": {"enabled": False},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"disableAutoUpdate": True, "enableAutoUpdate": False},
    }
    (directory / "settings.json").write_text(json.dumps(settings))
    return {"GEMINI_API_KEY": "sk-test", "GOOGLE_GEMINI_BASE_URL": url}


def gemini_minutes_later(home: Path) -> None:
    """Let the saved conversations carry another minute in their names.

    Within the minute in which it began, a conversation that is resumed is lost: Gemini begins to save it under the
    same name before it reads it.
    """
    for day, path in enumerate(sorted(home.glob(".gemini/tmp/*/chats/session-*")), 1):
        path.rename(path.with_name(f"session-2020-01-{day:02d}T00-00-{path.name.rpartition('-')[2]}"))


def opencode_at_home(home: Path, url: str) -> dict[str, str]:
    """Name the scripted model in a config of OpenCode."""
    model = {"name": "scripted-1", "limit": {"context": 100_000, "output": 10_000}}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "local",
        "options": {"baseURL": f"{url}/v1", "apiKey": "sk-test"},
        "models": {"scripted-1": model},
    }
    config = {
        "provider": {"local": provider},
        "model": "local/scripted-1",
        "autoupdate": False,
        "share": "disabled",
    }
    return {
        "OPENCODE_CONFIG_CONTENT": json.dumps(config),
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    }


REALS = {
    "claude": Real(ClaudeAdapter(), "scripted-1", claude_at_home),
    "codex": Real(CodexAdapter(), "gpt-5.5", codex_at_home),
    "copilot": Real(CopilotAdapter(), "scripted-1", copilot_at_home),
    "gemini": Real(GeminiAdapter(), "gemini-2.5-flash", gemini_at_home, gemini_minutes_later),
    "opencode": Real(OpenCodeAdapter(), "local/scripted-1", opencode_at_home),
}
