"""Packs the files for a machine without network, below 50 MB each: wheels, CIFAR-10, the photo pack, the emoji font."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

LIMIT = 50e6  # bytes of a piece
WHEELS = ("diffusers", "pydantic", "pydantic-core", "annotated-types", "typing-inspection")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64")
FONT, PHOTO = "NotoColorEmoji.ttf", "photo.safetensors"
PIECE, TEST = 25_000, 2_000  # pictures of CIFAR-10 in a piece, and of its test set


def pack(out: Path, python: str) -> None:
    """Write all pieces into folders of `out`, so that each can travel alone; what is there stays.

    python: version of the machine that they are for. Raises UserError.
    """
    from sfumato.errors import UserError

    _wheels(out / "wheels", python)
    _font(out / "font")
    for name in ("cifar10", "photo"):
        try:
            {"cifar10": _cifar10, "photo": _photo}[name](out)
        except UserError as error:
            print(f"{name}: left out: {error}")
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        size = path.stat().st_size
        print(f"{path}  {size / 1e6:.1f} MB")
        if size > LIMIT:
            raise UserError(f"{path} is larger than {LIMIT / 1e6:.0f} MB")


def _wheels(folder: Path, python: str) -> None:
    from sfumato.errors import UserError

    names = [f"{name}=={metadata.version(name)}" for name in WHEELS]
    if folder.is_dir():
        shutil.rmtree(folder)
    words = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(folder),
    ]
    words += ["--python-version", python, "--implementation", "cp"]
    words += [word for platform in PLATFORMS for word in ("--platform", platform)]
    done = subprocess.run([*words, *names], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"pip cannot bring {', '.join(names)} for Python {python}: {done.stderr.strip()[-300:]}")


def _font(folder: Path) -> None:
    """The emoji that are drawn, out of the font: a seventh of its bytes, and the same bitmaps."""
    from fontTools import subset

    from sfumato.files import aside
    from sfumato.pictures.drawn.emoji.things import font, things

    chosen = subset.Options(drop_tables=[], layout_features=["*"])
    whole = subset.load_font(str(font()), chosen)
    cutter = subset.Subsetter(chosen)
    cutter.populate(text="".join(things().values()))
    cutter.subset(whole)
    with aside(folder / FONT) as temporary:
        subset.save_font(whole, str(temporary), chosen)


def _cifar10(out: Path) -> None:
    import pyarrow.parquet as parquet

    from common import shelf
    from sfumato.files import aside

    where = shelf("cifar10") / "cifar10"
    for split, most in (("train", None), ("test", TEST)):
        rows = [
            row for path in sorted(where.glob(f"{split}-*.parquet")) for row in parquet.read_table(path).to_pylist()
        ]
        for k, start in enumerate(range(0, len(rows[:most]), PIECE)):
            name = f"cifar10-{split}-{k}.safetensors"
            folder = "cifar10-0" if split == "test" else f"cifar10-{k}"
            with aside(out / folder / name) as temporary:
                _save(temporary, rows[:most][start : start + PIECE])


def _save(path: Path, rows: list[dict[str, Any]]) -> None:
    """Picture files one after the other, where each ends, and the labels."""
    from safetensors.numpy import save_file

    files = [row["img"]["bytes"] for row in rows]
    save_file({
        "bytes": np.frombuffer(b"".join(files), np.uint8),
        "offsets": np.cumsum([0, *map(len, files)], dtype=np.int64),
        "labels": np.array([row["label"] for row in rows], np.uint8),
    }, path)  # fmt: skip


def _photo(out: Path) -> None:
    from common import shelf
    from sfumato.errors import UserError
    from sfumato.files import aside

    if importlib.util.find_spec("photo_pack") is None:
        raise UserError("benchmarks/photo_pack.py is not here")
    import photo_pack  # type: ignore[import-not-found, unused-ignore]

    if not (out / "photo" / PHOTO).is_file():
        with aside(out / "photo" / PHOTO) as temporary:
            photo_pack.pack(temporary, shelf("bsds500"))


def found(kits: Sequence[Path], name: str) -> list[Path]:
    """The files of a name, which may be a pattern, in any folder of the kits."""
    return sorted(path for kit in kits for path in kit.rglob(name))


def supply(kits: Sequence[Path], data: Path, needs: Sequence[str]) -> None:
    """Unpack into `data` what is needed and not there, one process at a time. Raises UserError if it is not packed.

    Where SFUMATO_DATA names another folder, that one serves CIFAR-10 and the system the font.
    """
    from filelock import FileLock

    data.mkdir(parents=True, exist_ok=True)
    own = Path(os.environ.get("SFUMATO_DATA", data)).resolve() == data.resolve()
    for need in needs:
        if need == "photo" or own:
            with FileLock(data / f".{need}.lock"):
                {"cifar10": _unpack_cifar10, "photo": _unpack_photo, "font": _unpack_font}[need](kits, data)


def _unpack_font(kits: Sequence[Path], data: Path) -> None:
    for path in found(kits, FONT)[:1]:  # else the system's
        if not (data / FONT).is_file():
            with _whole(data / FONT) as temporary:
                shutil.copyfile(path, temporary)


def _unpack_cifar10(kits: Sequence[Path], data: Path) -> None:
    from sfumato.errors import UserError

    if (data / "cifar10").is_dir():
        return
    pieces = {split: found(kits, f"cifar10-{split}-*.safetensors") for split in ("train", "test")}
    rows = {split: [row for path in paths for row in _rows(path)] for split, paths in pieces.items()}
    if len(rows["train"]) != 2 * PIECE or not rows["test"]:
        held = ", ".join(path.name for paths in pieces.values() for path in paths) or "none"
        raise UserError(
            f"cifar10 is not whole in {', '.join(map(str, kits))} ({held}): kit.py pack, and bring all of it"
        )
    with _whole(data / "cifar10") as temporary:
        temporary.mkdir()
        for split, part in rows.items():
            _table(temporary / f"{split}-0.parquet", part)


def _rows(path: Path) -> Iterator[tuple[bytes, int]]:
    from safetensors.numpy import load_file

    tensors = load_file(path)
    blob, offsets = tensors["bytes"].tobytes(), tensors["offsets"].tolist()
    for k, label in enumerate(tensors["labels"].tolist()):
        yield blob[offsets[k] : offsets[k + 1]], label


def _table(path: Path, rows: list[tuple[bytes, int]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    pictures = [{"bytes": file, "path": None} for file, _ in rows]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    labels = pa.array([label for _, label in rows], pa.int64())
    table = pa.table({"img": pa.array(pictures, kind), "label": labels})
    parquet.write_table(table, path, compression="none")


def _unpack_photo(kits: Sequence[Path], data: Path) -> None:
    from PIL import Image

    from sfumato.errors import UserError

    if (data / "photo").is_dir():
        return
    if not (packs := found(kits, PHOTO)):
        raise UserError(f"no {PHOTO} in {', '.join(map(str, kits))}: kit.py pack makes it")
    import photo_pack  # type: ignore[import-not-found, unused-ignore]

    def write(numbered: tuple[int, np.ndarray]) -> None:
        buffer = io.BytesIO()
        Image.fromarray(numbered[1]).save(buffer, "PNG", compress_level=1)
        (temporary / f"{numbered[0]:05d}.png").write_bytes(buffer.getvalue())

    with _whole(data / "photo") as temporary, ThreadPoolExecutor() as pool:
        temporary.mkdir()
        list(pool.map(write, enumerate(photo_pack.unpack(packs[0]))))


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A place to write, which becomes `path` when the block ends well."""
    part = path.with_name(f".{path.name}.part")
    if part.is_dir():
        shutil.rmtree(part)
    yield part
    part.replace(path)
