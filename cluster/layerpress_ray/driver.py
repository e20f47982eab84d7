"""Divides a job, hands its parts to Ray, and merges them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any, TextIO

import ray
from ray.exceptions import RayTaskError

from .command import CommandDied, run_command
from .job import PARTS_FOLDER, Division, Job, Part
from .tasks import ProgressBoard, finished, make_part, moved_bytes, other_node, plan, remote_options, resources

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
        self.ranges = parts
        self.launcher = launcher
        self.keep_parts = keep_parts
        self.out = out
        self.software = software
        self.kind = "CPU" if software else "GPU"
        self.retries = retries
        self.board: Any = ProgressBoard.remote()
        self.running: dict[Any, Part] = {}

    def run(self) -> dict[str, Any]:
        """Makes all parts that are not there yet and merges them; the merge's answer.

        Raises JobFailed with what is missing and why. An interruption cancels the tasks and is raised again.
        """
        try:
            division = self.divide()
            there = resources(self.kind)
            if shares_samples(division, self.workers, ranges=self.ranges, there=there):
                return self.share()
            states = division.states(self.workers)
            begun = self.make(states) if states else {}
            parts = division.parts([begun[share.name] for share in states])
            made = self.make(parts)
        except BaseException:
            self.cancel()
            raise
        answer = run_command(self.job.merge([made[part.name] for part in parts]), lambda line: None)
        self.clean()
        return answer

    def share(self) -> dict[str, Any]:
        """Runs a share of the samples on each worker, all of them side by side; what the first one wrote, and bytes moved."""
        self.check_room()
        parts = self.job.shares(self.workers)
        made = self.make(parts, together=True)
        result = made[parts[0].name]
        files = sorted(path.relative_to(result) for path in result.rglob("*") if path.is_file())
        for path in files:
            target = self.job.out / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(result / path, target)
        moved = sum(moved_bytes(self.job, part) for part in parts)
        self.clean()
        return {"ok": True, "files": [str(path) for path in files], "moved": moved}

    def check_room(self) -> None:
        """Shares wait for each other: none may wait for a node."""
        there = resources(self.kind)
        if there < self.workers:
            raise JobFailed(
                f"The recipe lets later layers see the error of earlier ones, so that {self.workers} workers share the samples and"
                f" run side by side, but Ray has {there} {self.kind}s. Ask for --workers {there}, or add nodes."
            )

    def clean(self) -> None:
        if not self.keep_parts:
            shutil.rmtree(self.job.parts_folder, ignore_errors=True)
            self.remove_if_empty(self.job.out / PARTS_FOLDER)

    def divide(self) -> Division:
        task = ray.remote(plan).options(**remote_options(self.software, self.retries), retry_exceptions=[CommandDied])
        reference = task.remote(self.job, self.ranges or self.workers, self.launcher)
        self.running = {reference: Part("plan", ())}
        try:
            return Division.of(ray.get(reference))
        except RayTaskError as error:
            raise JobFailed(f"The job cannot be planned: {reason(error)}") from error
        finally:
            self.running = {}

    def make(self, parts: list[Part], together: bool = False) -> dict[str, Path]:
        """Makes parts, at most as many at a time as there are workers and those that run beside them; their folders by name.

        Of parts that are made together, none is any use without the others: where one fails, all end.
        """
        made = {part.name: folder for part in parts if (folder := finished(self.job, part))}
        waiting = [part for part in parts if part.name not in made]
        failures: dict[str, str] = {}
        died: dict[str, int] = {}
        while waiting or self.running:
            for part in startable(waiting, list(self.running.values()), self.workers):
                waiting.remove(part)
                self.start(part)
            ended, _ = ray.wait(list(self.running), timeout=POLL_SECONDS)
            for reference in ended:
                part = self.running.pop(reference)
                try:
                    made[part.name] = ray.get(reference)
                except Exception as error:
                    attempt = died[part.name] = died.get(part.name, 0) + 1
                    cause = cause_of(error)
                    if isinstance(cause, CommandDied) and attempt <= self.retries:
                        self.start(part, other_node(cause.node, attempt))
                    else:
                        failures[part.name] = reason(error)
            self.show(parts, made, failures)
            if together and failures:
                self.cancel()
        self.out.write("\n")
        if failures:
            missing = "; ".join(f"{name}: {why}" for name, why in failures.items())
            raise JobFailed(
                f"{len(made)} of {len(parts)} parts are made and kept in {self.job.parts_folder}. Missing are {missing}"
                " The same command makes what is missing."
            )
        return made

    def start(self, part: Part, where: Any = "DEFAULT") -> None:
        part.folder(self.job).mkdir(parents=True, exist_ok=True)
        options = remote_options(self.software, self.retries, part.beside)
        task = ray.remote(make_part).options(**options, scheduling_strategy=where)
        self.running[task.remote(self.job, part, self.launcher, self.board)] = part

    def show(self, parts: list[Part], made: dict[str, Path], failures: dict[str, str]) -> None:
        """One bar for all parts; each counts alike."""
        told: dict[str, tuple[int, int, str]] = dict(ray.get(self.board.snapshot.remote()))
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


def shares_samples(division: Division, workers: int, *, ranges: int | None, there: int) -> bool:
    """True where ranges cannot be done apart, or are slower: of shares, nobody runs samples through layers of another one.

    Ranges that are asked for are ranges, and so is what as many workers as that cannot share side by side on what is there.
    """
    return not division.independent or (ranges is None and 1 < workers <= min(division.most_shares, there))


def startable(waiting: list[Part], running: list[Part], workers: int) -> list[Part]:
    """Of parts that wait, as many as workers are free, and those that take none."""
    free = workers - sum(not part.beside for part in running)
    others = [part for part in waiting if not part.beside]
    return [*others[:free], *(part for part in waiting if part.beside)]


def cause_of(error: BaseException) -> BaseException:
    """What was raised on the node."""
    return error.cause if isinstance(error, RayTaskError) else error


def reason(error: BaseException) -> str:
    """What a command said, without Ray's trace."""
    cause = cause_of(error)
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
