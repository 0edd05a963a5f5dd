"""Peers that denoise: FFDNet and DnCNN with their authors' weights, and untrained methods of libraries.

All are functions of pictures, float32 (N, 3, H, W) with white at 1, and sigma in the same scale.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from common import shelf

Cleaner = Callable[[Tensor, float], Tensor]
FFDNET, DNCNN = "peers/ffdnet_color.safetensors", "peers/cdncnn_blind.safetensors"
REACH, MULTIPLE = (
    28,
    2,
)  # of FFDNet in pixels: twelve 3 x 3 layers at half resolution, rounded up, and the cell of a pixel


def chain(path: Path) -> nn.Sequential:
    """Convolutions with ReLU between them, as wide as the weights say."""
    weights = load_file(path)
    layers: list[nn.Module] = []
    for key in sorted((k for k in weights if k.endswith("weight")), key=lambda k: int(k.split(".")[1])):
        cout, cin = weights[key].shape[:2]
        layers += [nn.Conv2d(cin, cout, 3, padding=1), nn.ReLU(inplace=True)]
    net = nn.Sequential(*layers[:-1])
    net.load_state_dict({key.removeprefix("model."): value for key, value in weights.items()})
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)


class FFDNet:
    """Zhang et al. 2018: half-resolution pixels and a map of sigma in, the clean picture out."""

    def __init__(self, bf16: bool = False) -> None:
        self.net, self.bf16 = chain(shelf(FFDNET) / FFDNET), bf16

    @torch.inference_mode()
    def __call__(self, noisy: Tensor, sigma: float) -> Tensor:
        height, width = noisy.shape[-2:]
        x = F.pad(noisy, (0, width % 2, 0, height % 2), mode="replicate")
        half = F.pixel_unshuffle(x, 2)
        level = torch.full_like(half[:, :1], sigma)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            out = self.net(torch.cat([half, level], 1).contiguous(memory_format=torch.channels_last))
        return F.pixel_shuffle(out.float(), 2)[..., :height, :width]


class DnCNN:
    """Zhang et al. 2017, blind: the net says the noise."""

    def __init__(self) -> None:
        self.net = chain(shelf(DNCNN) / DNCNN)

    @torch.inference_mode()
    def __call__(self, noisy: Tensor, sigma: float) -> Tensor:
        return noisy - self.net(noisy.contiguous(memory_format=torch.channels_last))


def each(clean: Callable[[np.ndarray, float], np.ndarray]) -> Cleaner:
    """A library's function of one picture (H, W, 3) as a Cleaner."""

    def run(noisy: Tensor, sigma: float) -> Tensor:
        rows = [clean(x.permute(1, 2, 0).numpy(), sigma) for x in noisy]
        return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).float()

    return run


def non_local_means(x: np.ndarray, sigma: float) -> np.ndarray:
    from skimage.restoration import denoise_nl_means

    return denoise_nl_means(
        x, patch_size=5, patch_distance=6, h=0.6 * sigma, sigma=sigma, fast_mode=True, channel_axis=2
    )


def wavelet(x: np.ndarray, sigma: float) -> np.ndarray:
    from skimage.restoration import denoise_wavelet

    return denoise_wavelet(x, sigma=sigma, convert2ycbcr=True, channel_axis=2, rescale_sigma=True)


def total_variation(x: np.ndarray, sigma: float) -> np.ndarray:
    from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(x, weight=sigma, channel_axis=2)


LIBRARY: dict[str, Cleaner] = {
    "non-local means": each(non_local_means),
    "wavelet": each(wavelet),
    "TV": each(total_variation),
}
