"""python -m layerpress_ray SOURCE --out DIR --recipe R --workers N"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import ray

from .command import CommandDied, CommandFailed
from .driver import Driver, JobFailed
from .job import Job
from .tasks import resources

CHECKOUT = Path(__file__).resolve().parents[2]


def read_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m layerpress_ray",
        description="Compresses a model with Layerpress, its parts as tasks on Ray.",
        epilog="What follows -- is handed to npm run compress as it is: -- --no-propagate-error --samples 512",
    )
    parser.add_argument("source", help="a Hub id, a URL, or a folder that all nodes see at the same path")
    parser.add_argument("--out", required=True, type=Path, help="folder for the model, which all nodes see at the same path")
    parser.add_argument("--recipe", default="W4A16", help="as npm run compress takes it")
    parser.add_argument("--calibration", type=Path, help="text for recipes that calibrate, which all nodes see")
    parser.add_argument("--workers", type=int, default=1, help="tasks at a time, each with a GPU of its own; what belongs to no layer is made beside one of them")
    parser.add_argument("--parts", type=int, help="ranges of layers, also where workers would share samples; as many as there are workers if not given")
    parser.add_argument("--address", help="a running cluster; without it, Ray starts on this machine")
    parser.add_argument("--layerpress", type=Path, default=CHECKOUT, help="checkout of Layerpress, at the same path on all nodes")
    parser.add_argument("--launcher", help="words in front of each command that show it one GPU; {gpu} is its number")
    parser.add_argument("--software", action="store_true", help="computes on processors: tasks ask for no GPU")
    parser.add_argument("--retries", type=int, default=3, help="further attempts of a task that died")
    parser.add_argument("--keep-parts", action="store_true", help="leaves the parts when they are merged")
    parser.add_argument("--json", action="store_true", help="a result in JSON as the last line")
    arguments = sys.argv[1:] if arguments is None else arguments
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parsed = parser.parse_args(arguments[:cut])
    parsed.options = tuple(arguments[cut + 1 :])
    for name in ("workers", "parts"):
        value = getattr(parsed, name)
        if value is not None and value < 1:
            parser.error(f"--{name} {value} is no number of {name}.")
    return parsed


def job_of(parsed: argparse.Namespace) -> Job:
    local = Path(parsed.source)
    return Job(
        source=str(local.resolve()) if local.exists() else parsed.source,
        out=parsed.out.resolve(),
        recipe=str(Path(parsed.recipe).resolve()) if parsed.recipe.endswith((".yaml", ".yml")) else parsed.recipe,
        calibration=parsed.calibration.resolve() if parsed.calibration else None,
        options=parsed.options,
        layerpress=parsed.layerpress.resolve(),
    )


def connect(parsed: argparse.Namespace) -> None:
    """Joins the cluster, or starts Ray here. Tasks find this package where the driver does."""
    package = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join(path for path in (package, os.environ.get("PYTHONPATH")) if path)
    own: dict[str, Any] = {} if parsed.address else {"include_dashboard": False}
    if parsed.software and not parsed.address:
        own["num_cpus"] = parsed.workers
    ray.init(
        # Not one that happens to run here.
        address=parsed.address or "local",
        runtime_env={"env_vars": {"PYTHONPATH": paths}},
        log_to_driver=False,
        logging_level=logging.ERROR,
        **own,
    )
    if not parsed.software and resources("GPU") < 1:
        raise JobFailed("Ray knows of no GPU here. Start its nodes with --num-gpus, or compute on processors with --software.")


def interrupt(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(number)


def main(arguments: list[str] | None = None) -> int:
    parsed = read_arguments(arguments)
    job = job_of(parsed)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        connect(parsed)
        driver = Driver(
            job,
            workers=parsed.workers,
            parts=parsed.parts,
            software=parsed.software,
            launcher=parsed.launcher,
            retries=parsed.retries,
            keep_parts=parsed.keep_parts,
        )
        answer = driver.run()
    except KeyboardInterrupt:
        print(f"\nStopped. What was finished is kept in {job.parts_folder}; the same command goes on from there.", file=sys.stderr)
        return 130
    except (JobFailed, CommandFailed, CommandDied) as error:
        print(f"\n{error}", file=sys.stderr)
        if parsed.json:
            print(json.dumps({"ok": False, "error": {"name": type(error).__name__, "message": str(error)}}))
        return 1
    finally:
        ray.shutdown()
    print(f"Wrote {len(answer['files'])} files to {job.out}.")
    if "moved" in answer:
        print(f"Between the workers went {answer['moved'] / 1e6:,.1f} MB.")
    if parsed.json:
        print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
