"""One hub per user and home: its address, how to reach it, its connections, its life."""
