"""The PSNR of a picture of the emoji world to its drawing, and the bound above which it is crisp.

"Right" means that the prompt's drawing is nearest, which can be true of a smudge; the PSNR shows how near it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato.pictures.drawn.emoji.scene import BACKGROUNDS, JITTER, Scene, judged_jitter, judged_scene
from sfumato.pictures.pixels import psnr

Through = Callable[[Tensor], Tensor]  # pictures, uint8 (N, 3, S, S), encoded and decoded by an autoencoder
EXACT, UNSEEN = 100.0, 40.0  # dB: value for no error; value above which errors are invisible
TAIL, SPARE = 0.05, 3.0  # quantile of the true drawings' PSNR; dB below it where crisp starts
DRAWINGS = 200  # true drawings that determine a bound
AT_ONCE = 32  # pictures


def drawing_psnr(pictures: Tensor, scenes: Sequence[Scene]) -> Tensor:
    """PSNR of each picture to the best-fitting drawing of its scene, float64 (N,), in dB, at most 100.

    pictures: uint8 (N, 3, S, S). The drawing is shifted as a whole by whole pixels along both axes, one pixel further
    than JITTER moves it.
    """
    errors = [_least_error(p, s) for p, s in zip(pictures.cpu().split(AT_ONCE), _parts(scenes), strict=True)]
    least = torch.cat([*errors, torch.empty(0, dtype=torch.float64)]).clamp(min=255**2 * 10 ** (-EXACT / 10))
    return psnr(least, 255)


def _parts(scenes: Sequence[Scene]) -> Iterator[Sequence[Scene]]:
    return (scenes[k : k + AT_ONCE] for k in range(0, len(scenes), AT_ONCE))


def _least_error(pictures: Tensor, scenes: Sequence[Scene]) -> Tensor:
    """Mean squared errors at the best shifts, float64 (N,), of 255.

    With the background subtracted from both, |p - d|^2 = |p|^2 - 2 p d + |d|^2, and p d at all shifts is a correlation.
    The result is computed from the differences at the best shift, so that it is exact.
    """
    side = pictures.shape[-1]
    room = math.ceil(JITTER * side) + 1
    background = torch.tensor([BACKGROUNDS[scene.background] for scene in scenes], dtype=torch.float64)[..., None, None]
    drawn = torch.stack([torch.from_numpy(scene.draw((side, side)).transpose(2, 0, 1).copy()) for scene in scenes])
    p = pictures.double() - background
    d = F.pad(drawn.double() - background, (room, room, room, room))  # outside of the drawing is background
    both = torch.fft.rfft2(p, s=d.shape[-2:]).conj() * torch.fft.rfft2(d)
    product = torch.fft.irfft2(both.sum(1), s=d.shape[-2:])[:, : 2 * room + 1, : 2 * room + 1]
    sums = F.pad(d.square().sum(1).cumsum(1).cumsum(2), (1, 0, 1, 0))
    squares = sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side] + sums[:, :-side, :-side]
    best = (squares - 2 * product).flatten(1).argmin(1).tolist()
    starts = [divmod(each, 2 * room + 1) for each in best]
    fits = torch.stack([each[:, y : y + side, x : x + side] for each, (y, x) in zip(d, starts, strict=True)])
    return (p - fits).square().mean((1, 2, 3))


def true_drawings(kind: str, n: int, side: int) -> tuple[list[Scene], Tensor]:
    """The first n scenes of a kind and their drawings, moved by their jitter, uint8 (N, 3, S, S)."""
    scenes = [judged_scene(kind, k) for k in range(n)]
    drawn = [scene.draw((side, side), judged_jitter(kind, k)) for k, scene in enumerate(scenes)]
    return scenes, torch.stack([torch.from_numpy(each.transpose(2, 0, 1).copy()) for each in drawn])


def crisp_bound(through: Through, kind: str, side: int, n: int = DRAWINGS) -> float:
    """The PSNR to its drawing, in dB, above which a picture of a kind is crisp, for an autoencoder.

    95 % of n true drawings, encoded and decoded, exceed it by 3 dB or more. For a lossless autoencoder it is 37 dB.
    """
    scenes, true = true_drawings(kind, n, side)
    near = drawing_psnr(through(true), scenes).clamp(max=UNSEEN)
    return float(near.quantile(TAIL)) - SPARE
