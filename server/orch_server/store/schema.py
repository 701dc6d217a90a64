"""Opening the database: its settings, and bringing it to the present schema.

alembic is imported only when there is something to migrate: it costs half a second.
"""

import os
import sqlite3
from contextlib import closing
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.settings.crashpoint import crashpoint

MIGRATIONS = os.path.join(os.path.dirname(__file__), "migrations")
HEAD = "0002"
"""The revision that this version of the program works with; a test holds it against the migrations."""


def open_engine(path: str) -> Engine:
    """Return an engine for the database file `path`, migrated to the present schema.

    Connections are in autocommit mode (transactions are begun explicitly) and may wander between threads one at a
    time. Raises databaseUnusable, and touches nothing, where a newer version of orch made the database.
    """
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"check_same_thread": False, "timeout": 10},
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
    )
    event.listen(engine, "connect", _set_pragmas)
    try:
        in_doubt = _is_in_doubt(path)
        with engine.connect() as connection:
            tables = {row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type='table'")}
            revision = None
            if "alembic_version" in tables:
                revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            if in_doubt:
                _check(connection)
    except Exception as error:
        raise unusable(path, error) from error
    if revision != HEAD:
        _migrate(engine, path, revision)
    return engine


def driver(connection: Connection) -> sqlite3.Connection:
    """Return SQLite's own connection below one of SQLAlchemy: for the few statements that every line of an agent costs.

    Its errors are sqlite3's own.
    """
    found = connection.connection.driver_connection
    assert isinstance(found, sqlite3.Connection)
    return found


def unusable(path: str, error: Exception) -> OrchError:
    """Return the error for a database that cannot be worked with."""
    return OrchError(
        ErrorKind.DATABASE_UNUSABLE,
        f"The database {path} cannot be used: {getattr(error, 'orig', None) or error}",
        hint="`orch doctor` checks it. Nothing was changed; move the file away to start with an empty one.",
    )


def _is_in_doubt(path: str) -> bool:
    """Tell whether the database was not closed in order, or is not as long as it says: then all of it is looked at."""
    if any(os.path.exists(path + suffix) for suffix in ("-wal", "-journal")):
        return True
    try:
        with open(path, "rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        return False
    page = int.from_bytes(header[16:18]) or 1
    size, told = os.path.getsize(path), int.from_bytes(header[28:32]) * (65536 if page == 1 else page)
    # SQLite reads what is missing of a page as zeros, and its check looks at no text.
    if header.startswith(b"SQLite format 3\0") and size < told:
        raise sqlite3.DatabaseError(f"it was cut short: {size} of {told} bytes are left")
    return size != told


def _check(connection: Connection) -> None:
    found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if found != "ok":
        raise sqlite3.DatabaseError(f"it is damaged ({found})")


def _migrate(engine: Engine, path: str, revision: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    if revision is not None:
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if revision not in known:
            raise OrchError(
                ErrorKind.DATABASE_UNUSABLE,
                f"The database {path} was made by a newer version of orch (schema {revision}).",
                hint="Install that version again, or point ORCH_HOME elsewhere. Nothing was changed.",
            )
        _back_up(path, revision)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        crashpoint("migrate.begun")
        try:
            command.upgrade(config, "head")
            crashpoint("migrate.upgraded")
            connection.exec_driver_sql("COMMIT")
            crashpoint("migrate.committed")
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise


def _back_up(path: str, revision: str) -> None:
    """Keep a copy of the database as it is; it has its name once it is complete."""
    backup = f"{path}.before-{HEAD}-was-{revision}"
    if os.path.exists(backup):
        return
    made = f"{backup}.new"
    with open(os.open(made, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "rb") as file:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(made)) as target:
            source.backup(target)
        os.fsync(file.fileno())
        os.rename(made, backup)


def _set_pragmas(connection: Any, _record: object) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # what was acknowledged survives a power cut
        "foreign_keys=ON",
        "busy_timeout=10000",
        "trusted_schema=OFF",
        "wal_autocheckpoint=2000",
    ):
        connection.execute(f"PRAGMA {pragma}")
