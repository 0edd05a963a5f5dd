"""Networks that are away from memory while nobody asks for them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn


class Parked:
    """Networks whose weights wait elsewhere: on a GPU's host in main memory, on a CPU in a file.

    Away from the moment it is made, back while `here()` runs. The file goes when this object does.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.weights = [p for module in modules for p in module.parameters()]
        self.home = self.weights[0].device
        self.file: Path | None = None
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        self.shapes = [p.shape for p in self.weights]
        if self.home.type == "cpu":
            self.folder = tempfile.TemporaryDirectory(prefix="sfumato-")
            self.file = Path(self.folder.name) / "parked.safetensors"
            save_file({str(k): p.detach().contiguous() for k, p in enumerate(self.weights)}, self.file)
        self._leave()

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """The networks as they were, while the block runs."""
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
