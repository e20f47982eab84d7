"""Whole jobs on a Ray of this machine: two workers, tiny models, a software GPU."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from layerpress_ray.__main__ import CHECKOUT
from layerpress_ray.command import run_command
from layerpress_ray.driver import Driver, JobFailed
from layerpress_ray.job import Job

MODEL = CHECKOUT / "e2e/fixtures/architectures/llama"
# They tell of times.
UNEQUAL = {"quantization-report.json"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    package = str(Path(__file__).resolve().parents[1])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": package}})
    yield
    ray.shutdown()


def job(out: Path, recipe: str = "W8A8", *options: str, calibration: Path | None = None) -> Job:
    return Job(str(MODEL), out, recipe, calibration, options, CHECKOUT)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name not in UNEQUAL}


def undivided(asked: Job) -> dict[str, bytes]:
    run_command(asked.compress("--out", str(asked.out)), lambda line: None)
    return contents(asked.out)


def driver(asked: Job, **options: object) -> Driver:
    return Driver(asked, workers=2, software=True, out=io.StringIO(), **options)  # type: ignore[arg-type]


def kill_first_worker(folder: Path) -> threading.Thread:
    """Kills the Ray worker, not its command, of the first part that is at work."""

    def kill() -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            for lock in folder.glob("layers*/*/.layerpress/lock"):
                try:
                    command = json.loads(lock.read_text())["pid"]
                    status = Path(f"/proc/{command}/stat").read_text()
                except (OSError, ValueError):
                    continue
                os.kill(int(status.rsplit(")", 1)[1].split()[1]), signal.SIGKILL)
                return
            time.sleep(0.02)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def test_parts_make_the_undivided_job_byte_for_byte_although_a_worker_is_killed(cluster: None, tmp_path: Path) -> None:
    asked = job(tmp_path / "parts")
    killing = kill_first_worker(asked.parts_folder)
    driver(asked).run()
    killing.join()
    assert contents(asked.out) == undivided(job(tmp_path / "whole"))
    assert not (asked.out / ".layerpress-parts").exists()


def test_what_cannot_be_made_is_told(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="cannot be planned: .*W99"):
        driver(job(tmp_path / "none", "W99")).run()
