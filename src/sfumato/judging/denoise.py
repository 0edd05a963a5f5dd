"""The verdict on a denoiser: PSNR and SSIM on held-out pictures, in the different conventions of papers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from sfumato import registry
from sfumato.denoising.denoise import anysize, best, mirrored
from sfumato.denoising.levels import level_of_pictures
from sfumato.diffusion.level import Level
from sfumato.errors import UserError
from sfumato.files import Json
from sfumato.judging import repeat
from sfumato.judging.noisy import Noisy
from sfumato.judging.stats import Interval, mean_interval
from sfumato.judging.unseen import unseen
from sfumato.models.model import Model
from sfumato.pictures.pixels import from_uint8, psnr
from sfumato.progress import Progress, Stop, phase, phases
from sfumato.zoo import opened

BATCH = 250
EXACT = 1e-20  # a mean squared error below which PSNR does not grow
SHOWN = 16


@dataclass(frozen=True)
class Fidelity:
    """PSNR and SSIM of pictures in [0, 1] to the true ones.

    per_image: mean over pictures of each one's PSNR; of_mean: PSNR of the mean squared error over all of them, always
    lower; uniform7: SSIM with a uniform 7 x 7 window, scikit-image's default; gauss11: with a Gaussian of 1.5 pixels on
    11 x 11, as Wang et al. 2004 have it. Data range 1, colours averaged.
    """

    per_image: Interval
    of_mean: float
    uniform7: Interval
    gauss11: Interval

    def to_json(self) -> Json:
        return {
            "psnr": {"per_image": self.per_image.value, "of_mean": self.of_mean, "interval": self.per_image.to_json()},
            "ssim": {
                "uniform7": self.uniform7.value,
                "gauss11": self.gauss11.value,
                "intervals": {"uniform7": self.uniform7.to_json(), "gauss11": self.gauss11.to_json()},
            },
        }


@dataclass(frozen=True)
class DenoiseVerdict:
    """The results on n pictures with noise `sigma` (in [0, 1] scale), beside those of the noisy pictures.

    sigma_read: mean and standard deviation of the levels that a blind model read; mirror: see `denoise.mirrored`;
    command: repeats it, "" if it was not made by `judge_denoised`.
    """

    denoised: Fidelity
    noisy: Fidelity
    n: int
    sigma: float
    clip: bool
    blind: bool
    ms_per_picture: float
    sigma_read: tuple[float, float] | None
    pictures: dict[str, Tensor]
    mirror: bool = False
    command: str = ""

    def to_json(self) -> Json:
        read = None if self.sigma_read is None else {"mean": self.sigma_read[0], "std": self.sigma_read[1]}
        return {
            **self.denoised.to_json(), "noisy": self.noisy.to_json(), "n": self.n, "sigma": self.sigma,
            "clip": self.clip, "blind": self.blind, "mirror": self.mirror, "sigma_read": read,
            "ms_per_picture": self.ms_per_picture,
        }  # fmt: skip

    def words(self) -> str:
        p, s = self.denoised.per_image, self.denoised.uniform7
        kind = "clipped to the pictures' range" if self.clip else "not clipped"
        level = "estimated from each picture" if self.blind else "given"
        level += ", averaged with the mirrored picture" if self.mirror else ""
        return (
            f"{p.value:.2f} dB (95% interval {p.low:.2f} to {p.high:.2f}) and SSIM {s.value:.3f} on {self.n:,} "
            f"held-out pictures with noise of sigma {self.sigma:g}, {kind}, the level {level}; the noisy ones have "
            f"{self.noisy.per_image.value:.2f} dB and {self.noisy.uniform7.value:.3f}. The PSNR of the mean error is "
            f"{self.denoised.of_mean:.2f} dB, SSIM with a Gaussian window {self.denoised.gauss11.value:.3f}."
        )


def judge_denoised(
    name: str | Path | Model,
    noisy: Noisy = Noisy(),
    *,
    n: int | None = None,
    data: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    stop: Stop | None = None,
    given: str = "",
) -> DenoiseVerdict:
    """Clean n held-out pictures (None: all) to which noise was added.

    given: the name of a model that is loaded, for the command that repeats this.
    data: a source in place of the model's own; a folder of which nothing was trained on is used whole, see `unseen`.
    Picture k has the noise of seed + k in every model and batch. Raises UserError, Stopped.
    """
    noisy.check()
    registry.trust(data)
    model = opened(name, progress, stop)
    cleaner = model.cleaner()
    if noisy.blind and cleaner.part is None:
        raise UserError(f"{model.name} cannot estimate the noise level: leave --blind out")
    pictures = unseen(model, data, n, phase("pictures", progress, stop))
    read: list[float] = []

    def cleaned(y: Tensor) -> Tensor:
        y = y.to(model.device)
        with torch.inference_mode():
            level = level_of_pictures(cleaner, y) if noisy.blind else Level.of(2 * noisy.sigma)
            read.extend((level.sigma / 2).tolist() if noisy.blind else [])
            run = mirrored(anysize(cleaner, y)) if noisy.mirror else anysize(cleaner, y)
            return best(cleaner, run, y, level, noisy.clip, noisy.correct).clamp(-1, 1).cpu()

    found = measure_cleaner(pictures, cleaned, noisy.sigma, noisy.clip, n, seed, progress, stop)
    spread = (float(np.mean(read)), float(np.std(read))) if read else None
    command = repeat.denoised(given or name, noisy, found.n, data, seed)
    return replace(found, blind=noisy.blind, mirror=noisy.mirror, sigma_read=spread, command=command)


def measure_cleaner(
    pictures: Tensor,
    clean: Callable[[Tensor], Tensor],
    sigma: float,
    clip: bool = True,
    n: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> DenoiseVerdict:
    """As `judge_denoised`, for anything that cleans: clean(y) of pictures (N, C, H, W) in [-1, 1] scale.

    pictures: the true ones, uint8 (N, C, H, W).
    """
    tell = phases(progress, stop)
    count = min(n or len(pictures), len(pictures))
    rows: dict[str, list[tuple[float, float, float]]] = {"denoised": [], "noisy": []}
    shown: dict[str, Tensor] = {}
    seconds = 0.0
    for first in range(0, count, BATCH):
        true = from_uint8(pictures[first : min(first + BATCH, count)])
        noise = torch.stack([_noise(seed + first + k, true[0]) for k in range(len(true))])
        y = true + 2 * sigma * noise
        y = y.clamp(-1, 1) if clip else y
        began = time.perf_counter()
        done = clean(y)
        seconds += time.perf_counter() - began
        for key, x in (("denoised", done), ("noisy", y)):
            rows[key] += [likeness(a, b) for a, b in zip((x + 1) / 2, (true + 1) / 2, strict=True)]
        if first == 0:
            shown = {"noisy": y[:SHOWN], "denoised": done[:SHOWN], "true": true[:SHOWN]}
        tell("denoising", first + len(true), count)
    return DenoiseVerdict(
        fidelity(rows["denoised"]), fidelity(rows["noisy"]), count, sigma, clip, False,
        1000 * seconds / count, None, shown,
    )  # fmt: skip


def _noise(seed: int, like: Tensor) -> Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))


def likeness(x: Tensor, true: Tensor) -> tuple[float, float, float]:
    """Squared error, and SSIM in both conventions, of one picture (C, H, W) in [0, 1]."""
    a, b = x.numpy().astype(np.float64), true.numpy().astype(np.float64)
    ssim = partial(structural_similarity, a, b, data_range=1.0, channel_axis=0)
    uniform, gauss = ssim(), ssim(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    return float(np.square(a - b).mean()), float(uniform), float(gauss)


def fidelity(rows: list[tuple[float, float, float]]) -> Fidelity:
    """The results of `likeness` for many pictures, combined."""
    error, uniform, gauss = np.array(rows).T
    each = psnr(torch.from_numpy(error).clamp_min(EXACT), 1).numpy()
    return Fidelity(
        mean_interval(each),
        float(psnr(torch.tensor(error.mean()).clamp_min(EXACT), 1)),
        mean_interval(uniform),
        mean_interval(gauss),
    )
