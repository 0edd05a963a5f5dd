"""The things of the world: their names, which are kept out of training, which look alike, and how they are drawn."""

from __future__ import annotations

import functools
import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sfumato import yaml12
from sfumato.errors import UserError
from sfumato.pictures.source import data_folder

FONT = "NotoColorEmoji.ttf"
STRIKE = 109  # the one size of its bitmaps
FOLDERS = (
    *("/usr/share/fonts/truetype/noto", "/usr/share/fonts/noto", "/usr/share/fonts/truetype/noto-color-emoji"),
    *("~/.local/share/fonts", "~/.fonts", "~/Library/Fonts", "/Library/Fonts"),
)


def _listed(name: str) -> Any:
    return yaml12.read((resources.files(__package__) / name).read_text(encoding="utf-8"))


@functools.cache
def things() -> dict[str, str]:
    """Name -> character, of all."""
    found: dict[str, str] = _listed("things.yaml")
    return found


@functools.cache
def subjects() -> dict[str, str]:
    """Name -> a word for what it is, of the things that are kept out of all training."""
    found: dict[str, str] = _listed("subjects.yaml")
    return found


@functools.cache
def taught() -> list[str]:
    """Names of the things in training, sorted."""
    return sorted(set(things()) - set(subjects()))


@functools.cache
def alike() -> dict[str, frozenset[str]]:
    """Name -> the names whose drawings count for it, its own among them."""
    groups = [frozenset(group) for group in _listed("twins.yaml")]
    return {name: next((g for g in groups if name in g), frozenset([name])) for name in things()}


@functools.cache
def font() -> Path:
    """The font's file. Raises UserError with what to install."""
    shelf = data_folder()
    for folder in (*([shelf] if shelf else []), *map(Path, FOLDERS)):
        path = folder.expanduser() / FONT
        if path.is_file():
            return path
    raise UserError(
        "emoji are drawn with the font Noto Color Emoji, which is not here: apt install fonts-noto-color-emoji, or "
        f"put {FONT} into ~/.local/share/fonts"
    )


@functools.cache
def font_digest() -> str:
    return hashlib.sha256(font().read_bytes()).hexdigest()


@functools.cache
def glyph(name: str, side: int) -> np.ndarray:
    """A thing with its longer side at `side` pixels: float32 (h, w, 4), colours times alpha, in [0, 1]."""
    return stamp(name, side).astype(np.float32) / 255


def stamp(name: str, side: int) -> np.ndarray:
    """The same as it is kept in files, uint8."""
    cut = _bitmap(name)
    scale = side / max(cut.size)
    size = max(1, round(cut.width * scale)), max(1, round(cut.height * scale))
    return np.asarray(cut.resize(size, Image.Resampling.LANCZOS))


@functools.cache
def _bitmap(name: str) -> Image.Image:
    """A thing as the font has it, cut to what is drawn."""
    canvas = Image.new("RGBA", (STRIKE * 3 // 2, STRIKE * 3 // 2))
    ImageDraw.Draw(canvas).text((8, 8), things()[name], font=_face(), embedded_color=True)
    box = canvas.getbbox()
    if box is None:
        raise UserError(f"{font()} does not draw {name!r}: take Debian's fonts-noto-color-emoji, 2.042 or later")
    return canvas.crop(box).convert("RGBa")


@functools.cache
def _face() -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(str(font()), STRIKE)
    except OSError as error:
        raise UserError(f"{font()} has no bitmaps of {STRIKE} pixels: take Debian's fonts-noto-color-emoji") from error
