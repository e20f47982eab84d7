"""What nodes and people do to a job, with a command that takes no time: two nodes of a Ray of this machine."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from layerpress_ray.driver import Driver, JobFailed
from layerpress_ray.job import Job
from layerpress_ray.tasks import other_node

PACKAGE = Path(__file__).resolve().parents[1]
# Tells beside its source that it ran; what it does then, a file there says by part.
COMMAND = """
import fs from "node:fs";
const [source, ...args] = process.argv.slice(2);
const said = (word) => args[args.indexOf(word) + 1];
if (args.includes("--plan")) {
  const parts = [{ layers: "0..0" }, { layers: "1..1" }, { layers: "rest" }];
  console.log(JSON.stringify({ ok: true, by: "bytes", batches: 0, independent: true, shares: 0, statesAt: [], parts }));
} else {
  const log = `${source}/${said("--layers")}`;
  fs.mkdirSync(said("--out"), { recursive: true });
  fs.appendFileSync(log, "ran\\n");
  const faults = JSON.parse(fs.readFileSync(`${source}/faults.json`, "utf8"));
  const fault = faults[said("--layers")] ?? "";
  const attempt = fs.readFileSync(log, "utf8").trim().split("\\n").length;
  if (fault === "full" || (fault === "full once" && attempt === 1)) {
    const error = { name: "StorageError", message: "The disk of this node is full." };
    console.log(JSON.stringify({ ok: false, error }));
  } else if (fault === "slow") {
    setInterval(() => {}, 1000);
  } else console.log(JSON.stringify({ ok: true }));
}
"""
MERGE = 'console.log(JSON.stringify({ ok: true, files: process.argv.slice(2, -3) }));'


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": str(PACKAGE)}})
    yield cluster
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]


def job(folder: Path, faults: str) -> Job:
    (folder / "scripts").mkdir()
    (folder / "scripts/compress.mjs").write_text(COMMAND)
    (folder / "scripts/merge.mjs").write_text(MERGE)
    (folder / "source").mkdir()
    (folder / "source/faults.json").write_text(faults)
    return Job(str(folder / "source"), folder / "out", "W8A8", None, (), folder)


def driver(asked: Job, retries: int = 3) -> Driver:
    return Driver(asked, workers=2, software=True, out=io.StringIO(), retries=retries)


def runs(asked: Job, layers: str) -> int:
    return len((Path(asked.source) / layers).read_text().split())


def test_a_part_is_made_on_another_node_where_one_has_a_full_disk(
    nodes: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves: list[tuple[str, str]] = []

    def other(node: str, attempt: int) -> Any:
        where = other_node(node, attempt)
        moves.append((node, where.node_id))
        return where

    monkeypatch.setattr("layerpress_ray.driver.other_node", other)
    asked = job(tmp_path, '{"1..1": "full once"}')
    assert len(driver(asked).run()["files"]) == 3
    [(failed, chosen)] = moves
    known = {str(node["NodeID"]) for node in ray.nodes()}  # type: ignore[no-untyped-call]
    assert failed != chosen and {failed, chosen} <= known
    assert (runs(asked, "1..1"), runs(asked, "0..0")) == (2, 1)


def test_what_no_node_can_make_is_named_and_what_was_made_is_not_made_again(nodes: Cluster, tmp_path: Path) -> None:
    asked = job(tmp_path, '{"1..1": "full"}')
    with pytest.raises(JobFailed, match="2 of 3 parts are made .* layers 1..1: The disk of this node is full"):
        driver(asked, retries=1).run()
    assert runs(asked, "1..1") == 2
    (tmp_path / "source/faults.json").write_text("{}")
    assert len(driver(asked).run()["files"]) == 3
    assert runs(asked, "0..0") == 1


def test_an_interrupted_driver_ends_and_says_how_to_go_on(nodes: Cluster, tmp_path: Path) -> None:
    asked = job(tmp_path, '{"1..1": "slow"}')
    words = [asked.source, "--out", str(asked.out), "--recipe", "W8A8", "--layerpress", str(tmp_path), "--software"]
    command = [sys.executable, "-m", "layerpress_ray", *words, "--workers", "2", "--address", nodes.address]
    run = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(PACKAGE)}, stderr=subprocess.PIPE, text=True)
    await_files(tmp_path / "source/1..1", tmp_path / "source/rest")
    run.send_signal(signal.SIGINT)
    _, told = run.communicate(timeout=120)
    assert run.returncode == 130 and "the same command goes on from there" in told


def await_files(*paths: Path) -> None:
    end = time.monotonic() + 120
    while not all(path.exists() for path in paths):
        assert time.monotonic() < end, f"{paths} did not appear"
        time.sleep(0.05)
