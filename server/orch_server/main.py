"""What was asked for is put together here, and nowhere else."""

import gc
import os
import sys
from collections.abc import Sequence

from orch_server import __version__

USAGE = """\
orch-server                  speak LSP on standard input and output; starts a hub if none runs
orch-server --cli ...        the command line; `orch ...` for short
orch-server --standalone     hub and connection in this one process, on standard input and output
orch-server --hub            the hub itself, in the foreground
orch-server --version
"""


def main(arguments: Sequence[str]) -> int:
    """Run what `arguments` name and return the exit code."""
    match list(arguments):
        case []:
            from orch_server.endpoints.bridge import run
            from orch_server.settings.places import find_places

            return run(find_places(os.environ), os.environ)
        case ["--cli", *rest]:
            from orch_server.endpoints.cli.main import run as run_cli

            return run_cli(rest)
        case ["--hub"]:
            gc.disable()  # until `serve.tune`
            from orch_server.endpoints.serve import run_hub

            return run_hub(None)
        case ["--hub", "--ready-fd", descriptor] if descriptor.isdigit():
            gc.disable()  # until `serve.tune`
            from orch_server.endpoints.serve import run_hub

            return run_hub(int(descriptor))
        case ["--standalone"]:
            gc.disable()  # until `serve.tune`
            from orch_server.endpoints.serve import run_standalone

            return run_standalone()
        case ["--version"]:
            print(f"orch-server {__version__}")
            return 0
        case ["--help"] | ["-h"]:
            print(USAGE, end="")
            return 0
        case _:
            print(f"orch-server: {' '.join(arguments)!r} is not understood.\n\n{USAGE}", end="", file=sys.stderr)
            return 2
