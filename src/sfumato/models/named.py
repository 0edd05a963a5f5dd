"""The schedule and the network that a recipe names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sfumato.diffusion.schedule import Discrete, Flow, LogNormal, Schedule, cosine, linear, scaled_linear, zero_terminal
from sfumato.errors import UserError
from sfumato.nets import plain, unet
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.recipe.sections import Net, Noise


def schedule_of(noise: Noise) -> Schedule:
    """The schedule a recipe names."""
    discrete: dict[str, Callable[[], Discrete]] = {
        "linear": lambda: linear(noise.timesteps),
        "cosine": lambda: cosine(noise.timesteps),
        "scaled-linear": lambda: scaled_linear(noise.timesteps),
        "scaled-linear-zero": lambda: zero_terminal(scaled_linear(noise.timesteps)),
    }
    if noise.schedule in discrete:
        return replace(discrete[noise.schedule](), shift=noise.shift)
    return Flow() if noise.schedule == "flow" else LogNormal(noise.mean, noise.std, noise.sigma_min, noise.sigma_max)


def concrete(net: Net) -> Net:
    """The same net with what its preset stands for written out, so that it outlives a change of the presets."""
    preset: unet.UNetConfig | plain.PlainConfig = unet.PRESETS[net.preset]
    if net.kind == "plain":
        preset = plain.PlainConfig()
    return net.model_copy(
        update={
            "channels": net.channels or tuple(preset.channels),
            "blocks": net.blocks or preset.blocks,
            "attention": net.attention or (tuple(preset.attention) if isinstance(preset, unet.UNetConfig) else None),
            "stem": net.stem or preset.stem,
        }
    )


def net_of(net: Net, shape: Sequence[int], vocabulary: Vocabulary) -> unet.UNet | plain.PlainUNet:
    """The network a recipe names, for pictures of `shape` (C, H, W). Raises UserError if the sides do not divide."""
    words = vocabulary.size if vocabulary.kind != "none" else 0
    if net.kind == "plain":
        chosen = concrete(net)
        channels, blocks, stem = tuple(chosen.channels or ()), chosen.blocks or 1, chosen.stem or 2
        config = plain.PlainConfig(channels, blocks, stem, shape[0], words, net.gauge)
        if any(side % config.multiple for side in shape[1:]):
            raise UserError(f"net: {shape[1]} x {shape[2]} is not a multiple of {config.multiple}: set data.image_size")
        return plain.PlainUNet(config)
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
            vocabulary=words,
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
