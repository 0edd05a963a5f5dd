"""Pipeline folders of all families: reads everything except the networks, and writes whole folders."""

from __future__ import annotations

import copy
import json
import shutil
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from safetensors import safe_open
from torch import Tensor, nn

from sfumato.device import Policy
from sfumato.diffusion.schedule import Discrete, cosine, linear, scaled_linear, zero_terminal
from sfumato.errors import UserError
from sfumato.files import Json, disk_trouble, replace_folder, sync
from sfumato.models import words
from sfumato.models.identity import Identity
from sfumato.models.place import OWN
from sfumato.recipe.recipe import build
from sfumato.recipe.sections import Sample

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, ModelMixin

    from sfumato.models.latent import LatentModel

PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v", "sample": "x0"}
WHOLE, PIECE = "diffusion_pytorch_model.safetensors", 32  # a network in one file; tensors that are read at once
Net = TypeVar("Net", bound=nn.Module)
GUIDANCE = 7.5  # of bases without sampling settings


def facts_of(folder: Path, guidance: float = GUIDANCE) -> Json:
    """The fields of a LatentModel that a folder contains, except its networks. Raises UserError.

    guidance: the default guidance for folders without sampling settings.
    """
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text("utf-8"))
    file = folder / OWN
    known = json.loads(file.read_text("utf-8")) if file.is_file() else {"sample": {"guidance": guidance}}
    identity = Identity.from_json(known.pop("base", None))
    described = build(known, where=OWN)
    return {
        "schedule": levels_of(scheduler), "prediction": prediction_of(scheduler), "defaults": described.sample,
        "source": described.data.source, "words": known_words(folder / words.FILE), "identity": identity,
    }  # fmt: skip


def known_words(file: Path) -> words.Words | None:
    """The list of a base's words; None if there is no such file. Raises UserError if the file is damaged."""
    try:
        return words.Words.from_json(json.loads(file.read_text("utf-8")), str(file))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is not readable as JSON: take it away, or bring it again") from error


def piecewise(kind: type[ModelMixin], folder: Path, dtype: torch.dtype) -> ModelMixin:
    """A network of diffusers' class `kind` from one file of weights, read and cast a few tensors at a time.

    Raises ValueError if weights are missing, RuntimeError if they have another shape.
    """
    with torch.device("meta"):
        net = kind.from_config(kind.load_config(folder))
    with safe_open(folder / WHOLE, "pt") as file:
        names = list(file.keys())
    for k in range(0, len(names), PIECE):
        with safe_open(folder / WHOLE, "pt") as file:  # its mapped memory is freed with the file's handle
            part = {name: file.get_tensor(name).to(dtype) for name in names[k : k + PIECE]}
        net.load_state_dict(part, strict=False, assign=True)
    missing = [name for name, value in net.state_dict().items() if value.is_meta]
    if missing:
        raise ValueError(f"{folder / WHOLE} has no {missing[0]}")
    return net.eval()


def unclipped(sample: Sample) -> Sample:
    """The section for latents: without clipping, because latents have no fixed range."""
    return sample.model_copy(update={"clip": False})


def dtypes(precision: str) -> tuple[torch.dtype, torch.dtype]:
    """The dtype of the weights, and that of the autoencoder's: see `device.Policy`."""
    policy = Policy.of(precision)
    return policy.weights, policy.autoencoder


def levels_of(config: Json) -> Discrete:
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


def prediction_of(config: Json) -> str:
    """The prediction of a scheduler_config.json, a key of `denoiser.PREDICTIONS`. Raises UserError if it is unknown."""
    kind = config.get("prediction_type", "epsilon")
    if kind not in PREDICTIONS:
        raise UserError(f"scheduler_config.json: unknown prediction_type {kind}")
    return PREDICTIONS[kind]


def save(made: DiffusionPipeline, model: LatentModel, folder: Path, places: Sequence[str] = ("tokenizer",)) -> Path:
    """Write a pipeline of diffusers, with the model's words, settings and identity. Returns the folder.

    places: the subfolders of the tokenizers. The folder appears when it is complete; an existing one is replaced.
    Raises UserError for an error of the disk.
    """
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.mkdir(parents=True)
        made.save_pretrained(temporary, safe_serialization=True)
        for tokenizer, place in zip(model.tokenizers, places, strict=True):
            tokenizer.backend_tokenizer.model.save(str(temporary / place))  # vocab.json and merges.txt
        (temporary / OWN).write_text(json.dumps(own(model), indent=1), "utf-8")
        if model.words is not None:
            listed = json.dumps(model.words.to_json(), ensure_ascii=False, indent=1)
            (temporary / words.FILE).write_text(listed, "utf-8")
        mode = (temporary / OWN).stat().st_mode
        for path in temporary.rglob("*"):
            if path.is_file():
                path.chmod(mode)  # safetensors creates files that only their owner can read
                sync(path)
        replace_folder(temporary, folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if (mended := disk_trouble(error, folder)) is not None:
            raise mended from error
        raise
    return folder


def networks_of(model: LatentModel) -> tuple[nn.Module, ...]:
    """The denoising network, the text encoders and the autoencoder of a model."""
    return (*model.net.denoisers(), *model.net.encoders(), model.autoencoder)


def copies(model: LatentModel, half: bool) -> tuple[nn.Module, ...]:
    """Copies of `networks_of`, in the dtype of the files: fp16 if `half`, else fp32."""
    return tuple(cast(each, torch.float16 if half else torch.float32) for each in networks_of(model))


def cast(network: Net, dtype: torch.dtype) -> Net:
    """A copy of a network on the CPU in another dtype; no copy in the network's own dtype is made.

    If the network has the layers of a LoRA, they are merged into the copy's weights.
    """
    weights = [*network.parameters(), *network.buffers()]
    low = {id(each): each.detach().to("cpu", dtype if each.is_floating_point() else None) for each in weights}
    for p in network.parameters():
        low[id(p)] = nn.Parameter(low[id(p)], requires_grad=False)
    return _settled(copy.deepcopy(network, low))


def _settled(network: Net) -> Net:
    """A network with PEFT's layers merged into its weights and removed; shared weights stay unchanged."""
    if "peft" not in sys.modules:  # then there are none; PEFT is slow to import
        return network
    from peft.tuners.lora import LoraLayer

    layers = {name: module for name, module in network.named_modules() if isinstance(module, LoraLayer)}
    if not layers:
        return network
    for name, layer in layers.items():
        layer.merge(safe_merge=True)
        network.set_submodule(name, layer.get_base_layer())
    del network.peft_config
    object.__setattr__(network, "_hf_peft_config_loaded", False)  # diffusers' flag of a network with PEFT's layers
    return network


def own(model: LatentModel) -> Json:
    """The content of OWN: the facts of a model for which diffusers' files have no place."""
    base = {"base": model.identity.to_json()} if model.identity else {}
    return {**base, "data": {"source": model.source}, "sample": model.defaults.model_dump(mode="json")}


def scheduler(model: LatentModel) -> Json:
    """The configuration of a diffusers scheduler for a model's schedule and prediction."""
    levels = model.schedule
    terminal = float(levels.alpha_bar[-1]) < 1e-9
    plain = scaled_linear(levels.timesteps)
    expected = zero_terminal(plain) if terminal else plain
    known: Json = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    if not torch.allclose(expected.alpha_bar, levels.alpha_bar, atol=1e-9):
        known = {"trained_betas": betas(levels.alpha_bar).tolist()}
    names = {value: key for key, value in PREDICTIONS.items()}
    return {
        **known, "num_train_timesteps": levels.timesteps, "prediction_type": names[model.prediction],
        "rescale_betas_zero_snr": terminal and "trained_betas" not in known, "timestep_spacing": "trailing",
        "clip_sample": False, "set_alpha_to_one": True, "steps_offset": 1,
    }  # fmt: skip


def betas(alpha_bar: Tensor) -> Tensor:
    """The betas, float64 (T,), whose cumulative products of 1 - beta are `alpha_bar`, (T,)."""
    return 1 - alpha_bar / torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])


def quietly() -> None:
    """Turn off the libraries' progress bars and warnings; some are about parts that sfumato's pipelines never have."""
    from diffusers.utils.logging import set_verbosity_error
    from transformers.utils import logging

    set_verbosity_error()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
