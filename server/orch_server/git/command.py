"""The one place that runs git.

Rules of this room:

* Nothing else in orch starts git. GitPython carries the call; the arguments are fixed templates of ours, and what a
  user gave stands only where git takes no option (behind `--end-of-options` or `--`, or as a full ref name).
* Nothing that a repository contains can make git run a program. The environment is built from scratch, the
  settings in OVERRIDES win over every configuration file, and whatever reads or writes file contents runs with a
  repository of our own in the place of the project's (`shadow.py`), in which no filter or driver is defined. Only a
  project that its user trusts has its own filters run, on checkout and commit, and its hooks, on commit alone.
* A call ends: by itself, at its time-out, by cancellation or at its output limit. git is asked to end, so that it
  takes its lock files with it; whatever of its process group is then left is killed and reaped.
* A call that changes something carries the id of its intent in its environment, so that a later hub finds and ends
  what an earlier one left running before it looks at the result.
"""

import asyncio
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from orch_server.domain.errors import ErrorKind, OrchError

# Importing GitPython runs `git version`, and fails where there is no git; `find_git` is to tell that, in our words.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
import git.cmd

ResultT = TypeVar("ResultT")

EXEC_LOOKS = 300  # a millisecond apart: how long a process may take from one program to the next
INTENT_VARIABLE = "ORCH_GIT_INTENT"
OVERRIDES = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.pager", "cat"),
    ("core.editor", ":"),
    ("core.askPass", ""),
    ("core.quotePath", "false"),
    ("credential.helper", ""),
    ("commit.gpgSign", "false"),
    ("tag.gpgSign", "false"),
    ("log.showSignature", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("submodule.recurse", "false"),
    ("branch.autoSetupMerge", "false"),  # its write to the shared configuration is what concurrent creations trip over
    ("worktree.useRelativePaths", "false"),
)
# A partial clone fetches what it lacks whenever an object is read: a program and a network that nobody asked for.
UNTRUSTED_OVERRIDES = (("protocol.allow", "never"),)
KEPT_VARIABLES = ("HOME", "USER", "LOGNAME", "TMPDIR", "XDG_CONFIG_HOME")
STDERR_LIMIT = 64 * 1024
TIMEOUT = 10 * 60.0
"""How many seconds a call may take that goes through all files or all history."""
GRACE = 1.0  # how many seconds a git that is to end may take to clean up
LEFT_LOCK = "Another git is at work in this repository, or died there: if none runs, remove the named lock file."
OID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True, eq=False, slots=True)
class Git:
    """The git program, and what every call of it shares."""

    executable: str
    environment: Mapping[str, str]
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(32, "git"))
    locks: weakref.WeakValueDictionary[str, asyncio.Lock] = field(default_factory=weakref.WeakValueDictionary)
    trees: dict[str, tuple[str, str]] = field(default_factory=dict)
    """What was last written of each private index: which index file that was, and its tree."""
    shadows: set[str] = field(default_factory=set)
    """The directories of the shadows that this hub has opened."""

    def lock(self, name: str) -> asyncio.Lock:
        """Return the one lock of that name, for what must not happen twice at a time."""
        return self.locks.setdefault(name, asyncio.Lock())

    def close(self) -> None:
        """End the threads, once nothing is under way any more."""
        self.threads.shutdown()


def find_git(environment: Mapping[str, str]) -> Git:
    """Return the git that PATH in `environment` names, to be called with nothing else of that environment but home."""
    # git looks programs up in the PATH it is given: a relative entry would be looked up inside the repository.
    path = os.pathsep.join(entry for entry in environment.get("PATH", "").split(os.pathsep) if os.path.isabs(entry))
    executable = shutil.which("git", path=path or "/nowhere")
    if executable is None:
        raise OrchError(
            ErrorKind.GIT_FAILED,
            "git is not installed, or not on PATH.",
            hint="Install git 2.36 or newer and restart orch where `git --version` works.",
            path=path,
        )
    kept = {name: environment[name] for name in KEPT_VARIABLES if environment.get(name)}
    return Git(executable, {"PATH": path, **kept})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a call works on. Without a git directory git looks for one upwards of `directory`: for `inspect` alone."""

    directory: str = "/"
    git_dir: str | None = None
    common_dir: str | None = None
    work_tree: str | None = None
    index: str | None = None
    objects: str | None = None
    settings: tuple[tuple[str, str], ...] = ()
    trusted: bool = False
    hooks: bool = False

    def environment(self) -> dict[str, str]:
        """Return the variables that tell git so."""
        named = {
            "GIT_DIR": self.git_dir,
            "GIT_COMMON_DIR": self.common_dir,
            "GIT_WORK_TREE": self.work_tree,
            "GIT_INDEX_FILE": self.index,
            "GIT_OBJECT_DIRECTORY": self.objects,
        }
        variables = {name: value for name, value in named.items() if value is not None}
        settings = (*self.settings, *OVERRIDES, *(() if self.trusted else UNTRUSTED_OVERRIDES))
        if self.hooks:
            assert self.trusted, "hooks are the project's programs"
            settings = tuple(setting for setting in settings if setting[0] != "core.hooksPath")
        # As variables and not as `-c`, which splits a name that contains "=" in the wrong place.
        variables["GIT_CONFIG_COUNT"] = str(len(settings))
        for number, (name, value) in enumerate(settings):
            variables[f"GIT_CONFIG_KEY_{number}"] = name
            variables[f"GIT_CONFIG_VALUE_{number}"] = value
        if not self.trusted:
            variables["GIT_CONFIG_GLOBAL"] = "/dev/null"
        return variables


@dataclass(frozen=True, slots=True)
class Output:
    """What a call of git answered."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def line(self) -> str:
        """The whole answer without its line end, as a path or name of the file system."""
        return os.fsdecode(self.stdout.removesuffix(b"\n"))


async def run(
    program: Git,
    target: Target,
    arguments: Sequence[str],
    *,
    accept: Collection[int] = (0,),
    stdin: bytes | None = None,
    intent: str | None = None,
    timeout: float = 60.0,  # noqa: ASYNC109  (the thread that reads keeps it, and kills)
    limit: int = 256 * 1024 * 1024,
    on_stdout: Callable[[bytes], bool] | None = None,
    on_stderr: Callable[[bytes], None] | None = None,
) -> Output:
    """Run git and return its answer; any exit status that is not in `accept` raises gitFailed.

    `on_stdout` and `on_stderr` are called in the reading thread with what arrives; output that `on_stdout` takes is
    not kept, and where it returns False git is ended and the call succeeds.
    """
    call = _Call(program, target, tuple(arguments), accept, stdin, intent, timeout, limit, on_stdout, on_stderr)
    return await to_its_end(asyncio.get_running_loop().run_in_executor(program.threads, call.run), call.cancel)


async def to_its_end(thread: Awaitable[ResultT], cancel: Callable[[], None] = lambda: None) -> ResultT:
    """Wait for what a thread does; if cancelled, `cancel` is called, and it is waited for all the same."""
    work = asyncio.ensure_future(thread)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        cancel()
        while not work.done():  # a second cancellation must not leave a child behind either
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError:
                continue
        work.exception()
        raise


async def kill_survivors(program: Git, intent: str) -> int:
    """End every process that carries the intent, children of git included, and return how many there were."""
    return await asyncio.get_running_loop().run_in_executor(program.threads, _kill_survivors, intent)


def is_oid(name: str) -> bool:
    """Tell whether this is the full name of an object, and so safe wherever git expects one."""
    return OID.fullmatch(name) is not None


def visible(name: bytes) -> str:
    """Return a name as text; bytes that are not UTF-8 show as \\xNN, which JSON can carry and a person can read."""
    return name.decode("utf-8", "backslashreplace")


@dataclass(slots=True)
class _Call:
    program: Git
    target: Target
    arguments: tuple[str, ...]
    accept: Collection[int]
    stdin: bytes | None
    intent: str | None
    timeout: float
    limit: int
    on_stdout: Callable[[bytes], bool] | None
    on_stderr: Callable[[bytes], None] | None
    cancelled: bool = False
    stopped: bool = False

    def cancel(self) -> None:
        self.cancelled = True

    def run(self) -> Output:
        if self.cancelled:
            raise OrchError(ErrorKind.CANCELLED, "Cancelled before git was started.")
        with tempfile.TemporaryFile() as stdin:
            if self.stdin is not None:
                stdin.write(self.stdin)
                stdin.seek(0)
            # GitPython would start from our own environment; `env -i` is what makes it start from nothing.
            started = git.cmd.Git("/").execute(
                ["/usr/bin/env", "-i", *self._variables(), self.program.executable, *self._options(), *self.arguments],
                istream=None if self.stdin is None else stdin,
                env={} if self.intent is None else {INTENT_VARIABLE: self.intent},
                as_process=True,
                shell=False,
                start_new_session=True,  # a group of its own, and no terminal on which to ask
            )
        process: subprocess.Popen[bytes] | None = started.proc
        assert process is not None
        try:
            output = self._read(process)
        finally:
            _end(process)
        if self.stopped:
            return Output(0, output.stdout, output.stderr)
        if output.status not in self.accept:
            raise _failure(self.arguments, output)
        return output

    def _variables(self) -> list[str]:
        variables = {
            **self.program.environment,
            "LC_ALL": "C",
            "LANGUAGE": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_PAGER": "cat",
            "GIT_EDITOR": ":",
            "GIT_PROGRESS_DELAY": "0",
            **self.target.environment(),
        }
        if self.intent is not None:
            variables[INTENT_VARIABLE] = self.intent
        return [f"{name}={value}" for name, value in variables.items()]

    def _options(self) -> list[str]:
        return ["--no-pager", "--no-optional-locks", "-C", self.target.work_tree or self.target.directory]

    def _read(self, process: "subprocess.Popen[bytes]") -> Output:
        assert process.stdout is not None
        assert process.stderr is not None
        deadline = time.monotonic() + self.timeout
        stdout, stderr = bytearray(), bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            selector.register(process.stderr, selectors.EVENT_READ)
            while selector.get_map() and not self.stopped:
                # The pipes end with git, unless something that git started holds them: hence the look at git itself.
                ended = process.poll() is not None  # before the pipes: then all that it wrote is in them
                ready = selector.select(0.0 if ended else min(0.1, max(0.0, deadline - time.monotonic())))
                if ended and not ready:
                    break
                self._check(deadline)
                for key, _ in ready:
                    chunk = os.read(key.fd, 256 * 1024)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is process.stdout:
                        self._take(chunk, stdout)
                    else:
                        stderr += chunk
                        del stderr[:-STDERR_LIMIT]
                        if self.on_stderr is not None:
                            self.on_stderr(chunk)
        while not self.stopped:
            try:
                process.wait(0.1)
                break
            except subprocess.TimeoutExpired:
                self._check(deadline)
        return Output(process.returncode or 0, bytes(stdout), bytes(stderr))

    def _take(self, chunk: bytes, stdout: bytearray) -> None:
        if self.on_stdout is not None:
            self.stopped = not self.on_stdout(chunk)
            return
        stdout += chunk
        if len(stdout) > self.limit:
            raise OrchError(
                ErrorKind.GIT_FAILED,
                f"git {_verb(self.arguments)} printed more than {self.limit >> 20} MiB.",
                hint="The repository is too large for this operation.",
            )

    def _check(self, deadline: float) -> None:
        if self.cancelled:
            raise OrchError(ErrorKind.CANCELLED, f"git {_verb(self.arguments)} was cancelled.")
        if time.monotonic() >= deadline:
            raise OrchError(
                ErrorKind.GIT_FAILED,
                f"git {_verb(self.arguments)} did not finish within {self.timeout:g} seconds and was ended.",
                hint="Is the disk slow or the repository on a network? Try again.",
                timeout=self.timeout,
            )


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End git, kill what is left of its process group, reap it and close its pipes."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)  # git takes its lock files away
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            pass
    _signal(process, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # nothing is left; macOS says EPERM where only a zombie is
        pass


def _failure(arguments: tuple[str, ...], output: Output) -> OrchError:
    stderr = visible(output.stderr[-4096:]).strip()
    verb = _verb(arguments)
    data = {"stderr": stderr, "status": output.status, "verb": verb}
    if output.status < 0:
        number = -output.status
        hint = "Was the machine short of memory, or did somebody end it? Try again."
        return OrchError(
            ErrorKind.GIT_FAILED,
            f"git {verb} was ended by signal {number} ({signal.strsignal(number)}).",
            hint=hint,
            **data,
        )
    if "No space left on device" in stderr or "Disk quota exceeded" in stderr:
        message = f"The disk is full: git {verb} could not write."
        return OrchError(ErrorKind.DISK_FULL, message, hint="Free some space, then try again.", **data)
    lines = [line for line in stderr.splitlines() if line.startswith(("fatal: ", "error: "))] or stderr.splitlines()
    reason = lines[-1].removeprefix("fatal: ").removeprefix("error: ") if lines else f"exit status {output.status}"
    hint = "Mend what git names, then try again."
    if ".lock': File exists" in stderr:
        hint = LEFT_LOCK
    elif "protocol" in stderr and "not allowed" in stderr:
        hint = "This is a partial clone, and fetching is only done for trusted projects: fetch, or trust the project."
    elif "Permission denied" in stderr:
        hint = "A file cannot be read or written by you: git names it."
    return OrchError(ErrorKind.GIT_FAILED, f"git {verb} failed: {reason}", hint=hint, **data)


def _verb(arguments: Sequence[str]) -> str:
    return " ".join(arguments[:2] if arguments[0] == "worktree" else arguments[:1])


def _kill_survivors(intent: str) -> int:
    if not sys.platform.startswith("linux"):
        return 0  # no way to see another process's environment without help
    killed: set[int] = set()
    began = time.monotonic()
    while found := _carriers(intent):
        spent = time.monotonic() - began
        for pid in found:
            try:
                os.kill(pid, signal.SIGTERM if spent < GRACE else signal.SIGKILL)
                killed.add(pid)
            except ProcessLookupError:
                pass
        if spent > 10.0:
            raise OrchError(
                ErrorKind.GIT_FAILED,
                f"A git process of an earlier attempt cannot be ended (process {min(found)}).",
                hint="It waits for the disk or a network file system; try again when that answers.",
            )
        time.sleep(0.01)  # until the kernel has taken them down, whoever reaps them
    return len(killed)


def _carriers(intent: str) -> list[int]:
    cookie = f"{INTENT_VARIABLE}={intent}".encode()
    return [
        int(name) for name in os.listdir("/proc") if name.isdigit() and cookie in _environment_of(name).split(b"\0")
    ]


def _environment_of(pid: str) -> bytes:
    """Return a process's environment; one that just goes from one program to the next is waited for."""
    settled = False
    for _ in range(EXEC_LOOKS):
        try:
            os.readlink(f"/proc/{pid}/exe")  # kernel threads and zombies have no program
            with open(f"/proc/{pid}/environ", "rb") as file:
                environment = file.read()
            if environment or settled:
                return environment
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                settled = bool(file.read())  # its environment is there an instant later
        except OSError:
            return b""  # gone, or another user's
        time.sleep(0.001)
    return b""
