"""Runs a command of Layerpress to its end, whatever happens to the process that runs it."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import IO, Any

ENDING_SECONDS = 15
INTERRUPTION_SECONDS = 0.2
PR_SET_PDEATHSIG = 1
# Threads in which Node reads and writes what goes between shares; it has four of its own accord.
FILE_THREADS = {"UV_THREADPOOL_SIZE": "16"}


class CommandFailed(RuntimeError):
    """The command said why it cannot be done; doing it again changes nothing."""


class CommandDied(RuntimeError):
    """The command ended without a reason of its own: killed, out of memory, a crashed browser, a full disk of this node."""

    def __init__(self, message: str, node: str = "") -> None:
        # Both, so that it crosses from one process to another whole.
        super().__init__(message, node)
        self.node = node

    def __str__(self) -> str:
        return str(self.args[0])


# Failures that another attempt, or another node, may not have.
PASSING = {"BrowserError", "BusyError", "NetworkError", "StorageError", "DeviceLostError", "AbortError"}


def run_command(command: list[str], on_line: Callable[[str], None]) -> dict[str, Any]:
    """What the command's last line says, once it is done.

    on_line gets each line of output but the last. If this process is interrupted, the command is ended and waited for; if it is
    killed, the command gets SIGTERM from the system.
    """
    libc = ctypes.CDLL(None)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**FILE_THREADS, **os.environ},
        # Not the group of the terminal: the command is ended by us, once.
        start_new_session=True,
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM),
    )
    assert process.stdout is not None and process.stderr is not None
    last = ""
    try:
        for line in lines_of(process.stdout):
            if last:
                on_line(last)
            last = line.strip()
        status = process.wait()
    except BaseException:
        end(process)
        raise
    return read_answer(last, status, process.stderr.read())


def lines_of(output: IO[str]) -> Iterator[str]:
    """Lines as they come. Ray interrupts a task between two steps of Python, not in the middle of a wait for a line."""
    told: SimpleQueue[str | None] = SimpleQueue()

    def read() -> None:
        for line in output:
            told.put(line)
        told.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = told.get(timeout=INTERRUPTION_SECONDS)
        except Empty:
            continue
        if line is None:
            return
        yield line


def end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def read_answer(last: str, status: int, errors: str) -> dict[str, Any]:
    """The answer in the last line; raises what it says, or that there is none."""
    try:
        answer = json.loads(last)
    except json.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict) or "ok" not in answer:
        raise CommandDied(errors.strip() or f"The command ended with status {status} and said nothing.")
    if answer["ok"]:
        return answer
    error = answer["error"]
    failure = CommandDied if error["name"] in PASSING else CommandFailed
    raise failure(error["message"])
