"""Writes the newest EMA of a run as a few small files, and turns them into folders as in `src/sfumato/pretrained`.

The files of a job are NAME-1of2.safetensors and so on, in fp16, each at most PART bytes; the header of the first holds
everything but the weights.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from kit_table import Job, events, last

PART = 15_500_000  # bytes of tensors in a file
DECODER = "mini-decoder"
KEY = "sfumato-kit"  # of the header
NAME = re.compile(r"(.+)-(\d+)of(\d+)\.safetensors")


def export(job: Job, run: Path, out: Path) -> dict[str, Any]:
    """Write the first average of the newest whole checkpoint, its configuration and figures.

    Returns the names of the files and the figures. Raises UserError if there is no checkpoint.
    """
    from sfumato.errors import UserError
    from sfumato.files import aside, save_tensors
    from sfumato.recipe import recipe as recipes
    from sfumato.runs import checkpoint
    from sfumato.runs.checkpoint import label

    newest, troubles = checkpoint.newest(run / "checkpoints")
    if newest is None:
        raise UserError(f"{run} has no whole checkpoint ({troubles[0] if troubles else 'nothing saved yet'})")
    config = json.loads((newest.path / "config.json").read_text(encoding="utf-8"))
    without_paths(config, recipes.load(job.recipe).model_dump(mode="json"))
    config["recipe"]["name"] = job.name
    weights = {k: t.half() for k, t in newest.tensors(label(config["recipe"]["train"]["ema"][0])).items()}
    parts = _parts({key: 2 * tensor.numel() for key, tensor in weights.items()})
    about = {"name": job.name, "recipe": job.recipe, "config": config, "figures": figures(run, newest.images)}
    paths = [out / f"{job.name}-{k}of{len(parts)}.safetensors" for k in range(1, len(parts) + 1)]
    for k, (path, keys) in enumerate(zip(paths, parts, strict=True)):
        with aside(path) as temporary:
            header = {KEY: json.dumps(about)} if k == 0 else {}
            save_tensors(temporary, {key: weights[key] for key in keys}, header)
    for old in out.glob(f"{job.name}-*of*.safetensors"):
        if (match := NAME.fullmatch(old.name)) and match[1] == job.name and old not in paths:
            old.unlink()
    return {"files": [path.name for path in paths], "figures": about["figures"]}


def without_paths(config: dict[str, Any], shipped: dict[str, Any]) -> None:
    """Replace the folders of this machine in a configuration by the values of the shipped recipe."""
    for section, values in config["recipe"].items():
        if isinstance(values, dict):
            for key, value in values.items():
                if isinstance(value, str) and Path(value).is_absolute():
                    values[key] = shipped[section][key]
    config["data"]["source"] = config["recipe"]["data"]["source"]


def _parts(sizes: dict[str, int]) -> list[list[str]]:
    """Keys in their order, cut where a file would become larger than PART."""
    parts: list[list[str]] = [[]]
    held = 0
    for key, size in sizes.items():
        if parts[-1] and held + size > PART:
            parts.append([])
            held = 0
        parts[-1].append(key)
        held += size
    return parts


def figures(run: Path, images: int) -> dict[str, Any]:
    """What a run came to: images seen, seconds of training over all its starts, held-out figures, device, versions."""
    latest = last(events(run))
    environment = json.loads((run / "env.json").read_text(encoding="utf-8"))
    return {
        "images": images,
        "seconds": latest["trained"],
        "held_out": latest.get("figures"),
        "environment": environment,
    }


def about(path: Path) -> dict[str, Any] | None:
    """What the header of a file says, or None if it is not the first of an export."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        found = (file.metadata() or {}).get(KEY)
    return json.loads(found) if found else None


def ship(folder: Path, out: Path) -> list[Path]:
    """Turn every export of a folder into a model of its own in `out`; a README.md that is there stays.

    Raises UserError if a part is missing.
    """
    from safetensors.torch import load_file

    from sfumato.errors import UserError

    made = []
    for path in sorted(folder.glob("*-1of*.safetensors")):
        match, header = NAME.fullmatch(path.name), about(path)
        if match is None or header is None:
            continue
        parts = [path.with_name(f"{match[1]}-{k}of{match[3]}.safetensors") for k in range(1, int(match[3]) + 1)]
        if missing := [part for part in parts if not part.is_file()]:
            raise UserError(f"{missing[0]} is missing: bring every part")
        weights = {key: tensor for part in parts for key, tensor in load_file(part).items()}
        task = header["config"]["recipe"]["task"]
        made.append((_pipeline if task == "text" else _plain)(header, weights, out / header["name"]))
    if out / DECODER in made and out / "mini" in made:
        _joined(out / DECODER, out / "mini")
    if not made:
        raise UserError(f"{folder} holds nothing that kit.py run gave out (NAME-1of1.safetensors)")
    return made


def _joined(decoder: Path, pipeline: Path) -> None:
    """Give a pipeline the decoder that was learned on its latents. Raises UserError if its encoder is another."""
    from safetensors.torch import load_file, save_file

    from sfumato.errors import UserError
    from sfumato.files import aside

    path = pipeline / "vae" / "diffusion_pytorch_model.safetensors"
    own, given = load_file(path), load_file(decoder / "model.safetensors")
    joined = {key: given[f"vae.{key}"].to(value.dtype).contiguous() for key, value in own.items()}
    if any(key.startswith("encoder.") and not joined[key].equal(value) for key, value in own.items()):
        raise UserError(f"{decoder} was learned on other latents than those of {pipeline}")
    with aside(path) as temporary:
        save_file(joined, temporary, {"format": "pt"})


def _plain(header: dict[str, Any], weights: dict[str, Any], folder: Path) -> Path:
    from sfumato.files import aside, save_tensors, write_json

    with aside(folder / "model.safetensors") as temporary:
        save_tensors(temporary, weights)
    write_json(folder / "config.json", header["config"])
    return folder


def _pipeline(header: dict[str, Any], weights: dict[str, Any], folder: Path) -> Path:
    from sfumato.files import save_tensors
    from sfumato.models.sd.checkpoint import restored
    from sfumato.models.sd.pipeline import write
    from sfumato.recipe import recipe as recipes

    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "model.safetensors"
        save_tensors(file, weights)
        model = restored(header["config"], file, header["name"], "cpu", "fp32")
    if header["recipe"] in recipes.shipped():
        model.defaults = recipes.load(header["recipe"]).sample  # as it is now
    card = folder / "README.md"
    text = card.read_bytes() if card.is_file() else None
    write(model, folder)
    if text is not None:
        card.write_bytes(text)
    return folder
