"""The peers: ResNet-20 features, and diffusers' UNet2DModel with its usual DDPM training and sampling.

`python benchmarks/peers.py` checks that ResNet-20 classifies CIFAR-10's test pictures as well as it should.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from common import arguments, passed, run, set_threads, shelf
from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Clipped, Network, Preconditioned
from sfumato.diffusion.level import Level
from sfumato.diffusion.samplers import ddpm, dpm_solver_2m
from sfumato.diffusion.schedule import LogNormal, linear
from sfumato.files import sha256
from sfumato.judging.features import Features, open_features
from sfumato.models.model import picture_generators
from sfumato.pictures.pixels import to_uint8
from sfumato.training.ema import PowerEMA

RESNET20 = "peers/resnet20_cifar10.safetensors"
TIMESTEPS = 1000


class ResNet20(nn.Module):
    """He et al. 2016, section 4.2: three stages of three blocks, 16, 32, 64 channels, parameter-free shortcuts."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Plain(16, 16) for _ in range(3)))
        self.layer2 = nn.Sequential(Plain(16, 32), Plain(32, 32), Plain(32, 32))
        self.layer3 = nn.Sequential(Plain(32, 64), Plain(64, 64), Plain(64, 64))
        self.linear = nn.Linear(64, 10)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)

    def features(self, pictures: Tensor) -> Tensor:
        """uint8 (N, 3, 32, 32) -> float32 (N, 64), the pooled activations before the last layer."""
        x = (pictures.float() / 255 - self.mean) / self.std
        x = F.relu(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x))).mean((2, 3))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.linear(self.features(pictures))


class Plain(nn.Module):
    """Two convolutions; where the channels double, the shortcut takes every second pixel and zero channels."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.grow = (cout - cin) // 2
        self.conv1 = nn.Conv2d(cin, cout, 3, stride=2 if self.grow else 1, padding=1, bias=False)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(cout), nn.BatchNorm2d(cout)

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.grow, self.grow)) if self.grow else x
        return F.relu(h + short)


def resnet20(path: Path, device: str = "cpu") -> ResNet20:
    net = ResNet20()
    net.load_state_dict(load_file(path))
    return net.eval().requires_grad_(False).to(device)


def resnet20_features(path: Path, device: str = "cpu") -> Features:
    """ResNet-20's 64 pooled features as the judge's features, named `resnet20`; pictures are 32 x 32."""
    return Features("resnet20", resnet20(path, device).features, sha256(path), device, batch=250)


def features_named(name: str, device: str = "cpu") -> Features:
    """`resnet20` from SFUMATO_DATA, or any features of the judge. Raises UserError."""
    return resnet20_features(shelf(RESNET20) / RESNET20, device) if name == "resnet20" else open_features(name, device)


CHANNELS = {"3m": (32, 64, 128), "6m": (32, 64, 128, 128)}
HEAD = {"3m": 64, "6m": 32}


def unet2d(size: str) -> nn.Module:
    """diffusers' UNet2DModel for 32 x 32 pictures with self-attention at 16 x 16, of about 3 M or 6 M parameters."""
    from diffusers import UNet2DModel

    channels = CHANNELS[size]
    down = tuple("AttnDownBlock2D" if level == 1 else "DownBlock2D" for level in range(len(channels)))
    return UNet2DModel(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        layers_per_block=2,
        block_out_channels=channels,
        down_block_types=down,
        up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(down)),
        norm_num_groups=32,
        attention_head_dim=HEAD[size],
    )


def low(enabled: bool) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=enabled)


@dataclass
class PeerTraining:
    """DDPM training as diffusers' example does it: linear betas, T = 1000, epsilon, plain MSE, AdamW.

    feed: the pictures and flips that our own training gets; widths: of the EMAs; bf16: the network under autocast.
    """

    net: nn.Module
    feed: Any
    lr: float
    batch: int
    widths: Sequence[float]
    decay: str = "cosine"
    seed: int = 0
    bf16: bool = False
    warmup: int = 100  # steps

    def run(self, images: int, until: int | None = None, told: Callable[[str], None] = print) -> list[float]:
        """Train `images` images, or stop after `until` steps; gives each step's seconds. `averages` holds the EMAs."""
        from diffusers import DDPMScheduler

        torch.manual_seed(self.seed)
        generator = torch.Generator().manual_seed(self.seed)
        schedule = DDPMScheduler(TIMESTEPS, beta_schedule="linear")
        net = self.net.train()
        optimizer = torch.optim.AdamW(
            net.parameters(), self.lr, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8, fused=True
        )
        self.averages = PowerEMA(net, list(self.widths))
        steps, seconds, losses = math.ceil(images / self.batch), [], []
        spoken = time.monotonic()
        for step in range(min(steps, until or steps)):
            began = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = self.lr * self._share(step, steps)
            x, _ = self.feed.draw(step * self.batch, self.batch, generator)
            x = x.contiguous()
            noise = torch.randn(x.shape, generator=generator)
            t = torch.randint(0, TIMESTEPS, (self.batch,), generator=generator)
            with low(self.bf16):
                guess = net(schedule.add_noise(x, noise, t), t).sample
            loss = F.mse_loss(guess.float(), noise)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            self.averages.update((step + 1) * self.batch, self.batch)
            losses.append(loss.detach())
            seconds.append(time.perf_counter() - began)
            if time.monotonic() - spoken > 30:
                spoken, rate = time.monotonic(), self.batch / float(np.median(seconds[-50:]))
                mean = float(torch.stack(losses[-50:]).mean())
                told(f"{(step + 1) * self.batch:>10,} of {images:,} images  loss {mean:.4f}  {rate:.1f}/s")
        self.loss = float(torch.stack(losses[-200:]).mean())
        return seconds

    def _share(self, step: int, steps: int) -> float:
        rise = min(1.0, (step + 1) / self.warmup)
        return rise * (0.5 * (1 + math.cos(math.pi * step / steps)) if self.decay == "cosine" else 1.0)


def noise_of(seed: int, n: int) -> Tensor:
    """The noise that our sampler starts picture k = 0..n-1 with, (n, 3, 32, 32)."""
    return torch.stack([torch.randn(3, 32, 32, generator=g) for g in picture_generators(seed, n)])


@torch.inference_mode()
def sample_diffusers(net: nn.Module, n: int, steps: int, seed: int, bf16: bool = False, batch: int = 100) -> Tensor:
    """n pictures, uint8, by diffusers' own DPM-Solver++(2M): trailing spacing, no noise at the end."""
    from diffusers import DPMSolverMultistepScheduler

    done = []
    for first in range(0, n, batch):
        solver = DPMSolverMultistepScheduler(
            num_train_timesteps=TIMESTEPS,
            beta_schedule="linear",
            algorithm_type="dpmsolver++",
            solver_order=2,
            timestep_spacing="trailing",
            final_sigmas_type="zero",
        )
        solver.set_timesteps(steps)
        x = noise_of(seed + first, min(batch, n - first)) * solver.init_noise_sigma
        for t in solver.timesteps:
            with low(bf16):
                guess = net(solver.scale_model_input(x, t), t).sample
            x = solver.step(guess.float(), t, x).prev_sample
        done.append(to_uint8(x))
    return torch.cat(done)


def as_network(net: nn.Module, bf16: bool = False) -> Network:
    """The peer's network behind our denoiser: the level becomes the timestep, interpolated in its own schedule."""
    known = linear(TIMESTEPS).at(torch.arange(TIMESTEPS)).log_ratio.numpy()

    def network(x: Tensor, c: Tensor, cond: Condition | None) -> Tensor:
        t = np.interp(4 * c.double().numpy(), known, np.arange(TIMESTEPS))
        with low(bf16):
            return net(x, torch.from_numpy(t).float()).sample.float()

    return network


@torch.inference_mode()
def sample_ours(
    net: nn.Module,
    n: int,
    levels: Level,
    seed: int,
    bf16: bool = False,
    clip: bool = True,
    batch: int = 100,
) -> Tensor:
    """n pictures, uint8, by our DPM-Solver++(2M) on the peer's network, over any levels."""
    plain = Preconditioned(as_network(net, bf16), "epsilon")
    denoise = Clipped(plain) if clip else plain
    done = []
    for first in range(0, n, batch):
        x = float(levels.sigma[0]) * noise_of(seed + first, min(batch, n - first))
        done.append(to_uint8(dpm_solver_2m(denoise, x, levels)))
    return torch.cat(done)


@torch.inference_mode()
def sample_ancestral(net: nn.Module, n: int, levels: Level, seed: int, bf16: bool = False, batch: int = 100) -> Tensor:
    """n pictures, uint8, by DDPM's ancestral sampling on the peer's network, x0 clipped as diffusers' DDPM does.

    The noise of every step makes up for errors of those before: networks that are not yet good draw better so.
    """
    denoise = Clipped(Preconditioned(as_network(net, bf16), "epsilon"))
    done = []
    for first in range(0, n, batch):
        own = picture_generators(seed + first, min(batch, n - first))

        def fresh(own: list[torch.Generator] = own) -> Tensor:
            return torch.stack([torch.randn(3, 32, 32, generator=g) for g in own])

        done.append(to_uint8(ddpm(denoise, float(levels.sigma[0]) * fresh(), levels, noise=fresh)))
    return torch.cat(done)


def ways(steps: int) -> dict[str, Callable[[nn.Module, int, int], Tensor]]:
    """The ways to draw from a peer with `steps` evaluations, in bf16 as ours: f(net, n, seed)."""
    trained = linear(TIMESTEPS)
    ends = trained.at(torch.tensor([0, TIMESTEPS - 1])).ratio
    karras = LogNormal(sigma_min=float(ends[0]), sigma_max=float(ends[1]))
    return {
        "diffusers": lambda net, n, seed: sample_diffusers(net, n, steps, seed, bf16=True),
        "ours": lambda net, n, seed: sample_ours(net, n, trained.path(steps), seed, bf16=True),
        "DDPM": lambda net, n, seed: sample_ancestral(net, n, trained.path(steps), seed, bf16=True),
        "ours, EDM levels": lambda net, n, seed: sample_ours(net, n, karras.path(steps), seed, bf16=True),
    }


def check() -> None:
    """ResNet-20's accuracy on test pictures."""
    from sfumato.pictures.store import open_store
    from sfumato.recipe.recipe import load

    p = arguments(check.__doc__ or "", n=10_000)
    args = p.parse_args()
    set_threads(args.threads)
    folder = shelf("cifar10", RESNET20)
    held = open_store(load("cifar10").data).held_out
    net = resnet20(folder / RESNET20)
    n = min(args.n, len(held))
    with torch.inference_mode():
        told = torch.cat([net(part) for part in held.pixels[:n].split(250)]).argmax(1)
    right = float((told == held.labels[:n]).float().mean())
    passed(f"resnet20 is right on {right:.2%} of {n} test pictures (published: 91.7 %)", abs(right - 0.917) < 0.015)


if __name__ == "__main__":
    run(check)
