"""The shapes of Stable Diffusion 1 and 2, and the keys of single files, which hold weights and no configuration."""

from __future__ import annotations

from dataclasses import dataclass

from sfumato.files import Facts

TEXT1, TEXT2 = "cond_stage_model.transformer.", "cond_stage_model.model."


@dataclass(frozen=True)
class Shapes:
    """The networks' configurations for diffusers and transformers; resolution in latents."""

    unet: Facts
    vae: Facts
    text: Facts


_UNET = {"block_out_channels": (320, 640, 1280, 1280), "layers_per_block": 2, "sample_size": 64}
_VAE = {
    "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4, "sample_size": 512,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip
SHAPES = {
    "sd1": Shapes(
        {**_UNET, "cross_attention_dim": 768, "attention_head_dim": 8},
        _VAE,
        {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    ),
    "sd2": Shapes(
        {**_UNET, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True},
        _VAE,
        {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16,
         "hidden_act": "gelu", "projection_dim": 512},
    ),
}  # fmt: skip
