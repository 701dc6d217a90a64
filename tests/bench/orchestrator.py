"""An orchestrator that users could take instead, at the same work with the same agent."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.measure import Line, Samples, Scale, compare, missing
from tests.bench.scene import REFERENCE_PROGRAMS
from tests.fakes import hermetic

NAME = "cli-agent-orchestrator"
ROOT = Path(__file__).parents[2]


def run(scale: Scale) -> Iterator[Line]:
    """Measure both in one sandbox, in turn; no target, since what they are for differs."""
    lacking = hermetic.why_not()
    if not (REFERENCE_PROGRAMS / "cao-server").exists():
        lacking = f"{NAME} is not installed: `make bench` does it"
    elif shutil.which("tmux") is None:
        lacking = f"{NAME} needs tmux"
    if lacking is not None:
        yield missing("orchestrator", "the same agent at the same work", NAME, lacking)
        return
    rounds = 3 if scale.quick else 6
    with tempfile.TemporaryDirectory(prefix="orch-bench-") as tmp:
        python = str(REFERENCE_PROGRAMS / "python")  # it has both
        command = [python, "-m", "tests.bench.references.side_by_side", str(rounds)]
        done = hermetic.run_in_sandbox(command, tmp=tmp, cwd=ROOT, timeout=240)
    taken = json.loads(done.check().splitlines()[-1])
    orch, other = taken["orch"], taken["other"]
    what = "command -> the agent's first output"
    yield compare("orchestrator", what, "ms", Samples(orch["first"]), NAME, Samples(other["first"]), None)
    what = "agent's output -> seen by a client, p50"
    latency, seen = Samples(orch["latency"]), Samples(other["latency"])
    note = f"p99 {latency.percentile(0.99):.1f} against {seen.percentile(0.99):.1f} ms"
    yield compare("orchestrator", what, "ms", latency, NAME, seen, None, note)
    what = "memory of the daemon (there with tmux's)"
    yield Line("orchestrator", what, "MB", orch["memory"], None, NAME, other["memory"], None)
