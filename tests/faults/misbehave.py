"""An agent that misbehaves in the way its first argument names; standard library only, run by path."""

import ctypes
import json
import os
import resource
import shutil
import signal
import sys
import time

LONG = 600.0
FULL = os.environ.get("FULL_SIZE") == "1"


def ignores_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    say("begun")
    time.sleep(LONG)


def hides_a_child() -> None:
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            os.write(writer, b"x")
            code = f"import time; time.sleep({LONG})"
            os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", code], {})
        os._exit(0)
    os.read(reader, 1)
    say("begun")


def forks_a_crowd() -> None:
    for _ in range(500 if FULL else 60):
        if os.fork() == 0:
            os.setsid()
            time.sleep(LONG)
    say("begun")


def floods() -> None:
    block = (b"0123456789abcde" * 68 + b"!!!\n") * 64
    for _ in range((1 << 30) // len(block)):
        os.write(1, block)
        time.sleep(0.001 if FULL else 0.02)


def writes_one_long_line() -> None:
    for _ in range(100 if FULL else 20):
        os.write(1, b"x" * (1 << 20))
    os.write(1, b"\n")


def never_ends_a_line() -> None:
    for _ in range(2000):
        os.write(1, b"x" * 100)


def writes_no_utf8() -> None:
    os.write(1, b"\xff\xfe\x80 no text \xc3\x28\n" * 100)


def writes_nul() -> None:
    os.write(1, b"a\0b\0\n" * 100)


def writes_many_small_lines() -> None:
    for _ in range(1000 if FULL else 100):
        os.write(1, b"x\n" * 1000)


def nests_deeply() -> None:
    os.write(1, b'{"a":' * 100_000 + b"\n" + b"[" * 100_000 + b"\n")


def says_nothing() -> None:
    os._exit(0)


def exits_137() -> None:
    os._exit(137)


def crashes() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.kill(os.getpid(), signal.SIGSEGV)


def eats_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
    kept = []
    while True:
        kept.append(bytearray(1 << 24))


def closes_its_output() -> None:
    say("begun")
    os.close(1)
    os.close(2)
    time.sleep(LONG)


def writes_after_its_input_ended() -> None:
    while os.read(0, 4096):
        pass
    for _ in range(20):
        say("after the end")
        time.sleep(0.01)


def reads_nothing() -> None:
    say("begun")
    time.sleep(LONG)


def takes_another_name() -> None:
    ctypes.CDLL(None).prctl(15, b"orch-server", 0, 0, 0)
    say("begun")
    time.sleep(LONG)


def removes_its_directory() -> None:
    shutil.rmtree(os.getcwd(), ignore_errors=True)
    say("removed")


def replaces_its_git_file() -> None:
    os.unlink(".git")
    os.makedirs(".git/objects")
    os.makedirs(".git/refs")
    with open(".git/HEAD", "w") as file:
        file.write("ref: refs/heads/main\n")
    say("replaced")


def kills_its_runner() -> None:
    say("begun")
    os.kill(os.getppid(), signal.SIGKILL)


def floods_its_errors() -> None:
    for _ in range(400):
        os.write(2, b"error \x1b[31m\xff\n" * 100)
    say("said")


def exits_before_the_handshake() -> None:
    os._exit(3)


def talks_nonsense() -> None:
    """Speak ACP wrongly: answers nobody asked for, requests with one id, a text in the place of an object."""
    for line in sys.stdin:
        message = json.loads(line)
        reply = {"jsonrpc": "2.0", "id": message.get("id")}
        match message.get("method"):
            case "initialize":
                send({**reply, "result": {"protocolVersion": 1, "agentCapabilities": {}}})
                send({**reply, "result": {"protocolVersion": 1}})
            case "session/new":
                send({**reply, "result": {"sessionId": "s"}})
            case "session/prompt":
                for _ in range(2):
                    call = {"toolCallId": "t", "title": "x" * 1000}
                    options = [{"optionId": "a", "name": "Allow", "kind": "allow_once"}]
                    params = {"sessionId": "s", "toolCall": call, "options": options}
                    send({"jsonrpc": "2.0", "id": 7, "method": "session/request_permission", "params": params})
                send({"jsonrpc": "2.0", "method": "session/update", "params": "not an object"})
                send({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "other", "update": 5}})
                send({"jsonrpc": "2.0", "id": 999, "result": None})
                send({**reply, "result": {"stopReason": "end_turn"}})
                send({**reply, "result": {"stopReason": "end_turn"}})
                send({"jsonrpc": "2.0", "id": 8, "method": "fs/read_text_file", "params": {"path": "/etc/shadow"}})


def send(message: object) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
