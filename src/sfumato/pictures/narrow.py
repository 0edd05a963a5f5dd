"""The pixels of a picture that Pillow has loaded, as uint8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin

from sfumato.pictures.depth import LARGEST_FORMAT_TAG, LARGEST_TAG, bits_used, exact, note
from sfumato.pictures.errors import PictureError

BITS, PHOTOMETRIC = 258, 262  # TIFF tags
LOW = 15  # the upper 8 bits of 12


def to_uint8(image: Image.Image, raw: str, bits: int, source: Path | bytes, notes: list[str]) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3). raw: the layout of the samples in the file `source`; bits: of one sample.

    Adds to `notes` how samples that use a part of their bits were read. Raises PictureError.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        return _narrow(image, bits, notes)
    if bits == 16 and image.mode in ("LA", "RGB", "RGBA"):
        image = _of_low(image, source, notes)
    if image.mode in ("RGBa", "La"):
        image = image.convert({"RGBa": "RGBA", "La": "LA"}[image.mode])
    key = image.info.get("transparency")
    if image.mode in ("RGBA", "LA", "PA") or (image.mode == "P" and key is not None):
        return _on_white(image, grey=image.mode == "LA" or raw.startswith("LA"))
    if image.mode not in ("1", "L", "RGB", "RGBX", "P", "CMYK", "YCbCr"):
        raise PictureError(f"colour mode {image.mode} is not supported: save it as RGB")
    array = np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    if key is not None and image.mode in ("1", "L", "RGB"):  # one colour of the file means transparent
        steps = {"L;2": 85, "L;4": 17}.get(raw, 1)
        colour = np.atleast_1d(key) // 256 if bits == 16 else np.atleast_1d(key) * steps
        clear = (array.reshape(*array.shape[:2], -1) == colour).all(axis=2)
        array = array.copy()
        array[clear] = 255
    return array


def _on_white(image: Image.Image, grey: bool) -> np.ndarray:
    image = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image.getchannel("A"))
    return np.asarray(canvas.getchannel(0) if grey else canvas)


def _narrow(image: Image.Image, bits: int, notes: list[str]) -> np.ndarray:
    """Grey of more than 8 bits scaled to 8: by the bits it uses, or, for 32 bits, by the range."""
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0:
        raise PictureError("has values below zero or not finite: save it with 8 or 16 bits")
    if image.mode.startswith("I;16"):
        top = 2**bits - 1 if 8 < bits < 16 else 2 ** _used(image, int(high), notes) - 1
    elif image.mode == "I" and bits == 16:
        top = 2 ** _used(image, int(high), notes) - 1
    else:
        tops = (1, 255, 65535) if image.mode == "F" else (255, 65535)
        top = next((t for t in tops if high <= t), 0)
        if not top:
            raise PictureError(f"has values up to {high:g} with no agreed white: save it with 8 or 16 bits")
    scaled = np.rint(values.astype(np.float32) * np.float32(255 / top)).clip(0, 255).astype(np.uint8)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(PHOTOMETRIC) == 0:
        scaled = 255 - scaled  # white is zero
    key = image.info.get("transparency")
    if isinstance(key, int):
        scaled[values == key] = 255
    return scaled


def stated(image: Image.Image) -> int:
    """The largest sample by a TIFF's tags, 0 if it does not say."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0
    value = image.tag_v2.get(LARGEST_FORMAT_TAG) or image.tag_v2.get(LARGEST_TAG) or 0
    values = value if isinstance(value, tuple) else (value,)
    return max(int(each) for each in values) if all(isinstance(each, (int, float)) for each in values) else 0


def _used(image: Image.Image, high: int, notes: list[str]) -> int:
    bits = bits_used(high, stated(image))
    if bits < 16:
        notes.append(note(bits, high, stated(image)))
    return bits


def _of_low(image: Image.Image, source: Path | bytes, notes: list[str]) -> Image.Image:
    """The same picture, from its 16-bit samples if they use fewer bits: Pillow keeps the upper 8 only."""
    bands = len(image.getbands())
    colours = bands - (image.mode in ("LA", "RGBA"))
    upper = np.asarray(image)[..., :colours]
    if not stated(image) and upper.max() > LOW:
        return image
    samples = exact(source)
    if samples.dtype != np.uint16 or samples.shape != (*upper.shape[:2], bands):
        return image
    bits = _used(image, int(samples[..., :colours].max()), notes)
    if bits == 16:
        return image
    top = 2**bits - 1
    scaled = samples.astype(np.float32) * np.float32(255 / top)
    if colours < bands and samples[..., -1].max() > top:
        scaled[..., -1] = samples[..., -1] / 257
    return Image.fromarray(np.rint(scaled).clip(0, 255).astype(np.uint8), image.mode)
