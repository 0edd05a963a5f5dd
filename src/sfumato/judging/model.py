"""`judge`: a model's samples against its training and held-out pictures; and `compare`."""

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
from sfumato.pictures.store import Pictures, Store, open_store
from sfumato.progress import Progress, Stop, phase, phases
from sfumato.recipe.sections import Data, Judge
from sfumato.zoo import load


@dataclass(frozen=True)
class Judged:
    """A verdict with what it was taken on and what it cost.

    similarity: mean cosine of CLIP's embeddings of each sample and its caption, where a captioned model was judged on
    `clip` features; warnings: unknown words and cut captions, one line each.
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
    own: Judge | None = None,
    **changes: Any,
) -> Judged:
    """Draw n samples and judge them.

    name: anything `load` takes, or a model; data: another source than the model's own; features: a name, or your own;
    own: a section in place of the model's; changes: of the `sample` section (`steps`, `sampler`, `guidance`, ...).
    Conditions are drawn as often as in the training data. progress: receives phases; stop: read once a step. Raises
    UserError, Stopped.
    """
    model = name if isinstance(name, Model) else load(name)
    own = own or judge_of(model)
    if model.task == "denoise":
        raise UserError(
            f"{model.name} was trained to denoise pictures, not to draw them: use `sfumato denoise`, or --task denoise"
        )
    store = open_store(data_of(model, data), phase("pictures", progress, stop))
    if tuple(store.shape) != tuple(model.shape):
        raise UserError(f"{model.name} draws {model.shape} but the data is {store.shape}: judge on data of its size")
    chosen = model.settings(**changes)
    extractor = features if isinstance(features, Features) else open_features(features or own.features)
    count = n or min(own.n, max(4, len(store.train)))
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
    """Labels or captions for n samples, as frequent as in the data; None for an unconditional model."""
    if model.vocabulary.kind == "none":
        return None
    texts = model.vocabulary.encodable(pictures.texts(model.vocabulary.kind))
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
    first = judge_of(models[0])
    own = first.model_copy(update={"n": min(first.n, judge_of(models[1]).n)})
    options["data"] = options.get("data") or data_of(models[0]).source
    return judge(models[0], own=own, **options), judge(models[1], own=own, **options)


def judge_of(model: Model) -> Judge:
    """The section `judge` of a model's recipe, or its defaults."""
    return model.recipe.judge if model.recipe else Judge()


def data_of(model: Model, source: str | None = None) -> Data:
    """The pictures that a model is judged on: its own, or those of another source.

    Raises UserError if its training pictures are not known.
    """
    own = model.recipe.data if model.recipe else Data(source=model.source)
    if source is not None:
        return own.of(source)
    if not own.source:
        raise UserError(f"{model.name} has no record of its training pictures: name pictures with --data")
    return own
