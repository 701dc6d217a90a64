"""`python -m tests.faults [--full]`: the fault tests and all that is slow; with --full the figures go into the docs."""

import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- figures: written by `make test-faults FULL=1` -->", "<!-- end of figures -->"


def main(arguments: list[str]) -> int:
    """Run the tests and return pytest's exit code."""
    full = "--full" in arguments
    command = [sys.executable, "-m", "pytest", "-q", "-n", os.environ.get("WORKERS", "2"), "--dist", "loadscope"]
    command += ["-m", "faults or slow", *(word for word in arguments if word != "--full")]
    with tempfile.TemporaryDirectory() as directory:
        figures = Path(directory, "figures.json")
        environment = {**os.environ, "FIGURES": str(figures), **({"FULL": "1"} if full else {})}
        code = subprocess.run(command, env=environment, check=False).returncode
        found: dict[str, dict[str, Any]] = json.loads(figures.read_text()) if figures.exists() else {}
    for family, values in sorted(found.items()):
        print(f"{family}: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items()))
    if full and code == 0:
        write(found)
    return code


def write(figures: dict[str, dict[str, Any]]) -> None:
    """Put the figures into their place in the document."""
    lines = [
        BEGIN,
        "",
        f"Written by the runs of {datetime.now(UTC):%Y-%m-%d}.",
        "",
        "| family | figures |",
        "|---|---|",
    ]
    for family, values in sorted(figures.items()):
        said = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in sorted(values.items()))
        lines.append(f"| {family} | {said} |")
    text = DOCUMENT.read_text()
    block = "\n".join([*lines, "", END])
    DOCUMENT.write_text(re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: block, text, flags=re.DOTALL))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
