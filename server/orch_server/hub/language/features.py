"""All language features: importing this fills the register."""

from orch_server.hub.language import hover, lenses
from orch_server.hub.language.registry import ANSWERS, WATCHERS

__all__ = ["ANSWERS", "WATCHERS", "hover", "lenses"]
