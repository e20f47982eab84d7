"""Whole jobs on a Ray of this machine: two workers, tiny models, a software GPU."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from layerpress_ray.__main__ import CHECKOUT
from layerpress_ray.command import run_command
from layerpress_ray.driver import Driver, JobFailed
from layerpress_ray.job import Division, Job

MODEL = CHECKOUT / "e2e/fixtures/architectures/llama"
# They tell of times.
UNEQUAL = {"quantization-report.json"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    package = str(Path(__file__).resolve().parents[1])
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": package}})
    yield
    ray.shutdown()


def job(out: Path, recipe: str = "W8A8", *options: str, calibration: Path | None = None) -> Job:
    return Job(str(MODEL), out, recipe, calibration, options, CHECKOUT)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name not in UNEQUAL}


def undivided(asked: Job) -> dict[str, bytes]:
    run_command(asked.compress("--out", str(asked.out)), lambda line: None)
    return contents(asked.out)


def undivided_folder(asked: Job) -> Path:
    undivided(asked)
    return asked.out


def loss(folder: Path) -> float:
    report = json.loads((folder / "quantization-report.json").read_text())
    return float(sum(module["loss"] for module in report["modules"]))


def driver(asked: Job, **options: object) -> Driver:
    return Driver(asked, workers=2, software=True, out=io.StringIO(), **options)  # type: ignore[arg-type]


def kill_a_worker(folder: Path, part: str) -> bool:
    """Kills the Ray worker, not its command, of a part that is at work; false if there is none."""
    for lock in folder.glob(f"{part}*/*/.layerpress/lock"):
        try:
            command = json.loads(lock.read_text())["pid"]
            status = Path(f"/proc/{command}/stat").read_text()
        except (OSError, ValueError):
            continue
        os.kill(int(status.rsplit(")", 1)[1].split()[1]), signal.SIGKILL)
        return True
    return False


def kill_workers(folder: Path, *parts: str) -> threading.Thread:
    """Kills a worker of each kind of part, as soon as one is at work."""

    def kill() -> None:
        end = time.monotonic() + 120
        for part in parts:
            while not kill_a_worker(folder, part) and time.monotonic() < end:
                time.sleep(0.02)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def test_parts_make_the_undivided_job_byte_for_byte_although_a_worker_is_killed(cluster: None, tmp_path: Path) -> None:
    asked = job(tmp_path / "parts")
    killing = kill_workers(asked.parts_folder, "layers")
    driver(asked).run()
    killing.join()
    assert contents(asked.out) == undivided(job(tmp_path / "whole"))
    assert not (asked.out / ".layerpress-parts").exists()


def begin_with_states(of: Callable[[dict[str, object]], Division]) -> Callable[[dict[str, object]], Division]:
    """Plans of few layers never want a first pass: here they do."""
    return lambda plan: of({**plan, "statesAt": [1]})


def test_calibrated_ranges_make_the_undivided_job_although_a_worker_is_killed_in_each_phase(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibration = tmp_path / "ids.json"
    calibration.write_text(json.dumps([[(7 * at + 3 * own) % 256 for at in range(40)] for own in range(4)]))

    def gptq(out: Path) -> Job:
        return job(out, "gptq-W8A8", "--no-propagate-error", calibration=calibration)

    whole = undivided(gptq(tmp_path / "whole"))
    own = gptq(tmp_path / "own")
    killing = kill_workers(own.parts_folder, "layers-1..1")
    driver(own, parts=2).run()
    killing.join()
    assert contents(own.out) == whole
    begun = gptq(tmp_path / "begun")
    monkeypatch.setattr(Division, "of", begin_with_states(Division.of))
    killing = kill_workers(begun.parts_folder, "states", "layers")
    driver(begun, parts=2).run()
    killing.join()
    assert contents(begun.out) == whole


def test_shared_samples_give_the_same_bytes_for_any_number_of_workers_although_one_is_killed(
    cluster: None, tmp_path: Path
) -> None:
    calibration = tmp_path / "ids.json"
    calibration.write_text(json.dumps([[(7 * at + 3 * own) % 256 for at in range(40)] for own in range(6)]))

    def gptq(out: str) -> Job:
        return job(tmp_path / out, "gptq-W4A16", "--group-size", "32", calibration=calibration)

    alone = gptq("alone")
    Driver(alone, workers=1, software=True, out=io.StringIO()).run()
    # Receipts say how many shares there were.
    expected = {**contents(alone.out), "receipt.json": b""}
    asked = gptq("shared")
    killing = kill_workers(asked.parts_folder, "share-2")
    answer = driver(asked).run()
    killing.join()
    assert {**contents(asked.out), "receipt.json": b""} == expected
    assert answer["moved"] > 0
    assert loss(asked.out) == pytest.approx(loss(undivided_folder(gptq("whole"))), rel=1e-3)


def test_shared_samples_give_the_undivided_job_where_no_error_goes_on_although_a_worker_is_killed(
    cluster: None, tmp_path: Path
) -> None:
    calibration = tmp_path / "ids.json"
    calibration.write_text(json.dumps([[(7 * at + 3 * own) % 256 for at in range(40)] for own in range(6)]))

    def gptq(out: str) -> Job:
        options = ("--group-size", "32", "--no-propagate-error")
        return job(tmp_path / out, "gptq-W4A16", *options, calibration=calibration)

    whole = {**contents(undivided_folder(gptq("whole"))), "receipt.json": b""}
    asked = gptq("shared")
    killing = kill_workers(asked.parts_folder, "share-2")
    answer = driver(asked).run()
    killing.join()
    assert answer["moved"] > 0
    assert {**contents(asked.out), "receipt.json": b""} == whole


def test_what_cannot_be_made_is_told(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="cannot be planned: .*W99"):
        driver(job(tmp_path / "none", "W99")).run()
