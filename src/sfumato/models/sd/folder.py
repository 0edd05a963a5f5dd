"""Folders in the format of diffusers' StableDiffusionPipeline: read into a TextModel, and written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sfumato.diffusion.schedule import Discrete, cosine, linear, scaled_linear, zero_terminal
from sfumato.errors import UserError
from sfumato.models import words
from sfumato.models.identity import Identity
from sfumato.models.sd.model import TextModel
from sfumato.models.sd.networks import TextNet, layout
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.recipe.recipe import Recipe, build

INDEX = "model_index.json"
OWN = "sfumato.json"  # beside the index: what was learned from, and how it is sampled when nothing else is said
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
FAMILY = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline")
WHOLE, PIECE = "diffusion_pytorch_model.safetensors", 32  # a network in one file; tensors of it read at a time
PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v", "sample": "x0"}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def read(folder: Path, name: str, device: str, precision: str) -> TextModel:
    """A pipeline folder as a model, on its own betas, prediction and resolution.

    Raises UserError: another family, a part that is missing, or weights that are not safetensors.
    """
    _quietly()
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    check(folder)
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text("utf-8"))
    low, safe = dtypes(precision)
    files = {"use_safetensors": True, "local_files_only": True}
    try:
        vae = AutoencoderKL.from_pretrained(folder / "vae", dtype=safe, **files)
        text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=low, **files)
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        if (folder / "unet" / WHOLE).is_file():
            unet = piecewise(UNet2DConditionModel, folder / "unet", low)
        else:
            unet = UNet2DConditionModel.from_pretrained(folder / "unet", dtype=low, **files)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{folder} is not a whole pipeline: {str(error).strip().splitlines()[0]}") from error
    told = folder / OWN
    known = json.loads(told.read_text("utf-8")) if told.is_file() else {"sample": {"guidance": 7.5}}
    identity = Identity.from_json(known.pop("base", None))
    noise = {"schedule": "scaled-linear", "prediction": prediction_of(config)}
    recipe = build({**known, "noise": noise}, where=OWN)
    model = assembled(unet, vae, text, tokenizer, levels_of(config), recipe, name, device, precision)
    model.words, model.identity = known_words(folder / words.FILE), identity
    return model


def known_words(file: Path) -> words.Words | None:
    """The list of a base's words, None if it keeps none. Raises UserError if it is damaged."""
    try:
        return words.Words.from_json(json.loads(file.read_text("utf-8")), str(file))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is not readable as JSON: take it away, or bring it again") from error


def piecewise(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """A network of diffusers, `kind`, of one file of weights, which is never in memory whole beside its cast.

    Raises ValueError for weights that are missing, RuntimeError for those of another shape.
    """
    with torch.device("meta"):
        net = kind.from_config(kind.load_config(folder))
    with safe_open(folder / WHOLE, "pt") as file:
        names = list(file.keys())
    for k in range(0, len(names), PIECE):
        with safe_open(folder / WHOLE, "pt") as file:  # what was mapped goes with the file's handle
            part = {name: file.get_tensor(name).to(dtype) for name in names[k : k + PIECE]}
        net.load_state_dict(part, strict=False, assign=True)
    missing = [name for name, value in net.state_dict().items() if value.is_meta]
    if missing:
        raise ValueError(f"{folder / WHOLE} has no {missing[0]}")
    return net.eval()


def assembled(
    unet: Any, vae: Any, text: Any, tokenizer: Any, levels: Discrete, recipe: Recipe, name: str, device: str,
    precision: str,
) -> TextModel:  # fmt: skip
    """A model of its parts; of the recipe the prediction and the sample section count.

    Every dtype is decided here: see `dtypes`.
    """
    low, safe = dtypes(precision)
    net = TextNet(unet, text, levels)
    for part, dtype in ((unet, low), (text, low), (net, None), (vae, safe)):
        nn.Module.to(part, device, dtype)  # diffusers' own `to` warns of every cast
        part.eval().requires_grad_(False)
    net.unet.to(memory_format=layout(device))
    recipe = recipe.with_({"name": name, "task": "text", "sample.clip": False})
    side = unet.config.sample_size * 2 ** (len(vae.config.block_out_channels) - 1)
    told = Vocabulary("words", [], tokenizer.model_max_length)
    return TextModel(
        net, recipe, told, (3, side, side), name, device, precision, vae=vae, tokenizer=tokenizer, levels=levels
    )


def dtypes(precision: str) -> tuple[torch.dtype, torch.dtype]:
    """Of weights and arithmetic, and of the autoencoder's: fp32 where `precision` is fp16, whose range it leaves."""
    low = DTYPES[precision]
    return low, torch.float32 if low is torch.float16 else low


def check(folder: Path) -> None:
    """Raises UserError if a folder is not a whole pipeline of the Stable Diffusion 1 and 2 family in safetensors."""
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_text("utf-8"))
        kind = str(index["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / INDEX} does not describe a pipeline") from error
    if kind not in FAMILY:
        raise UserError(f"{folder} is a {kind}: sfumato works with Stable Diffusion 1 and 2 (StableDiffusionPipeline)")
    for part in PARTS:
        if not (folder / part).is_dir():
            raise UserError(f"{folder} has no {part}/: bring the whole pipeline, with {', '.join(PARTS)}")
    for part in ("unet", "vae", "text_encoder"):
        if not list((folder / part).glob("*.safetensors")):
            old = [file.name for file in (folder / part).glob("*.bin")]
            why = f"only {old[0]}, which can run code when it is loaded" if old else "no weights"
            raise UserError(f"{folder / part} has {why}: bring the .safetensors file of the same model")


def levels_of(config: dict[str, Any]) -> Discrete:
    """The schedule of a scheduler_config.json. Raises UserError if its betas are of an unknown kind."""
    steps, kind = int(config.get("num_train_timesteps", 1000)), config.get("beta_schedule", "scaled_linear")
    first, last = float(config.get("beta_start", 0.00085)), float(config.get("beta_end", 0.012))
    if config.get("trained_betas") is not None:
        found = Discrete((1 - torch.tensor(config["trained_betas"], dtype=torch.float64)).cumprod(0))
    elif kind == "scaled_linear":
        found = scaled_linear(steps, first, last)
    elif kind == "linear":
        found = linear(steps, first * steps / 1000, last * steps / 1000)
    elif kind == "squaredcos_cap_v2":
        found = cosine(steps)
    else:
        raise UserError(f"scheduler_config.json: unknown beta_schedule {kind}")
    return zero_terminal(found) if config.get("rescale_betas_zero_snr") else found


def prediction_of(config: dict[str, Any]) -> str:
    kind = config.get("prediction_type", "epsilon")
    if kind not in PREDICTIONS:
        raise UserError(f"scheduler_config.json: unknown prediction_type {kind}")
    return PREDICTIONS[kind]


def write(model: TextModel, folder: Path, half: bool = True) -> Path:
    """A model as a pipeline folder, in fp16 if `half`; nothing is there until all of it is."""
    import copy
    import shutil
    import uuid

    _quietly()
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    from sfumato.files import disk_trouble, sync

    net: Any = model.net
    dtype = torch.float16 if half else torch.float32
    parts = (copy.deepcopy(part) for part in (net.unet, net.text, model.autoencoder))
    unet, text, vae = (nn.Module.to(part, "cpu", dtype) for part in parts)
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=model.tokenizer, unet=unet, scheduler=DDIMScheduler(**scheduler(model)),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.mkdir(parents=True)
        pipeline.save_pretrained(temporary, safe_serialization=True)
        assert model.tokenizer is not None
        model.tokenizer.backend_tokenizer.model.save(str(temporary / "tokenizer"))  # vocab.json and merges.txt
        (temporary / OWN).write_text(json.dumps(own(model), indent=1), "utf-8")
        if model.words is not None:
            listed = json.dumps(model.words.to_json(), ensure_ascii=False, indent=1)
            (temporary / words.FILE).write_text(listed, "utf-8")
        mode = (temporary / OWN).stat().st_mode
        for path in temporary.rglob("*"):
            if path.is_file():
                path.chmod(mode)  # safetensors makes files that only their owner can read
                sync(path)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.replace(folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if (mended := disk_trouble(error, folder)) is not None:
            raise mended from error
        raise
    return folder


def _quietly() -> None:
    """No bars over moments, and no words on parts that no pipeline here has."""
    from diffusers.utils.logging import set_verbosity_error
    from transformers.utils import logging

    set_verbosity_error()
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def own(model: TextModel) -> dict[str, Any]:
    """What a recipe would say and diffusers does not ask."""
    base = {"base": model.identity.to_json()} if model.identity else {}
    sampled = model.recipe.sample.model_dump(mode="json")
    return {**base, "data": {"source": model.recipe.data.source}, "sample": sampled}


def scheduler(model: TextModel) -> dict[str, Any]:
    """What a scheduler of diffusers needs to know of a model's levels."""
    levels = model.levels
    assert levels is not None
    terminal = float(levels.alpha_bar[-1]) < 1e-9
    plain = scaled_linear(levels.timesteps)
    expected = zero_terminal(plain) if terminal else plain
    known: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    if not torch.allclose(expected.alpha_bar, levels.alpha_bar, atol=1e-9):
        known = {"trained_betas": betas(levels.alpha_bar).tolist()}
    names = {value: key for key, value in PREDICTIONS.items()}
    return {
        **known, "num_train_timesteps": levels.timesteps, "prediction_type": names[model.recipe.noise.prediction],
        "rescale_betas_zero_snr": terminal and "trained_betas" not in known, "timestep_spacing": "trailing",
        "clip_sample": False, "set_alpha_to_one": True, "steps_offset": 1,
    }  # fmt: skip


def betas(alpha_bar: Tensor) -> Tensor:
    return 1 - alpha_bar / torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
