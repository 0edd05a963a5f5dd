"""Pictures that a model was not trained on: the held-out part of its own data, or all of another folder."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sfumato.judging.model import data_of
from sfumato.models.model import Model
from sfumato.pictures.store import address, open_store, survey
from sfumato.progress import Advance
from sfumato.recipe.sections import Data


def trained_on(model: Model, source: str) -> bool:
    """Whether a source is that of the model's training, by its place or by its content."""
    own = data_of(model).source if model.recipe or model.source else ""
    if source == own or (own and Path(source).exists() and Path(source).resolve() == Path(own).resolve()):
        return True
    digest = model.facts.get("data", {}).get("digest")
    return digest is not None and address(data_of(model, source)) == digest


def unseen(model: Model, source: str | None, n: int | None = None, tell: Advance | None = None) -> Tensor:
    """At most n pictures to which noise is added, uint8 (N, C, H, W).

    A folder of which nothing was trained on is used whole and at its own scale: pictures of different sizes are cut
    into pieces of the smallest side, since enlarged pictures have no fine detail and are easy to clean. Raises
    UserError.
    """
    if source is None or not Path(source).is_dir() or trained_on(model, source):
        return open_store(data_of(model, source), tell).held_out.pixels[:n]
    store = open_store(_unscaled(model, source), tell)
    if n is not None and n <= len(store.held_out):
        return store.held_out.pixels[:n]
    left = None if n is None else n - len(store.held_out)
    return torch.cat([store.held_out.pixels, store.train.pixels[:left]])


def _unscaled(model: Model, source: str) -> Data:
    """The data section for a folder whose pictures keep their scale."""
    plain = Data(source=source, grey=model.shape[0] == 1, crop="pieces")
    sizes = [tuple(map(int, size.split("x"))) for size in survey(plain).sizes]
    if len(sizes) == 1 and max(sizes[0]) <= max(*model.shape[1:], 8):
        return plain
    least = min((min(size) for size in sizes), default=8)
    return plain.model_copy(update={"image_size": max(8, min(least, max(model.shape[1:])))})
