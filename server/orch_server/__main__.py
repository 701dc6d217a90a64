"""`python -m orch_server`, `orch-server` and `orch`. Imports nothing before it knows what is wanted."""

import sys


def run() -> None:
    """Be `orch-server`."""
    from orch_server.main import main

    sys.exit(main(sys.argv[1:]))


def run_cli() -> None:
    """Be `orch`, which is `orch-server --cli`."""
    from orch_server.main import main

    sys.exit(main(["--cli", *sys.argv[1:]]))


if __name__ == "__main__":
    run()
