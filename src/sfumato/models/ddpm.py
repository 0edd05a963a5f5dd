"""Folders of diffusers' pixel models: a UNet2DModel, or a pipeline with one (DDPMPipeline, DDIMPipeline)."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from torch import Tensor

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.schedule import Discrete, timesteps
from sfumato.errors import UserError
from sfumato.files import Json
from sfumato.models.pipelines import WHOLE, levels_of, prediction_of, quietly
from sfumato.models.pixel import PixelCleaner, PixelModel
from sfumato.models.registry import INDEX
from sfumato.nets.net import PictureNet
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.recipe.sections import Sample

if TYPE_CHECKING:
    from diffusers import UNet2DModel

PIPELINES = ("DDPMPipeline", "DDIMPipeline")
SCHEDULER = "scheduler_config.json"
UNSAID = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
"""The defaults of a DDPMScheduler."""


class DiscreteNet(PictureNet):
    """F(x, c, tokens) of diffusers' UNet2DModel.

    Its timestep is computed from c = ln(sigma / alpha) / 4; between two timesteps of the schedule it is a fraction.
    """

    levels: Tensor

    def __init__(self, unet: UNet2DModel, schedule: Discrete) -> None:
        super().__init__()
        self.unet = unet
        self.register_buffer("levels", schedule.log_ratios, persistent=False)

    @property
    def multiple(self) -> int:
        return int(2 ** (len(self.unet.config.block_out_channels) - 1))

    def forward(self, x: Tensor, c: Tensor, tokens: Tensor | None = None, noisy: Tensor | None = None) -> Tensor:
        labels = None if tokens is None else tokens[:, 0] - 1
        found: Tensor = self.unet(x, timesteps(self.levels, c), labels, return_dict=False)[0]
        return found[:, : x.shape[1]]  # the other channels are a variance, which our samplers do not use


@dataclass(kw_only=True)
class LabelledModel(PixelModel):
    """A model that draws only with a label, because it was never trained without one."""

    def condition(self, texts: Sequence[str] | None, n: int) -> Condition | None:
        if not texts or not all(texts):
            words = self.vocabulary.words
            raise UserError(f"{self.name} draws only with a label, {words[0]} to {words[-1]}: give one with --label")
        return super().condition(texts, n)

    @property
    def null(self) -> Condition | None:
        return None

    def cleaner(self) -> PixelCleaner:
        raise UserError(f"{self.name} needs a label for each picture, which a photo does not have: clean with photo")


def claims(folder: Path) -> bool:
    """Whether a folder holds a pixel model of diffusers."""
    index, config = _read(folder / INDEX), _read(folder / "config.json")
    return index.get("_class_name") in PIPELINES or (not index and config.get("_class_name") == "UNet2DModel")


def read(folder: Path, name: str, device: str, precision: str) -> PixelModel:
    """Read a folder for which `claims` is true as a model, with the folder's betas and prediction.

    Raises UserError if the folder is incomplete or damaged, or if its network or scheduler is of an unknown kind.
    """
    place = folder / "unet" if (folder / "unet").is_dir() else folder
    config = _read(place / "config.json")
    shape = _shape(config, place)
    scheduler = _scheduler(folder, place)
    schedule = levels_of(UNSAID | scheduler)
    net = DiscreteNet(_unet(place), schedule)
    net.eval().requires_grad_(False).to(device)
    count = config.get("num_class_embeds")
    kind = LabelledModel if count else PixelModel
    return kind(
        net=net, shape=shape, schedule=schedule, prediction=prediction_of(scheduler), name=name, device=device,
        precision=precision, facts=config,
        vocabulary=Vocabulary("class", [str(k) for k in range(count)], 1) if count else Vocabulary("none", [], 0),
        defaults=Sample(clip=bool(scheduler.get("clip_sample", True)), steps=min(20, schedule.timesteps)),
    )  # fmt: skip


def _shape(config: Json, place: Path) -> tuple[int, int, int]:
    """(C, H, W). Raises UserError if the configuration is of an unknown network."""
    where, size = place / "config.json", config.get("sample_size")
    if config.get("_class_name") != "UNet2DModel":
        raise UserError(f"{where} is of a {config.get('_class_name', 'network without a name')}, not of a UNet2DModel")
    if config.get("time_embedding_type", "positional") != "positional":
        raise UserError(f"{where}: time_embedding_type {config['time_embedding_type']} is not supported, positional is")
    if config.get("class_embed_type") is not None:
        raise UserError(f"{where}: class_embed_type {config['class_embed_type']} is not supported, class numbers are")
    if size is None:
        raise UserError(f"{where} has no sample_size: add the side of the pictures that it was trained on")
    height, width = (size, size) if isinstance(size, int) else size
    return int(config.get("in_channels", 3)), int(height), int(width)


def _scheduler(folder: Path, place: Path) -> Json:
    """The scheduler's configuration, of the pipeline or beside the network. Raises UserError if it has no betas."""
    places = [folder / "scheduler" / SCHEDULER, place / SCHEDULER, place.parent / "scheduler" / SCHEDULER]
    file = next((each for each in places if each.is_file()), None)
    log = logging.getLogger(__name__)
    if file is None:
        log.warning("%s has no %s: taken as DDPM's, 1,000 linear betas and epsilon", folder, SCHEDULER)
        return {}
    config = _read(file)
    if "num_train_timesteps" not in config or ("beta_schedule" not in config and not config.get("trained_betas")):
        raise UserError(f"{file} is of a {config.get('_class_name', 'scheduler')}: one with betas is needed, as DDPM's")
    if config.get("clip_sample", True) and config.get("clip_sample_range", 1.0) != 1:
        log.warning("%s: clip_sample_range is taken as 1, the range of pictures", file)
    if config.get("thresholding"):
        log.warning("%s: thresholding is not applied", file)
    return config


def _unet(place: Path) -> UNet2DModel:
    quietly()
    from diffusers import UNet2DModel

    if not list(place.glob("*.safetensors")):
        old = [file.name for file in place.glob("*.bin")]
        why = f"only {old[0]}, which can run code when it is loaded" if old else "no weights"
        raise UserError(f"{place} has {why}: bring {WHOLE} of the same model")
    try:
        unet: UNet2DModel = UNet2DModel.from_pretrained(place, use_safetensors=True, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{place} is not a whole UNet2DModel: {str(error).strip().splitlines()[0]}") from error
    if bad := [key for key, value in unet.state_dict().items() if not value.isfinite().all()]:
        raise UserError(f"{place / WHOLE} is damaged: {bad[0]} is not finite")
    return unet.float()


def _read(file: Path) -> Json:
    """The object of a JSON file; empty if the file has none."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
