"""What networks with diffusers' conditional U-Net and CLIP's text encoders have in common."""

from __future__ import annotations

from abc import ABC
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sfumato.diffusion.schedule import Discrete, timesteps
from sfumato.models.family import Extent, LatentNet

ATTENTION, FEED_FORWARD = ("to_q", "to_k", "to_v", "to_out.0"), ("ff.net.0.proj", "ff.net.2")
"""Layers of the U-Net's transformer blocks that a LoRA changes."""
ENCODER_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
"""Layers of a text encoder that a LoRA changes."""
FEW = 256  # latents, height x width


class UNetNet(LatentNet, ABC):
    """A LatentNet whose denoising network is `unet`. A level between two timesteps of `schedule` is a fractional one.

    places: number of the up block whose output serves as features of each place.
    """

    places: ClassVar[int]
    levels: Tensor

    def __init__(self, unet: UNet2DConditionModel, schedule: Discrete) -> None:
        super().__init__()
        self.unet = unet
        self.register_buffer("levels", schedule.log_ratios, persistent=False)

    def save_memory(self) -> None:
        self.unet.enable_gradient_checkpointing()

    def layer(self, of: Extent) -> nn.Module:
        found: nn.Module = self.unet.mid_block if of == "whole" else self.unet.up_blocks[self.places]
        return found

    def output(self, x: Tensor, c: Tensor, states: Tensor, added: dict[str, Tensor] | None = None) -> Tensor:
        """The U-Net's output, in the dtype of its weights. states: (N, L, D); added: its further conditions."""
        own = self.unet.dtype
        found: Tensor = self.unet(
            x.to(own), timesteps(self.levels, c), encoder_hidden_states=states.to(own), added_cond_kwargs=added,
            return_dict=False,
        )[0]  # fmt: skip
        return found


def layout(device: torch.device | str) -> torch.memory_format:
    """The memory format of these networks: contiguous on a CPU, where bf16 normalisation of channels-last tensors is
    several times slower, which costs more than the convolutions gain.
    """
    return torch.contiguous_format if torch.device(device).type == "cpu" else torch.channels_last


def attention_of(x: Tensor, unet: UNet2DConditionModel) -> AbstractContextManager[None]:
    """A context with a faster attention kernel for few latents in training on a CPU: the fused one's backward is slow.

    Not with activation checkpointing, whose second computation happens outside of the context.
    """
    few = x.shape[2] * x.shape[3] <= FEW and not unet.is_gradient_checkpointing
    slow = x.device.type == "cpu" and few and torch.is_grad_enabled()
    chosen: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH) if slow else nullcontext()
    return chosen
