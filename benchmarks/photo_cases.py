"""Test pictures for photo denoisers: stripes and text, white noise, JPEG, and a simulated camera from light to file.

Pictures are uint8 (H, W, 3) unless a docstring gives another type.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import convolve

from photo_drawn import PAINTERS, font, fonts

WORDS = ("Sfumato, von it. fumo", "Rauch: 3,75 m/s; Ziel (B)", "ISO 6400, f/2.8, 1/60 s", "il fait froid & gris")
INKS = ((200, 30, 30), (20, 90, 200), (10, 130, 60), (120, 40, 150), (230, 120, 0))
SCREENS = ("text", "stripes", "grid", "lines", "shapes", "interface")
GAINS = (2.0, 1.0, 1.6)  # white balance of red, green and blue
SHOT = {"low": 0.0005, "middle": 0.002, "high": 0.008}  # variance of shot noise at full light
BEST = 99.0  # dB, of pictures that are equal


@dataclass(frozen=True)
class Case:
    """clean: uint8 (H, W, 3); noisy: the same, or float32 that may leave [0, 1]; sigma: where white is 1, if known."""

    name: str
    clean: np.ndarray
    noisy: np.ndarray
    sigma: float | None = None


def to_8_bit(values: np.ndarray) -> np.ndarray:
    """Floats with white at 1 as uint8, cut off and rounded."""
    return np.rint(255 * values.clip(0, 1)).astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Of two uint8 pictures, dB, at most BEST."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return min(BEST, float(10 * np.log10(255**2 / error))) if error else BEST


def white(name: str, clean: np.ndarray, sigma: float, seed: int, clipped: bool) -> Case:
    """White noise of `sigma` (of 255); clipped: cut off and rounded to 8 bits, as a file holds it."""
    noise = np.random.default_rng(seed).standard_normal(clean.shape, np.float32)
    noisy = clean.astype(np.float32) / 255 + np.float32(sigma / 255) * noise
    return Case(name, clean, to_8_bit(noisy) if clipped else noisy, sigma / 255)


def jpeg(clean: np.ndarray, quality: int) -> np.ndarray:
    """Through a JPEG file, colour halved (4:2:0)."""
    buffer = io.BytesIO()
    Image.fromarray(clean).save(buffer, "JPEG", quality=quality, subsampling=2)
    return np.asarray(Image.open(buffer).convert("RGB"))


def stripes(side: int = 128) -> dict[str, np.ndarray]:
    """Red and green stripes of 2 px, black and white ones of 1 px."""
    column = np.mgrid[:side, :side][1]
    pairs = {
        "red/green stripes of 2 px": (column // 2, (230, 40, 40), (40, 200, 40)),
        "black/white stripes of 1 px": (column, (0, 0, 0), (255, 255, 255)),
    }
    return {name: np.where((at % 2 == 0)[..., None], a, b).astype(np.uint8) for name, (at, a, b) in pairs.items()}


def text(size: int = 11, side: int = 256) -> np.ndarray:
    """Coloured lines of DejaVu Sans on white."""
    number = next((k for k, path in enumerate(fonts()) if path.name == "DejaVuSans.ttf"), 0)
    image = Image.new("RGB", (side, side), "white")
    paint = ImageDraw.Draw(image)
    for k in range(side // (size + 4)):
        line = " ".join(WORDS[(k + j) % len(WORDS)] for j in range(3))
        paint.text((4, 2 + k * (size + 4)), line, fill=INKS[k % len(INKS)], font=font(number, size))
    return np.asarray(image)


def screens(seed: int = 1001, side: int = 256) -> dict[str, np.ndarray]:
    """One drawing of each of SCREENS, in colours on white or grey; other seeds than any training picture has."""
    found = {}
    for k, name in enumerate(SCREENS):
        rng = np.random.default_rng(seed + k)
        image = Image.new("RGB", (side, side), ("white", (236, 236, 240), (40, 44, 52))[k % 3])
        PAINTERS[name](ImageDraw.Draw(image), rng, side)
        found[f"drawn/{name}"] = np.asarray(image)
    return found


def to_light(values: np.ndarray) -> np.ndarray:
    """sRGB's curve undone (IEC 61966-2-1), [0, 1] -> [0, 1]."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def to_srgb(light: np.ndarray) -> np.ndarray:
    """sRGB's curve, [0, 1] -> [0, 1]."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light.clip(1e-9) ** (1 / 2.4) - 0.055)


def camera(clean: np.ndarray, shot: float, demosaic: str, rng: np.random.Generator | None) -> np.ndarray:
    """The picture as a simple camera takes it: Bayer mosaic, noise, white balance, demosaicking, sRGB, 8 bits.

    shot: the variance of shot noise at full light; that of read noise follows it (Brooks et al. 2019, section 3.1);
    demosaic: "bilinear" or "malvar"; rng: None takes it without noise, which is what a denoiser is measured against.
    """
    raw = mosaic(to_light(clean / 255.0) / GAINS)
    if rng is not None:
        read = np.exp(2.18 * np.log(shot) + 1.2)
        raw = raw + np.sqrt(shot * raw + read) * rng.standard_normal(raw.shape)
    light = DEMOSAIC[demosaic]((raw.clip(0, 1) * (places(*raw.shape) * GAINS).sum(2)).clip(0, 1))
    return to_8_bit(to_srgb(light.clip(0, 1)))


def places(height: int, width: int) -> np.ndarray:
    """Where an RGGB sensor sees red, green and blue: (H, W, 3), 0 or 1."""
    y, x = np.indices((height, width)) % 2
    return np.stack([(y == 0) & (x == 0), y != x, (y == 1) & (x == 1)], 2).astype(np.float64)


def mosaic(light: np.ndarray) -> np.ndarray:
    """One value a pixel: (H, W, 3) -> (H, W)."""
    return (light * places(*light.shape[:2])).sum(2)


def bilinear(raw: np.ndarray) -> np.ndarray:
    """Missing colours as the mean of the neighbours that have them: (H, W) -> (H, W, 3)."""
    known = places(*raw.shape)
    cross, square = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4, np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    kernels = (square, cross, square)
    return np.stack([convolve(raw * known[..., c], kernels[c], mode="mirror") for c in range(3)], 2)


def malvar(raw: np.ndarray) -> np.ndarray:
    """Bilinear, mended by the detail of the colour that is there (Malvar, He and Cutler 2004, figure 2)."""
    known, out = places(*raw.shape), bilinear(raw)
    red, green, blue = known.astype(bool).transpose(2, 0, 1)
    green_there = convolve(raw, GREEN, mode="mirror")
    level, upright, corner = (convolve(raw, kernel, mode="mirror") for kernel in (LEVEL, LEVEL.T, CORNER))
    even = (np.indices(raw.shape)[0] % 2 == 0) & green  # greens beside reds
    odd = green & ~even
    out[..., 1] = np.where(green, raw, green_there)
    out[..., 0] = np.select([red, even, odd], [raw, level, upright], corner)
    out[..., 2] = np.select([blue, even, odd], [raw, upright, level], corner)
    return out


GREEN = np.array([[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]) / 8
LEVEL = np.array([[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]) / 8
CORNER = np.array([[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]) / 8
DEMOSAIC = {"bilinear": bilinear, "malvar": malvar}
