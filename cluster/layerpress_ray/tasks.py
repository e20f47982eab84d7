"""What runs on the nodes."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from .command import CommandDied, run_command
from .gpus import with_gpu
from .job import Job, Part

DONE = "done.json"
# Of a GPU. Two tasks that take a GPU each cannot be on the same one, and every one of them has room for one beside it.
BESIDE_GPUS = 0.01
STEP = re.compile(r"\(step (\d+) of (\d+)\)")


class Board:
    """What each part is at."""

    def __init__(self) -> None:
        self.told: dict[str, tuple[int, int, str]] = {}

    def tell(self, part: str, line: str) -> None:
        step = STEP.search(line)
        done, total, _ = self.told.get(part, (0, 1, ""))
        if step:
            done, total = int(step[1]) - 1, int(step[2])
        self.told[part] = (done, total, line)

    def snapshot(self) -> dict[str, tuple[int, int, str]]:
        return dict(self.told)


# An actor class, of which Ray's types know nothing.
ProgressBoard: Any = ray.remote(num_cpus=0)(Board)


def resources(kind: str) -> int:
    """GPUs or CPUs that the connected Ray has in all."""
    known: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(known.get(kind, 0))


def finished(job: Job, part: Part) -> Path | None:
    """The folder of a part that an earlier task has finished, or None."""
    record = part.folder(job) / DONE
    try:
        return record.parent / str(json.loads(record.read_text())["folder"])
    except (OSError, ValueError, KeyError):
        return None


def moved_bytes(job: Job, part: Part) -> int:
    """Bytes that a share took from the others."""
    record = json.loads((part.folder(job) / DONE).read_text())
    return int((record["moved"] or {"taken": 0})["taken"])


def plan(job: Job, parts: int, launcher: str | None) -> dict[str, Any]:
    """The ranges of layers that come to about the same work."""
    command = job.compress("--plan", "--parts", str(parts))
    return run_command(with_gpu(command, assigned_gpu(), launcher), lambda line: None)


def make_part(job: Job, part: Part, launcher: str | None, board: Any) -> Path:
    """Makes a part, or goes on with what an earlier attempt on this node left; returns its folder.

    A folder belongs to one node: a node that was given up may still be at work on its own.
    """
    earlier = finished(job, part)
    if earlier is not None:
        return earlier
    folder = part.folder(job) / socket.gethostname()
    command = job.compress("--out", str(folder), *part.arguments)
    try:
        answer = run_command(
            with_gpu(command, assigned_gpu(), launcher),
            lambda line: board.tell.remote(part.name, line),
        )
    except CommandDied as error:
        raise CommandDied(str(error), ray.get_runtime_context().get_node_id()) from error
    record = part.folder(job) / DONE
    draft = record.with_suffix(f".{socket.gethostname()}")
    draft.write_text(json.dumps({"folder": folder.name, "moved": answer.get("moved")}))
    draft.replace(record)
    return folder


def assigned_gpu() -> str:
    """The number of the GPU that Ray gave this task; "0" where it gave none."""
    ids = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    return str(ids[0]) if ids else "0"


def other_node(node: str, attempt: int) -> Any:
    """Where Ray shall try a task again that failed on a node: on another one, as long as there is another."""
    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    others = sorted(str(each["NodeID"]) for each in known if each["Alive"] and each["NodeID"] != node)
    if not others:
        return "DEFAULT"
    return NodeAffinitySchedulingStrategy(node_id=others[attempt % len(others)], soft=True)


def remote_options(software: bool, retries: int, beside: bool = False) -> dict[str, Any]:
    """What a task asks of Ray, which tries it again if its worker or node dies.

    One that runs beside others asks for what each of them leaves of a GPU.
    """
    gpus = BESIDE_GPUS if beside else 1 - BESIDE_GPUS
    return {
        "num_gpus": 0 if software else gpus,
        "num_cpus": 0 if beside else 1,
        "max_retries": retries,
    }
