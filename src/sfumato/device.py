"""Which device there is, and the precision in which it is fast."""

from __future__ import annotations

from typing import Literal

Precision = Literal["bf16", "fp16", "fp32"]


def best_device() -> str:
    """ "cuda", "mps" or "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def best_precision(device: str) -> Precision:
    """bf16 where the hardware multiplies it natively (on a CPU: AMX), fp16 on older GPUs, else fp32."""
    import torch

    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if device == "cpu":
        tiles = getattr(torch.cpu, "_is_amx_tile_supported", None)
        return "bf16" if tiles is not None and tiles() else "fp32"
    return "fp32"
