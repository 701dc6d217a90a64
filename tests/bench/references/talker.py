"""An agent that says lines at a fixed pace, each with the time at which it was written. Standard library only.

It speaks just enough of the Agent Client Protocol. A prompt is "LINES INTERVAL_MS GATE": it begins once the file GATE
exists, and says `@NANOSECONDS` (of the monotonic clock, which all processes share) as chunks of one message.
"""

import json
import os
import random
import sys
import time


def write(message: "dict[str, object]") -> None:
    """Write one message."""
    os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def talk(lines: int, interval: float, gate: str) -> None:
    """Say the lines."""
    while not os.path.exists(gate):
        time.sleep(0.05)
    due = time.monotonic() + random.random() * interval  # agents do not speak in step
    for _ in range(lines):
        time.sleep(max(0.0, due - time.monotonic()))
        due += interval
        content = {"type": "text", "text": f"@{time.monotonic_ns()} a line of an agent that works on something "}
        update = {"sessionUpdate": "agent_message_chunk", "content": content}
        write({"method": "session/update", "params": {"sessionId": "talk", "update": update}})


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        message = json.loads(line)
        match message.get("method"):
            case "initialize":
                write({"id": message["id"], "result": {"protocolVersion": 1, "agentCapabilities": {}}})
            case "session/new":
                write({"id": message["id"], "result": {"sessionId": "talk"}})
            case "session/prompt":
                lines, interval, gate = message["params"]["prompt"][0]["text"].split()[:3]
                talk(int(lines), float(interval) / 1000, gate)
                write({"id": message["id"], "result": {"stopReason": "end_turn"}})


if __name__ == "__main__":
    main()
