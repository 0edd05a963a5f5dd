"""Single files of all families: reads and writes one safetensors file with a family's original keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from diffusers import ConfigMixin
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import CLIPTokenizer, PreTrainedModel

from sfumato.errors import UserError
from sfumato.files import Facts, aside, save_tensors
from sfumato.models.bases import NAMES
from sfumato.pictures.source import data_folder

TOKENIZER = "openai/clip-vit-large-patch14"
HINTS = ("sample_size", "force_upcast")  # keys of configurations that do not change a network's weights


def tensors_of(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file and the metadata of its header. Raises UserError."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"{path} is not a safetensors file ({str(error).splitlines()[0][:80]})") from error


def fill(module: nn.Module, state: Mapping[str, Tensor], part: str, path: Path, assign: bool = False) -> None:
    """Load weights into a network in fp32; with `assign` they replace its tensors and keep their own dtype.

    part: the network's name in the error. Raises UserError if weights are missing, unknown or of another shape.
    """
    try:
        module.load_state_dict({key: t if assign else t.float() for key, t in state.items()}, assign=assign)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[1].strip()[:100]
        raise UserError(f"{path}: the {part} is not whole, or not of this family ({reason})") from error


def fill_text(text: nn.Module, state: Mapping[str, Tensor], part: str, path: Path) -> None:
    """Load weights into a text encoder, as `fill`; unknown weights are ignored, and names may start with `text_model.`.

    Raises UserError if weights are missing or of another shape.
    """
    own = {name.removeprefix("text_model."): name for name in text.state_dict()}
    plain = {key.removeprefix("text_model."): value for key, value in state.items()}
    fill(text, {own[key]: value for key, value in plain.items() if key in own}, part, path)


def tokenizer_for(path: Path, length: int) -> CLIPTokenizer:
    """CLIP's tokenizer: from tokenizer/ beside the file, a base in `$SFUMATO_DATA`, or the Hub. Raises UserError."""
    data = data_folder()
    known = [*NAMES, *NAMES.values(), *(repo.split("/")[-1] for repo in NAMES.values())]
    places = [path.parent / "tokenizer", *(data / each / "tokenizer" for each in known if data)]
    try:
        local = [each for each in places if (each / "vocab.json").is_file()]
        place = local[0] if local else Path(snapshot_download(TOKENIZER, allow_patterns=["*.json", "merges.txt"]))
        tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(place, model_max_length=length, local_files_only=True)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UserError(
            f"{path} holds no tokenizer and {TOKENIZER} cannot be downloaded from the Hub: copy its vocab.json and "
            f"merges.txt to {path.parent / 'tokenizer'}"
        ) from error
    return tokenizer


def same_shape(parts: Iterable[tuple[ConfigMixin | PreTrainedModel, Facts]]) -> bool:
    """Whether networks have the fixed shapes of single files, which contain no configuration.

    parts: each network with the values that its configuration must have.
    """
    return all(
        _plain(getattr(net.config, key)) == _plain(value)
        for net, shape in parts
        for key, value in shape.items()
        if key not in HINTS
    )


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def save(tensors: Mapping[str, Tensor], header: Mapping[str, str], path: Path, half: bool = True) -> Path:
    """Write a single file in fp16 if `half`, else fp32. The file appears when it is complete. Raises UserError."""
    dtype = torch.float16 if half else torch.float32
    with aside(path) as temporary:
        save_tensors(temporary, {key: value.to("cpu", dtype).contiguous() for key, value in tensors.items()}, header)
    return path
