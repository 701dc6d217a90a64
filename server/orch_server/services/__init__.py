"""Use cases: what orch does, told once, for every client alike.

Whatever changes the store is a function of a Transaction (it runs on the writer's thread and does no I/O);
whatever touches the world is an `async` function around it. Commit first, then act, then commit what came of it.
"""
