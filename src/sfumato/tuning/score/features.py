"""Features for scoring pictures of a tuning: of the base itself for drawings; for photos of DINOv2 and CLIP if they
are on this machine, else of the shipped classifier, which tells real things apart far better than a base does.

The base's features are activations of its U-Net for a picture's latents with a little noise and an empty prompt: the
middle block for a picture as a whole, the second block on the way up for single places (Tang et al. 2023, "Emergent
correspondence from image diffusion"). Which of several prompts a picture was drawn for is decided by the base's error
with each prompt (Li et al. 2023, "Your diffusion model is secretly a zero-shot classifier").
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sfumato.diffusion.level import Level
from sfumato.judging import weights
from sfumato.judging.features import CLIP, DINOV2, clip_table, open_features
from sfumato.models.family import Extent
from sfumato.models.latent import LatentModel
from sfumato.tuning.photos.subject import cut

LEVEL = 0.3  # sigma / alpha at which features are computed
PROMPT_LEVELS = (0.5, 1.0, 2.0)  # sigma / alpha at which prompts are compared
PLACES = 8  # places along a side at which features are compared
BATCH = 16
EQUAL = 0.5  # share of equal neighbours above which a picture is drawn


def are_photos(pictures: Tensor) -> bool:
    """Whether most pictures, uint8 (N, 3, H, W), are photos: few of their neighbouring pixels are equal."""
    equal = (pictures[..., 1:] == pictures[..., :-1]).all(1).float().mean((1, 2))
    return bool(equal.median() < EQUAL)


class ScoreFeatures:
    """Features of pictures, and how well they fit prompts, by a model without its LoRA.

    others: for photos: DINOv2 for likeness and CLIP for prompts, each if its weights need no download; in place of
    DINOv2 else the shipped classifier `mini`. Things are not cut out for these: backgrounds hardly disturb them, and a
    wrong cut does.
    """

    def __init__(self, model: LatentModel, others: bool = False) -> None:
        self.model = model
        name = "dinov2" if weights.at_hand(DINOV2) else "mini"
        self.seen = open_features(name, str(model.device)) if others else None
        self.clip = others and weights.at_hand(CLIP)

    @property
    def name(self) -> str:
        """The networks behind likeness and fidelity."""
        names = {"dinov2": "DINOv2", "mini": "the shipped classifier"}
        likeness = names[self.seen.name] if self.seen else "the base"
        fidelity = "CLIP" if self.clip else "the base"
        return likeness if likeness == fidelity else f"{likeness} (likeness) and {fidelity} (fidelity)"

    def features(self, latents: Tensor) -> Tensor:
        """Features of whole pictures: means and deviations over places of the U-Net's middle block, (N, D)."""
        states = self._activations(latents, "whole")
        return torch.cat([states.mean((2, 3)), states.std((2, 3))], 1)

    def places(self, pictures: Tensor) -> Tensor:
        """Features of pictures, uint8 (N, 3, H, W), place by place: (N, D)."""
        if self.seen is not None:
            return torch.from_numpy(self.seen(pictures))
        states = self._activations(self.model.enter(pictures), "places")
        return torch.nn.functional.adaptive_avg_pool2d(states, min(PLACES, states.shape[-1])).flatten(1)

    def of_things(self, pictures: Tensor) -> Tensor:
        """The same for things alone: of drawings cropped to their detail, with plain backgrounds made grey: (N, D)."""
        return self.places(cut(pictures) if self.seen is None else pictures)

    def recognised(self, pictures: Tensor, prompts: Sequence[str]) -> Tensor:
        """Share of the other prompts that fit a picture less well than its own, (N,); picture k has prompt k mod P."""
        fits = clip_table(pictures, prompts, str(self.model.device)) if self.clip else self._fits(pictures, prompts)
        own = fits.gather(1, (torch.arange(len(fits)) % len(prompts))[:, None])
        return (fits < own).float().sum(1) / (len(prompts) - 1)

    @torch.inference_mode()
    def _fits(self, pictures: Tensor, prompts: Sequence[str]) -> Tensor:
        """Minus the base's error for each picture with each prompt, (N, P)."""
        model, latents = self.model, self.model.enter(pictures)
        states = model.condition(prompts, len(prompts))
        fits = torch.zeros(len(latents), len(states))
        noise = torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(1)).to(latents.device)
        for ratio in PROMPT_LEVELS:
            level = Level.of(ratio)
            for j in range(len(states)):
                for k, part in enumerate(latents.split(BATCH)):
                    x = level.mix(part, noise.expand_as(part))
                    away = model.denoiser(x, level, states[j : j + 1].repeat(len(part))) - part
                    fits[BATCH * k :][: len(part), j] -= away.square().flatten(1).mean(1).cpu() / ratio**2
        return fits

    @torch.inference_mode()
    def _activations(self, latents: Tensor, of: Extent) -> Tensor:
        model, outputs = self.model, list[Tensor]()
        hook = model.net.layer(of).register_forward_hook(lambda module, inputs, out: outputs.append(out.float()))
        level = Level.of(LEVEL)
        noise = torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(0)).to(latents.device)
        null = model.condition(None, 1)
        try:
            for part in latents.split(BATCH):
                x = level.mix(part, noise.expand_as(part))
                model.denoiser(x, level, null.repeat(len(part)))
        finally:
            hook.remove()
        return torch.cat(outputs)
