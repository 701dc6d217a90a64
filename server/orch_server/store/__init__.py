"""What is remembered: one SQLite database, written by one thread.

Commit, then publish: whatever others are told was committed first. Events are numbered without gaps in the
transaction of what they tell. Nothing outside this room sees a table or a statement.
"""
