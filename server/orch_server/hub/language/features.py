"""All language features: importing this fills the register."""

from orch_server.hub.language import (
    actions,
    collisions,
    commands,
    hover,
    lenses,
    notices,
    requests,
    runs,
    showing,
    symbols,
)
from orch_server.hub.language.registry import ANSWERS, WATCHERS

__all__ = [
    "ANSWERS",
    "WATCHERS",
    "actions",
    "collisions",
    "commands",
    "hover",
    "lenses",
    "notices",
    "requests",
    "runs",
    "showing",
    "symbols",
]
