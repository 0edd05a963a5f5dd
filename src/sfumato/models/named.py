"""The sampler, the schedule and the network that a recipe names."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from sfumato import registry
from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Denoiser
from sfumato.diffusion.level import Level
from sfumato.diffusion.samplers import Callback, NoiseSource, Sampler
from sfumato.diffusion.schedule import Discrete, Schedule
from sfumato.errors import UserError
from sfumato.nets import plain, unet
from sfumato.nets.net import PictureNet
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.recipe.recipe import Recipe
from sfumato.recipe.sections import Net, Noise, Sample

ANY_SIDE = 1024  # a multiple of all that networks need


def sampler_of(sample: Sample) -> Sampler:
    """The sampler that a section names, with the section's values and `options` as arguments. Raises UserError."""
    thing = registry.find("sampler", sample.sampler)
    sampler = partial(thing, **registry.arguments(thing, sample.model_dump(), sample.options, "sample.options"))
    return sampler if registry.is_own("sampler", sample.sampler) else partial(_checked, sampler, sample.sampler)


def _checked(
    sampler: Sampler,
    name: str,
    denoise: Denoiser,
    x: Tensor,
    levels: Level,
    cond: Condition | None = None,
    *,
    noise: NoiseSource | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """The result of a sampler of another package. Raises UserError if it is not a tensor of x's shape."""
    with registry.calling("sampler", name):  # not what runs inside it: the callback's errors are somebody else's
        inspect.signature(sampler).bind(denoise, x, levels, cond, noise=noise, callback=callback)
    found: object = sampler(denoise, x, levels, cond, noise=noise, callback=callback)
    if not isinstance(found, Tensor) or found.shape != x.shape:
        raise UserError(f"the sampler {name} gives no pictures, a tensor {tuple(x.shape)}: see docs/extending.md")
    return found


def schedule_of(noise: Noise) -> Schedule:
    """The schedule that a section names. Raises UserError.

    It is called with those values of the section that it has parameters for, and with `options`.
    """
    thing = registry.find("schedule", noise.schedule)
    given = registry.arguments(thing, noise.model_dump(), noise.options, "noise.options")
    with registry.calling("schedule", noise.schedule):
        made: Schedule = thing(**given)
    if noise.shift == 1:
        return made
    if not isinstance(made, Discrete):
        raise UserError(f"noise.shift is of the discrete schedules: leave it out with {noise.schedule}")
    return replace(made, shift=noise.shift)


def settle(recipe: Recipe) -> None:
    """Import every component that a recipe names, so that errors occur before the training.

    Raises UserError, also for options that a component does not know.
    """
    registry.arguments(registry.find("task", recipe.task), {}, recipe.options, "options")
    registry.arguments(registry.find("network", recipe.net.kind), {}, recipe.net.options, "net.options")
    schedule = schedule_of(recipe.noise)
    if recipe.task == "text" and not isinstance(schedule, Discrete):
        raise UserError("task text: noise.schedule must be one with timesteps: linear, cosine or scaled-linear-zero")
    sampler_of(recipe.sample)
    if registry.OUTSIDE.fullmatch(recipe.judge.features):
        registry.find("features", recipe.judge.features)
    for name in filter(registry.OUTSIDE.fullmatch, recipe.judge.metrics):
        registry.find("metric", name)


def try_net(recipe: Recipe) -> None:
    """Build a network of ours without memory for its weights, before any picture is decoded.

    Raises UserError if the values of `net` do not fit together, or `data.image_size` does not fit them. Sizes that are
    not known yet are taken as ones that fit.
    """
    if recipe.task not in ("generate", "denoise") or recipe.net.kind not in ("unet", "plain"):
        return
    size = recipe.data.image_size if recipe.data.crop != "pieces" else None
    height, width = (size, size) if isinstance(size, int) else size or (ANY_SIDE, ANY_SIDE)
    with torch.device("meta"):
        net_of(recipe.net, (3 if recipe.data.grey is False else 1, height, width), Vocabulary.build("none"))


def concrete(net: Net) -> Net:
    """The same section with the values of its preset filled in, so that later changes of the presets have no effect.

    The section of a network of another package is returned unchanged.
    """
    presets: dict[str, unet.UNetConfig | plain.PlainConfig] = {
        "unet": unet.PRESETS[net.preset], "plain": plain.PlainConfig()
    }  # fmt: skip
    preset = presets.get(net.kind)
    if preset is None:
        return net
    return net.model_copy(
        update={
            "channels": net.channels or tuple(preset.channels),
            "blocks": net.blocks or preset.blocks,
            "attention": net.attention or (tuple(preset.attention) if isinstance(preset, unet.UNetConfig) else None),
            "stem": net.stem or preset.stem,
        }
    )


def net_of(net: Net, shape: Sequence[int], vocabulary: Vocabulary) -> PictureNet:
    """The network that a section names, for pictures of `shape`, (C, H, W). Raises UserError."""
    thing = registry.find("network", net.kind)
    given = {**net.model_dump(), "net": net, "shape": tuple(shape), "vocabulary": vocabulary}
    taken = registry.arguments(thing, given, net.options, "net.options")
    with registry.calling("network", net.kind):
        made = thing(**taken)
    if not isinstance(made, PictureNet):
        raise UserError(f"net.kind={net.kind} gives a {type(made).__name__}, which is no sfumato.nets.net.PictureNet")
    return made


def latent_of() -> PictureNet:
    """Raises UserError: the tasks `autoencoder` and `text` build their own networks."""
    raise UserError("net.kind=latent is of the tasks autoencoder and text: use unet or plain")


def plain_of(net: Net, shape: Sequence[int], vocabulary: Vocabulary) -> plain.PlainUNet:
    """A network with convolutions only. Raises UserError if a side of `shape`, (C, H, W), is no valid multiple."""
    chosen = concrete(net)
    channels, blocks, stem = tuple(chosen.channels or ()), chosen.blocks or 1, chosen.stem or 2
    config = plain.PlainConfig(channels, blocks, stem, shape[0], _words(vocabulary), net.gauge)
    if any(side % config.multiple for side in shape[1:]):
        raise UserError(f"net: {shape[1]} x {shape[2]} is not a multiple of {config.multiple}: set data.image_size")
    return plain.PlainUNet(config)


def unet_of(net: Net, shape: Sequence[int], vocabulary: Vocabulary) -> unet.UNet:
    """A U-Net with attention. Raises UserError for invalid settings, or if a side of `shape` is no valid multiple."""
    try:
        made = unet.build(
            net.preset,
            channels=tuple(net.channels) if net.channels else None,
            blocks=net.blocks,
            attention=tuple(net.attention) if net.attention else None,
            stem=net.stem,
            dropout=net.dropout,
            places=net.places,
            shortcut=net.shortcut,
            colours=shape[0],
            vocabulary=_words(vocabulary),
            length=vocabulary.length,
            gauge=net.gauge,
        )
    except ValueError as error:
        raise UserError(f"net: {error}") from error
    first, needed = made.config.channels[0], shape[0] * made.config.stem**2
    if first < needed:
        raise UserError(
            f"net: {first} channels cannot carry the {needed} numbers that a stem of {made.config.stem} makes of a "
            f"pixel's surroundings: use net.channels that begin with {needed} or more, or a smaller net.stem"
        )
    multiple = made.config.multiple
    for side in shape[1:]:
        if side % multiple:
            near = max(multiple, round(side / multiple) * multiple)
            raise UserError(
                f"data.image_size: {side} is not divisible by {multiple} (stem {made.config.stem} x "
                f"{len(made.config.channels)} levels): use {near}, or other net.channels or net.stem"
            )
    return made


def _words(vocabulary: Vocabulary) -> int:
    """The number of words of the condition, plus one for no word; 0 without a condition."""
    return vocabulary.size if vocabulary.kind != "none" else 0
