"""Safe writing of files: under a temporary name, synced, checked, then renamed."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sfumato.errors import UserError

if TYPE_CHECKING:
    from safetensors import safe_open
    from torch import Tensor

Json: TypeAlias = dict[str, Any]
"""A JSON object: the content of a file or of a report, by key."""
Facts: TypeAlias = Mapping[str, Any]
"""A JSON object that is only read."""

DAY = 86400.0
UNWRITABLE = (
    *(errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),  # a file where a folder is needed, or the reverse
)


def check_folder(folder: Path) -> None:
    """Raises UserError if no file can be written into a folder, which need not exist: before long work for it."""
    try:
        there = next((place for place in (folder.absolute(), *folder.absolute().parents) if place.exists()), folder)
        if not there.is_dir():
            raise UserError(f"cannot write {folder}: {there} is a file; choose another --out")
        if not os.access(there, os.W_OK | os.X_OK):
            raise UserError(f"cannot write {folder}: {os.strerror(errno.EACCES)}; choose another --out")
    except OSError as error:  # a name that is too long
        raise disk_trouble(error, folder) or UserError(f"cannot write {folder}: {error}") from error


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk. Raises OSError, except if the file system cannot sync folders."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some file systems cannot sync a folder
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, for the block to write.

    When the block ends without an exception, the temporary file is synced and renamed to `path`. Otherwise it is
    removed, and `path` is unchanged. An error of the disk (see `disk_trouble`) becomes a UserError.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if (mended := disk_trouble(error, path)) is not None:
            raise mended from error
        raise


@contextlib.contextmanager
def open_tensors(path: Path, framework: str = "pt") -> Iterator[safe_open]:
    """A safetensors file, of which the block reads keys, tensors or the header. Raises UserError if it is none.

    framework: "pt", or "np", which needs no torch.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework) as file:
            yield file
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"{path} is not a safetensors file ({str(error).splitlines()[0][:80]})") from error


def _sweep(path: Path) -> None:
    """Remove what killed processes left beside `path`: temporary files of `aside` that are older than a day."""
    pattern = f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}{glob.escape(path.suffix)}"
    for leftover in path.parent.glob(pattern):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > DAY:
                leftover.unlink()


def replace_folder(made: Path, folder: Path) -> None:
    """Rename `made` to `folder`. A folder that is there is put aside first, and removed when the new one stands."""
    old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.old")
    if folder.exists():
        folder.replace(old)
    try:
        made.replace(folder)
    except BaseException:
        if old.exists():
            old.replace(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, with the permissions of any other new file.

    metadata: texts for its header. Equal arguments give equal bytes.
    """
    from safetensors.torch import save_file

    path.touch()
    mode = path.stat().st_mode
    save_file({k: t.contiguous() for k, t in tensors.items()}, path, dict(metadata) if metadata else None)
    if metadata and len(metadata) > 1:
        _sort_metadata(path)
    path.chmod(mode)  # safetensors makes files that only their owner can read


def _sort_metadata(path: Path) -> None:
    """Put the texts of a header in the order of their names: safetensors writes them in any order."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= size:
            file.seek(8)
            file.write(text.ljust(size))
            file.flush()
            os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Write or replace a text file in one step, in UTF-8. Raises UserError for an error of the disk."""
    with aside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write or replace a JSON file in one step. Raises UserError for an error of the disk."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def disk_trouble(error: BaseException, path: Path) -> UserError | None:
    """An error of the disk as a UserError of one line; None for any other error.

    Errors of the disk are: full, read-only, not permitted, or the path is in use. safetensors reports the system's
    errors as text, so the messages are searched too.
    """
    number, text = getattr(error, "errno", None), str(error)
    if number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT) or any(
        f"os error {code}" in text for code in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
    ):
        return UserError(f"no room to write {path}: free some space or choose another --out, then run again")
    if number in UNWRITABLE:
        return UserError(f"cannot write {path}: {os.strerror(number)}; choose another --out")
    return None
