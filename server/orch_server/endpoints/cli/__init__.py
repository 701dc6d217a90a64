"""The command line: a client of the same protocol as every editor. One file a group of verbs.

click is imported, nothing else that is slow: `--help` and a call to a warm hub take well under 150 ms. rich comes
only where a table is drawn on a terminal.
"""
