"""A program that writes down when it began to execute: `stamp.py DIRECTORY` (or the end of the last argument)."""

import os
import sys
import time

now = time.monotonic_ns()
directory = sys.argv[-1].split()[-1]
with open(os.path.join(directory, f"stamp-{os.getpid()}.tmp"), "w") as file:
    file.write(str(now))
os.rename(file.name, file.name.removesuffix(".tmp"))
