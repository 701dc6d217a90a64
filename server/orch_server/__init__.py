"""orch: a persistent local control plane for several coding agents, reached like a language server."""

__version__ = "0.1.0"

PROTOCOL_VERSION = 1
"""Moved only by a change that breaks clients."""
