"""Translation between orch and the agent programs, without any I/O.

An adapter says what to run (a value) and gives a dialogue: a machine that takes the lines a program writes and
gives back facts and lines to write. It reads no file, no clock, no environment and makes no random id; what it
needs of those is handed in. So a recorded run is a test case, and a hub that adopts a run only loads its state.
"""
