"""`judge`: a model's samples against its training and held-out pictures; and `compare`."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from sfumato.errors import UserError
from sfumato.files import Json
from sfumato.judging import repeat
from sfumato.judging.features import Features, clip_similarity, open_features
from sfumato.judging.generate import GenerateVerdict, Metric, check_counts, judge_generated, metrics_of
from sfumato.judging.order import Order
from sfumato.models.model import Model, steps_phase
from sfumato.pictures.store import open_store
from sfumato.pictures.stored import Pictures, Store
from sfumato.progress import Progress, Stop, phase, phases
from sfumato.recipe.sections import Data, Judge, Sample
from sfumato.zoo import opened


@dataclass(frozen=True)
class Judged:
    """A verdict with what it was taken on and what it cost.

    similarity: mean cosine of CLIP's embeddings of each sample and its caption, where a captioned model was judged on
    `clip` features; warnings: unknown words and cut captions, one line each; command: repeats it.
    """

    model: Model
    store: Store
    samples: Tensor
    verdict: GenerateVerdict
    settings: Json
    seconds: float
    similarity: float | None = None
    warnings: tuple[str, ...] = ()
    command: str = ""

    def to_json(self) -> Json:
        cost = {"ms_per_picture": 1000 * self.seconds / len(self.samples), "seconds": self.seconds}
        similarity = {} if self.similarity is None else {"clip_similarity": self.similarity}
        about = {"sample": self.settings, "cost": cost, "warnings": list(self.warnings)}
        return {"model": self.model.name, **self.verdict.to_json(), **similarity, **about}


def judge(
    name: str | Path | Model,
    order: Order,
    progress: Progress | None = None,
    stop: Stop | None = None,
    given: str = "",
) -> Judged:
    """`sfumato.judge`, with a stop that is read once a step. Raises UserError, Stopped.

    given: the name of a model that is loaded, for the command that repeats this.
    """
    order.check()
    model = opened(name, progress, stop)
    return _judged(_ready(model, judge_of(model), order, progress, stop, given or name), order, progress, stop)


@dataclass(frozen=True)
class _Ready:
    """What is judged, of which everything is known to fit: nothing is drawn before. texts: None without a condition;
    name: the model as it was given.
    """

    model: Model
    store: Store
    chosen: Sample
    extractor: Features
    count: int
    texts: list[str] | None
    metrics: dict[str, Metric]
    name: str | Path | Model


def _ready(
    model: Model, own: Judge, order: Order, progress: Progress | None, stop: Stop | None, name: str | Path | Model
) -> _Ready:
    """own: the section that has what the order leaves open. Raises UserError."""
    if model.task == "denoise":
        raise UserError(
            f"{model.name} was trained to denoise pictures, not to draw them: use `sfumato denoise`, or --task denoise"
        )
    store = open_store(data_of(model, order.data), phase("pictures", progress, stop))
    if tuple(store.shape) != tuple(model.shape):
        raise UserError(f"{model.name} draws {model.shape} but the data is {store.shape}: judge on data of its size")
    chosen = model.settings(order.sampling)
    features = order.features or own.features
    extractor = features if isinstance(features, Features) else open_features(features)
    count = order.n or min(own.n, max(4, len(store.train)))
    check_counts(count, len(store.train), len(store.held_out))
    metrics = metrics_of(dict.fromkeys((*own.metrics, *order.metrics)))
    texts = representative_texts(model, store.train, count, order.seed)
    return _Ready(model, store, chosen, extractor, count, texts, metrics, name)


def _judged(ready: _Ready, order: Order, progress: Progress | None, stop: Stop | None) -> Judged:
    model, store, texts, extractor, seed = ready.model, ready.store, ready.texts, ready.extractor, order.seed
    began = time.perf_counter()
    samples = model.sample(
        ready.count, texts=texts, seed=seed, sampling=order.sampling, warn=False,
        callback=steps_phase("sampling", ready.count, phases(progress, stop)),
    )  # fmt: skip
    seconds = time.perf_counter() - began
    verdict = judge_generated(
        samples, store.train, store.held_out, extractor, seed=seed, digest=store.digest,
        metrics=ready.metrics, tell=phases(progress, stop),
    )  # fmt: skip
    settings = {
        **ready.chosen.model_dump(mode="json"),
        "evaluations": model.evaluations(ready.chosen),
        "seed": seed,
    }
    similarity = None
    if extractor.name == "clip" and texts and model.vocabulary.kind == "words":
        similarity = float(clip_similarity(samples, texts, extractor.device).mean())
    command = repeat.generated(
        ready.name, order, extractor.name, ready.count, settings,
        model.vocabulary.kind != "none",
    )  # fmt: skip
    warnings = tuple(model.warnings(texts))
    return Judged(model, store, samples, verdict, settings, seconds, similarity, warnings, command)


def representative_texts(model: Model, pictures: Pictures, n: int, seed: int) -> list[str] | None:
    """Labels or captions for n samples, as frequent as in the data; None for an unconditional model."""
    if model.vocabulary.kind == "none":
        return None
    texts = model.vocabulary.encodable(pictures.texts(model.vocabulary.kind))
    order = np.random.default_rng(seed).permutation(len(texts))
    return [texts[order[k % len(texts)]] for k in range(n)]


def compare(
    a: str | Path | Model, b: str | Path | Model, order: Order, progress: Progress | None = None
) -> tuple[Judged, Judged]:
    """`sfumato.compare`. Raises UserError if they draw pictures of different sizes."""
    order.check()
    models = opened(a, progress), opened(b, progress)
    sizes = [tuple(model.shape) for model in models]
    if sizes[0] != sizes[1]:
        one, two = (each.name if isinstance(each, Model) else each for each in (a, b))
        raise UserError(f"{one} draws pictures of {sizes[0]} and {two} of {sizes[1]}: these cannot be compared")
    own = judge_of(models[0])
    own = own.model_copy(update={"n": min(own.n, judge_of(models[1]).n)})
    order = replace(order, data=order.data or data_of(models[0]).source)
    first, second = (
        _ready(model, own, order, progress, None, name) for model, name in zip(models, (a, b), strict=True)
    )
    return _judged(first, order, progress, None), _judged(second, order, progress, None)


def judge_of(model: Model) -> Judge:
    """The section `judge` of a model's recipe, or its defaults."""
    return model.recipe.judge if model.recipe else Judge()


def data_of(model: Model, source: str | Path | None = None) -> Data:
    """The pictures that a model is judged on: its own, or those of another source; at its size if it has no recipe.

    Raises UserError if its training pictures are not known.
    """
    height, width = model.shape[1:]
    fits = min(height, width) >= 8 and max(height, width) <= 1024
    plain = Data(source=model.source, image_size=(height, width) if fits else None)
    own = model.recipe.data if model.recipe else plain
    if source is not None:
        return own.of(source)
    if not own.source:
        raise UserError(f"{model.name} has no record of its training pictures: name pictures with --data")
    return own
