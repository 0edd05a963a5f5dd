"""Verification of LoRA files: read by diffusers, PEFT and kohya's rules, they must agree with the trained model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor

from sfumato.errors import UserError
from sfumato.lora.named import WEIGHTS
from sfumato.lora.origin import check, origin
from sfumato.models.latent import LatentModel

WITHIN = 1e-3  # largest relative difference from the trained model's output
LEAST = 1e-5  # least relative change of the base's output by a LoRA
OF_EFFECT = 0.05  # largest difference relative to that change
LEVELS = (-0.6, -0.2, 0.0, 0.2, 0.5)  # ln(sigma / alpha) / 4


def verify(want: Tensor, bare: LatentModel, folder: Path, file: Path, prompt: str) -> dict[str, float]:
    """The relative difference of each reading of the files from `want`, the `answer` of the trained model.

    bare: the base without a LoRA, unchanged afterwards. The keys are "effect", "kohya", "peft" and "diffusers";
    diffusers ignores the magnitudes of DoRA in files with kohya's keys, so for these it is left out.
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
    }
    if not any(key.endswith(".dora_scale") for key in load_file(file)):
        readings["diffusers"] = lambda: _by_diffusers(bare, file, prompt)
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
    """An independent reading as in A1111 and ComfyUI: W + (alpha / rank) up @ down, with flattened module names."""
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
