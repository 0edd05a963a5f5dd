"""The estimate of a training's time and memory, and the choice of a recipe for a folder of pictures."""

from __future__ import annotations

import copy
import math
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch
from accelerate import Accelerator

from sfumato.files import Facts, Json
from sfumato.pictures.stored import Store
from sfumato.recipe.recipe import Recipe
from sfumato.recipe.sections import Data
from sfumato.training.ema import PowerEMA
from sfumato.training.optimizer import optimizer_for
from sfumato.training.task import Task, generator_for

MOST_THREADS = 8  # small networks gain nothing from more
FEW = 5000  # with fewer pictures a model tends to memorise them


@dataclass(frozen=True)
class Estimate:
    """images_per_second of training; seconds: of the whole training; memory: peak in bytes."""

    images_per_second: float
    seconds: float
    memory: int

    def of_length(self, images: int) -> Estimate:
        """The same for another length in images."""
        return Estimate(self.images_per_second, images / self.images_per_second, self.memory)

    def to_json(self) -> dict[str, float]:
        return {"seconds": self.seconds, "images_per_second": self.images_per_second, "bytes": self.memory}


@dataclass(frozen=True)
class Plan:
    """The plan of a job: data, settings, and the estimate of time and memory.

    folder: of the run; lines: the plan as text; warnings: one line each; facts: further keys of `--dry-run --json`.
    """

    folder: Path
    lines: tuple[str, ...]
    estimate: Estimate
    warnings: tuple[str, ...] = ()
    facts: Facts = field(default_factory=dict)

    def to_json(self) -> Json:
        estimate = self.estimate.to_json()
        return {"folder": str(self.folder), **self.facts, "estimate": estimate, "warnings": list(self.warnings)}


def estimate(task: Task, recipe: Recipe, accelerator: Accelerator, steps: int = 3) -> Estimate:
    """Time a few steps on a copy of the network."""
    s = recipe.train
    device = accelerator.device
    net = copy.deepcopy(task.net).to(device)
    if s.precision == "fp64":
        net.double()
    optimizer = optimizer_for(net, s, precision=accelerator.mixed_precision)
    ema = PowerEMA(net, s.ema)
    piece = max(1, s.batch // (accelerator.num_processes * s.accumulate))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = []
    with HighWater() as held:
        for k in range(steps):
            start = time.perf_counter()
            part = {key: value[:piece] for key, value in task.draw(0, s.batch, generator_for(0, k)).items()}
            with accelerator.autocast():
                loss = task.loss(net, part).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            ema.update(s.batch, s.batch)
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    rate = piece * accelerator.num_processes / min(times[1:])
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else held.most
    return Estimate(rate, s.images / rate, peak)


class HighWater:
    """Within the block measures the peak memory of this process every 5 ms: `most`, in bytes."""

    def __enter__(self) -> HighWater:
        self.most, self._process, self._over = 0, psutil.Process(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.most = max(self.most, self._process.memory_info().rss)
            if self._over.wait(0.005):
                return


def settle_threads(device: str, earlier: int | None) -> None:
    """Set the threads that torch uses on a CPU: what an earlier start of the run used, else all cores, eight at most.

    The number of threads changes the order of sums and so the last bits of results. Therefore it does not depend on
    timing: equal commands on one machine give equal files. OMP_NUM_THREADS takes precedence.
    """
    if device == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(earlier or min(torch.get_num_threads(), MOST_THREADS))


def for_folder(folder: str, store: Store, data: Data, device: str) -> Recipe:
    """Network, batch and regularisation for a folder of pictures; `length` sets the length when the speed is known.

    The network is larger on a GPU.
    """
    count, side = len(store.train), max(store.shape[1:])
    preset = ("large" if count > 20_000 else "medium") if device != "cpu" else "small"
    half, quarter = (32, 64) if device == "cpu" else (64, 128)
    changes: dict[str, object] = {
        "net.preset": preset,
        "net.stem": 1 if side < half else 2 if side < quarter else 4,
        "judge.n": max(2, min(5000, count)),
    }
    if (
        device == "cpu"
    ):  # for an hour: many small steps, and a target without noise, which a small network learns faster
        changes |= {"train.batch": 32, "noise.prediction": "x0", "noise.weighting": "uniform"}
        changes["noise.sigma_min"] = 0.02  # training has hardly any levels below, and x0 networks draw speckles there
    else:
        changes |= {"train.batch": 256, "net.dropout": 0.1 if count < FEW else 0.0}
    return Recipe(about=f"{count} pictures of {folder}", data=data).with_(changes)


def length(count: int, images_per_second: float, device: str) -> int:
    """The length in images: an hour on a CPU, three on a GPU, at most 400 passes, at least 20,000 images."""
    seconds = 3600 if device == "cpu" else 3 * 3600
    most = min(images_per_second * seconds, 400 * count)
    rounded = 10 ** math.floor(math.log10(max(most, 1))) / 10
    return max(20_000, int(most // rounded * rounded))
