"""A photo with added noise, denoised by the shipped model."""

from __future__ import annotations

import numpy as np
import torch
from skimage import data, metrics

from sfumato.denoising.noise import estimate
from sfumato.show.grid import side_by_side
from sfumato.show.report import Fact, Picture, Section
from sfumato.zoo import load

NOISE = 25 / 255


def section() -> Section:
    """A photo with noise, cleaned by `photo` without being given the noise level: before, after, truth, and figures."""
    true = data.chelsea()[20:276, 100:356]
    noise = np.random.default_rng(0).normal(0, NOISE, true.shape)
    noisy = np.rint((true / 255 + noise).clip(0, 1) * 255).astype(np.uint8)
    clean = load("photo").denoise(noisy)
    psnr = [metrics.peak_signal_noise_ratio(true, each) for each in (noisy, clean)]
    ssim = [metrics.structural_similarity(true, each, channel_axis=2) for each in (noisy, clean)]
    columns = {"noisy": noisy, "cleaned": clean, "true": true}
    shown = side_by_side({
        name: torch.from_numpy(each.transpose(2, 0, 1).copy())[None] for name, each in columns.items()
    })  # fmt: skip
    facts = [
        Fact(f"{psnr[1]:.1f} dB", "PSNR", f"noisy {psnr[0]:.1f} dB"),
        Fact(f"{ssim[1]:.2f}", "SSIM", f"noisy {ssim[0]:.2f}"),
        Fact(f"{estimate(noisy / 255).sigma:.3f}", "estimated noise", f"{NOISE:.3f} was added, where white is 1"),
    ]
    return Section(
        "Denoise a photo",
        ["By the shipped model photo, which estimated the noise level from the picture."],
        facts,
        [Picture(shown, "noisy, cleaned and true photo", "Chelsea, from scikit-image (CC0).")],
        code=["sfumato denoise photo.jpg --out clean.jpg --show"],
    )
