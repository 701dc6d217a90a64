"""git dies under the hub, before, in the middle of, or after what it was to do; the user tries again (C.1c)."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.faults.driver import Driver, Zygote
from tests.faults.figures import record
from tests.faults.scenario import CHAPTERS, new_home
from tests.lsp import Failed
from tests.marks import FULL

pytestmark = pytest.mark.timeout(1800)
RUNS = 9 if FULL else 1
TRIES = 8
WRAPPER = """#!/bin/sh
[ -n "$GIT_OPTIONAL_LOCKS" ] || exec {git} "$@"  # the user's own, or an agent's
cd {place}
echo >> calls
number=$(wc -l < calls)
[ $number -ge $(cat next) ] || exec {git} "$@"
echo >> killed
deaths=$(wc -l < killed)
echo $((number + 5 + deaths * 7)) > next  # ever later, so that what takes many calls is done at last
case $((deaths % 3)) in
  0) ;;
  1) {git} "$@" & kill -KILL $! ;;
  2) {git} "$@" ;;
esac
kill -KILL $$
"""


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
        home = new_home(root)
        place = root / "mortal"
        place.mkdir()
        git = place / "git"
        write_program(git, WRAPPER.format(git=shutil.which("git"), place=place))
        (place / "next").write_text(f"{first}\n")
        home.environment["PATH"] = f"{place}:{home.environment['PATH']}"
        with Insisting(home, zygote) as driver:
            try:
                known = CHAPTERS[chapter](driver)
                git.write_text(
                    f'#!/bin/sh\nexec {shutil.which("git")} "$@"\n'
                )  # what is checked needs a git that lives
                driver.settle(known)
            except BaseException as error:
                error.add_note(f"chapter {chapter}, git killed from its call {first} on")
                raise
        killed += len((place / "killed").read_bytes())
    record("kill points", **{f"git_killed_in_{chapter}": killed})
