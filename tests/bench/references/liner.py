"""An agent that says lines, each with the time at which it was written. Standard library only.

Told "say LINES INTERVAL_MS" as its last argument, it says them and ends. Without, it is a program for a terminal: it
asks with a prompt and says them for each line that it is given, in the form that the orchestrator beside us reads.
"""

import os
import re
import sys
import time

TASK = re.compile(r"say (\d+) (\d+)")


def say(task: str, before: str) -> None:
    """Say what a task asks for."""
    found = TASK.search(task)
    lines, interval = (int(found[1]), int(found[2]) / 1000) if found else (1, 0.0)
    for _ in range(lines):
        os.write(1, f"{before}@{time.monotonic_ns()} a line\n".encode())
        time.sleep(interval)


def main() -> None:
    """Say one task's lines, or be asked."""
    if TASK.search(sys.argv[-1]):
        say(sys.argv[-1], "")
        return
    os.write(1, "❯ ".encode())
    for line in sys.stdin:
        say(line, "> MOCK: ")
        os.write(1, "❯ ".encode())


if __name__ == "__main__":
    main()
