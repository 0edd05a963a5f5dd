"""The kinds of noise in photos, mixed: white, of cameras, in colour, film grain, enlarged noise, and JPEG.

Which steps are applied to a picture is random, as in Zhang et al. 2022 ("Practical blind denoising via Swin-Conv-UNet
and data synthesis").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.noises import fields
from sfumato.noises.camera import camera
from sfumato.noises.dice import Dice
from sfumato.noises.jpeg import jpeg

UNIT = 2 / 255  # one step of 8 bits in [-1, 1]
FLOOR = 0.25 * UNIT  # below this a picture counts as clean
TOP, TAIL, LEAST = 60 * UNIT, 100 * UNIT, 0.25 * UNIT
SHARES = {"white": 0.46, "camera": 0.26, "coloured": 0.06, "grain": 0.05, "smeared": 0.07, "none": 0.10}
CLEAN, RARE = 0.08, 0.03  # shares of white noise: none at all; stronger than TOP
BYTES, FILES = 0.8, 0.4  # shares of the other kinds: rounded to 8 bits; saved as JPEG
QUALITY, LOW = (50.0, 98.0), (5.0, 95.0)  # JPEG qualities: after noise, and as the only damage
FINISHED = 0.8  # share of noise after a camera's noise reduction and sharpening


@dataclass(frozen=True)
class Noisy:
    """x: (N, 3, H, W) in [-1, 1] scale, with unclipped white noise also beyond; sigma: (N,) the noise's standard
    deviation, at least FLOOR, of white noise before clipping; clipped: (N,) bool, white noise that was clipped and
    rounded; white: (N,) bool.
    """

    x: Tensor
    sigma: Tensor
    clipped: Tensor
    white: Tensor


def photo_noise(x0: Tensor, dice: Dice, clipped: float = 0.5, grey: Tensor | None = None) -> Noisy:
    """Each of the pictures (N, 3, H, W) in [-1, 1] with one kind of noise, in the order of SHARES.

    clipped: share of the white noise that is clipped; grey: (N,) bool, grey pictures, which get grey noise.
    """
    counts = dice.split(len(x0), list(SHARES.values()))
    kinds = dict(zip(SHARES, x0.split(counts), strict=True))
    n = counts[0]
    sigma = torch.where(dice.coin(n, CLEAN), 0.0, levels(n, dice))
    noise = [sigma * dice.normal(*kinds["white"].shape)]
    if counts[1]:
        noise.append(camera(kinds["camera"], dice) - kinds["camera"])
    for k, field in enumerate((fields.coloured, fields.grain, fields.smeared), 2):
        part = list(kinds.values())[k]
        noise.append(field(part, dice, levels(len(part), dice)) if len(part) else part)
    noise.append(torch.zeros_like(kinds["none"]))
    added = torch.cat(noise)
    if grey is not None:
        added = torch.where(grey.view(-1, 1, 1, 1), added[:, :1], added)
    white = torch.arange(len(x0), device=x0.device) < n
    cut = dice.coin(len(x0), clipped).flatten() & white
    x = torch.cat([x0[:n] + added[:n], finished(x0[n:], added[n:], counts[-1], dice)])
    x = torch.where(cut.view(-1, 1, 1, 1), rounded(x), x)
    actual = fields.deviation(x - x0).flatten()
    actual = torch.cat([sigma.flatten(), actual[n:]])
    return Noisy(x, actual.clamp_min(FLOOR), cut, white)


def levels(n: int, dice: Dice) -> Tensor:
    """Standard deviations (n, 1, 1, 1) in [-1, 1] scale: LEAST to TOP, more of the strong ones, and few to TAIL."""
    most = (TOP / LEAST) ** dice.strata(n).pow(0.6) * LEAST
    return torch.where(dice.coin(n, RARE), dice.uniform(n, TOP, TAIL), most)


def rounded(x: Tensor) -> Tensor:
    """Clipped and rounded as in a file of 8 bits."""
    return ((x.clamp(-1, 1) + 1) / UNIT).round() * UNIT - 1


def finished(x0: Tensor, noise: Tensor, bare: int, dice: Dice) -> Tensor:
    """Pictures plus noise as in files: processed, clipped, rounded, saved as JPEG; the last `bare` ones always JPEG."""
    n = len(x0)
    if not n:
        return x0
    noise = torch.where(dice.coin(n, FINISHED), fields.processed(noise, dice), noise)
    noise = noise.clamp(-TAIL * 4, TAIL * 4)
    x = (x0 + noise).clamp(-1, 1)
    x = torch.where(dice.coin(n, BYTES), rounded(x), x)
    alone = (torch.arange(n, device=x.device) >= n - bare).view(-1, 1, 1, 1)
    quality = torch.where(alone, dice.uniform(n, *LOW), dice.uniform(n, *QUALITY)).flatten()
    halved = dice.coin(n, 0.6).flatten()
    saved = jpeg(x, quality, halved, (dice.whole(16), dice.whole(16)))
    return torch.where(dice.coin(n, FILES) | alone, saved, x)
