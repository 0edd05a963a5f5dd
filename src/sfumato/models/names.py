"""Names of models: shipped ones, bases, files, folders. Imports nothing heavy, so that a wrong name fails at once."""

from __future__ import annotations

import difflib
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from sfumato.errors import UserError
from sfumato.models import bases
from sfumato.models.registry import INDEX

if TYPE_CHECKING:
    from sfumato.models.model import Model

UNSAFE = (".ckpt", ".bin", ".pt", ".pth", ".pkl")
PRETRAINED = Path(str(resources.files("sfumato") / "pretrained"))


def check(name: object) -> None:
    """Raises UserError unless a name is that of a file, a folder, a shipped model or a base.

    It is also raised for a file that can run code when it is loaded, and for a value that is neither str nor Path.
    """
    if not isinstance(name, (str, Path)):
        raise UserError(f"{name!r:.60} is no model: give its name, its path, or one that `load` gave")
    if name == "":
        raise UserError("the model's name is empty: give a shipped model, a file or a folder; . is this folder")
    path = Path(name)
    if path.suffix in UNSAFE:
        raise UserError(
            f"{path} can run code when it is loaded: bring the .safetensors file of the same model, or convert it "
            "where you trust it (diffusers: from_single_file, then save_pretrained)"
        )
    text = str(name)
    if _exists(path) or _exists(PRETRAINED / text) or bases.is_base(text):
        return
    raise unknown(text)


def is_loaded(model: object) -> TypeGuard[Model]:
    """Whether a value is a loaded model and not a name. Imports nothing: without `Model` there is no loaded model."""
    module = sys.modules.get("sfumato.models.model")
    return module is not None and isinstance(model, module.Model)


def unknown(name: str) -> UserError:
    """The error for an unknown name, with the nearest known name."""
    known = models()
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"shipped models: {', '.join(known) or 'none'}"
    return UserError(f"no run folder, checkpoint or model named {name}; {hint}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long for a file
        return False


def called_as(name: str | Path) -> str:
    """The name of a loaded model: that of its file or folder, or the name by which it was loaded."""
    return str(name if not Path(name).exists() else Path(name).resolve().name)


def models() -> list[str]:
    """Names of the shipped models that `load` accepts; those that only compute features are left out."""
    plain = [p.parent.name for p in PRETRAINED.glob("*/config.json") if '"shape"' in p.read_text("utf-8")]
    return sorted([*plain, *(p.parent.name for p in PRETRAINED.glob(f"*/{INDEX}"))])


def is_pipeline(folder: Path) -> bool:
    """Whether a folder is in diffusers' format."""
    return (folder / INDEX).is_file()


def is_single(path: Path) -> bool:
    """Whether a path is a safetensors file without a configuration beside it, and therefore a whole model."""
    return path.is_file() and path.suffix == ".safetensors" and not (path.parent / "config.json").is_file()


def is_tuned(folder: Path) -> bool:
    """Whether a folder holds a LoRA in PEFT's format."""
    return (folder / "adapter_config.json").is_file()
