"""The weights of feature networks: from `$SFUMATO_DATA`, the cache, or a download."""

from __future__ import annotations

import contextlib
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from sfumato.errors import UserError
from sfumato.files import aside, sha256
from sfumato.pictures.cache import cache_folder

INCEPTION_URL = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt"
INCEPTION_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
HUB_FILES = ["*.json", "model.safetensors", "*.txt"]
TIMEOUT = 30.0  # seconds without an answer


def homes() -> list[Path]:
    """Folders that are searched for weights: `$SFUMATO_DATA/features`, then `features` in the cache."""
    data = os.environ.get("SFUMATO_DATA")
    return [*([Path(data).expanduser() / "features"] if data else []), cache_folder() / "features"]


def found(name: str) -> Path | None:
    """The file or folder of that name in one of `homes`."""
    return next((home / name for home in homes() if (home / name).exists()), None)


def pinned_file(url: str, digest: str, path: Path | None = None) -> Path:
    """A file by its SHA-256: at `path`, else from one of the homes by its URL's name, else downloaded into the cache.

    Raises UserError if it cannot be had, or if what is there is not that file.
    """
    name = url.rsplit("/", 1)[-1]
    if path is not None and not path.is_file():
        raise UserError(f"no file {path}: copy {name} there, or leave the path out")
    path = path or found(name)
    if path is None:
        path = cache_folder() / "features" / name
        try:
            with (
                aside(path) as temporary,
                urllib.request.urlopen(url, timeout=TIMEOUT) as answer,
                temporary.open("wb") as file,
            ):
                shutil.copyfileobj(answer, file)
                file.flush()
                if sha256(temporary) != digest:
                    raise UserError(f"{url} is not the published file: copy that to {path}")
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise UserError(f"cannot download {url} ({reason}): copy it to {path}, or use --features mini") from error
    elif sha256(path) != digest:
        raise UserError(
            f"{path} is not the published file (SHA-256 {digest[:12]}...): remove it or replace it by the published one"
        )
    return path


def hub_folder(repo: str) -> Path:
    """A folder with the configuration and safetensors weights of a Hub model: from one of the homes, the
    Hub's own cache, or the Hub.

    Raises UserError with the files to copy, and where.
    """
    name = repo.rsplit("/", 1)[-1]
    folder = found(name)
    if folder is None:
        from huggingface_hub import snapshot_download

        try:
            with contextlib.suppress(FileNotFoundError):  # what is there already needs no network
                folder = _whole(Path(snapshot_download(repo, allow_patterns=HUB_FILES, local_files_only=True)))
            folder = folder or Path(snapshot_download(repo, allow_patterns=HUB_FILES, etag_timeout=TIMEOUT))
        except Exception as error:  # the Hub's client raises its own kinds and those of its HTTP library
            raise UserError(
                f"cannot get {repo} from the Hub ({type(error).__name__}): copy its config.json, "
                f"preprocessor_config.json and model.safetensors to {homes()[0] / name}, or use --features mini"
            ) from error
    if (missing := _missing(folder)) is not None:
        raise UserError(f"{folder} has no {missing}: copy the files of {repo} there")
    return folder


def at_hand(repo: str) -> bool:
    """Whether `hub_folder` would need no network."""
    from huggingface_hub import snapshot_download

    folder = found(repo.rsplit("/", 1)[-1])
    if folder is None:
        try:
            folder = Path(snapshot_download(repo, allow_patterns=HUB_FILES, local_files_only=True))
        except FileNotFoundError:
            return False
    return _missing(folder) is None


def _missing(folder: Path) -> str | None:
    needed = ("config.json", "preprocessor_config.json", "model.safetensors")
    return next((name for name in needed if not (folder / name).is_file()), None)


def _whole(folder: Path) -> Path | None:
    return None if _missing(folder) else folder
