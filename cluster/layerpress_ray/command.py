"""Runs a command of Layerpress to its end, whatever happens to the process that runs it."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any

ENDING_SECONDS = 15
PR_SET_PDEATHSIG = 1


class CommandFailed(RuntimeError):
    """The command said why it cannot be done; doing it again changes nothing."""


class CommandDied(RuntimeError):
    """The command ended without a reason of its own: killed, out of memory, a crashed browser, a full disk of this node."""


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
        # Not the group of the terminal: the command is ended by us, once.
        start_new_session=True,
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM),
    )
    assert process.stdout is not None and process.stderr is not None
    last = ""
    try:
        for line in process.stdout:
            if last:
                on_line(last)
            last = line.strip()
        status = process.wait()
    except BaseException:
        end(process)
        raise
    return read_answer(last, status, process.stderr.read())


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
