"""The networks of text-to-image models, in diffusers' and transformers' own classes: their files load anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextConfig, CLIPTextModel

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.schedule import Discrete, timesteps
from sfumato.models.family import LatentNet, Part, Seen

UNET = Part(
    "unet", ("to_q", "to_k", "to_v", "to_out.0"), ("ff.net.0.proj", "ff.net.2"), reads=("lora_unet_",),
    writes="lora_unet_", diffusers="unet.",
)  # fmt: skip
TEXT = Part(
    "text", ("q_proj", "k_proj", "v_proj", "out_proj"), text=True, reads=("lora_te_", "lora_te1_"),
    writes="lora_te_text_model_", folder="text_encoder", diffusers="text_encoder.", inner="text_model.",
)  # fmt: skip
HEAD = 32  # channels of an attention head
FEW = 256  # latents, height x width
GROUPS = 8  # of the autoencoder's normalisation


def autoencoder(channels: Sequence[int], latent: int, blocks: int = 1) -> AutoencoderKL:
    """Pictures (N, 3, H, W) to latents (N, latent, H / f, W / f) and back, f = 2^(len(channels) - 1)."""
    made = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=latent, block_out_channels=tuple(channels),
        down_block_types=("DownEncoderBlock2D",) * len(channels), up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=blocks, norm_num_groups=GROUPS, mid_block_add_attention=False,
    )  # fmt: skip
    for name, module in made.named_modules():
        if name.endswith(".conv2"):  # a block begins as its shortcut: the same quality in two thirds of the steps
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return made


def text_encoder(words: int, length: int, width: int, layers: int) -> CLIPTextModel:
    """Tokens (N, length) to states (N, length, width). The last two of `words` are start and end."""
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=words, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=width // HEAD, max_position_embeddings=length, projection_dim=width,
        bos_token_id=words - 2, eos_token_id=words - 1, pad_token_id=words - 1,
    ))  # fmt: skip


def unet(
    side: int, latent: int, channels: Sequence[int], attention: Sequence[bool], blocks: int, width: int
) -> UNet2DConditionModel:
    """A UNet2DConditionModel for latents (N, latent, side, side), told states of `width` where there is attention."""
    down = ["CrossAttnDownBlock2D" if each else "DownBlock2D" for each in attention]
    up = ["CrossAttnUpBlock2D" if each else "UpBlock2D" for each in reversed(attention)]
    return UNet2DConditionModel(
        sample_size=side, in_channels=latent, out_channels=latent, block_out_channels=tuple(channels),
        down_block_types=tuple(down), up_block_types=tuple(up), layers_per_block=blocks, cross_attention_dim=width,
        attention_head_dim=[c // HEAD for c in channels],
    )  # fmt: skip


def layout(device: torch.device | str) -> torch.memory_format:
    """How these networks lie in memory: on a CPU plainly, since normalisation of bf16 with channels last costs several
    times as much there, more than convolutions gain by it.
    """
    return torch.contiguous_format if torch.device(device).type == "cpu" else torch.channels_last


class Autoencoder(nn.Module):
    """An autoencoder as one network to train: pictures and noise in, what comes back and the latents' law out."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x: (N, 3, H, W) in [-1, 1]; noise: (N, latent, h, w). Gives the reconstruction, means, log variances."""
        law = self.vae.encode(x).latent_dist
        latents = law.mean + law.std * noise
        return self.vae.decode(latents).sample, law.mean, law.logvar


class TextNet(LatentNet):
    """F(x, c, tokens or states) of a text-to-image model: what the heart calls, in terms of what these networks take.

    x: latents (N, C, h, w) of variance about 1; c: ln(sigma / alpha) / 4 of each, (N,); tokens: int64 (N, L), or in
    their place the text encoder's states, (N, L, D). A level between two timesteps of `schedule` is told as a fraction.
    """

    parts = (UNET, TEXT)
    levels: Tensor

    def __init__(self, unet: UNet2DConditionModel, text: CLIPTextModel, schedule: Discrete) -> None:
        super().__init__()
        self.unet, self.text = unet, text
        self.register_buffer("levels", schedule.log_ratios, persistent=False)

    def states(self, tokens: Tensor) -> Tensor:
        """What the text encoder makes of tokens, (N, L) -> (N, L, D)."""
        found: Tensor = self.text(tokens).last_hidden_state
        return found

    def embedded(self, tokens: Condition) -> Condition:
        return Condition.of(states=self.states(tokens.tensors["tokens"]).float())

    def layer(self, of: Seen) -> nn.Module:
        found: nn.Module = self.unet.mid_block if of == "whole" else self.unet.up_blocks[1]
        return found

    def save_memory(self) -> None:
        self.unet.enable_gradient_checkpointing()

    def forward(self, x: Tensor, c: Tensor, tokens: Tensor | None = None, states: Tensor | None = None) -> Tensor:
        own = self.unet.dtype
        with attention_of(x, self.unet):
            if states is None:
                if tokens is None:
                    raise ValueError("a text-to-image network needs tokens or states")
                states = self.states(tokens)
            told = states.to(own)
            found: Tensor = self.unet(
                x.to(own), timesteps(self.levels, c), encoder_hidden_states=told, return_dict=False
            )[0]
        return found


def attention_of(x: Tensor, unet: UNet2DConditionModel) -> AbstractContextManager[None]:
    """How to attend over few latents while learning on a CPU, where the fused kernel's way back is slow.

    Not where activations are computed twice: the second time is outside of this.
    """
    few = x.shape[2] * x.shape[3] <= FEW and not unet.is_gradient_checkpointing
    slow = x.device.type == "cpu" and few and torch.is_grad_enabled()
    chosen: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH) if slow else nullcontext()
    return chosen
