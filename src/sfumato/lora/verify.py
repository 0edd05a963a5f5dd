"""An export proves itself: read by diffusers, by PEFT and by kohya's rules, it must do what the live model does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor

from sfumato.errors import UserError
from sfumato.lora.formats import WEIGHTS
from sfumato.lora.origin import check, origin
from sfumato.models.latent import LatentModel

WITHIN = 1e-3  # of the live model's predictions
LEAST = 1e-5  # that a LoRA must change of its base's predictions
OF_EFFECT = 0.05  # of that change
LEVELS = (-0.6, -0.2, 0.0, 0.2, 0.5)  # ln(sigma / alpha) / 4


def verify(want: Tensor, bare: LatentModel, folder: Path, file: Path, prompt: str) -> dict[str, float]:
    """How far each reading of what was written is from `want`, the live model's `answer`, relative to it.

    bare: the base without any LoRA, which is left as it was. The keys are "effect", "kohya", "peft" and "diffusers";
    diffusers leaves the magnitudes of DoRA out of files in kohya's keys, so it is asked for others alone.
    Raises UserError if a reading differs by more than 1e-3, or by a twentieth of what the LoRA changes, or it changes
    nothing, or it was made for another version of the base.
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
    }
    if not any(key.endswith(".dora_scale") for key in load_file(file)):
        readings["diffusers"] = lambda: _by_diffusers(bare, file, prompt)
    found = {"effect": effect, **{name: _far(want, reading()) for name, reading in readings.items()}}
    for name in readings:
        bar = min(WITHIN, OF_EFFECT * effect)
        if not found[name] <= bar:
            raise UserError(
                f"the LoRA does not prove itself: read by {name} it differs by {found[name]:.1e} from the model that "
                f"was trained, more than {bar:.1e}; nothing was written"
            )
    return found


@torch.no_grad()
def answer(model: LatentModel, prompt: str) -> Tensor:
    """What a model predicts of fixed latents at fixed levels, told a prompt, and what its text encoder says of it."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(LEVELS), *model.space, generator=generator).to(model.device)
    told = model.condition([prompt], 1)
    parts = [model.network(x[k : k + 1], torch.tensor([c], device=x.device), told) for k, c in enumerate(LEVELS)]
    said = [tensor[0].float().flatten() for tensor in told.tensors.values() if tensor.is_floating_point()]
    return torch.cat([*(part.float().flatten() for part in parts), *said]).cpu()


def _far(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / a.norm())


def _by_kohyas_rules(model: LatentModel, file: Path, prompt: str) -> Tensor:
    """An independent reading, as A1111 and ComfyUI do it: W + (alpha / rank) up @ down under flattened module names."""
    tensors, net = load_file(file), model.net
    before: list[tuple[Any, Tensor]] = []
    for part in net.parts:
        for name, module in net.module(part).named_modules():
            key = part.writes + name.removeprefix(part.inner).removeprefix(part.outer).replace(".", "_")
            if f"{key}.lora_up.weight" not in tensors:
                continue
            up, down = (tensors[f"{key}.lora_{which}.weight"].float() for which in ("up", "down"))
            weight = cast(Tensor, module.weight)
            change = tensors[f"{key}.alpha"].item() / len(down) * (up.flatten(1) @ down.flatten(1)).to(weight.device)
            whole = weight.float() + change.reshape(weight.shape)
            if f"{key}.dora_scale" in tensors:
                rows = tensors[f"{key}.dora_scale"].float().to(weight.device).flatten()
                whole = whole * (rows / whole.flatten(1).norm(dim=1)).reshape(-1, *[1] * (whole.ndim - 1))
            before.append((module, weight.data))
            module.weight.data = whole.to(weight.dtype)
    try:
        return answer(model, prompt)
    finally:
        for module, weight in before:
            module.weight.data = weight


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
