"""The verdict on generated pictures: distance from the training set, variety, and copies."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sfumato import registry
from sfumato.errors import UserError
from sfumato.files import Json, aside, save_tensors
from sfumato.judging.distance import Moments, frechet, frechet_interval, kid, precision_recall
from sfumato.judging.features import Features, distance_name
from sfumato.judging.memorisation import Memorisation, memorisation
from sfumato.judging.quality import FEW, Quality, quality
from sfumato.judging.thumbs import alike_share
from sfumato.pictures.cache import cache_folder
from sfumato.progress import Stages

MOST = 50_000  # most training pictures in a distance
GIVEN = ("samples", "training", "held_out")  # features that a metric can take


class Metric(Protocol):
    """A further figure, of features (n, dim) of the kinds of pictures that it has parameters for."""

    def __call__(self, **features: np.ndarray) -> float: ...


FIGURES = 4  # steps of the phase after the features: FD, KID, precision and recall, copies


class Pictures(Protocol):
    """A set of pictures of one shape, uint8 (N, C, H, W)."""

    @property
    def pixels(self) -> Tensor: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Distance:
    """The Fréchet distance of n samples from the training set, its 95 % interval, and the floor: the
    distance of `floor_n` real held-out pictures from the same training set, the best to be expected.

    scale: the distance of one average picture repeated, the variance of the training features summed.
    """

    value: float
    low: float
    high: float
    floor: float
    floor_n: int
    scale: float


@dataclass(frozen=True)
class GenerateVerdict:
    """fd: against `reference_n` training pictures; kid and its standard error; precision and recall with equal numbers
    of pictures; notes: limits of these figures; metrics: further figures by name; alike: share of samples nearly alike
    to another one.
    """

    fd: Distance
    kid: float
    kid_error: float
    precision: float
    recall: float
    memorised: Memorisation
    features: str
    n: int
    reference_n: int
    notes: tuple[str, ...]
    metrics: Mapping[str, float] = field(default_factory=dict)
    alike: float = 0.0

    @property
    def quality(self) -> Quality:
        """What to say first."""
        return quality(self.fd, self.recall, self.alike, self.memorised, self.n)

    def to_json(self) -> Json:
        """Stable keys: `memorised` is the share of near-copies, `memorisation` all its figures."""
        return {
            "fd": asdict(self.fd),
            "kid": self.kid,
            "kid_error": self.kid_error,
            "precision": self.precision,
            "recall": self.recall,
            "memorised": self.memorised.copies,
            "memorisation": asdict(self.memorised),
            "features": self.features,
            "n": self.n,
            "reference_n": self.reference_n,
            "notes": list(self.notes),
            "alike": self.alike,
            "quality": self.quality.to_json(),
            **({"metrics": dict(self.metrics)} if self.metrics else {}),
        }

    def words(self) -> str:
        """The verdict in a few plain sentences, the most important first."""
        fd = self.fd
        covered = f"{self.recall:.0%} of the training pictures are covered by samples (recall)."
        if self.quality.tone != "bad" and self.n >= FEW:
            covered = f"{self.precision:.0%} of the samples lie among the training pictures (precision), and {covered}"
        return " ".join(
            [
                self.quality.reason,
                f"{distance_name(self.features)} {fd.value:.4g} on {self.n} samples "
                f"(95% interval {fd.low:.4g} to {fd.high:.4g}); real held-out pictures have {fd.floor:.4g}.",
                covered,
                self.memorised.verdict,
                *(f"{name}: {value:.4g}." for name, value in self.metrics.items()),
                *self.notes,
            ]
        )


def judge_generated(
    samples: Tensor,
    train: Pictures,
    held_out: Pictures,
    features: Features,
    *,
    seed: int = 0,
    digest: str | None = None,
    metrics: Mapping[str, Metric] | None = None,
    tell: Stages | None = None,
) -> GenerateVerdict:
    """Judge samples, uint8 (n, C, H, W), against training and held-out pictures.

    digest: of the store; with it the features of its pictures are cached. metrics: further figures, see
    `metrics_of`.
    tell: called with (kind of pictures, done, total) after each batch. The same seed gives the same figures.
    Raises UserError if there are too few pictures of any kind or their shapes differ.
    """
    _check(samples, train, held_out)
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.permutation(len(train))[:MOST])

    def run(what: str, pictures: Tensor) -> np.ndarray:
        return features(pictures, None if tell is None else partial(tell, what))

    def real(what: str, pictures: Pictures, rows: np.ndarray) -> np.ndarray:
        path = _cached(digest, what, features, rows)
        if path is not None and (known := _read(path, len(rows), features.dim)) is not None:
            return known
        array = run(what, _chosen(pictures, rows))
        if path is not None:
            with contextlib.suppress(OSError, UserError), aside(path) as temporary:
                save_tensors(temporary, {"features": torch.from_numpy(array)})
        return array

    fake = run("samples", samples)
    training = real("training pictures", train, kept)
    held = real("held-out pictures", held_out, np.arange(len(held_out)))

    n, floor_n = len(fake), min(len(fake), len(held))
    step = (lambda done: None) if tell is None else partial(_figures, tell)
    interval = frechet_interval(fake, training, seed=seed)
    step(1)
    moments = Moments.of(training)
    floor = frechet(held[rng.permutation(len(held))[:floor_n]], moments)
    kernel, kernel_error = kid(fake, training, seed=seed)
    step(2)
    even = min(n, len(training))
    precision, recall = precision_recall(
        training[rng.permutation(len(training))[:even]], fake[rng.permutation(n)[:even]]
    )
    step(3)
    taught = _chosen(train, kept)
    copied = memorisation(fake, training, held, (samples, taught, held_out.pixels), seed)
    alike = alike_share(samples, taught[torch.from_numpy(np.sort(rng.permutation(len(taught))[:n]))])
    step(FIGURES)
    pairs = tuple(replace(pair, train=int(kept[pair.train])) for pair in copied.pairs)
    found = _measured(metrics or {}, {"samples": fake, "training": training, "held_out": held})
    return GenerateVerdict(
        Distance(interval.value, interval.low, interval.high, floor, floor_n, float(np.trace(moments.covariance))),
        kernel, kernel_error, precision, recall, replace(copied, pairs=pairs), features.name, n, len(training),
        _notes(n, floor_n, len(training), even, features.dim), found, alike,
    )  # fmt: skip


def _measured(metrics: Mapping[str, Metric], given: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Further figures by name."""
    found = {}
    for name, each in metrics.items():
        with registry.calling("metric", name):
            found[name] = float(each(**given))
    return found


def _figures(tell: Stages, done: int) -> None:
    tell("distances and copies", done, FIGURES)


def metrics_of(names: Iterable[str]) -> dict[str, Metric]:
    """Further figures by name, each a function of the features of `samples`, `training` and `held_out` pictures.

    Raises UserError if there is none of a name, or it cannot be called with these.
    """
    return {name: _metric(name) for name in names}


def _metric(name: str) -> Metric:
    thing = registry.find("metric", name)
    takes = registry.arguments(thing, dict.fromkeys(GIVEN), {}, f"the metric {name}")
    with registry.calling("metric", name):
        inspect.signature(thing).bind(**takes)
    return lambda **features: thing(**{key: features[key] for key in takes})


def _chosen(pictures: Pictures, rows: np.ndarray) -> Tensor:
    return pictures.pixels if len(rows) == len(pictures) else pictures.pixels[torch.from_numpy(rows)]


def check_counts(samples: int, train: int, held_out: int) -> None:
    """Raises UserError if there are too few pictures of any kind."""
    counts = {"samples": samples, "training pictures": train, "held-out pictures": held_out}
    for (name, count), least in zip(counts.items(), (4, 4, 2), strict=True):
        if count < least:
            raise UserError(f"{count} {name} are too few for judging: at least {least} are needed")


def _check(samples: Tensor, train: Pictures, held_out: Pictures) -> None:
    check_counts(len(samples), len(train), len(held_out))
    ours, theirs = tuple(samples.shape[1:]), tuple(train.pixels.shape[1:])
    if not ours == theirs == tuple(held_out.pixels.shape[1:]):
        raise UserError(
            f"samples have the shape {ours}, but the pictures {theirs}: judge on pictures of the same shape"
        )


def _notes(n: int, floor_n: int, reference: int, even: int, dim: int) -> tuple[str, ...]:
    notes = []
    if floor_n < n:
        notes.append(f"The floor is from all {floor_n} held-out pictures; with {n} it would be lower.")
    if even < n:
        notes.append(f"Precision and recall compare {even} with {even} pictures, all training pictures.")
    if min(n, reference) < 2 * dim:
        notes.append(
            f"{min(n, reference)} pictures are few for {dim} features, so that most of the distance is bias: "
            "read the kernel distance (KID) instead."
        )
    return tuple(notes)


def _cached(digest: str | None, what: str, features: Features, rows: np.ndarray) -> Path | None:
    if digest is None or features.digest is None:
        return None
    key = hashlib.sha256("|".join((digest, what, features.name, features.digest)).encode() + rows.tobytes()).hexdigest()
    return cache_folder() / "features" / f"{key[:32]}.safetensors"


def _read(path: Path, n: int, dim: int) -> np.ndarray | None:
    """The cached features, None if they are missing or damaged."""
    with contextlib.suppress(OSError, KeyError, SafetensorError):
        array = load_file(path)["features"].numpy()
        if array.shape == (n, dim) and array.dtype == np.float32:
            return array
    return None
