"""The shapes of Stable Diffusion XL, and the keys of single files, which hold weights and no configuration."""

from __future__ import annotations

from dataclasses import dataclass

from sfumato.files import Facts

TEXT, TEXT_2 = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
V, ZERO_SNR = "v_pred", "ztsnr"
"""Names of empty tensors in a file, which mark v-prediction and a last level of pure noise."""
EMPTY = "sfumato.empty_prompt"
"""In the header: zeros, or encoded."""


@dataclass(frozen=True)
class Shapes:
    """The networks' configurations for diffusers and transformers; resolution in latents."""

    unet: Facts
    vae: Facts
    text: Facts
    text_2: Facts


SHAPES = Shapes(
    unet={
        "block_out_channels": (320, 640, 1280), "layers_per_block": 2, "sample_size": 128,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10), "attention_head_dim": (5, 10, 20), "cross_attention_dim": 2048,
        "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    vae={
        "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4, "sample_size": 1024,
        "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
        "scaling_factor": 0.13025, "force_upcast": True,
    },
    text={
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "hidden_act": "quick_gelu",
    },
    text_2={
        "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
        "hidden_act": "gelu", "projection_dim": 1280,
    },
)  # fmt: skip
END = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
"""Values of the text encoders' configurations, with which a prompt ends at its highest token."""
