"""What the user set, and what is said where it cannot be meant."""

from pathlib import Path

import pytest

from orch_server.settings.options import ConfigError, read_config, read_settings
from orch_server.settings.places import find_places


def test_defaults_without_any_file(tmp_path: Path) -> None:
    settings = read_settings(find_places({"HOME": str(tmp_path)}))
    assert settings.project_runtime_dirname == ".orchestrator"
    assert read_config(str(tmp_path / "absent.toml")).limits.idle_seconds == 60


def test_only_the_prefixed_variables_of_the_environment_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://somebody-elses")
    monkeypatch.setenv("ORCH_LOG_LEVEL", "DEBUG")
    (tmp_path / ".env").write_text("LOG_LEVEL=ERROR\nPROJECT_RUNTIME_DIRNAME=.agents\n")
    settings = read_settings(find_places({"HOME": str(tmp_path), "ORCH_HOME": str(tmp_path)}))
    assert settings.database_url == "sqlite:///orchestrator.db"
    assert settings.log_level == "DEBUG"
    assert settings.project_runtime_dirname == ".agents"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[limits]\nidle_seconds = -1\n", "limits.idle_seconds"),
        ("[limits]\nidle = 1\n", "limits.idle"),
        ("[agents.mine]\nprotocol = 'telepathy'\ncommand = ['x']\n", "agents.mine.protocol"),
        ("[agents.mine]\nprotocol = 'acp'\n", "agents.mine.command"),
        ("[agents", "no TOML"),
    ],
)
def test_a_config_that_cannot_be_meant_names_the_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")):
        read_config(str(path))
