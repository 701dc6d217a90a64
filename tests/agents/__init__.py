"""Tests of the adapters: recorded lines in, facts and lines out."""
