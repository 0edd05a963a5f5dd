"""The verb `judge`: a model's own samples against the pictures it learned from; and `compare`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from sfumato.diffusion.samplers import evaluations
from sfumato.errors import UserError
from sfumato.judging.features import Features, clip_similarity, open_features
from sfumato.judging.generate import GenerateVerdict, judge_generated
from sfumato.models.model import Model
from sfumato.models.zoo import load
from sfumato.pictures.store import Pictures, Store, open_store
from sfumato.progress import Progress, Stop, phase, phases


@dataclass(frozen=True)
class Judged:
    """A verdict with what it was taken on and what it cost.

    similarity: mean cosine of CLIP's embeddings of each sample and its caption, where a captioned model was judged on
    `clip` features; warnings: what of the captions the model does not read or does not know, a line each.
    """

    model: Model
    store: Store
    samples: Tensor
    verdict: GenerateVerdict
    settings: dict[str, Any]
    seconds: float
    similarity: float | None = None
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        cost = {"ms_per_picture": 1000 * self.seconds / len(self.samples), "seconds": self.seconds}
        told = {} if self.similarity is None else {"clip_similarity": self.similarity}
        about = {"sample": self.settings, "cost": cost, "warnings": list(self.warnings)}
        return {"model": self.model.name, **self.verdict.to_json(), **told, **about}


def judge(
    name: str | Path | Model,
    *,
    n: int | None = None,
    data: str | None = None,
    features: str | Features | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    stop: Stop | None = None,
    **changes: Any,
) -> Judged:
    """Draw n samples and judge them.

    name: anything `load` takes, or a model; data: another source than the model's own; features: a name, or your own;
    changes: of the `sample` section (`steps`, `sampler`, `guidance`, ...). Conditions are drawn as often as in the
    training data. progress: receives phases; stop: read once a step. Raises UserError, Stopped.
    """
    model = name if isinstance(name, Model) else load(name)
    recipe = model.recipe
    chosen_data = recipe.data if data is None else recipe.data.of(data)
    store = open_store(chosen_data, phase("pictures", progress, stop))
    if tuple(store.shape) != tuple(model.shape):
        raise UserError(f"{model.name} draws {model.shape} but the data is {store.shape}: judge on data of its size")
    chosen = model.settings(**changes)
    extractor = features if isinstance(features, Features) else open_features(features or recipe.judge.features)
    count = n or min(recipe.judge.n, max(4, len(store.train)))
    texts = told(model, store.train, count, seed)
    total = count * chosen.steps
    began = time.perf_counter()

    tell = phases(progress, stop)

    def see(first: int, step: Any) -> None:
        tell("sampling", min(total, first * step.steps + (step.index + 1) * len(step.x)), total)

    samples = model.sample(count, texts=texts, seed=seed, callback=see, warn=False, **changes)
    seconds = time.perf_counter() - began
    verdict = judge_generated(
        samples, store.train, store.held_out, extractor, seed=seed, digest=store.digest, progress=progress, stop=stop
    )
    settings = {
        **chosen.model_dump(mode="json"),
        "evaluations": evaluations(chosen.sampler, chosen.steps),
        "seed": seed,
    }
    similarity = None
    if extractor.name == "clip" and texts and model.vocabulary.kind == "words":
        similarity = float(clip_similarity(samples, texts, extractor.device).mean())
    return Judged(model, store, samples, verdict, settings, seconds, similarity, tuple(model.warnings(texts)))


def told(model: Model, pictures: Pictures, n: int, seed: int) -> list[str] | None:
    """Labels or captions for n samples, as often as the pictures have them; None if the model is told nothing."""
    if model.vocabulary.kind == "none":
        return None
    texts = model.vocabulary.heard(pictures.texts(model.vocabulary.kind))
    order = np.random.default_rng(seed).permutation(len(texts))
    return [texts[order[k % len(texts)]] for k in range(n)]


def compare(a: str | Path, b: str | Path, **options: Any) -> tuple[Judged, Judged]:
    """Judge two models with the same seeds, on the first one's data by its features and as many pictures of each.

    Options as for `judge`. Raises UserError if they draw pictures of different sizes.
    """
    models = load(a), load(b)
    sizes = [tuple(model.shape) for model in models]
    if sizes[0] != sizes[1]:
        raise UserError(f"{a} draws pictures of {sizes[0]} and {b} of {sizes[1]}: these cannot be compared")
    recipes = [model.recipe for model in models]
    least = min(recipe.judge.n for recipe in recipes)
    for recipe in recipes:
        recipe.judge.n, recipe.judge.features = least, recipes[0].judge.features
    options["data"] = options.get("data") or recipes[0].data.source
    return judge(models[0], **options), judge(models[1], **options)
