"""A database as it looks after years: many sessions and events, copied from one real session with plain SQL."""

import sqlite3

from tests.home import OrchHome

EVENT = '{"messageId":"run-m1","text":"a line of an agent that works on something","final":false}'


def fill(home: OrchHome, *, sessions: int, events: int) -> None:
    """Give a stopped hub's database so many more ended sessions and events."""
    home.wait(home.send("demo", "analyze", "shop", "[[say hello]]"))
    home.cli("hub", "stop")
    connection = sqlite3.connect(home.path / "orchestrator.db")
    (_, session_id, project_id, *_), columns = _first(connection)
    copied = ", ".join(
        {"number": "NULL", "id": "printf('%012d', n)", "state": "'completed'", "pid": "NULL"}.get(name, name)
        for name in columns
    )
    numbers = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)"
    connection.execute(
        f"{numbers} INSERT INTO sessions SELECT {copied} FROM numbers, sessions WHERE id = ?", (sessions, session_id)
    )
    connection.execute(
        f"{numbers} INSERT INTO events (seq, type, at, project_id, session_id, run_id, turn, data)"
        " SELECT (SELECT max(seq) FROM events) + n, 'agent.message', '2026-01-01T00:00:00.000Z', ?,"
        " printf('%012d', 1 + n % ?), 'run', 1, CAST(? AS BLOB) FROM numbers",
        (events, project_id, sessions, EVENT),
    )
    connection.commit()
    connection.close()


def _first(connection: sqlite3.Connection) -> tuple[tuple[object, ...], list[str]]:
    cursor = connection.execute("SELECT * FROM sessions LIMIT 1")
    return cursor.fetchone(), [column[0] for column in cursor.description]
