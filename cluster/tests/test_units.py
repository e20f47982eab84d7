"""What needs neither Ray nor a browser."""

from __future__ import annotations

import _thread
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from layerpress_ray.__main__ import job_of, read_arguments
from layerpress_ray.command import CommandDied, CommandFailed, run_command
from layerpress_ray.driver import shares_samples, startable
from layerpress_ray.gpus import GpuChoiceError, nvidia_gpus, with_gpu
from layerpress_ray.job import Division
from layerpress_ray.tasks import remote_options


def nodes(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).touch()
    return folder


def test_ranges_begin_with_states_where_the_plan_says_so() -> None:
    parts = [{"layers": "0..1"}, {"layers": "2..3"}, {"layers": "rest"}]
    plan = {"batches": 2, "independent": True, "shares": 0, "parts": parts}
    begun = Division.of({**plan, "statesAt": [2]})
    states = begun.states(workers=4)
    assert [part.name for part in states] == ["states 1 of 2", "states 2 of 2"]
    assert states[1].arguments == ("--states-at", "2", "--samples-of", "2/2")
    made = begun.parts([Path("/s"), Path("/t")])
    assert [part.name for part in made] == ["layers 0..1", "layers 2..3", "rest"]
    assert made[1].arguments == ("--layers", "2..3", "--from-states", "/s", "--from-states", "/t")
    assert made[2].arguments == ("--layers", "rest")
    first, second, rest = made
    assert startable(made, [], workers=1) == [first, rest]
    assert startable([second], [first, rest], workers=1) == []
    assert startable([second], [rest], workers=1) == [second]
    alone = Division.of({**plan, "statesAt": []})
    assert alone.states(workers=4) == []
    assert [part.arguments for part in alone.parts([])] == [("--layers", "0..1"), ("--layers", "2..3"), ("--layers", "rest")]


def test_samples_are_shared_where_they_can_be_unless_ranges_are_asked_for() -> None:
    def shared(workers: int, *, independent: bool = True, most: int = 8, ranges: int | None = None, there: int = 4) -> bool:
        return shares_samples(Division((), (), 8, independent, most), workers, ranges=ranges, there=there)

    assert [shared(workers) for workers in (1, 2, 4, 5)] == [False, True, True, False]
    assert [shared(2, most=0), shared(4, most=3), shared(2, ranges=2)] == [False, False, False]
    assert shared(1, independent=False) and shared(8, independent=False)


def test_two_ranges_never_share_a_gpu_and_the_rest_finds_room_beside_one() -> None:
    layers, rest = remote_options(software=False, retries=0), remote_options(software=False, retries=0, beside=True)
    assert 2 * layers["num_gpus"] > 1 and layers["num_gpus"] + rest["num_gpus"] <= 1
    assert remote_options(software=True, retries=0, beside=True)["num_gpus"] == 0


def test_samples_are_shared_through_one_folder() -> None:
    job = job_of(read_arguments(["a/b", "--out", "o", "--recipe", "gptq-W4A16"]))
    shares = job.shares(2)
    assert [part.name for part in shares] == ["share 1 of 2", "share 2 of 2"]
    assert shares[1].arguments[:3] == ("--share", "2/2", "--exchange")
    assert shares[0].arguments[3] == shares[1].arguments[3]


def test_what_follows_two_dashes_is_handed_on(tmp_path: Path) -> None:
    parsed = read_arguments([str(tmp_path), "--out", "o", "--recipe", "gptq-W4A16", "--", "--no-propagate-error"])
    job = job_of(parsed)
    command = job.compress("--layers", "rest")
    assert command[2:] == [str(tmp_path), "--recipe", "gptq-W4A16", "--no-propagate-error", "--layers", "rest", "--json"]
    with pytest.raises(SystemExit):
        read_arguments(["a/b", "--out", "o", "--workers", "0"])


def test_other_options_make_other_parts() -> None:
    first = job_of(read_arguments(["a/b", "--out", "o", "--recipe", "W8A8"]))
    second = job_of(read_arguments(["a/b", "--out", "o", "--recipe", "W4A16"]))
    assert first.parts_folder != second.parts_folder


def test_a_command_gets_one_gpu_or_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = nodes(tmp_path, "nvidia0", "nvidiactl", "nvidia-uvm")
    assert nvidia_gpus(one) == [0]
    assert with_gpu(["run"], "0", None, one) == ["run"]
    several = nodes(tmp_path, "nvidia1", "nvidia12")
    assert nvidia_gpus(several) == [0, 1, 12]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GpuChoiceError, match="3 NVIDIA GPUs"):
        with_gpu(["run"], "1", None, several)
    assert with_gpu(["run"], "1", "sudo -n show --gpu {gpu}", several) == ["sudo", "-n", "show", "--gpu", "1", "run"]
    bwrap = tmp_path / "bwrap"
    bwrap.write_text("#!/bin/sh\n")
    bwrap.chmod(0o755)
    command = with_gpu(["run"], "1", None, several)
    assert command[0] == "bwrap" and command[-1] == "run"
    assert f"{several}/nvidia1" in command and f"{several}/nvidiactl" in command
    assert f"{several}/nvidia0" not in command and f"{several}/nvidia12" not in command


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler here")
def test_a_command_finds_no_device_file_of_another_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dev = nodes(tmp_path, "nvidia0", "nvidia1", "nvidia12", "nvidiactl")
    look = "for n in 0 1 12 ctl; do cat $0/nvidia$n 2>/dev/null && test -e $0/nvidia$n && stat $0/nvidia$n >/dev/null && echo $n; done"
    seen = subprocess.run(with_gpu(["sh", "-c", look, str(dev)], "1", None, dev), capture_output=True, text=True)
    assert seen.stdout.split() == ["1", "ctl"]


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler here")
def test_what_cannot_be_compiled_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(GpuChoiceError, match="is to be compiled into .*cache.*Name a --launcher"):
        with_gpu(["run"], "1", None, nodes(tmp_path, "nvidia0", "nvidia1"))


def say(line: str) -> list[str]:
    return ["sh", "-c", f"echo begun; echo '{line}'"]


def test_answers_and_failures_are_told_apart() -> None:
    lines: list[str] = []
    assert run_command(say('{"ok": true, "a": 1}'), lines.append) == {"ok": True, "a": 1}
    assert lines == ["begun"]
    with pytest.raises(CommandFailed, match="No such recipe"):
        run_command(say('{"ok": false, "error": {"name": "RecipeError", "message": "No such recipe"}}'), lines.append)
    with pytest.raises(CommandDied, match="full"):
        run_command(say('{"ok": false, "error": {"name": "StorageError", "message": "The disk is full"}}'), lines.append)
    with pytest.raises(CommandDied, match="out of memory"):
        run_command(["sh", "-c", "echo 'out of memory' >&2; kill -9 $$"], lines.append)


def test_a_command_does_not_outlive_the_process_that_runs_it(tmp_path: Path) -> None:
    script = f"""
        from layerpress_ray.command import run_command
        command = ["sh", "-c", "trap 'echo ended > {tmp_path}/ended; kill $!; exit' TERM; echo begun; mkfifo {tmp_path}/p; read x < {tmp_path}/p & wait"]
        run_command(command + [], lambda line: None)
    """
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    runner = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], env=env)
    wait_for(tmp_path / "p")
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    wait_for(tmp_path / "ended")


def test_a_command_that_says_nothing_is_ended_when_ray_interrupts_its_task(tmp_path: Path) -> None:
    def interrupt() -> None:
        wait_for(tmp_path / "begun")
        # What ray.cancel does in a worker.
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    quiet = f"trap 'echo ended > {tmp_path}/ended; kill $!; exit' TERM; mkfifo {tmp_path}/p; read x < {tmp_path}/p & touch {tmp_path}/begun; wait"
    with pytest.raises(KeyboardInterrupt):
        run_command(["sh", "-c", quiet], lambda line: None)
    assert (tmp_path / "ended").exists()


def wait_for(path: Path) -> None:
    import time

    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)


def test_the_example_of_a_cluster_file_is_what_ray_takes() -> None:
    import yaml
    from ray.autoscaler._private.util import prepare_config, validate_config

    text = (Path(__file__).parents[1] / "examples/ray-cluster.yaml").read_text()
    validate_config(prepare_config(yaml.safe_load(text)))
