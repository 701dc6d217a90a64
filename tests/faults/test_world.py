"""The checker of the invariants is checked: defects of every kind are planted, and each is found."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.driver import Driver, Zygote
from tests.faults.scenario import complete, new_home
from tests.world import Known, World, digest_of, tree_of

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True, slots=True)
class Scene:
    """A sound world at rest: one session at work, one done, one deleted; the hub is gone."""

    driver: Driver
    known: Known
    working: str
    done: str

    @property
    def shop(self) -> Path:
        return self.driver.home.root / "shop"

    @property
    def database(self) -> Path:
        return self.driver.home.path / "orchestrator.db"

    def found(self, known: Known | None = None) -> list[str]:
        return list(World(self.driver.home).violations(known or self.known))

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", "-C", str(self.shop), *arguments], check=True, capture_output=True)

    @contextmanager
    def changed(self, *statements: str) -> Iterator[Known]:
        """Change the database, and put it back."""
        sound = self.database.read_bytes()
        with closing(sqlite3.connect(self.database)) as connection:
            for statement in statements:
                assert connection.execute(statement).rowcount, f"{statement} changed nothing"
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield self.known
        self.database.write_bytes(sound)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Iterator[Scene]:
    with Driver(new_home(tmp_path_factory.mktemp("scene")), zygote) as driver:
        shop = driver.home.root / "shop"
        untouched = {shop: digest_of(shop)}
        driver.call("orch/project/add", path=str(shop))
        ids = []
        for prompt in ("[[say begun]] [[hang]]", "[[write made.txt hello]] [[say hi]]", "[[write gone.txt x]]"):
            started = {"agent": "demo", "action": "implement", "project": "shop", "prompt": prompt}
            ids.append(driver.call("orch/session/start", **started)["id"])
        for session in ids[1:]:
            complete(driver, session)
        driver.until(ids[0], "running")
        driver.call("orch/session/delete", session=ids[2])
        contents = {ids[1]: tree_of(shop / ".orchestrator" / "worktrees" / ids[1])}
        driver.settle(Known(untouched, contents=contents))
        driver.kill()
        with closing(sqlite3.connect(driver.home.path / "orchestrator.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield Scene(driver, Known(untouched, driver.told, contents), ids[0], ids[1])


@contextmanager
def told_and_gone(scene: Scene) -> Iterator[Known]:
    last = max(scene.known.told)
    yield replace(scene.known, told={**scene.known.told, last + 1: scene.known.told[last]})


@contextmanager
def told_otherwise(scene: Scene) -> Iterator[Known]:
    last = max(scene.known.told)
    yield replace(scene.known, told={last: {**scene.known.told[last], "data": {"text": "another"}}})


@contextmanager
def orphan(scene: Scene) -> Iterator[Known]:
    ((run_id,),) = scene.driver.home.query(f"SELECT id FROM runs WHERE session_id = '{scene.done}'")
    cookie = next(run["cookie"] for run in scene.driver.home._runs() if run["id"] == run_id)
    with process("", {"ORCH_RUN": cookie}):
        yield scene.known


@contextmanager
def network_socket(scene: Scene) -> Iterator[Known]:
    source = "import socket; s = socket.create_server(('127.0.0.1', 0))"
    with process(source, {"ORCH_HOME": str(scene.driver.home.path)}):
        yield scene.known


@contextmanager
def giant(scene: Scene) -> Iterator[Known]:
    with process("x = b'1' * (210 << 20)", {}) as pid:
        yield replace(scene.known, hub=pid)


@contextmanager
def process(source: str, environment: dict[str, str]) -> Iterator[int]:
    """Have a process that runs some lines of Python and waits."""
    command = [sys.executable, "-I", "-S", "-c", f"{source}\nprint(flush=True); input()"]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid
        child.communicate(b"\n")


@contextmanager
def stray_bundle(scene: Scene) -> Iterator[Known]:
    place = scene.driver.home.path / "runs" / "of-nobody"
    place.mkdir()
    yield scene.known
    place.rmdir()


@contextmanager
def stray_directory(scene: Scene) -> Iterator[Known]:
    place = scene.shop / ".orchestrator" / "worktrees" / "of-nobody"
    place.mkdir()
    yield scene.known
    place.rmdir()


@contextmanager
def removed_worktree(scene: Scene) -> Iterator[Known]:
    place = scene.shop / ".orchestrator" / "worktrees" / scene.done
    aside = scene.driver.home.root / "aside"
    place.rename(aside)
    yield scene.known
    aside.rename(place)


@contextmanager
def stray_branch(scene: Scene) -> Iterator[Known]:
    scene.git("branch", "orch/demo/shop/of-nobody")
    yield scene.known
    scene.git("branch", "-D", "orch/demo/shop/of-nobody")


@contextmanager
def unlocked(scene: Scene) -> Iterator[Known]:
    place = str(scene.shop / ".orchestrator" / "worktrees" / scene.done)
    scene.git("worktree", "unlock", place)
    yield scene.known
    scene.git("worktree", "lock", "--reason", f"orch:{scene.done}", place)


@contextmanager
def lost_byte(scene: Scene) -> Iterator[Known]:
    file = scene.shop / ".orchestrator" / "worktrees" / scene.done / "made.txt"
    file.write_text("hell\n")
    yield scene.known
    file.write_text("hello\n")


@contextmanager
def touched_checkout(scene: Scene) -> Iterator[Known]:
    file = scene.shop / "stray.txt"
    file.write_text("x")
    yield scene.known
    file.unlink()


@contextmanager
def planted_hook(scene: Scene) -> Iterator[Known]:
    hooks = scene.shop / ".git" / "hooks"
    hooks.mkdir()
    (hooks / "post-checkout").write_text("#!/bin/sh\n")
    yield scene.known
    shutil.rmtree(hooks)


@contextmanager
def moved_ref(scene: Scene) -> Iterator[Known]:
    scene.git("tag", "stray")
    yield scene.known
    scene.git("tag", "-d", "stray")


def statements(*texts: str) -> Callable[[Scene], Any]:
    """Return a defect that is a change of the database."""

    def planted(scene: Scene) -> Any:
        return scene.changed(*(text.format(working=scene.working, done=scene.done) for text in texts))

    return planted


DEFECTS: dict[str, tuple[str, Callable[[Scene], Any]]] = {
    "an event that was told is gone": ("I1", told_and_gone),
    "an event is not as it was told": ("I1", told_otherwise),
    "a gap in the numbers": ("I2", statements("DELETE FROM events WHERE seq = 3")),
    "output that was not taken in": ("I2", statements("UPDATE runs SET out_offset = 5 WHERE session_id = '{done}'")),
    "output that was taken in twice": (
        "I2",
        statements(
            "INSERT INTO events SELECT (SELECT max(seq) + 1 FROM events), type, at, project_id, session_id, run_id, "
            "turn, data FROM events WHERE type = 'agent.message' AND session_id = '{done}' LIMIT 1"
        ),
    ),
    "a process of a run that is over": ("I3", orphan),
    "a live run of which nothing lives": (
        "I3",
        statements("UPDATE runs SET state = 'running' WHERE session_id = '{done}'"),
    ),
    "a session at work without a run": ("I3", statements("UPDATE runs SET state = 'ended'")),
    "a run bundle of nobody": ("I3", stray_bundle),
    "a directory of nobody": ("I4", stray_directory),
    "a worktree that is gone": ("I4", removed_worktree),
    "a branch of nobody": ("I4", stray_branch),
    "a worktree without its lock": ("I4", unlocked),
    "an intent that nobody fulfilled": (
        "I4",
        statements("INSERT INTO intents VALUES ('delete-x', 'delete', '{done}', '{{}}', '2026-01-01T00:00:00Z')"),
    ),
    "a state that no event tells of": ("I5", statements("UPDATE sessions SET state = 'archived' WHERE id = '{done}'")),
    "a change that the table does not have": (
        "I5",
        statements(
            """UPDATE events SET data = replace(data, '"from":"created"', '"from":"archived"') """
            "WHERE type = 'session.state_changed' AND session_id = '{done}'"
        ),
    ),
    "a row of nobody": ("I6", statements("UPDATE artifacts SET project_id = 'nobody'")),
    "an older schema": ("I6", statements("UPDATE alembic_version SET version_num = '0000'")),
    "a byte of work is lost": ("I7", lost_byte),
    "a file in the checkout": ("I8", touched_checkout),
    "a hook in the project": ("I8", planted_hook),
    "a tag in the project": ("I8", moved_ref),
    "a network socket": ("I10", network_socket),
    "a hub of another size": ("I10", giant),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_found(scene: Scene, defect: str) -> None:
    number, plant = DEFECTS[defect]
    assert scene.found() == []
    with plant(scene) as known:
        found = scene.found(known)
    assert any(text.startswith(f"{number}: ") for text in found), found
    assert scene.found() == []


def test_there_are_a_dozen_at_least() -> None:
    assert len(DEFECTS) >= 12
    assert {number for number, _ in DEFECTS.values()} == {"I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I10"}
