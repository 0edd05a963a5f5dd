"""The networks of Stable Diffusion XL as one module (Podell et al. 2023), of classes of diffusers and transformers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.schedule import Discrete
from sfumato.models.family import Part
from sfumato.models.originals import of_unet
from sfumato.models.unets import ATTENTION, ENCODER_ATTENTION, FEED_FORWARD, UNetNet, attention_of

Networks: TypeAlias = tuple[UNet2DConditionModel, CLIPTextModel, CLIPTextModelWithProjection, AutoencoderKL]
PENULTIMATE = -2  # of a text encoder's hidden states: before its last layer, and before the last normalisation


class UNetPart(Part):
    """The U-Net. Most LoRA files have the original code's names of its layers, others diffusers' names."""

    def keys(self, names: Iterable[str]) -> dict[str, str]:
        every = list(names)
        return super().keys(every) | {key.replace(".", "_"): name for name, key in of_unet(every).items()}


UNET = UNetPart("unet", ATTENTION, FEED_FORWARD, reads=("lora_unet_",), writes="lora_unet_", diffusers="unet.")
TEXT = Part(
    "text", ENCODER_ATTENTION, text=True, reads=("lora_te1_",),
    writes="lora_te1_text_model_", folder="text_encoder", diffusers="text_encoder.", inner="text_model.",
)  # fmt: skip
TEXT_2 = Part(
    "text_2", ENCODER_ATTENTION, text=True, reads=("lora_te2_",),
    writes="lora_te2_text_model_", folder="text_encoder_2", diffusers="text_encoder_2.", outer="text_model.",
)  # fmt: skip


class XLNet(UNetNet):
    """F(x, c, states, pooled, ids) of Stable Diffusion XL.

    x: latents (N, C, h, w) of variance about 1; c: ln(sigma / alpha) / 4 of each, (N,); states: (N, L, D) of both text
    encoders, concatenated; pooled: (N, P), of the second encoder; ids: int64 (N, 6), a picture's original size, the
    corner of its crop, and its size now, rows before columns. In place of states and pooled: first, second: tokens of
    the two encoders, int64 (N, L); prompted: bool (N,), states and pooled are zero where it is false.

    empty_is_zero: the empty condition is zeros, else it is the empty prompt's.
    """

    parts = (UNET, TEXT, TEXT_2)
    places = 0

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text: CLIPTextModel,
        text_2: CLIPTextModelWithProjection,
        schedule: Discrete,
        empty_is_zero: bool = True,
    ) -> None:
        super().__init__(unet, schedule)
        self.text, self.text_2, self.empty_is_zero = text, text_2, empty_is_zero

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
        with attention_of(x, self.unet):
            if states is None or pooled is None:
                if first is None or second is None or prompted is None:
                    raise ValueError("a network of Stable Diffusion XL needs states and pooled, or tokens")
                states, pooled = self.states(first, second, prompted)
            return self.output(x, c, states, {"text_embeds": pooled.to(self.unet.dtype), "time_ids": ids})
