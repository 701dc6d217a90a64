"""A hub that is killed between the start of an agent and its record: the next one knows what became of it."""

import json
import os
import signal
from pathlib import Path

import pytest

from orch_server.settings import crashpoint
from tests.home import OrchHome, is_gone
from tests.waiting import wait_until

AGENTS = """
[agents.reader]
protocol = "command"
command = ["/bin/cat"]

[agents.speaker]
protocol = "command"
command = ["/bin/echo", "{prompt}"]
"""


@pytest.fixture(autouse=True)
def _agents(home: OrchHome) -> None:
    home.configure(AGENTS)
    home.cli("hub", "stop")


def test_a_program_that_reads_to_the_end_of_its_input_gets_that_end(home: OrchHome) -> None:
    session_id, _ = _start(home, "reader", "hello")
    session = home.wait(session_id)
    assert (session["state"], session["turns"]) == ("completed", 1)
    assert "hello" in home.cli("transcript", session_id)


def test_a_program_that_has_ended_meanwhile_is_told_as_it_ended(home: OrchHome) -> None:
    session_id, bundle = _start(home, "speaker", "hello")
    wait_until((bundle / "exit.json").exists)
    session = home.wait(session_id)
    assert (session["state"], session["reason"]) == ("completed", "turn_ended")


@pytest.mark.slow
def test_an_agent_whose_runner_was_killed_too_is_lost(home: OrchHome) -> None:
    session_id, bundle = _start(home, "demo", "[[hang]]")
    record = json.loads((bundle / "run.json").read_text())
    for name in ("pid", "agentPid"):
        os.kill(record[name], signal.SIGKILL)
    session = home.wait(session_id)
    assert (session["state"], session["reason"]) == ("failed", "lost")


def test_an_agent_whose_runner_does_not_answer_is_stopped(home: OrchHome) -> None:
    session_id, bundle = _start(home, "demo", "[[hang]]")
    record = json.loads((bundle / "run.json").read_text())
    os.kill(record["pid"], signal.SIGSTOP)
    home.cli("stop", session_id)
    session = home.session(session_id)
    assert (session["state"], session["reason"]) == ("stopped", "user_stopped")
    assert [process.pid for process in home.processes()] == [home.hub_pid()]


def _start(home: OrchHome, agent: str, prompt: str) -> tuple[str, Path]:
    """Start a session whose hub dies when its agent runs; return its id and the bundle of its run."""
    home.environment[crashpoint.CRASH] = "launch.spawned"
    session_id = home.send(agent, "implement", "shop", prompt)
    hub = home.hub_pid()
    wait_until(lambda: is_gone(hub))
    del home.environment[crashpoint.CRASH]
    (bundle,) = home.path.glob("runs/*")
    return session_id, bundle
