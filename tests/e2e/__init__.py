"""Whole orch: real bridges, a real hub, real runners and agents."""
