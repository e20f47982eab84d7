"""One GPU for a command.

Chromium computes through Vulkan, which knows nothing of CUDA_VISIBLE_DEVICES: every page would take the first GPU of its
machine. The Vulkan loader's own choice (VK_LOADER_DEVICE_SELECT, VK_LOADER_DEVICE_ID_FILTER) goes by the model of a GPU, so that
equal ones cannot be told apart. What is left is to show a process one GPU only: in a container, or with a /dev of its own.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path


class GpuChoiceError(RuntimeError):
    """A node has several GPUs and no way to give a page one of them."""


def nvidia_gpus(dev: Path = Path("/dev")) -> list[int]:
    """Numbers of the NVIDIA GPUs that this process sees."""
    found = (re.fullmatch(r"nvidia(\d+)", node.name) for node in dev.glob("nvidia*"))
    return sorted(int(match[1]) for match in found if match)


def with_gpu(command: list[str], gpu: str, launcher: str | None, dev: Path = Path("/dev")) -> list[str]:
    """The command, in front of it what shows it this GPU alone.

    gpu is the number that Ray assigned, launcher a template whose words stand in front of the command, with {gpu} for the number.
    Raises GpuChoiceError where neither is at hand and the machine shows more than one GPU.
    """
    if launcher is not None:
        return [*(word.replace("{gpu}", gpu) for word in launcher.split()), *command]
    if len(nvidia_gpus(dev)) < 2:
        return command
    if shutil.which("bwrap") is None:
        raise GpuChoiceError(
            f"This machine shows {len(nvidia_gpus(dev))} NVIDIA GPUs, and Vulkan would give every task the first. Install"
            " bubblewrap (bwrap), run a Ray worker a container with one GPU each, or name a --launcher."
        )
    return [*bubblewrap(gpu, dev), *command]


def bubblewrap(gpu: str, dev: Path = Path("/dev")) -> list[str]:
    """Words that run a command with a /dev that has one GPU."""
    shared = [node for node in sorted(dev.glob("nvidia*")) if not re.fullmatch(r"nvidia\d+", node.name)]
    nodes = [dev / f"nvidia{gpu}", *shared]
    binds = [word for node in nodes for word in ("--dev-bind", str(node), str(node))]
    memory = ["--dev-bind", str(dev / "shm"), str(dev / "shm")]
    return ["bwrap", "--dev-bind", "/", "/", "--dev", str(dev), *binds, *memory, "--die-with-parent"]
