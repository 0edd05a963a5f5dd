"""The things in the scenes: their names, which are held out of training, which look alike, and their glyphs."""

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
STRIKE = 109  # the only size of the font's bitmaps, in pixels
FOLDERS = (
    *("/usr/share/fonts/truetype/noto", "/usr/share/fonts/noto", "/usr/share/fonts/truetype/noto-color-emoji"),
    *("~/.local/share/fonts", "~/.fonts", "~/Library/Fonts", "/Library/Fonts"),
)


def _listed(name: str) -> Any:
    return yaml12.read((resources.files(__package__) / name).read_text(encoding="utf-8"))


@functools.cache
def things() -> dict[str, str]:
    """Name -> character, of all things."""
    listed: dict[str, str] = _listed("things.yaml")
    return listed


@functools.cache
def subjects() -> dict[str, str]:
    """Name -> noun, of the things that are held out of all training."""
    listed: dict[str, str] = _listed("subjects.yaml")
    return listed


@functools.cache
def taught() -> list[str]:
    """Names of the things in training, sorted."""
    return sorted(set(things()) - set(subjects()))


@functools.cache
def alike() -> dict[str, frozenset[str]]:
    """Name -> the names whose drawings count as right for it, itself included."""
    groups = [frozenset(group) for group in _listed("alike.yaml")]
    return {name: next((g for g in groups if name in g), frozenset([name])) for name in things()}


@functools.cache
def font() -> Path:
    """The font's file. Raises UserError that names the package to install."""
    root = data_folder()
    for folder in (*([root] if root else []), *map(Path, FOLDERS)):
        path = folder.expanduser() / FONT
        if path.is_file():
            return path
    raise UserError(
        "emoji need the font Noto Color Emoji, which is not installed: apt install fonts-noto-color-emoji, or "
        f"copy {FONT} into ~/.local/share/fonts"
    )


@functools.cache
def font_digest() -> str:
    return hashlib.sha256(font().read_bytes()).hexdigest()


@functools.cache
def glyph(name: str, side: int) -> np.ndarray:
    """A thing with its longer side at `side` pixels: float32 (h, w, 4), colours times alpha, in [0, 1]."""
    return stamp(name, side).astype(np.float32) / 255


def stamp(name: str, side: int) -> np.ndarray:
    """The same as uint8."""
    cut = _bitmap(name)
    scale = side / max(cut.size)
    size = max(1, round(cut.width * scale)), max(1, round(cut.height * scale))
    return np.asarray(cut.resize(size, Image.Resampling.LANCZOS))


@functools.cache
def _bitmap(name: str) -> Image.Image:
    """A thing's bitmap of the font, cut to its visible part."""
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
