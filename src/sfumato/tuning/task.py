"""The task `tune`: a LoRA learns a few photos; for other prompts its output stays close to the base's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from PIL import Image
from torch import Tensor, nn

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Preconditioned, conditioned
from sfumato.diffusion.loss import denoising_loss
from sfumato.diffusion.schedule import midpoints, stratified
from sfumato.files import Json
from sfumato.lora.adapter import Adapter, Shape, attach, without
from sfumato.models.latent import LatentModel
from sfumato.recipe.recipe import Recipe
from sfumato.show.grid import grid
from sfumato.training.task import Batch, HeldOut, bands, pieces
from sfumato.training.tasks.generate import normal
from sfumato.tuning.parked import Parked
from sfumato.tuning.photos.photoset import PhotoSet
from sfumato.tuning.prior import Prior, prior_inputs, prior_prompts, with_base_outputs, words

BESIDE = 2  # photos of a batch per example of the prior
STRATA, NOISES = 10, 4  # of the validation loss: levels, and noises at each
SHOWN = ("a {thing}", "a {thing} on a blue background", "a small {thing}", "a large {thing} on a white background")


def prior_per_step(batch: int) -> int:
    """The number of examples of the prior in a step with this number of photos."""
    return -(-batch // BESIDE)


class Personalise:
    """Train the LoRA of a base on a photo set; a prior keeps its output close to the base's for other prompts.

    The conditions of a step are rows of one table, `conditions`: the photos' captions, the empty prompt, the noun
    alone, and the prompts of the prior.

    The autoencoder, and the text encoder unless it is adapted too, are out of memory between previews.
    """

    def __init__(self, recipe: Recipe, model: LatentModel, photos: PhotoSet, thing: str) -> None:
        self.recipe, self.model, self.photos, self.thing = recipe, model, photos, thing
        self.device = torch.device(model.device)
        attach(model.net, Shape.of(recipe.tune), recipe.train.seed)
        self.net: nn.Module = Adapter(model.net)
        self.learned = torch.tensor(photos.learned)
        texts, others = photos.captions, words(model.family.vocabulary(model), thing, recipe.train.seed)
        self.null = len(texts)
        self.plain = self.null + 1
        of_prior = prior_prompts(texts, thing, recipe.tune.noun, others)
        of_photos = [size for size in photos.sizes for _ in range(len(of_prior) // len(texts))]
        self.conditions = self._conditions(Condition.cat([
            model.tokens(texts, photos.sizes), model.nothing(), model.tokens([f"a {recipe.tune.noun}"]),
            model.tokens(of_prior, of_photos),
        ]))  # fmt: skip
        self.prior_rows = torch.arange(self.plain + 1, len(self.conditions)).view(len(texts), -1)
        self.fixed, self.elsewhere = self._fixed()
        self.unmoved: Tensor | None = None
        self.saving = False
        self.prior = self.prior_inputs(1)  # until `hold`
        away: list[nn.Module] = [model.autoencoder]
        self.parked = Parked(away if recipe.tune.text_encoder else [*away, *model.net.encoders()])

    def prior_inputs(self, count: int, of_class: Tensor | None = None) -> Prior:
        """Examples for the prior, without outputs of the base: of the photos, or of class latents, (N, C, h, w)."""
        if of_class is not None:
            rows = torch.full((len(of_class), 1), self.plain)
            return prior_inputs(of_class[:, None], rows, None, count, self.recipe.train.seed)
        photos = self.photos.latents[self.learned]
        return prior_inputs(photos, self.prior_rows[self.learned], self.null, count, self.recipe.train.seed)

    def with_base_outputs(self, examples: Prior, progress: Callable[[int, int], None]) -> Prior:
        """The same examples with the base's outputs as targets."""
        with without(self.model.net):
            return with_base_outputs(examples, self.model.denoiser, self.model.schedule, self._encoded, progress)

    def hold(self, prior: Prior) -> None:
        """Set the prior that is learned beside the photos."""
        self.prior = prior

    def save_memory(self) -> None:
        """Use activation checkpointing (Chen et al. 2016)."""
        self.model.net.save_memory()
        self.saving = True

    def draw(self, images: int, batch: int, generator: torch.Generator) -> Batch:
        at = torch.randint(0, len(self.learned), (batch,), generator=generator)
        which = self.learned[at]
        variant = torch.randint(0, self.photos.latents.shape[1], (batch,), generator=generator)
        x0 = self.photos.latents[which, variant].to(self.device)
        u = stratified(batch, generator)
        conditioned_on = torch.rand(batch, generator=generator) >= self.recipe.train.drop_condition
        row = torch.where(conditioned_on, which, self.null).to(self.device)
        drawn = {"x0": x0, "row": row, "u": u, "noise": normal(x0, generator)}
        if self.recipe.tune.prior:
            drawn["example"] = torch.randint(0, len(self.prior.u), (batch,), generator=generator)
        return drawn

    def loss(self, net: nn.Module, part: Batch) -> Tensor:
        denoiser = Preconditioned(conditioned(net), self.recipe.noise.prediction)
        x0, noise, u, row = part["x0"], part["noise"], part["u"], part["row"]
        target, count, weight = x0, len(x0), self.recipe.tune.prior if torch.is_grad_enabled() else 0
        if weight:
            p, at = self.prior, part["example"][: prior_per_step(count)]
            pairs = ((x0, p.x0), (noise, p.noise), (u, p.u), (row, p.row), (x0, p.target))
            x0, noise, u, row, target = (torch.cat([ours, base[at].to(ours.device)]) for ours, base in pairs)
        level, cond = self.model.schedule.draw(u), self.conditions[row]
        losses = denoising_loss(denoiser, self.recipe.noise.weighting, x0, noise, level, cond, target)
        return losses[:count] + weight * losses[count:].mean() if weight else losses

    @torch.no_grad()
    def held_out(self, net: nn.Module) -> HeldOut:
        """The loss of held-out photos; drift: the mean squared change of the network's output by the LoRA for prompts
        that do not name the thing.
        """
        denoiser = Preconditioned(conditioned(net), self.recipe.noise.prediction)
        losses = torch.cat([self.loss(net, part).cpu().double() for part in self._pieces(self.fixed)])
        if self.unmoved is None:
            with without(self.model.net):
                self.unmoved = self._output_elsewhere(denoiser)
        drift = float((self._output_elsewhere(denoiser) - self.unmoved).square().mean())
        ratio = self.model.schedule.draw(self.fixed["u"]).ratio
        return HeldOut(float(losses.mean()), bands(ratio, losses), {"drift": drift})

    def _output_elsewhere(self, denoiser: Preconditioned) -> Tensor:
        """The network's output for held-out photos with prompts that do not name the thing."""
        outputs = []
        for part in self._pieces(self.elsewhere):
            level = self.model.schedule.draw(part["u"])
            raw, _ = denoiser.raw(level.mix(part["x0"], part["noise"]), level, self.conditions[part["row"]])
            outputs.append(raw.cpu().double())
        return torch.cat(outputs)

    def _pieces(self, whole: Batch) -> Iterator[Batch]:
        """Parts that need less memory than a step."""
        return pieces(whole, self.recipe.train.batch * (1 if self.saving else 4))

    @torch.no_grad()
    def preview(self, net: nn.Module) -> Image.Image:
        texts = [each.format(thing=self.thing) for each in SHOWN]
        with self.parked.here(), net.in_place() if isinstance(net, Adapter) else contextlib.nullcontext():
            return grid(self.model.sample(len(texts), texts=texts, warn=False), columns=4, captions=texts)

    def describe(self) -> Json:
        base = {"base": self.model.identity.to_json()} if self.model.identity else {}
        vocabulary = self.model.vocabulary.to_json()
        return {"shape": list(self.model.shape), "vocabulary": vocabulary, "thing": self.thing, **base}

    def _conditions(self, tokens: Condition) -> Condition:
        """Tokens if the text encoders are adapted too, else their prompt embeddings, computed once."""
        if self.recipe.tune.text_encoder:
            return tokens.to(self.device)
        parts = (tokens[k : k + 32].to(self.device) for k in range(0, len(tokens), 32))
        with torch.no_grad():
            return Condition.cat([self.model.net.embedded(part) for part in parts])

    def _encoded(self, row: Tensor) -> Condition:
        """The condition of rows for the denoising network, whether the text encoders are adapted or not."""
        rows = self.conditions[row]
        return self.model.net.embedded(rows) if self.recipe.tune.text_encoder else rows

    def _fixed(self) -> tuple[Batch, Batch]:
        """Held-out photos (or the only photo) at fixed levels with fixed noise, with their captions; and some of
        them with other prompts.
        """
        rows = self.photos.held_out or self.photos.learned[:1]
        at = torch.arange(STRATA * NOISES * len(rows))
        which = torch.tensor(rows).repeat_interleave(STRATA * NOISES)
        x0 = self.photos.latents[which, 0].to(self.device)
        u = midpoints(STRATA)[at % STRATA]
        noise = normal(x0, torch.Generator().manual_seed(0))
        held: Batch = {"x0": x0, "row": which.to(self.device), "u": u, "noise": noise}
        once = at // STRATA % NOISES == 0
        away = self.prior_rows[which, at % self.prior_rows.shape[1]].to(self.device)
        return held, {key: value[once.to(value.device)] for key, value in {**held, "row": away}.items()}
