"""Names, escapes and paths of every kind: nothing moves a terminal, is an option or leads outside (C.18)."""

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orch_server.domain.readable import harmless, told
from tests.faults.driver import Driver, Zygote
from tests.faults.figures import record
from tests.faults.scenario import complete, new_home
from tests.lsp import Failed
from tests.marks import FULL
from tests.world import tree_of

pytestmark = pytest.mark.timeout(600)
FORBIDDEN = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
ESCAPES = [
    *(f"\x1b[{code}" for code in ("2J", "31m", "H", "6n", "?1049h", "10;10H", "s", "u", "0c", "5i")),
    *(f"\x1b]{code}\x07" for code in ("0;title", "8;;http://x", "52;c;eA==", "1337;File=:x", "4;1;#fff", "10;?")),
    *(f"\x1b{code}" for code in ("c", "D", "E", "M", "7", "8", "P0;0|17/17\x1b\\", "^x\x1b\\", "_x\x1b\\", "(0")),
    *(chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))),
    *(chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)),
    "\ud800",
    "a\rb",
    "a\bb",
]
NAMES = 10_000 if FULL else 1_000


@pytest.mark.parametrize("escape", ESCAPES, ids=ascii)
def test_nothing_that_moves_a_terminal_is_shown(escape: str) -> None:
    shown = harmless(f"before{escape}after")
    assert not FORBIDDEN & set(shown)
    assert shown.startswith("before")
    assert shown.endswith("after")
    shown.encode()


@settings(max_examples=NAMES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=40))
def test_no_text_moves_a_terminal(text: str) -> None:
    assert not FORBIDDEN & set(harmless(text))
    event = {"type": "agent.message", "data": {"text": text}}
    assert not FORBIDDEN & set(harmless(told(event)))


def strange_names(count: int) -> list[bytes]:
    """Return file names of every kind that the file system takes."""
    chance = random.Random(6)
    found = {
        b"-rf",
        b"--force",
        b"--upload-pack=x",
        b"\x1b[31m",
        b"new\nline",
        b"\xff\xfe",
        b"CON",
        b"a b",
        b"'\"$(x)`",
    }
    found |= {
        b"x" * 255,
        "é".encode(),
        "e\u0301".encode(),
        b"HEAD",
        b"refs",
        b"*",
        b"?",
        b":(glob)x",
        b"%2e%2e",
        b"...",
    }
    while len(found) < count:
        name = bytes(chance.choice([*range(1, 47), *range(48, 256)]) for _ in range(chance.randint(1, 30)))
        if name not in {b".", b".."} and name.lower() != b".git":
            found.add(name)
    return sorted(found)


def test_files_of_every_name_are_shown_deleted_and_given_back(tmp_path: Path, zygote: Zygote) -> None:
    with Driver(new_home(tmp_path), zygote) as driver:
        session = _session(driver, "[[write a.txt x]]")
        tree = Path(driver.call("orch/session/get", session=session)["worktreePath"])
        names = strange_names(NAMES)
        for name in names:
            with open(os.path.join(os.fsencode(tree), name), "wb") as file:
                file.write(name)
        shown = driver.call("orch/session/diff", session=session)
        assert shown["files"]
        content = tree_of(tree)
        preview = driver.call("orch/session/cleanupPreview", session=session)
        driver.call("orch/session/delete", session=session, token=preview["token"])
        driver.call("orch/session/restore", session=session)
        assert tree_of(tree) == content
        driver.settle()
    record("names", file_names=len(names), escapes=len(ESCAPES))


@pytest.mark.parametrize("place", ["", "worktrees", "logs", "trash", "artifacts"])
@pytest.mark.parametrize("when", ["before the start", "before the delete"])
def test_a_link_in_our_place_leads_nowhere(place: str, when: str, tmp_path: Path, zygote: Zygote) -> None:
    with Driver(new_home(tmp_path), zygote) as driver:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "precious.txt").write_text("not of this project\n")
        sentinel = tree_of(outside)
        ours = tmp_path / "shop" / ".orchestrator"
        target = ours / place if place else ours
        session = _session(driver, "[[write a.txt x]]") if when == "before the delete" else None
        if session is None:
            target.parent.mkdir(exist_ok=True)
        elif target.exists():
            target.rename(tmp_path / "aside")
        target.symlink_to(outside)
        if session is None:
            driver.call("orch/project/add", path=str(tmp_path / "shop"))
            what = {"agent": "demo", "action": "implement", "project": "shop", "prompt": "[[write a.txt x]]"}
            started = driver.call("orch/session/start", **what)["id"]
            found = driver.until(started, "failed", "completed")
            assert found["state"] == "failed", found
            assert "symbolic link" in found["message"], found
        else:
            try:
                driver.call("orch/session/delete", session=session)
            except Failed as refusal:
                kind = refusal.data["kind"]
            else:
                kind = "done"
            assert kind in {"conflict", "gitFailed", "done"}
        driver.call("orch/hub/status")
        assert tree_of(outside) == sentinel


def test_the_hub_loads_nothing_of_where_it_is_started(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    for name in ("asyncio", "sqlite3", "sitecustomize", "usercustomize", "orjson", "json", "git"):
        (hostile / f"{name}.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w').close()\n")
    program = shutil.which("orch-server", path=home.environment["PATH"])
    assert program is not None
    try:
        # The caller is the user's own Python; what it starts must take nothing of where it is.
        source = (
            "import os; from orch_server.hub.dial import dial; from orch_server.settings.places import find_places; "
            f"os.environ['PYTHONPATH'] = {str(hostile)!r}; os.chdir({str(hostile)!r}); "
            "dial(find_places(os.environ), os.environ).close()"
        )
        python = str(Path(program).with_name("python"))
        subprocess.run([python, "-c", source], env=home.environment, cwd="/", check=True, timeout=100)
        assert home.hubs()
        assert os.readlink(f"/proc/{home.hub_pid()}/cwd") == "/"
        assert not (tmp_path / "marker").exists()
    finally:
        home.close()


def _session(driver: Driver, prompt: str) -> str:
    driver.call("orch/project/add", path=str(driver.home.root / "shop"))
    what = {"agent": "demo", "action": "implement", "project": "shop", "prompt": prompt}
    session: str = driver.call("orch/session/start", **what)["id"]
    complete(driver, session)
    return session
