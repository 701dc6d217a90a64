"""Lists: `limit` and `cursor` in, `items` and `nextCursor` out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import Field

from orch_server.domain.errors import OrchError, invalid_params
from orch_server.domain.wire import Params

ItemT = TypeVar("ItemT")


class PageParams(Params):
    """Which part of a list."""

    limit: int = Field(default=100, ge=1, le=1000)
    cursor: str | None = Field(default=None, description="`nextCursor` of the page before.")


@dataclass(frozen=True, slots=True)
class Page(Generic[ItemT]):
    """One page of a list."""

    items: list[ItemT]
    next_cursor: str | None

    @classmethod
    def cut(cls, found: Sequence[ItemT], limit: int, cursor_of: Callable[[ItemT], str]) -> "Page[ItemT]":
        """Return the first `limit` of what was found, with a cursor if there was more."""
        items = list(found[:limit])
        return cls(items, cursor_of(items[-1]) if len(found) > limit else None)


def number_cursor(cursor: str | None) -> int | None:
    """Return a cursor that is a number, or refuse it."""
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise bad_cursor(cursor)
    return int(cursor)


def bad_cursor(cursor: str) -> OrchError:
    """Return the error for a cursor that no page gave out."""
    return invalid_params(f"{cursor!r} is no cursor of this list.", hint="Pass `nextCursor` of the page before.")
