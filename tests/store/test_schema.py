"""The migrations lead to the tables that the code knows."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import orch_server.store
from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.store import schema
from orch_server.store.tables import metadata

OURS = schema.HEAD
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


NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "next"
down_revision = "{head}"


def upgrade() -> None:
    op.add_column("facts", sa.Column("more", sa.String()))
    op.execute("UPDATE facts SET more = 'migrated'")
    {then}
"""


@pytest.fixture
def the_next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that makes this the version after, with one migration more, which may go wrong."""

    def become(then: str = "pass") -> None:
        shutil.copytree(schema.MIGRATIONS, tmp_path / "migrations", dirs_exist_ok=True)
        (tmp_path / "migrations/versions/next.py").write_text(NEXT.format(head=OURS, then=then))
        monkeypatch.setattr(schema, "MIGRATIONS", str(tmp_path / "migrations"))
        monkeypatch.setattr(schema, "HEAD", "next")

    return become


def _read(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def _used(path: Path) -> Path:
    """Make a database of this version with something in it."""
    schema.open_engine(str(path)).dispose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO facts (name, value) VALUES ('kept', 'as it was')")
        connection.commit()
    return path


def _structure(path: Path) -> set[tuple[str, ...]]:
    """Return every column and index as SQLite has it, whatever their order."""
    tables = [str(row[0]) for row in _read(path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    columns = {(table, *map(str, row[1:])) for table in tables for row in _read(path, f"PRAGMA table_info({table})")}
    indexes = _read(path, "SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'index'")
    return columns | {tuple(map(str, row)) for row in indexes}


def test_a_database_of_the_previous_version_is_migrated_after_a_backup(
    tmp_path: Path, the_next_version: Callable[[], None]
) -> None:
    old = _used(tmp_path / "old.db")
    before = _structure(old)
    the_next_version()
    schema.open_engine(str(old)).dispose()
    schema.open_engine(str(tmp_path / "fresh.db")).dispose()
    assert _structure(old) == _structure(tmp_path / "fresh.db") != before
    assert _read(old, "SELECT value, more FROM facts WHERE name = 'kept'") == [("as it was", "migrated")]
    (backup,) = tmp_path.glob("old.db.before-*")
    assert _structure(backup) == before
    assert _read(backup, "SELECT value FROM facts WHERE name = 'kept'") == [("as it was",)]
    assert _read(backup, "PRAGMA integrity_check") == [("ok",)]
    assert backup.stat().st_mode & 0o077 == 0


def test_a_migration_that_goes_wrong_changes_nothing(tmp_path: Path, the_next_version: Callable[[str], None]) -> None:
    old = _used(tmp_path / "old.db")
    before = _structure(old)
    the_next_version("raise RuntimeError('no')")
    with pytest.raises(RuntimeError):
        schema.open_engine(str(old))
    assert _structure(old) == before
    assert _read(old, "SELECT value FROM facts WHERE name = 'kept'") == [("as it was",)]


def test_a_backup_that_was_not_finished_is_made_anew(tmp_path: Path, the_next_version: Callable[[], None]) -> None:
    old = _used(tmp_path / "old.db")
    (tmp_path / f"old.db.before-next-was-{OURS}.new").write_bytes(b"half of it")
    the_next_version()
    schema.open_engine(str(old)).dispose()
    (backup,) = tmp_path.glob("old.db.before-*")
    assert _read(backup, "SELECT value FROM facts WHERE name = 'kept'") == [("as it was",)]


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    new = _used(tmp_path / "new.db")
    with closing(sqlite3.connect(new)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = new.read_bytes()
    with pytest.raises(OrchError, match="newer version of orch") as caught:
        schema.open_engine(str(new))
    assert caught.value.kind is ErrorKind.DATABASE_UNUSABLE
    assert "Install" in caught.value.hint
    assert new.read_bytes() == before
    assert not list(tmp_path.glob("*.before-*"))
