"""The tables. A change here needs a migration; a test holds the migrated schema against this one."""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

projects = Table(
    "projects",
    metadata,
    Column("id", String, primary_key=True),
    Column("slug", String, nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("path", String, nullable=False, unique=True),
    Column("default_branch", String),
    Column("trusted", Boolean, nullable=False),
    Column("policy", String),
    Column("setup", Text),
    Column("setup_seconds", Integer, nullable=False),
    Column("spares", Integer, nullable=False),
    Column("created_at", String, nullable=False),
)

commands = Table(
    "commands",
    metadata,
    Column("id", String, primary_key=True),
    Column("agent", String, nullable=False),
    Column("action", String, nullable=False),
    Column("project_id", String, ForeignKey("projects.id"), nullable=False),
    Column("scope_path", String),
    Column("prompt", Text, nullable=False),
    Column("model", String),
    Column("text", Text),
    Column("session_id", String, nullable=False),
    Column("created_at", String, nullable=False),
)

# The columns of a session are the fields of Session on the wire, then what only the hub needs to know.
sessions = Table(
    "sessions",
    metadata,
    Column("number", Integer, primary_key=True),  # the order of creation
    Column("id", String, nullable=False, unique=True),
    Column("project_id", String, ForeignKey("projects.id"), nullable=False),
    Column("project_slug", String, nullable=False),
    Column("command_id", String, nullable=False),
    Column("agent", String, nullable=False),
    Column("action", String, nullable=False),
    Column("title", String, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("scope_path", String),
    Column("model", String),
    Column("policy", String, nullable=False),
    Column("state", String, nullable=False),
    Column("reason", String),
    Column("message", Text, nullable=False),
    Column("attention", JSON, nullable=False),
    Column("branch", String),
    Column("base_commit", String),
    Column("worktree_path", String),
    Column("agent_session_id", String),
    Column("pid", Integer),
    Column("exit_code", Integer),
    Column("turns", Integer, nullable=False),
    Column("queued", JSON, nullable=False),
    Column("input_requests", JSON, nullable=False),
    Column("usage", JSON, nullable=False),
    Column("changes", JSON),
    Column("collisions", Integer, nullable=False),
    Column("created_at", String, nullable=False),
    Column("started_at", String),
    Column("ended_at", String),
    Column("updated_at", String, nullable=False),
    Column("state_before", String),
    Column("purged_at", String),
    Column("version", Integer, nullable=False),
    Column("base_ref", String),
    Column("from_dirty", Boolean, nullable=False),
    Column("dirty_tree", String),
    Column("furnished", Boolean, nullable=False),
    Column("port_base", Integer),
    Column("prompt_id", String, nullable=False),
    Column("prompt_delivered", Boolean, nullable=False),
    Column("worktree", JSON),
    Column("turn_trees", JSON, nullable=False),
    Column("resumes_at", String),
    Column("kept_seq", Integer, nullable=False),
    Column("unannounced", JSON, nullable=False),
    Column("trash", JSON),
    Index(None, "project_id", "number"),
    Index(None, "state", "number"),
    Index(None, "reason"),
    Index("ix_sessions_counted", "project_id", sqlite_where=text("purged_at IS NULL")),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String, primary_key=True),
    Column("session_id", String, ForeignKey("sessions.id"), nullable=False),
    Column("state", String, nullable=False),
    Column("out_offset", Integer, nullable=False),
    Column("err_offset", Integer, nullable=False),
    Column("revision", Integer, nullable=False),  # grows with every saved step of the dialogue
    Column("adapter_state", JSON, nullable=False),
    Column("usage_before", JSON, nullable=False),
    Column("stop_requested", String),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("created_at", String, nullable=False),
    Column("ended_at", String),
    Index(None, "session_id"),
    Index(None, "state"),
)

# Lines for an agent that its runner has not acknowledged, in order.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", String, ForeignKey("runs.id"), nullable=False),
    Column("line", Text, nullable=False),
    Column("prompt_id", String),
    Column("seen", Integer, nullable=False),
    Index(None, "run_id", "id"),
    sqlite_autoincrement=True,  # an id is never used twice: the runner knows lines by it
)

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("type", String, nullable=False),
    Column("at", String, nullable=False),
    Column("project_id", String),
    Column("session_id", String),
    Column("run_id", String),
    Column("turn", Integer),
    Column("data", LargeBinary, nullable=False),
    Index(None, "session_id", "seq"),
    Index(None, "project_id", "seq"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("session_id", String, ForeignKey("sessions.id"), nullable=False),
    Column("project_id", String, ForeignKey("projects.id"), nullable=False),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("path", String, nullable=False),
    Column("media_type", String, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("created_at", String, nullable=False),
    UniqueConstraint("session_id", "name"),
    Index(None, "project_id", "number"),
)

# What would not merge now; each as it travels.
collisions = Table(
    "collisions",
    metadata,
    Column("id", String, primary_key=True),
    Column("project_id", String, ForeignKey("projects.id"), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index(None, "project_id"),
)

# Paths that a session, or the user (then session_id is null), wants for itself.
leases = Table(
    "leases",
    metadata,
    Column("id", String, primary_key=True),
    Column("project_id", String, ForeignKey("projects.id"), nullable=False),
    Column("session_id", String, ForeignKey("sessions.id")),
    Column("path", String, nullable=False),
    Column("created_at", String, nullable=False),
    Index(None, "project_id"),
)

request_keys = Table(
    "request_keys",
    metadata,
    Column("key", String, primary_key=True),
    Column("method", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("session_id", String),
    Column("reply", LargeBinary),
    Column("created_at", String, nullable=False),
    Index(None, "created_at"),
)

# What is about to be done to the world outside the database, written before it is done.
intents = Table(
    "intents",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("session_id", String, ForeignKey("sessions.id")),
    Column("data", JSON, nullable=False),
    Column("created_at", String, nullable=False),
)

facts = Table(
    "facts",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)

# Full text, which SQLAlchemy has no words for: the entries of all conversations.
SEARCH = (
    "CREATE VIRTUAL TABLE search USING fts5("
    "text, session_id UNINDEXED, seq UNINDEXED, kind UNINDEXED, at UNINDEXED, project_id UNINDEXED, agent UNINDEXED,"
    " tokenize = 'unicode61 remove_diacritics 2')"
)
