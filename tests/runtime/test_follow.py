"""Following files: by inotify, by the net under it, and by polling alone."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orch_server.runtime import follow, inotify
from orch_server.runtime.follow import Follower
from tests.waiting import wait_until_async


class Seen:
    """What was read of a file, read on at each callback."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = ""
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.path.exists():
            self.text = self.path.read_text()

    async def ends_with(self, text: str) -> None:
        """Wait until that is the last that was read."""
        await wait_until_async(lambda: self.text.endswith(text))


@pytest.fixture(params=["inotify", "polling"])
async def follower(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Follower]:
    if request.param == "polling":
        monkeypatch.setattr(inotify.Inotify, "open", lambda: None)
    else:
        monkeypatch.setattr(follow, "SLOW_POLL_SECONDS", 0.1)
    follower = Follower(asyncio.get_running_loop())
    yield follower
    follower.close()


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


async def test_it_reads_at_once_and_whenever_the_file_grew(follower: Follower, tmp_path: Path) -> None:
    files = [Seen(tmp_path / name) for name in ("a", "b")]
    for seen in files:
        append(seen.path, "before ")
        follower.watch(str(seen.path), seen)
    for seen in files:
        await seen.ends_with("before ")
    for step in ("one ", "two "):
        append(files[0].path, step)
        await files[0].ends_with(step)
    assert files[1].text == "before "
    assert files[1].calls == 1


async def test_a_file_that_comes_later(follower: Follower, tmp_path: Path) -> None:
    seen = Seen(tmp_path / "later")
    follower.watch(str(seen.path), seen)
    await wait_until_async(lambda: seen.calls)
    for step in ("one ", "two "):
        append(seen.path, step)
        await seen.ends_with(step)


async def test_a_file_that_is_replaced(follower: Follower, tmp_path: Path) -> None:
    seen = Seen(tmp_path / "file")
    append(seen.path, "old")
    follower.watch(str(seen.path), seen)
    seen.path.unlink()
    await wait_until_async(lambda: follower._files[str(seen.path)].size is None)
    append(seen.path, "new")
    await wait_until_async(lambda: seen.text == "new")


async def test_nothing_comes_after_unwatch(follower: Follower, tmp_path: Path) -> None:
    left, kept = Seen(tmp_path / "left"), Seen(tmp_path / "kept")
    for seen in (left, kept):
        append(seen.path, "before")
        follower.watch(str(seen.path), seen)
    follower.unwatch(str(left.path))
    append(left.path, "after")
    append(kept.path, "after")
    await wait_until_async(lambda: kept.text == "beforeafter")
    assert left.calls == 0
    follower.unwatch("/never/watched")


async def test_a_callback_that_fails_disturbs_no_other(follower: Follower, tmp_path: Path) -> None:
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))

    def fail() -> None:
        raise RuntimeError("a bug")

    good = Seen(tmp_path / "good")
    append(tmp_path / "bad", "x")
    append(good.path, "x")
    follower.watch(str(tmp_path / "bad"), fail)
    follower.watch(str(good.path), good)
    await wait_until_async(lambda: good.text == "x")
    assert [str(failure) for failure in failures] == ["a bug"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has inotify")
async def test_what_the_kernel_dropped_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(follow, "SLOW_POLL_SECONDS", 3_600)  # no net
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    follower = Follower(asyncio.get_running_loop())
    files = [Seen(tmp_path / name) for name in ("a", "b", "dropped")]
    for seen in files:
        append(seen.path, "x")
        follower.watch(str(seen.path), seen)
    for seen in files:
        await seen.ends_with("x")
    with files[0].path.open("ab", buffering=0) as first, files[1].path.open("ab", buffering=0) as second:
        for _ in range(queue // 2 + 1):  # in turn, since the same event twice is kept once
            first.write(b".")
            second.write(b".")
    append(files[2].path, "y")
    await files[2].ends_with("xy")
    follower.close()


async def test_the_net_catches_what_inotify_misses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(follow, "SLOW_POLL_SECONDS", 0.05)
    monkeypatch.setattr(inotify.Inotify, "read", lambda _: [])
    follower = Follower(asyncio.get_running_loop())
    seen = Seen(tmp_path / "file")
    append(seen.path, "a")
    follower.watch(str(seen.path), seen)
    append(seen.path, "b")
    assert follower._inotify is not None
    asyncio.get_running_loop().remove_reader(follower._inotify.descriptor)  # its events stay unread
    append(seen.path, "c")
    await wait_until_async(lambda: seen.text == "abc")
    append(seen.path, "d")
    await wait_until_async(lambda: seen.text == "abcd")
    follower.close()
