"""The device to use, and the precision in which it is fast."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from sfumato.errors import UserError

if TYPE_CHECKING:
    import torch

Precision = Literal["bf16", "fp16", "fp32"]


@dataclass(frozen=True)
class Policy:
    """The dtypes of a precision. All dtypes are decided here.

    Attributes:
        weights: Of the weights of a network that is not trained.
        compute: Of the arithmetic of networks.
        autoencoder: Of an autoencoder's weights and arithmetic: fp32 instead of fp16, whose range it exceeds.
        state: Of noise, and of the noisy picture that a sampler carries from step to step.
    """

    weights: torch.dtype
    compute: torch.dtype
    autoencoder: torch.dtype
    state: torch.dtype

    @classmethod
    def of(cls, precision: str) -> Policy:
        """The policy of a precision: "fp32", "bf16", "fp16" or "fp64". Raises KeyError for others."""
        import torch

        low = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64}[precision]
        safe = torch.float32 if low is torch.float16 else low
        return cls(low, low, safe, torch.float64 if low is torch.float64 else torch.float32)

    def autocast(self, device: str | torch.device) -> torch.autocast:
        """A context in which networks compute in `compute`; for fp32 and fp64 it changes nothing."""
        return _autocast(self.compute, device)

    def autocast_autoencoder(self, device: str | torch.device) -> torch.autocast:
        """The same for an autoencoder."""
        return _autocast(self.autoencoder, device)


def _autocast(dtype: torch.dtype, device: str | torch.device) -> torch.autocast:
    import torch

    low = dtype in (torch.bfloat16, torch.float16)
    return torch.autocast(torch.device(device).type, dtype if low else torch.bfloat16, enabled=low)


def check(device: str | None, precision: str | None = None) -> None:
    """Raises UserError if a name is not that of a device or a precision. None is valid. Imports nothing heavy."""
    if device is not None and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", str(device)):
        raise UserError(f"device {device!r:.60}: give cpu, cuda, cuda:NUMBER or mps, or leave it out for the best")
    if precision is not None and precision not in get_args(Precision):
        raise UserError(f"precision {precision!r:.60}: give {', '.join(get_args(Precision))}, or leave it out")


def check_there(device: str) -> None:
    """Raises UserError if this machine has no such device."""
    import torch

    kind, _, number = str(device).partition(":")
    count = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(kind, 1)
    if int(number or 0) >= count:
        raise UserError(f"device {device}: torch finds {count or 'none'} of the kind here: use another or leave it out")


def best_device() -> str:
    """The name of the fastest device of this machine: "cuda", "mps" or "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def best_precision(device: str) -> Precision:
    """The fastest precision of a device: bf16 if the hardware multiplies it, fp16 on older GPUs, else fp32.

    CPUs multiply bf16 with AMX or with AVX512-BF16; with the latter a training step takes 0.5 to 0.6 of the time.
    """
    import torch

    if str(device).startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if str(device).startswith("cpu") and (has_amx() or has_avx512_bf16()) else "fp32"


def has_amx() -> bool:
    """Whether this CPU has Intel's AMX, which makes bf16 fast."""
    import torch

    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(supported()) if supported is not None else {"amx_tile", "amx_bf16"} <= cpu_flags()


def has_avx512_bf16() -> bool:
    """Whether this CPU multiplies pairs of bf16 (AVX512-BF16)."""
    import torch

    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported()) if supported is not None else "avx512_bf16" in cpu_flags()


def cpu_flags() -> set[str]:
    """The instruction sets of the CPU, by their names in Linux's /proc/cpuinfo; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    return set(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())
