"""git dies under the hub, before, in the middle of, or after what it was to do; the user tries again (C.1c)."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.faults.driver import Driver, Zygote
from tests.faults.figures import record
from tests.faults.scenario import CHAPTERS, new_home
from tests.faults.tracing import can_trace
from tests.lsp import Failed
from tests.marks import FULL
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(1800)
RUNS = 9 if FULL else 1
TRIES = 8
WRAPPER = """#!/bin/sh
[ -n "$GIT_OPTIONAL_LOCKS" ] || exec {git} "$@"  # the user's own, or an agent's
cd {place}
echo >> calls
number=$(wc -l < calls)
[ $number -ge $(cat next) ] || exec {git} "$@"
echo "$*" >> killed
deaths=$(wc -l < killed)
echo $((number + 5 + deaths * 7)) > next  # ever later, so that what takes many calls is done at last
case $((deaths % 3)) in
  0) ;;
  1) {git} "$@" & kill -KILL $! ;;
  2) {git} "$@" ;;
esac
kill -KILL $$
"""


HOLDING = """#!/bin/sh
[ -n "$GIT_OPTIONAL_LOCKS" ] || exec {git} "$@"
case " $* " in  # what only reads
  *" rev-"* | *" ls-"* | *" diff-"* | *" for-each-ref "* | *" cat-file "* | *" config "* | *" log "* | *" merge-base "*)
    exec {git} "$@" ;;
esac
cd {place}
echo $$ >> calls
number=$(grep -nx $$ calls | tail -1)
number=${{number%%:*}}
[ $number -ge $(cat next) ] || exec {git} "$@"
echo "$*" >> killed
deaths=$(wc -l < killed)
echo $((number + 5 + deaths * 4)) > next  # never in step with those who try again
strace -f -qq -o /dev/null -e trace={calls} -e inject={calls}:signal=KILL:when=$((1 + deaths % 2)) {git} "$@"
kill -KILL $$
"""
MOVING = "rename,renameat,renameat2,unlink,unlinkat,link,linkat"
FIRST = range(1, 25) if FULL else (7,)


class Insisting(Driver):
    """A user who tries again when git has died."""

    def call(self, method: str, /, **params: Any) -> Any:
        """Send a request until git lives long enough."""
        for number in range(TRIES):
            try:
                return super().call(method, **params)
            except Failed as refusal:
                if number and refusal.data["kind"] == "illegalTransition":
                    # What git's death had interrupted was brought to its end by itself before this was asked again.
                    return super().call("orch/session/get", session=params["session"])
                if refusal.data["kind"] != "gitFailed":
                    raise
                assert refusal.data["hint"], refusal.data
                wait_until(lambda: not _locks(self.home.root))  # whoever else works there is not held up
        raise AssertionError(f"git failed {TRIES} times at {method}")


def write_program(path: Path, text: str) -> None:
    """Write a program, in the place of one that may be running."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o700)
    new.rename(path)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_git_that_is_killed_loses_nothing(
    chapter: str, tmp_path_factory: pytest.TempPathFactory, zygote: Zygote
) -> None:
    killed = 0
    for first in range(1, RUNS + 1):
        root = tmp_path_factory.mktemp("git")
        killed += _go_through(chapter, root, zygote, WRAPPER, first)
    record("kill points", **{f"git_killed_in_{chapter}": killed})


@pytest.mark.skipif(not can_trace(), reason="needs strace, and leave to trace")
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_git_that_is_killed_with_its_locks_leaves_none(
    chapter: str, tmp_path_factory: pytest.TempPathFactory, zygote: Zygote
) -> None:
    """Every call that writes dies, in some run, just before it renames, links or removes its first or second file."""
    killed = 0
    for first in FIRST:
        root = tmp_path_factory.mktemp("git")
        killed += _go_through(chapter, root, zygote, HOLDING, first, calls=MOVING)
    record("kill points", **{f"git_killed_with_locks_in_{chapter}": killed})


def _go_through(chapter: str, root: Path, zygote: Zygote, program: str, first: int, **about: object) -> int:
    """Have a user insist on a chapter with a git that dies, at its call `first` and later; return how often it did."""
    home = new_home(root)
    place = root / "mortal"
    place.mkdir()
    (place / "killed").touch()
    (place / "next").write_text(f"{first}\n")
    git = place / "git"
    write_program(git, program.format(git=shutil.which("git"), place=place, **about))
    home.environment["PATH"] = f"{place}:{home.environment['PATH']}"
    with Insisting(home, zygote) as driver:
        try:
            known = CHAPTERS[chapter](driver)
            write_program(git, f'#!/bin/sh\nexec {shutil.which("git")} "$@"\n')  # what is checked needs one that lives
            driver.settle(known)
        except BaseException as error:
            error.add_note(f"chapter {chapter}, from call {first} on git killed in: {(place / 'killed').read_text()}")
            raise
    assert not _locks(root)
    return len((place / "killed").read_text().splitlines())


def _locks(root: Path) -> list[str]:
    """Return what is locked in the project."""
    top = root / "shop/.git"
    found = [*top.rglob("*.lock"), *top.rglob("index.orch"), *top.glob("packed-refs.new")]
    return sorted(str(path.relative_to(top)) for path in found)
