"""The migrations lead to the tables that the code knows."""

import os
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import orch_server.store
from orch_server.store import schema
from orch_server.store.tables import metadata

_SEARCH_TABLES = {"search", "search_config", "search_content", "search_data", "search_docsize", "search_idx"}


def test_migrated_equals_declared(tmp_path: Path) -> None:
    engine = schema.open_engine(str(tmp_path / "orch.db"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        different = [
            change
            for change in compare_metadata(context, metadata)
            if not (change[0] == "remove_table" and change[1].name in _SEARCH_TABLES)
        ]
        tables = {row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")}
    engine.dispose()
    assert different == []
    assert tables >= _SEARCH_TABLES


def test_the_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", os.path.join(os.path.dirname(orch_server.store.__file__), "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD
