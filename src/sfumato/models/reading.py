"""Reads models from folders and files: shipped ones, run folders, checkpoints, pipelines, single files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file

from sfumato.errors import UserError
from sfumato.files import Json, open_tensors
from sfumato.models import bases, ddpm
from sfumato.models.model import Model
from sfumato.models.named import net_of
from sfumato.models.names import PRETRAINED, check, is_pipeline, unknown
from sfumato.models.pixel import PixelModel
from sfumato.models.registry import of_folder, of_keys
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.recipe.mistakes import first_trouble
from sfumato.recipe.recipe import Recipe
from sfumato.runs import checkpoint
from sfumato.runs.checkpoint import label


def read_file(path: Path, called: str, device: str, precision: str) -> Model:
    """Read a base in one file as a model. Raises UserError."""
    return of_keys(keys_of(path), path).reader.read_file(path, called, device, precision)


def read(folder: Path, weights: str, called: str, device: str, precision: str) -> Model:
    """Read the folder that `find` returned as a model. Raises UserError, also for a folder of a tuning."""
    if ddpm.claims(folder):
        return ddpm.read(folder, called, device, precision)
    if is_pipeline(folder):
        return of_folder(folder).reader.read_folder(folder, called, device, precision)
    with described(folder):
        config = config_of(folder)
        task = config["recipe"]["task"]
        if task == "text":
            from sfumato.models.sd.checkpoint import restored

            return restored(config, folder / weights, called, device, precision)
        if task == "autoencoder":
            raise UserError(f"{called} is an autoencoder, a part of text-to-image models: name a text-to-image model")
        recipe = Recipe.model_validate(config["recipe"])
        vocabulary = Vocabulary.from_json(config["vocabulary"])
        channels, height, width = map(int, config["shape"])
    shape = (channels, height, width)
    net = net_of(recipe.net, shape, vocabulary)
    try:
        state = {k: t.float() for k, t in load_file(folder / weights).items()}
        net.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{folder / weights} does not hold this model's weights ({reason})") from error
    if bad := [key for key, value in state.items() if not value.isfinite().all()]:
        raise UserError(f"{folder / weights} is damaged: {bad[0]} is not finite; take another checkpoint")
    net.eval().requires_grad_(False).to(device)
    return PixelModel.of(net, recipe, vocabulary, shape, name=called, device=device, precision=precision, facts=config)


def task_of(folder: Path) -> str:
    """The task of a checkpoint or shipped model; "" for a folder of diffusers. Raises UserError."""
    if is_pipeline(folder) or ddpm.claims(folder):
        return ""
    with described(folder):
        return str(config_of(folder)["recipe"]["task"])


def config_of(folder: Path) -> Json:
    """The content of a checkpoint's config.json. Raises OSError, or ValueError if it is not JSON."""
    found: Json = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return found


def keys_of(path: Path) -> list[str]:
    """The names of a safetensors file's tensors. Raises UserError if it is no such file."""
    with open_tensors(path) as file:
        return list(file.keys())


def find(name: str | Path) -> tuple[Path, str]:
    """A model's folder, and the name of its weights file ("" for folders of diffusers). Raises UserError."""
    path = Path(name)
    check(name)
    if is_pipeline(path) or ddpm.claims(path):
        return path, ""
    if path.is_file() and path.suffix == ".safetensors":
        _verify(path.parent)
        return path.parent, path.name
    if (path / "recipe.yaml").is_file() or (path / "checkpoints").is_dir():
        found, troubles = checkpoint.newest(path / "checkpoints")
        if found is None:
            why = f" ({troubles[0]})" if troubles else ""
            raise UserError(f"{path} has no whole checkpoint yet{why}: let `sfumato train` save one")
        path = found.path
    elif not path.is_dir():
        return _by_name(str(name))
    else:
        _verify(path)
    averages = sorted(file.name for file in path.glob("ema-*.safetensors"))
    if averages:
        with described(path):
            config = json.loads((path / "config.json").read_text(encoding="utf-8"))
            first = f"{label(config['recipe']['train']['ema'][0])}.safetensors"
        return path, first if first in averages else averages[0]
    if not (path / "model.safetensors").is_file():
        raise UserError(f"{path} is not a run folder, a checkpoint or a model (no model.safetensors in it)")
    return path, "model.safetensors"


def _by_name(name: str) -> tuple[Path, str]:
    """A shipped model, or a base of the Hub."""
    path = PRETRAINED / name
    if is_pipeline(path):
        return path, ""
    if (path / "config.json").is_file():
        return path, "model.safetensors"
    if bases.is_base(name):
        return bases.located(name), ""
    raise unknown(name)


def _verify(folder: Path) -> None:
    """Raises UserError if the folder is a checkpoint of a run and its content differs from what was written."""
    if folder in checkpoint.listing(folder.parent) and (folder / checkpoint.MANIFEST).is_file():
        try:
            checkpoint.read(folder)
        except checkpoint.DamagedCheckpointError as error:
            raise UserError(f"{error}: take another checkpoint of {folder.parent}") from error


@contextlib.contextmanager
def described(folder: Path) -> Iterator[None]:
    """A block in which errors of a missing, damaged or foreign config.json become a UserError of one line."""
    try:
        yield
    except ValidationError as error:
        raise UserError(f"{folder / 'config.json'} does not describe a model: {first_trouble(error)}") from error
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(f"{folder / 'config.json'} does not describe a model") from error
