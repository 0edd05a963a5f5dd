"""Verification of LoRA files: read by diffusers, PEFT and kohya's rules, they must agree with the trained model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sfumato.errors import UserError
from sfumato.lora.named import WEIGHTS
from sfumato.lora.origin import check, origin
from sfumato.lora.rules import changed
from sfumato.models.latent import LatentModel

WITHIN = 1e-3  # largest relative difference from the trained model's output
LEAST = 1e-5  # least relative change of the base's output by a LoRA
OF_EFFECT = 0.05  # largest difference relative to that change
LEVELS = (-0.6, -0.2, 0.0, 0.2, 0.5)  # ln(sigma / alpha) / 4


def verify(want: Tensor, bare: LatentModel, folder: Path, file: Path, prompt: str) -> dict[str, float]:
    """The relative difference of each reading of the files from `want`, the `answer` of the trained model.

    bare: the base without a LoRA, unchanged afterwards. The keys are "effect", "kohya", "peft" and "diffusers".
    Raises UserError if a reading differs by more than 1e-3 or a twentieth of the LoRA's effect, if the LoRA changes
    nothing, or if it was made for another version of the base.
    """
    for written in (folder, file):
        check(bare, origin(written), str(written))
    plain = answer(bare, prompt)
    effect = _far(plain, want)
    if not effect > LEAST:
        raise UserError(f"the LoRA changes nothing ({effect:.1e} of the base's predictions): train it longer")
    readings: dict[str, Callable[[], Tensor]] = {
        "kohya": lambda: _by_kohyas_rules(bare, file, prompt),
        "peft": lambda: _by_peft(bare, folder, prompt),
        "diffusers": lambda: _by_diffusers(bare, file, prompt),
    }
    found = {"effect": effect, **{name: _far(want, reading()) for name, reading in readings.items()}}
    for name in readings:
        bar = min(WITHIN, OF_EFFECT * effect)
        if not found[name] <= bar:
            raise UserError(
                f"the LoRA's files are not right: read by {name} they differ by {found[name]:.1e} from the model that "
                f"was trained, more than {bar:.1e}; nothing was written"
            )
    return found


@torch.no_grad()
def answer(model: LatentModel, prompt: str) -> Tensor:
    """A model's output for fixed latents at fixed levels with a prompt, and the prompt embedding."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(LEVELS), *model.space, generator=generator).to(model.device)
    condition = model.condition([prompt], 1)
    parts = [model.network(x[k : k + 1], torch.tensor([c], device=x.device), condition) for k, c in enumerate(LEVELS)]
    states = [tensor[0].float().flatten() for tensor in condition.tensors.values() if tensor.is_floating_point()]
    return torch.cat([*(part.float().flatten() for part in parts), *states]).cpu()


def _far(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / a.norm())


def _by_kohyas_rules(model: LatentModel, file: Path, prompt: str) -> Tensor:
    """The answer with the weights that A1111, ComfyUI and sd-scripts make of the file."""
    before: list[tuple[nn.Parameter, Tensor]] = []
    for module, weight in changed(model.net, load_file(file)):
        own = module.get_parameter("weight")
        before.append((own, own.data))
        own.data = weight.to(own.dtype)
    try:
        return answer(model, prompt)
    finally:
        for own, weight in before:
            own.data = weight


def _by_peft(model: LatentModel, folder: Path, prompt: str) -> Tensor:
    from peft import PeftModel

    net = model.net
    places = {part: folder / part.folder for part in net.parts if (folder / part.folder / WEIGHTS).is_file()}
    wrapped = {part: PeftModel.from_pretrained(net.module(part), place) for part, place in places.items()}
    try:
        return answer(model, prompt)  # the layers were put into the very modules of the base
    finally:
        for part, each in wrapped.items():
            setattr(net, part.name, each.unload())


def _by_diffusers(model: LatentModel, file: Path, prompt: str) -> Tensor:
    pipe = model.family.pipeline(model)
    pipe.load_lora_weights(file)
    try:
        return answer(model, prompt)
    finally:
        pipe.unload_lora_weights()
