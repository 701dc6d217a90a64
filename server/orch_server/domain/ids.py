"""Names that orch makes itself, and the shapes that names from outside must have."""

import base64
import re
import secrets

AGENT_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


def random_id(characters: int = 12) -> str:
    """Return a random name of lower-case base32 characters (letters and 2 to 7)."""
    return base64.b32encode(secrets.token_bytes(characters)).decode().lower()[:characters]


def slug_of(name: str) -> str:
    """Return the slug nearest to `name`, "project" where nothing of it can be used."""
    ascii_name = name.lower().encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")[:32].strip("-")
    return slug or "project"
