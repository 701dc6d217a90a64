"""Watching trees: what changed is named, with the kernel's help and without."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orch_server.runtime import watch
from orch_server.runtime.inotify import Inotify
from orch_server.runtime.watch import Watch, Watcher
from tests.waiting import wait_until_async


class Told:
    """What a watcher told of one tree."""

    def __init__(self, watcher: Watcher, root: Path) -> None:
        self.names: list[str] = []
        self.moved: list[str] = []
        self.anything = 0
        self._root = root
        self.watch: Watch = watcher.watch(self._changed)

    def _changed(self, path: bytes | None, moved: bool) -> None:
        if path is None:
            self.anything += 1
            return
        name = os.path.relpath(os.fsdecode(path), self._root)
        self.names.append(name)
        if moved:
            self.moved.append(name)

    async def hear(self, name: str) -> None:
        await wait_until_async(lambda: name in self.names)


@pytest.fixture
async def watcher() -> AsyncIterator[Watcher]:
    """A watcher on the test's loop."""
    made = Watcher(asyncio.get_running_loop())
    yield made
    made.close()


async def test_what_changes_in_the_named_directories_is_told_and_nothing_else(watcher: Watcher, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    told = Told(watcher, tmp_path)
    directories = [os.fsencode(tmp_path), os.fsencode(tmp_path / "in")]
    assert sorted(told.watch.keep_to(directories)) == sorted(directories)
    assert told.watch.keep_to(directories) == []
    (tmp_path / "out" / "unseen").write_text("x")
    (tmp_path / "in" / "deep" / "unseen").write_text("x")
    (tmp_path / "in" / "seen").write_text("x")
    await told.hear("in/seen")
    (tmp_path / "in" / "seen").unlink()
    (tmp_path / "new").mkdir()
    await told.hear("new")
    assert told.moved == ["new"]
    assert not [name for name in told.names if "unseen" in name]
    told.watch.keep_to([os.fsencode(tmp_path / "in")])
    (tmp_path / "no more").write_text("x")
    (tmp_path / "in" / "last").write_text("x")
    await told.hear("in/last")
    assert "no more" not in told.names


async def test_a_directory_that_went_elsewhere_is_not_told_of_under_its_old_name(
    watcher: Watcher, tmp_path: Path
) -> None:
    (tmp_path / "tree" / "a" / "b").mkdir(parents=True)
    told = Told(watcher, tmp_path)
    told.watch.keep_to([os.fsencode(tmp_path / name) for name in ("tree", "tree/a", "tree/a/b")])
    (tmp_path / "tree" / "a").rename(tmp_path / "elsewhere")
    await told.hear("tree/a")
    (tmp_path / "elsewhere" / "b" / "unseen").write_text("x")
    (tmp_path / "tree" / "seen").write_text("x")
    await told.hear("tree/seen")
    assert not [name for name in told.names if "unseen" in name]


@pytest.mark.parametrize("why", ["no inotify", "too many"])
async def test_without_the_kernel_a_tree_is_announced_as_a_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, why: str
) -> None:
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.01)
    if why == "no inotify":
        monkeypatch.setattr(Inotify, "open", lambda: None)
    else:
        monkeypatch.setattr(watch, "_most_watches", lambda: 0)
    watcher = Watcher(asyncio.get_running_loop())
    try:
        told = Told(watcher, tmp_path)
        told.watch.keep_to([os.fsencode(tmp_path)])
        assert not told.watch.complete
        await wait_until_async(lambda: told.anything >= 2)
    finally:
        watcher.close()


async def test_what_is_not_there_is_no_reason_to_poll(watcher: Watcher, tmp_path: Path) -> None:
    told = Told(watcher, tmp_path)
    told.watch.keep_to([os.fsencode(tmp_path / "gone")])
    assert told.watch.complete
