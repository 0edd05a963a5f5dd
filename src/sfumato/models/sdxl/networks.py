"""The networks of Stable Diffusion XL as one module (Podell et al. 2023), of classes of diffusers and transformers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.schedule import Discrete
from sfumato.models.family import Extent, LatentNet, Part
from sfumato.models.originals import of_unet
from sfumato.models.sd.networks import attention_of, timesteps

Networks: TypeAlias = tuple[UNet2DConditionModel, CLIPTextModel, CLIPTextModelWithProjection, AutoencoderKL]
PENULTIMATE = -2  # of a text encoder's hidden states: before its last layer, and before the last normalisation


class UNetPart(Part):
    """The U-Net. Most LoRA files have the original code's names of its layers, others diffusers' names."""

    def keys(self, names: Iterable[str]) -> dict[str, str]:
        every = list(names)
        return super().keys(every) | {key.replace(".", "_"): name for name, key in of_unet(every).items()}


UNET = UNetPart(
    "unet", ("to_q", "to_k", "to_v", "to_out.0"), ("ff.net.0.proj", "ff.net.2"), reads=("lora_unet_",),
    writes="lora_unet_", diffusers="unet.",
)  # fmt: skip
TEXT = Part(
    "text", ("q_proj", "k_proj", "v_proj", "out_proj"), text=True, reads=("lora_te1_",),
    writes="lora_te1_text_model_", folder="text_encoder", diffusers="text_encoder.", inner="text_model.",
)  # fmt: skip
TEXT_2 = Part(
    "text_2", ("q_proj", "k_proj", "v_proj", "out_proj"), text=True, reads=("lora_te2_",),
    writes="lora_te2_text_model_", folder="text_encoder_2", diffusers="text_encoder_2.", outer="text_model.",
)  # fmt: skip


class XLNet(LatentNet):
    """F(x, c, states, pooled, ids) of Stable Diffusion XL.

    x: latents (N, C, h, w) of variance about 1; c: ln(sigma / alpha) / 4 of each, (N,); states: (N, L, D) of both text
    encoders, concatenated; pooled: (N, P), of the second encoder; ids: int64 (N, 6), a picture's original size, the
    corner of its crop, and its size now, rows before columns. In place of states and pooled: first, second: tokens of
    the two encoders, int64 (N, L); prompted: bool (N,), states and pooled are zero where it is false.

    empty_is_zero: the empty condition is zeros, else it is the empty prompt's.
    """

    parts = (UNET, TEXT, TEXT_2)
    levels: Tensor

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text: CLIPTextModel,
        text_2: CLIPTextModelWithProjection,
        schedule: Discrete,
        empty_is_zero: bool = True,
    ) -> None:
        super().__init__()
        self.unet, self.text, self.text_2, self.empty_is_zero = unet, text, text_2, empty_is_zero
        self.register_buffer("levels", schedule.log_ratios, persistent=False)

    def states(self, first: Tensor, second: Tensor, prompted: Tensor) -> tuple[Tensor, Tensor]:
        """The text encoders' output for tokens: states (N, L, D) and pooled (N, P)."""
        one = self.text(first, output_hidden_states=True)
        two = self.text_2(second, output_hidden_states=True)
        states = torch.cat([each.hidden_states[PENULTIMATE] for each in (one, two)], -1)
        return states * prompted[:, None, None], two.text_embeds * prompted[:, None]

    def embedded(self, tokens: Condition) -> Condition:
        t = tokens.tensors
        states, pooled = self.states(t["first"], t["second"], t["prompted"])
        return Condition.of(states=states.float(), pooled=pooled.float(), ids=t["ids"])

    def layer(self, of: Extent) -> nn.Module:
        found: nn.Module = self.unet.mid_block if of == "whole" else self.unet.up_blocks[0]
        return found

    def save_memory(self) -> None:
        self.unet.enable_gradient_checkpointing()

    def forward(
        self,
        x: Tensor,
        c: Tensor,
        ids: Tensor,
        states: Tensor | None = None,
        pooled: Tensor | None = None,
        first: Tensor | None = None,
        second: Tensor | None = None,
        prompted: Tensor | None = None,
    ) -> Tensor:
        own = self.unet.dtype
        with attention_of(x, self.unet):
            if states is None or pooled is None:
                if first is None or second is None or prompted is None:
                    raise ValueError("a network of Stable Diffusion XL needs states and pooled, or tokens")
                states, pooled = self.states(first, second, prompted)
            found: Tensor = self.unet(
                x.to(own), timesteps(self.levels, c), encoder_hidden_states=states.to(own),
                added_cond_kwargs={"text_embeds": pooled.to(own), "time_ids": ids}, return_dict=False,
            )[0]  # fmt: skip
        return found
