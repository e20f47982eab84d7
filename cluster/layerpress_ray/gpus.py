"""One GPU for a command.

Chromium computes through Vulkan, which knows nothing of CUDA_VISIBLE_DEVICES: every page would take the first GPU of its
machine. The Vulkan loader's own choice (VK_LOADER_DEVICE_SELECT, VK_LOADER_DEVICE_ID_FILTER) goes by the model of a GPU, so that
equal ones cannot be told apart. What is left is to show a process one GPU only: in a container, with a library that hides the others,
or with a /dev of its own.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

HIDING = Path(__file__).with_name("hide_gpus.c")


class GpuChoiceError(RuntimeError):
    """A node has several GPUs and no way to give a page one of them."""


def nvidia_gpus(dev: Path = Path("/dev")) -> list[int]:
    """Numbers of the NVIDIA GPUs that this process sees."""
    found = (re.fullmatch(r"nvidia(\d+)", node.name) for node in dev.glob("nvidia*"))
    return sorted(int(match[1]) for match in found if match)


def with_gpu(command: list[str], gpu: str, launcher: str | None, dev: Path = Path("/dev")) -> list[str]:
    """The command, in front of it what shows it this GPU alone.

    gpu is the number that Ray assigned, launcher a template whose words stand in front of the command, with {gpu} for the number.
    Raises GpuChoiceError where nothing is at hand that shows one GPU and the machine shows more.
    """
    if launcher is not None:
        return [*(word.replace("{gpu}", gpu) for word in launcher.split()), *command]
    if len(nvidia_gpus(dev)) < 2:
        return command
    if shutil.which("cc") is not None:
        return [*hiding(gpu, dev), *command]
    if shutil.which("bwrap") is not None:
        return [*bubblewrap(gpu, dev), *command]
    raise GpuChoiceError(
        f"This machine shows {len(nvidia_gpus(dev))} NVIDIA GPUs, and Vulkan would give every task the first. Install a C compiler"
        " (cc) or bubblewrap (bwrap), run a Ray worker a container with one GPU each, or name a --launcher."
    )


def hiding(gpu: str, dev: Path = Path("/dev")) -> list[str]:
    """Words that run a command to which the device files of other GPUs are not there.

    Raises GpuChoiceError where the library that does it cannot be compiled.
    """
    before = os.environ.get("LD_PRELOAD")
    preload = ":".join([str(compiled(HIDING)), *([before] if before else [])])
    return ["env", f"LD_PRELOAD={preload}", f"LAYERPRESS_GPU={gpu}", f"LAYERPRESS_GPU_NODES={dev}/nvidia"]


def compiled(source: Path) -> Path:
    """The shared library of a source file, compiled when it is first asked for."""
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "layerpress"
    library = cache / f"{source.stem}-{digest}-{os.uname().machine}.so"
    if library.exists():
        return library
    # Tasks of one node may come here at the same time.
    draft = library.with_suffix(f".{os.getpid()}")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(draft), str(source), "-ldl"]
        subprocess.run(command, check=True, capture_output=True, text=True)
        draft.replace(library)
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
        raise GpuChoiceError(f"{source} is to be compiled into {cache}, and cannot be: {said}. Name a --launcher instead.") from error
    return library


def bubblewrap(gpu: str, dev: Path = Path("/dev")) -> list[str]:
    """Words that run a command with a /dev that has one GPU."""
    shared = [node for node in sorted(dev.glob("nvidia*")) if not re.fullmatch(r"nvidia\d+", node.name)]
    nodes = [dev / f"nvidia{gpu}", *shared]
    binds = [word for node in nodes for word in ("--dev-bind", str(node), str(node))]
    memory = ["--dev-bind", str(dev / "shm"), str(dev / "shm")]
    return ["bwrap", "--dev-bind", "/", "/", "--dev", str(dev), *binds, *memory, "--die-with-parent"]
