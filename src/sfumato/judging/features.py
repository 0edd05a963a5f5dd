"""Features of pictures, on which distances between sets of pictures are measured.

Only distances on `inception`, the network of Heusel et al. 2017, are called FID; all others are named with their
features.
"""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato import registry
from sfumato.errors import UserError
from sfumato.files import sha256
from sfumato.judging import weights
from sfumato.pictures.pixels import from_uint8
from sfumato.progress import Advance

DINOV2 = "facebook/dinov2-base"
CLIP = "openai/clip-vit-large-patch14"  # the smaller ones are not published as safetensors


class Features:
    """Features by name: `features(pictures) -> (N, dim)` float32.

    embed: takes uint8 (n, 3, H, W) on `device`, returns (n, dim); digest: identifies the weights, None if they
    are unknown.
    """

    def __init__(
        self,
        name: str,
        embed: Callable[[Tensor], Tensor | np.ndarray],
        digest: str | None,
        device: str = "cpu",
        batch: int = 100,
    ) -> None:
        self.name, self.digest, self.device, self.batch = name, digest, device, batch
        self._embed = embed
        self.dim = self._run(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).shape[1]

    def __call__(self, pictures: Tensor, progress: Advance | None = None) -> np.ndarray:
        """uint8 (N, 1 or 3, H, W) -> float32 (N, dim); progress(done, N) is called after each batch.

        A picture's features do not depend on its neighbours. Raises ValueError for other types and shapes.
        """
        if pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[1] not in (1, 3):
            raise ValueError(
                f"features are taken of uint8 (N, 1 or 3, H, W), not {pictures.dtype} {tuple(pictures.shape)}"
            )
        out = np.empty((len(pictures), self.dim), dtype=np.float32)
        for start in range(0, len(pictures), self.batch):
            part = self._run(pictures[start : start + self.batch])
            out[start : start + len(part)] = part
            if progress is not None:
                progress(start + len(part), len(pictures))
        return out

    def _run(self, pictures: Tensor) -> np.ndarray:
        with torch.inference_mode():
            given = self._embed(pictures.to(self.device).expand(-1, 3, -1, -1))
        array = given.float().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given, dtype=np.float32)
        if array.ndim != 2 or len(array) != len(pictures):
            raise ValueError(f"{self.name} gave {array.shape} for {len(pictures)} pictures: (n, dim) is needed")
        return array


def open_features(name: str | Callable[[Tensor], Tensor | np.ndarray], device: str = "cpu") -> Features:
    """Features of the registry (`mini`, `inception`, `dinov2`, `clip`), of a package (`package.module:Name`), of
    Inception's published file by its path, or of a callable: uint8 (n, 3, H, W) -> (n, dim).

    Raises UserError for an unknown name, and one with the files to copy if the weights cannot
    be had.
    """
    if not isinstance(name, str):
        called = getattr(name, "__name__", type(name).__name__)
        if not callable(name):
            raise UserError(f"features={name!r}: give a name, or a function of uint8 (n, 3, H, W) that gives (n, dim)")
        with registry.calling("features", called):
            return Features(called, name, None, device)
    if Path(name).suffix == ".pt":
        return Features("inception", *inception(device, Path(name)), device)
    thing = registry.find("features", name)
    with registry.calling("features", name):
        embed, digest = thing(device)
        return Features(name, embed, digest, device)


def distance_name(features: Features | str) -> str:
    """What a Fréchet distance on these features is called."""
    name = features if isinstance(features, str) else features.name
    return "FID" if name == "inception" else f"FD ({name} features)"


def resized(pictures: Tensor, side: int) -> Tensor:
    """uint8 (n, C, H, W) -> float in [0, 255], (n, C, side, side): bicubic, antialiased; the whole picture,
    stretched if need be.
    """
    x = pictures.float()
    if x.shape[2:] != (side, side):
        x = F.interpolate(x, (side, side), mode="bicubic", antialias=True).clamp(0, 255)
    return x


def clip_similarity(pictures: Tensor, prompts: Sequence[str], device: str = "cpu", batch: int = 50) -> np.ndarray:
    """Cosine of each picture's CLIP embedding with that of its own prompt, (N,) float32 in [-1, 1].

    pictures: uint8 (N, 1 or 3, H, W); prompts: N texts, cut at CLIP's 77 tokens. Radford et al. 2021;
    unscaled, where Hessel et al. 2021 report 2.5 max(cos, 0). Raises UserError if the weights cannot be had,
    ValueError if the numbers differ.
    """
    if len(pictures) != len(prompts):
        raise ValueError(f"{len(pictures)} pictures but {len(prompts)} prompts")
    image, text = _clip_towers(weights.hub_folder(CLIP), device)
    found = []
    for start in range(0, len(pictures), batch):
        part = slice(start, start + batch)
        with torch.inference_mode():
            a = F.normalize(image(pictures[part].to(device).expand(-1, 3, -1, -1)).float())
            b = F.normalize(text(list(prompts[part])).float())
        found.append((a * b).sum(1).cpu().numpy())
    return np.concatenate(found) if found else np.empty(0, dtype=np.float32)


def clip_table(pictures: Tensor, prompts: Sequence[str], device: str = "cpu", batch: int = 50) -> Tensor:
    """Cosine of every picture's CLIP embedding with every prompt's, (N, P); see `clip_similarity`."""
    image, text = _clip_towers(weights.hub_folder(CLIP), device)
    with torch.inference_mode():
        parts = [image(part.to(device).expand(-1, 3, -1, -1)).float() for part in pictures.split(batch)]
        return (F.normalize(torch.cat(parts)) @ F.normalize(text(list(prompts)).float()).T).cpu()


Opened = tuple[Callable[[Tensor], Tensor], str]


def mini(device: str) -> Opened:
    from safetensors.torch import load_file

    from sfumato.nets.classifier import Classifier, ClassifierConfig

    folder = Path(str(resources.files("sfumato") / "pretrained" / "mini-features"))
    path = folder / "model.safetensors"
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        net = Classifier(ClassifierConfig(**{**config, "channels": tuple(config["channels"])}))
        net.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    except FileNotFoundError as error:
        raise UserError(
            f"no mini features in {folder}: train them with `sfumato train mini-features`, or reinstall"
        ) from error
    net.eval().to(device)

    def embed(pictures: Tensor) -> Tensor:
        x = from_uint8(resized(pictures, 32))
        return net.features(x.contiguous(memory_format=torch.channels_last))

    return embed, sha256(path)


def inception(device: str, path: Path | None = None) -> Opened:
    """The TorchScript network expects 0..255, resizes inside as TensorFlow 1 did, and gives the 2048
    features of pool_3.
    """
    path = weights.pinned_file(weights.INCEPTION_URL, weights.INCEPTION_SHA256, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and this file is TorchScript
        net = torch.jit.load(str(path), map_location=device).eval()
    return lambda pictures: net(pictures.float(), return_features=True).flatten(1), weights.INCEPTION_SHA256


def dinov2(device: str) -> Opened:
    folder = weights.hub_folder(DINOV2)
    from transformers import Dinov2Model

    net = Dinov2Model.from_pretrained(folder, use_safetensors=True).eval().to(device)
    prepare = _processor(folder, device)
    return lambda pictures: net(pixel_values=prepare(pictures)).pooler_output, sha256(folder / "model.safetensors")


def clip(device: str) -> Opened:
    folder = weights.hub_folder(CLIP)
    return _clip_towers(folder, device)[0], sha256(folder / "model.safetensors")


@functools.lru_cache(maxsize=1)
def _clip_towers(folder: Path, device: str) -> tuple[Callable[[Tensor], Tensor], Callable[[list[str]], Tensor]]:
    """Pictures and texts -> their embeddings in the common space, (n, dim), not normalised."""
    from transformers import CLIPModel, CLIPTokenizer

    net = CLIPModel.from_pretrained(folder, use_safetensors=True).eval().to(device)
    prepare, tokenizer = _processor(folder, device), CLIPTokenizer.from_pretrained(folder)

    def image(pictures: Tensor) -> Tensor:
        return net.visual_projection(net.vision_model(pixel_values=prepare(pictures)).pooler_output)

    def text(texts: list[str]) -> Tensor:
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=77, return_tensors="pt").to(device)
        return net.text_projection(net.text_model(**tokens).pooler_output)

    return image, text


def _processor(folder: Path, device: str) -> Callable[[Tensor], Tensor]:
    """Side, mean and standard deviation of preprocessor_config.json; the whole picture rather than its
    centre.
    """
    config = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    size = config["crop_size"] if config.get("do_center_crop", True) else config["size"]
    side = size if isinstance(size, int) else next(iter(size.values()))
    mean, std = (torch.tensor(config[key], device=device).view(3, 1, 1) for key in ("image_mean", "image_std"))
    return lambda pictures: (resized(pictures, side) / 255 - mean) / std
