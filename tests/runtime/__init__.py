"""Tests of the runtime room, with real processes."""
