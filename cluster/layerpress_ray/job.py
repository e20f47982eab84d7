"""What a job is, and the commands of Layerpress that its tasks run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

PARTS_FOLDER = ".layerpress-parts"


@dataclass(frozen=True)
class Job:
    """A model to compress, and how."""

    source: str
    out: Path
    recipe: str
    calibration: Path | None
    # Options of `npm run compress` that are handed on as they are.
    options: tuple[str, ...]
    # Checkout of Layerpress, at the same path on every node.
    layerpress: Path

    def arguments(self) -> list[str]:
        """What every command of this job has in common."""
        given = ["--calibration", str(self.calibration)] if self.calibration else []
        return [self.source, "--recipe", self.recipe, *given, *self.options]

    @property
    def parts_folder(self) -> Path:
        """Where parts lie until they are merged. Other options make other parts, which must not meet these."""
        digest = hashlib.sha256(json.dumps(self.arguments()).encode()).hexdigest()[:12]
        return self.out / PARTS_FOLDER / digest

    def compress(self, *arguments: str) -> list[str]:
        return ["node", str(self.layerpress / "scripts/compress.mjs"), *self.arguments(), *arguments, "--json"]

    def merge(self, parts: list[Path]) -> list[str]:
        folders = [str(part) for part in parts]
        return ["node", str(self.layerpress / "scripts/merge.mjs"), *folders, "--out", str(self.out), "--json"]

    def shares(self, count: int) -> "list[Part]":
        """The whole job, its samples shared by commands that run side by side; the first one writes the result."""
        exchange = str(self.parts_folder / "exchange")
        return [
            Part(f"share {share} of {count}", ("--share", f"{share}/{count}", "--exchange", exchange))
            for share in range(1, count + 1)
        ]


@dataclass(frozen=True)
class Part:
    """A task of a job: a range of layers, the rest, a share of the hidden states that ranges begin with, or of all samples."""

    # "layers 0..3", "rest", "states 1 of 2", "share 1 of 2", for people.
    name: str
    # What is added to the job's command.
    arguments: tuple[str, ...]
    # True of what is copied in a tenth of a range's time: it takes no worker, but runs beside one.
    beside: bool = False

    def folder(self, job: Job) -> Path:
        return job.parts_folder / self.name.replace(" ", "-")


@dataclass(frozen=True)
class Division:
    """Ranges of layers as `--plan` prints them."""

    ranges: tuple[str, ...]
    # Layers that a range begins at with hidden states of a first pass; none where each brings its samples there itself.
    states_at: tuple[int, ...]
    # Between them, samples are cut into shares.
    batches: int
    # False where ranges cannot be done apart, because each layer depends on what became of those before it.
    independent: bool
    # Into how many shares samples of the whole job can be cut at most; 0 where the recipe does not share them.
    most_shares: int

    @staticmethod
    def of(plan: dict[str, object]) -> "Division":
        parts = plan["parts"]
        assert isinstance(parts, list)
        ranges = tuple(str(part["layers"]) for part in parts if part["layers"] != "rest")
        batches, states_at, shares = plan["batches"], plan["statesAt"], plan["shares"]
        assert isinstance(batches, int) and isinstance(states_at, list) and isinstance(shares, int)
        return Division(ranges, tuple(int(layer) for layer in states_at), batches, bool(plan["independent"]), shares)

    def states(self, workers: int) -> list[Part]:
        """The first forward pass, its samples cut into a share for each worker; no parts where no range wants states."""
        shares = min(workers, self.batches) if self.states_at else 0
        arguments = ("--states-at", ",".join(str(layer) for layer in self.states_at))
        return [
            Part(f"states {share} of {shares}", (*arguments, "--samples-of", f"{share}/{shares}"))
            for share in range(1, shares + 1)
        ]

    def parts(self, states: list[Path]) -> list[Part]:
        begin = tuple(word for folder in states for word in ("--from-states", str(folder)))
        layers = [Part(f"layers {range_}", ("--layers", range_, *begin)) for range_ in self.ranges]
        return [*layers, Part("rest", ("--layers", "rest"), beside=True)]
