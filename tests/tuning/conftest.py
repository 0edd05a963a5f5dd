"""A tiny base of Stable Diffusion's shape, never trained, with a LoRA of random effect."""

from __future__ import annotations

import functools

import torch
from transformers import CLIPTokenizer

from sfumato.diffusion.schedule import scaled_linear, zero_terminal
from sfumato.models.assembly import assembled
from sfumato.models.latent import LatentModel
from sfumato.models.sd.family import SD
from sfumato.models.sd.networks import TextNet, autoencoder, text_encoder, unet
from sfumato.pictures.tokenizer import learn_tokenizer
from sfumato.recipe.sections import Sample


@functools.cache
def learned() -> CLIPTokenizer:
    return learn_tokenizer(["a red car on a road", "a blue house", "a small cat"] * 20, 800, 16)


def base(precision: str = "fp32") -> LatentModel:
    torch.manual_seed(0)
    tokenizer = learned()
    levels = zero_terminal(scaled_linear())
    unet_, vae = unet(8, 4, (32, 64), (False, True), 1, 32), autoencoder((8, 16), 4)
    net = TextNet(unet_, text_encoder(len(tokenizer), 16, 32, 2), levels)
    return assembled(
        net, vae, [tokenizer], SD, "base", "cpu", precision, schedule=levels, prediction="v", defaults=Sample(steps=3)
    )


def stirred(net: TextNet, seed: int = 1) -> None:
    """Give every LoRA matrix values of order 0.1, so that it has an effect."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in net.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            p.data = 0.08 * torch.randn(p.shape, generator=generator)
        elif "magnitude" in name:
            p.data = p.data * (1 + 0.3 * torch.rand(p.shape, generator=generator))


def answer(model: LatentModel) -> torch.Tensor:
    """What the network says of fixed latents at three levels, and of the prompt."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(3, *model.space, generator=generator)
    c = torch.tensor([-0.6, 0.0, 0.5])
    with torch.inference_mode():
        told = model.condition(["a red car"], 3)
        return torch.cat([model.network(x, c, told).flatten(), told.tensors["states"].flatten()])
