"""The training photos of a tuning: several crops and flips of each, encoded once, with captions; and the trigger."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sfumato.errors import UserError
from sfumato.models.family import Size
from sfumato.models.latent import LatentModel
from sfumato.pictures.decode import decode
from sfumato.pictures.split import RESERVED
from sfumato.tuning.photos.photos import PhotoReport, PhotoVerdict

RARE = ("ohwx", "zwx", "bnha", "hta", "kuj", "vnvn")  # for tokenizers that reserve no words
COMMON, SMALL = 0.8, 10_000  # share of a vocabulary that counts as common; below this size all of it
LEAST = 0.93  # smallest crop, as a share of the photo's square
FEW = 2  # most tokens of a word that a base knows
EVERY = 5  # one photo in five is held out


@dataclass(frozen=True)
class PhotoSet:
    """pictures: uint8 (P, V, 3, H, W), the first variant the plain square; latents: (P, V, C, h, w); captions: P texts;
    learned, held_out: indices of the photos for training and of the others; sizes: of the P squares before they were
    scaled.
    """

    pictures: Tensor
    latents: Tensor
    captions: list[str]
    names: list[str]
    learned: list[int]
    held_out: list[int]
    sizes: list[Size]


def prepare(
    report: PhotoReport,
    model: LatentModel,
    caption: str,
    name: str,
    variants: int,
    flip: bool,
    seed: int,
    describe: Callable[[np.ndarray], str] | None = None,
) -> PhotoSet:
    """Crop, encode and caption the photos that are used.

    caption: of photos that have none of their own; it also precedes their own, if that does not contain the trigger
    `name` as a word; describe: a function from a picture, uint8 (3, H, W), to a caption, for photos without one.
    Raises UserError.
    """
    used = report.used
    rng = np.random.default_rng(seed)
    pictures = torch.stack([
        torch.stack([_variant(v, k, model.shape[1:], flip, rng) for k in range(variants)]) for v in used
    ])  # fmt: skip
    latents = model.enter(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2]).cpu()
    captions, texts = [], report.captions
    for verdict, picture in zip(used, pictures[:, 0].numpy(), strict=True):
        text = texts.get(verdict.path, "").replace("{trigger}", name)
        if not text and describe is not None:
            captions.append(describe(picture))
        else:
            captions.append(text if _names(text, name) else f"{caption}, {text}" if text else caption)
    held = list(range(EVERY - 1, len(used), EVERY))
    learned = [k for k in range(len(used)) if k not in held]
    sides = [verdict.crop.side for verdict in used if verdict.crop is not None]
    sizes = [(side, side) for side in sides]
    return PhotoSet(pictures, latents, captions, [v.path.name for v in used], learned, held, sizes)


def _variant(verdict: PhotoVerdict, k: int, size: tuple[int, int], flip: bool, rng: np.random.Generator) -> Tensor:
    """The square of a photo (k = 0), or a random crop of it, mirrored half the time; uint8 (3, H, W)."""
    assert verdict.crop is not None
    picture = decode(verdict.path)
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).convert("RGB")
    share, right, down, coin = (1.0, 0.0, 0.0, 1.0) if k == 0 else (LEAST + (1 - LEAST) * rng.random(), *rng.random(3))
    crop = verdict.crop
    side = crop.side * share
    left, top = crop.left + right * (crop.side - side), crop.top + down * (crop.side - side)
    cut = image.resize((size[1], size[0]), Image.Resampling.LANCZOS, (left, top, left + side, top + side), 2.0)
    cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip and coin < 0.5 else cut
    return torch.from_numpy(np.asarray(cut).transpose(2, 0, 1).copy())


def _names(text: str, name: str) -> bool:
    """Whether a text contains a trigger as a whole word: "own" is not in "brown"."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None


def trigger(model: LatentModel, chosen: str, salt: str = "") -> str:
    """The trigger: `chosen`, or a word of one or two tokens that occurred in no training.

    salt: determines the word, so that two LoRAs can be used together. Raises UserError if `chosen` has more tokens or
    is known to the base.
    """
    if chosen:
        if tokens(model, chosen) > 2:
            raise UserError(f"the trigger {chosen!r} has {tokens(model, chosen)} tokens: choose a shorter one")
        if all(ordinary(model, word) for word in chosen.split()):
            raise UserError(
                f"the trigger {chosen!r} is a word that the base knows: leave --trigger out, or invent a word"
            )
        return chosen
    reserved = [word for word in RESERVED if tokens(model, word) == 1]
    rare = [word for word in RARE if tokens(model, word) <= 2]
    if not reserved and not rare:
        raise UserError("this base's vocabulary has no short unused word: choose one with tune.trigger")
    words = reserved or rare
    return words[int.from_bytes(hashlib.blake2b(salt.encode(), digest_size=4).digest()) % len(words) if salt else 0]


def ordinary(model: LatentModel, word: str) -> bool:
    """Whether a word is a single frequent token: tokens are numbered from frequent to rare."""
    ids, known = model.token_ids(word), len(model.family.vocabulary(model))
    common = COMMON if known > SMALL else 1.0
    return len(ids) == 1 and word not in RESERVED and ids[0] < common * known


def many_tokens(model: LatentModel, noun: str) -> bool:
    """Whether a noun has more tokens than words that a base knows."""
    return tokens(model, noun) > FEW * len(noun.split())


def doubts(model: LatentModel, noun: str) -> list[str]:
    """One line if a base does not know the noun, by the list of its words, else by the number of tokens."""
    mend = "use a noun that it knows"
    if model.words is not None:
        return [f"{line}: {mend}" for line in model.warnings([noun])]
    if many_tokens(model, noun):
        return [f"{model.name} may not know '{noun}', which has many tokens: {mend}"]
    return []


def tokens(model: LatentModel, words: str) -> int:
    """The number of tokens of some words."""
    return len(model.token_ids(words))
