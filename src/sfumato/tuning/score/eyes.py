"""What pictures of a tuning are seen with: the base itself, or DINOv2 and CLIP where they are at hand.

The base's own features are what its U-Net makes of a picture's latents with a little noise, told nothing: its middle
for what a picture is like as a whole, the second block on its way up for what is where (Tang et al. 2023, "Emergent
correspondence from image diffusion"). It is asked which of some prompts a picture was drawn for by the error it makes
under each (Li et al. 2023, "Your diffusion model is secretly a zero-shot classifier").
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sfumato.diffusion.level import Level
from sfumato.judging import weights
from sfumato.judging.features import CLIP, DINOV2, clip_table, open_features
from sfumato.models.family import Seen
from sfumato.models.latent import LatentModel
from sfumato.tuning.photos.subject import cut

LOOK = 0.3  # sigma / alpha at which pictures are looked at
ASKED = (0.5, 1.0, 2.0)  # sigma / alpha at which prompts are compared
PLACES = 8  # to a side, at which features are compared
BATCH = 16


class Eyes:
    """Features of pictures, and which prompt they fit, by a model that is its own base.

    others: whether DINOv2 takes the place of the base's features of things, and CLIP that of its reading of prompts,
    each if its weights need no network.
    """

    def __init__(self, model: LatentModel, others: bool = False) -> None:
        self.model = model
        self.dino = open_features("dinov2", str(model.device)) if others and weights.at_hand(DINOV2) else None
        self.clip = others and weights.at_hand(CLIP)

    @property
    def name(self) -> str:
        """What likeness and fidelity stand on."""
        likeness, fidelity = "DINOv2" if self.dino else "the base", "CLIP" if self.clip else "the base"
        return likeness if likeness == fidelity else f"{likeness} (likeness) and {fidelity} (fidelity)"

    def features(self, latents: Tensor) -> Tensor:
        """Of a picture as a whole, means and deviations over places of the U-Net's middle: (N, D)."""
        states = self._seen(latents, "whole")
        return torch.cat([states.mean((2, 3)), states.std((2, 3))], 1)

    def places(self, pictures: Tensor) -> Tensor:
        """Of pictures, uint8 (N, 3, H, W), place by place: (N, D)."""
        if self.dino is not None:
            return torch.from_numpy(self.dino(pictures))
        states = self._seen(self.model.enter(pictures), "places")
        return torch.nn.functional.adaptive_avg_pool2d(states, min(PLACES, states.shape[-1])).flatten(1)

    def of_things(self, pictures: Tensor) -> Tensor:
        """The same of the things on pictures, wherever they lie, without plain backgrounds: (N, D)."""
        return self.places(cut(pictures))

    def recognised(self, pictures: Tensor, prompts: Sequence[str]) -> Tensor:
        """Share of the other prompts that a picture fits less well than its own, (N,); picture k is of k mod P."""
        fits = clip_table(pictures, prompts, str(self.model.device)) if self.clip else self._fits(pictures, prompts)
        own = fits.gather(1, (torch.arange(len(fits)) % len(prompts))[:, None])
        return (fits < own).float().sum(1) / (len(prompts) - 1)

    @torch.inference_mode()
    def _fits(self, pictures: Tensor, prompts: Sequence[str]) -> Tensor:
        """How little the base errs about each picture under each prompt, (N, P)."""
        model, latents = self.model, self.model.enter(pictures)
        states = model.condition(prompts, len(prompts))
        fits = torch.zeros(len(latents), len(states))
        noise = torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(1)).to(latents.device)
        for ratio in ASKED:
            level = Level.of(ratio)
            for j in range(len(states)):
                for k, part in enumerate(latents.split(BATCH)):
                    x = level.mix(part, noise.expand_as(part))
                    away = model.denoiser(x, level, states[j : j + 1].repeat(len(part))) - part
                    fits[BATCH * k :][: len(part), j] -= away.square().flatten(1).mean(1).cpu() / ratio**2
        return fits

    @torch.inference_mode()
    def _seen(self, latents: Tensor, of: Seen) -> Tensor:
        model, found = self.model, list[Tensor]()
        hook = model.net.layer(of).register_forward_hook(lambda module, told, out: found.append(out.float()))
        level = Level.of(LOOK)
        noise = torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(0)).to(latents.device)
        null = model.condition(None, 1)
        try:
            for part in latents.split(BATCH):
                x = level.mix(part, noise.expand_as(part))
                model.denoiser(x, level, null.repeat(len(part)))
        finally:
            hook.remove()
        return torch.cat(found)
