"""What the user set: ORCH_HOME/.env, ORCH_ variables, and config.toml. Read once, in the hub."""

import os
import tomllib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from orch_server.settings.places import Places


class Settings(BaseSettings):
    """Names as in ORCH_HOME/.env; from the process environment only the ORCH_ forms count.

    So an application's own DATABASE_URL never becomes ours.
    """

    model_config = SettingsConfigDict(env_prefix="ORCH_", extra="ignore")

    database_url: str = Field("sqlite:///orchestrator.db", description="SQLite; a relative path counts from ORCH_HOME.")
    log_level: str = Field("INFO", description="How much the hub writes into hub.log.")
    project_runtime_dirname: str = Field(
        ".orchestrator", description="The directory in a project that holds its worktrees, artifacts and logs."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take init values, then ORCH_ variables, then the .env file whose names have no prefix."""
        del file_secret_settings
        assert isinstance(dotenv_settings, DotEnvSettingsSource)
        plain = DotEnvSettingsSource(settings_cls, env_file=dotenv_settings.env_file, env_prefix="")
        return init_settings, env_settings, plain


class AgentTable(BaseModel):
    """`[agents.<name>]` in config.toml."""

    model_config = ConfigDict(extra="forbid")

    protocol: Literal["acp", "command"] = Field(
        description="`acp`: speaks the Agent Client Protocol; `command`: one prompt in, its output is the answer."
    )
    command: list[str] = Field(
        min_length=1, description="The program and its arguments; `{prompt}` and `{model}` are filled in."
    )
    env: dict[str, str] = Field(default={}, description="Variables beside those of the client that starts it.")


class Limits(BaseModel):
    """`[limits]` in config.toml."""

    model_config = ConfigDict(extra="forbid")

    idle_seconds: float = Field(
        60, ge=0, description="How long an agent's process stays after its turn for a follow-up."
    )
    hub_idle_seconds: float = Field(
        300, ge=0, description="How long the hub stays with nothing to do and nobody there."
    )
    output_bytes: int | None = Field(None, ge=1, description="A run that writes more is stopped; unset: no limit.")
    silent_seconds: float | None = Field(
        900, ge=1, description="An agent at work that writes nothing for so long is shown as silent."
    )
    silent_stop_seconds: float | None = Field(None, ge=1, description="And for so long is stopped; unset: never.")
    min_free_bytes: int = Field(64 * 1024 * 1024, ge=0, description="Below this much free disk agents are stopped.")

    ports: tuple[int, int] = Field(
        (20_000, 29_999), description="From these ports every session gets ten of its own, as ORCH_PORT_BASE says."
    )
    include_bytes: int = Field(1024**3, ge=0, description="How much `.worktreeinclude` may copy into one worktree.")
    start_free_bytes: int = Field(1024**3, ge=0, description="Below this much free disk no session is begun.")
    runs: int | None = Field(None, ge=1, description="How many agents may work at once; unset: no limit.")
    runs_per_project: int | None = Field(None, ge=1, description="How many may work at once in one project.")
    runs_per_agent: int | None = Field(None, ge=1, description="How many sessions of one agent may work at once.")
    min_free_memory_bytes: int | None = Field(None, ge=0, description="Below this much free memory starts wait.")
    resume_after_usage_limit: bool = Field(
        False, description="Let a session that ran into a usage limit go on by itself when the limit ends."
    )
    trash_days: float = Field(14, ge=0, description="How many days a deleted session can be restored at least.")

    @field_validator("ports")
    @classmethod
    def _check_ports(cls, ports: tuple[int, int]) -> tuple[int, int]:
        first, last = ports
        if not 1024 <= first <= last - 9 <= 65_526:
            raise ValueError("give the first and the last of at least ten ports between 1024 and 65535")
        return ports


class UserConfig(BaseModel):
    """The whole of config.toml."""

    model_config = ConfigDict(extra="forbid")

    agents: dict[str, AgentTable] = {}
    limits: Limits = Limits()


def database_path(home: str, url: str) -> str | None:
    """Return the file that a DATABASE_URL means; None where it is no SQLite file."""
    prefix = "sqlite:///"
    return os.path.join(home, url.removeprefix(prefix)) if url.startswith(prefix) else None


class ConfigError(Exception):
    """A settings file that cannot be meant, with the file and the place in it."""


def read_settings(places: Places) -> Settings:
    """Return the settings of one orch home."""
    try:
        return Settings(_env_file=places.env_file)
    except ValidationError as error:
        raise ConfigError(f"{places.env_file}: {_first(error)}") from error


def read_config(path: str) -> UserConfig:
    """Return the user's config.toml; an absent file is an empty one."""
    try:
        with open(path, "rb") as file:
            return UserConfig.model_validate(tomllib.load(file))
    except FileNotFoundError:
        return UserConfig()
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
