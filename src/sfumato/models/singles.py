"""Single files of all families: reads and writes one safetensors file with a family's original keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from diffusers import AutoencoderKL, ConfigMixin, UNet2DConditionModel
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTokenizer, PreTrainedModel

from sfumato.errors import UserError
from sfumato.files import Facts, aside, open_tensors, save_tensors
from sfumato.models import originals
from sfumato.models.bases import NAMES
from sfumato.pictures.source import data_folder

if TYPE_CHECKING:
    from sfumato.models.latent import LatentModel

Net = TypeVar("Net", bound=nn.Module)
TOKENIZER = "openai/clip-vit-large-patch14"
HINTS = ("sample_size", "force_upcast")  # keys of configurations that do not change a network's weights


def tensors_of(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file and the metadata of its header. Raises UserError."""
    with open_tensors(path) as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118


def unet_and_vae(
    tensors: Mapping[str, Tensor], unet: Facts, vae: Facts, path: Path, dtype: torch.dtype
) -> tuple[UNet2DConditionModel, AutoencoderKL]:
    """The U-Net in `dtype` and the autoencoder in fp32, by their configurations.

    Raises UserError if weights are missing or of another shape.
    """
    made = _placed(lambda: UNet2DConditionModel(**unet))
    names, held = originals.of_unet(made.state_dict()), originals.inside(tensors, originals.UNET)
    weights = {ours: held[theirs].to(dtype) for ours, theirs in names.items() if theirs in held}
    fill(made, weights, "U-Net", path, assign=True)
    encoder = _placed(lambda: AutoencoderKL(**vae))
    weights = originals.from_vae(originals.inside(tensors, originals.VAE), encoder.state_dict())
    fill(encoder, {key: value.float() for key, value in weights.items()}, "autoencoder", path, assign=True)
    return made, encoder


def _placed(build: Callable[[], Net]) -> Net:
    """A network without memory for its weights, which are assigned later."""
    with torch.device("meta"):
        return build()


def clip_config(tensors: Mapping[str, Tensor], shape: Facts) -> CLIPTextConfig:
    """A text encoder's configuration: `shape`, and the sizes of the vocabulary and of a prompt in its own tensors."""
    ends = ("position_embedding.weight", "positional_embedding")
    length = next((len(value) for key, value in tensors.items() if key.endswith(ends)), 77)
    words = next((len(value) for key, value in tensors.items() if key.endswith("token_embedding.weight")), 49408)
    return CLIPTextConfig(**shape, vocab_size=words, max_position_embeddings=length)


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


def prediction(model: LatentModel) -> str:
    """modelspec's name of a model's prediction."""
    return "v" if model.prediction == "v" else "epsilon"


def header(model: LatentModel, architecture: str, code: str) -> dict[str, str]:
    """modelspec's description of a base. architecture: modelspec's name of it; code: the address of the original."""
    _, height, width = model.shape
    return {
        "modelspec.sai_model_spec": "1.0.1", "modelspec.architecture": architecture, "modelspec.title": model.name,
        "modelspec.implementation": code, "modelspec.resolution": f"{width}x{height}",
        "modelspec.prediction_type": prediction(model),
    }  # fmt: skip


def save(tensors: Mapping[str, Tensor], header: Mapping[str, str], path: Path, half: bool = True) -> Path:
    """Write a single file in fp16 if `half`, else fp32. The file appears when it is complete. Raises UserError."""
    dtype = torch.float16 if half else torch.float32
    with aside(path) as temporary:
        save_tensors(temporary, {key: value.to("cpu", dtype).contiguous() for key, value in tensors.items()}, header)
    return path
