"""The networks of text-to-image models, from classes of diffusers and transformers, which can load their files."""

from __future__ import annotations

from collections.abc import Sequence

from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.schedule import Discrete
from sfumato.models.family import Part
from sfumato.models.unets import ATTENTION, ENCODER_ATTENTION, FEED_FORWARD, UNetNet, attention_of

UNET = Part("unet", ATTENTION, FEED_FORWARD, reads=("lora_unet_",), writes="lora_unet_", diffusers="unet.")
TEXT = Part(
    "text", ENCODER_ATTENTION, text=True, reads=("lora_te_", "lora_te1_"),
    writes="lora_te_text_model_", folder="text_encoder", diffusers="text_encoder.", inner="text_model.",
)  # fmt: skip
HEAD = 32  # channels of an attention head
GROUPS = 8  # of the autoencoder's normalisation


def autoencoder(channels: Sequence[int], latent: int, blocks: int = 1) -> AutoencoderKL:
    """Pictures (N, 3, H, W) to latents (N, latent, H / f, W / f) and back, f = 2^(len(channels) - 1)."""
    made = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=latent, block_out_channels=tuple(channels),
        down_block_types=("DownEncoderBlock2D",) * len(channels), up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=blocks, norm_num_groups=GROUPS, mid_block_add_attention=False,
    )  # fmt: skip
    for name, module in made.named_modules():
        if name.endswith(
            ".conv2"
        ):  # at first a block is only its shortcut: the same quality in two thirds of the steps
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
    """A UNet2DConditionModel for latents (N, latent, side, side), with cross-attention to embeddings of `width`."""
    down = ["CrossAttnDownBlock2D" if each else "DownBlock2D" for each in attention]
    up = ["CrossAttnUpBlock2D" if each else "UpBlock2D" for each in reversed(attention)]
    return UNet2DConditionModel(
        sample_size=side, in_channels=latent, out_channels=latent, block_out_channels=tuple(channels),
        down_block_types=tuple(down), up_block_types=tuple(up), layers_per_block=blocks, cross_attention_dim=width,
        attention_head_dim=[c // HEAD for c in channels],
    )  # fmt: skip


class Autoencoder(nn.Module):
    """An autoencoder as one network to train: pictures and noise in, reconstruction and latents' distribution out."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x: (N, 3, H, W) in [-1, 1]; noise: (N, latent, h, w). Returns reconstruction, means and log variances."""
        law = self.vae.encode(x).latent_dist
        latents = law.mean + law.std * noise
        return self.vae.decode(latents).sample, law.mean, law.logvar


class TextNet(UNetNet):
    """F(x, c, tokens or states) of a text-to-image model, by its U-Net and text encoder.

    x: latents (N, C, h, w) of variance about 1; c: ln(sigma / alpha) / 4 of each, (N,); tokens: int64 (N, L), or in
    their place the text encoder's states, (N, L, D). A level between two timesteps of `schedule` is a fractional one.
    """

    parts = (UNET, TEXT)
    places = 1

    def __init__(self, unet: UNet2DConditionModel, text: CLIPTextModel, schedule: Discrete) -> None:
        super().__init__(unet, schedule)
        self.text = text

    def states(self, tokens: Tensor) -> Tensor:
        """The text encoder's output, tokens (N, L) -> states (N, L, D)."""
        found: Tensor = self.text(tokens).last_hidden_state
        return found

    def embedded(self, tokens: Condition) -> Condition:
        return Condition.of(states=self.states(tokens.tensors["tokens"]).float())

    def forward(self, x: Tensor, c: Tensor, tokens: Tensor | None = None, states: Tensor | None = None) -> Tensor:
        with attention_of(x, self.unet):
            if states is None:
                if tokens is None:
                    raise ValueError("a text-to-image network needs tokens or states")
                states = self.states(tokens)
            return self.output(x, c, states)
