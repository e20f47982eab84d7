"""Divides a job, hands its parts to Ray, and merges them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any, TextIO

import ray
from ray.exceptions import RayTaskError

from .command import run_command
from .job import PARTS_FOLDER, Division, Job, Part
from .tasks import ProgressBoard, finished, make_part, plan, remote_options

POLL_SECONDS = 0.5
CANCEL_SECONDS = 20
BAR_WIDTH = 30


class JobFailed(RuntimeError):
    """Some parts could not be made; what was made is kept."""


class Driver:
    """Runs one job on the Ray that is connected."""

    def __init__(
        self,
        job: Job,
        *,
        workers: int,
        parts: int | None = None,
        software: bool = False,
        launcher: str | None = None,
        retries: int = 3,
        keep_parts: bool = False,
        out: TextIO = sys.stderr,
    ) -> None:
        self.job = job
        self.workers = workers
        self.count = parts or workers
        self.launcher = launcher
        self.keep_parts = keep_parts
        self.out = out
        self.options = remote_options(software, retries)
        self.board: Any = ProgressBoard.remote()
        self.running: dict[Any, Part] = {}

    def run(self) -> dict[str, Any]:
        """Makes all parts that are not there yet and merges them; the merge's answer.

        Raises JobFailed with what is missing and why. An interruption cancels the tasks and is raised again.
        """
        try:
            division = self.divide()
            states = division.states(self.workers)
            begun = self.make(states) if states else {}
            parts = division.parts([begun[share.name] for share in states])
            made = self.make(parts)
        except BaseException:
            self.cancel()
            raise
        answer = run_command(self.job.merge([made[part.name] for part in parts]), lambda line: None)
        if not self.keep_parts:
            shutil.rmtree(self.job.parts_folder, ignore_errors=True)
            self.remove_if_empty(self.job.out / PARTS_FOLDER)
        return answer

    def divide(self) -> Division:
        task = ray.remote(plan).options(**self.options)
        reference = task.remote(self.job, self.count, self.launcher)
        self.running = {reference: Part("plan", ())}
        try:
            return Division.of(ray.get(reference))
        except RayTaskError as error:
            raise JobFailed(f"The job cannot be planned: {reason(error)}") from error
        finally:
            self.running = {}

    def make(self, parts: list[Part]) -> dict[str, Path]:
        """Makes parts, at most as many at a time as there are workers; their folders by name."""
        made = {part.name: folder for part in parts if (folder := finished(self.job, part))}
        waiting = [part for part in parts if part.name not in made]
        failures: dict[str, str] = {}
        task = ray.remote(make_part).options(**self.options)
        while waiting or self.running:
            while waiting and len(self.running) < self.workers:
                part = waiting.pop(0)
                part.folder(self.job).mkdir(parents=True, exist_ok=True)
                self.running[task.remote(self.job, part, self.launcher, self.board)] = part
            ended, _ = ray.wait(list(self.running), timeout=POLL_SECONDS)
            for reference in ended:
                part = self.running.pop(reference)
                try:
                    made[part.name] = ray.get(reference)
                except Exception as error:
                    failures[part.name] = reason(error)
            self.show(parts, made, failures)
        self.out.write("\n")
        if failures:
            missing = "; ".join(f"{name}: {why}" for name, why in failures.items())
            raise JobFailed(
                f"{len(made)} of {len(parts)} parts are made and kept in {self.job.parts_folder}. Missing are {missing}"
                " The same command makes what is missing."
            )
        return made

    def show(self, parts: list[Part], made: dict[str, Path], failures: dict[str, str]) -> None:
        """One bar for all parts; each counts alike."""
        told = ray.get(self.board.snapshot.remote())
        share = 0.0
        for part in parts:
            done, total, _ = told.get(part.name, (0, 1, ""))
            share += 1.0 if part.name in made else done / max(total, 1)
        filled = round(BAR_WIDTH * share / max(len(parts), 1))
        bar = "#" * filled + "." * (BAR_WIDTH - filled)
        at_work = ", ".join(part.name for part in self.running.values())
        failed = f", {len(failures)} failed" if failures else ""
        self.out.write(f"\r\033[K[{bar}] {len(made)} of {len(parts)} parts{failed}: {at_work}")
        self.out.flush()

    def cancel(self) -> None:
        """Ends what is under way: each command is told to stop, and keeps what it has finished."""
        for reference in self.running:
            ray.cancel(reference, force=False)
        if self.running:
            ray.wait(list(self.running), num_returns=len(self.running), timeout=CANCEL_SECONDS)
        self.running = {}

    @staticmethod
    def remove_if_empty(folder: Path) -> None:
        try:
            folder.rmdir()
        except OSError:
            pass


def reason(error: BaseException) -> str:
    """What a command said, without Ray's trace."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
