"""Networks that are moved out of memory while they are not needed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import torch
from safetensors.torch import load_file
from torch import nn

from sfumato.files import aside, disk_trouble, save_tensors
from sfumato.pictures.cache import cache_folder


class Parked:
    """Networks whose weights are stored elsewhere: for a GPU in main memory, for a CPU in a file.

    They are away from construction on, and back within `here()`. The file, in the cache folder, is deleted with this
    object, or by the next one if the process was killed. Raises UserError if the disk is full.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.weights = [p for module in modules for p in module.parameters()]
        self.home = self.weights[0].device
        self.file: Path | None = None
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        if self.home.type == "cpu":
            self.folder = _folder()
            self.file = Path(self.folder.name) / "parked.safetensors"
            with aside(self.file) as temporary:
                save_tensors(temporary, {str(k): p.detach() for k, p in enumerate(self.weights)})
        self._leave()

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """Within the block the networks are back in memory."""
        self.back()
        try:
            yield
        finally:
            self._leave()

    def back(self) -> None:
        """Bring the networks back for good."""
        if self.file is not None:
            for key, tensor in load_file(self.file).items():
                self.weights[int(key)].data = tensor
        else:
            for p in self.weights:
                p.data = p.data.to(self.home)

    def _leave(self) -> None:
        for p in self.weights:
            p.data = torch.empty(0, dtype=p.dtype) if self.file is not None else p.data.to("cpu")
        if self.file is not None and sys.platform == "linux":  # glibc returns freed memory only on request
            getattr(ctypes.CDLL(None), "malloc_trim", int)(0)


def _folder() -> tempfile.TemporaryDirectory[str]:
    """A folder of this process in the cache; deletes those of processes that have ended."""
    root = cache_folder() / "parked"
    try:
        root.mkdir(parents=True, exist_ok=True)
        for old in root.iterdir():
            number = old.name.partition("-")[0]
            if number.isdigit() and not psutil.pid_exists(int(number)):
                shutil.rmtree(old, ignore_errors=True)
        return tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-", dir=root)
    except OSError as error:
        raise disk_trouble(error, root) or error from error
