"""Errors of a recipe in one line: keys that do not exist, and invalid values."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ValidationError

ALL = "`sfumato recipe shapes` shows all keys"
MOST = 12  # unknown keys in one message
LONGEST = 60  # characters of a key or a value in a message

OTHERS = {
    "here it is data.labels, a list": "class classes class_name",
    "here it is data.image_size": "size img_size resolution",
    "here it is data.source": "data_dir data_root data_path dataset root",
    "here it is data.flip": "horizontal_flip random_flip hflip",
    "here it is net.channels": "model_channels base_channels dim dim_mults ch_mult",
    "here it is net.blocks": "num_res_blocks layers_per_block",
    "here it is noise.timesteps": "num_timesteps n_timesteps diffusion_steps",
    "here it is noise.schedule": "beta_schedule noise_schedule",
    "leave it out: noise.schedule=linear has betas from 0.0001 to 0.02": "beta_start beta_end",
    "here it is noise.mean, the mean of ln sigma of pictures in [-1, 1], and noise.std":
        "noise_std noise_level sigma noise_factor",
    "here it is train.epochs": "num_epochs n_epochs num_train_epochs",
    "here it is train.images, steps x train.batch": "max_train_steps num_steps max_steps train_steps",
    "here it is train.lr": "learning_rate rate",
    "here it is train.batch": "batch_size train_batch_size bs",
    "here it is train.accumulate": "gradient_accumulation_steps grad_accum",
    "here it is train.precision": "mixed_precision amp fp16 bf16",
    "here it is train.clip": "grad_clip max_grad_norm gradient_clip",
    "here it is train.warmup, in images": "warmup_steps lr_warmup_steps",
    "here it is train.decay for the learning rate, noise.schedule for the noise": "lr_scheduler scheduler",
    "here it is train.ema, widths relative to the training's length": "ema_decay ema_rate",
    "here it is train.save_images": "save_every save_interval checkpoint_every",
    "here it is train.preview_seconds": "sample_every sample_interval",
    "here it is sample.guidance": "guidance_scale cfg_scale cfg",
    "here it is sample.steps": "num_inference_steps sampling_steps ddim_steps",
    "here it is tune.base": "pretrained_model_name_or_path model_id base_model",
    "here it is tune.rank": "lora_rank r",
    "here it is tune.alpha": "lora_alpha",
    "here it is tune.dropout": "lora_dropout",
    "here it is tune.caption": "instance_prompt prompt",
    "leave it out: pictures are decoded once and kept": "num_workers workers dataloader_num_workers",
    "leave it out: the fastest device is used": "device gpu cuda",
    "leave it out: the same command resumes where it stopped": "resume resume_from",
    "give --out to the command": "out out_dir output_dir save_dir checkpoint_dir",
}  # fmt: skip
ELSEWHERE = {name: place for place, names in OTHERS.items() for name in names.split()}
"""Names of settings in other projects -> the hint for a message."""


def unknown_keys(values: Mapping[str, object], kind: type[BaseModel]) -> str:
    """All unknown keys, each with the key that was probably meant, in one line; "" if there are none."""
    unknown = list(_unknown(values, kind))
    if not unknown:
        return ""
    valid = keys_of(kind)
    named = [(shown(".".join(path)), _meant(path, valid)) for path in unknown[:MOST]]
    if len(unknown) == 1:
        name, meant = named[0]
        return f"unknown key {name}; {meant or ALL}"
    listed = ", ".join(f"{name} ({meant})" if meant else name for name, meant in named)
    more = f" and {len(unknown) - MOST} more" if len(unknown) > MOST else ""
    return f"unknown keys {listed}{more}" + ("" if all(meant for _, meant in named) else f"; {ALL}")


def first_trouble(error: ValidationError) -> str:
    """The first error of pydantic, in one line."""
    first = error.errors(include_url=False, include_context=False)[0]
    dotted = shown(".".join(str(part) for part in first["loc"]))
    message, value = first["msg"].removeprefix("Value error, "), first["input"]
    if first["type"] == "tuple_type" and isinstance(value, (str, int, float)):
        message = "a list is needed, as in [a, b]"
    got = "" if isinstance(value, (dict, BaseModel)) else f" (got {brief(value)})"
    return f"{dotted + ': ' if dotted else ''}{message}{got}"


def keys_of(kind: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted paths of all keys, sections included."""
    keys = []
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys += [prefix + name, *keys_of(inner, f"{prefix}{name}.")]
        else:
            keys.append(prefix + name)
    return keys


def shown(text: str, longest: int = LONGEST) -> str:
    """The beginning of a text for a terminal; characters that are not printable are escaped."""
    short = text if len(text) <= longest else text[: longest - 3] + "..."
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in short)


def brief(value: object) -> str:
    """A value for a message; long texts and deep nesting are shortened."""
    rule = reprlib.Repr()
    rule.maxlevel, rule.maxstring, rule.maxother, rule.maxlong = 2, LONGEST, LONGEST, LONGEST
    try:
        return shown(rule.repr(value))
    except ValueError:  # a number with more digits than Python writes
        return "a very long number"


def _unknown(
    values: Mapping[str, object], kind: type[BaseModel], path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Paths of the unknown keys."""
    for name, value in values.items():
        field = kind.model_fields.get(name) if isinstance(name, str) else None
        inner = field.annotation if field else None
        if isinstance(name, str) and field is None:
            yield (*path, name)
        elif isinstance(inner, type) and issubclass(inner, BaseModel) and isinstance(value, Mapping):
            yield from _unknown(value, inner, (*path, name))


def _meant(path: tuple[str, ...], valid: list[str]) -> str:
    """A hint for an unknown key: the valid key that was probably meant; "" if none is similar."""
    name, dotted = path[-1][:LONGEST], ".".join(path)[:LONGEST]
    if dotted in valid:  # the dot is part of the key
        section, _, last = dotted.partition(".")
        return f"in a file write {section}: {{{last}: ...}}"
    if (place := ELSEWHERE.get(name.lower())) is not None:
        return place
    meant = [key for key in valid if key.rsplit(".", 1)[-1] == name.lower()]  # the right key in the wrong section
    meant = meant or difflib.get_close_matches(dotted, valid, 1, 0.6)
    if not meant:
        ends = {key.rsplit(".", 1)[-1]: key for key in valid}
        meant = [ends[end] for end in difflib.get_close_matches(name.lower(), ends, 1, 0.7)]
    meant = meant or difflib.get_close_matches(dotted, valid, 1, 0.5)
    return f"did you mean {' or '.join(meant)}?" if meant else ""
