"""Pipeline folders that are not whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import sfumato
from sfumato.errors import UserError
from sfumato.zoo import load


def test_a_truncated_file_of_weights_is_named(tmp_path: Path) -> None:
    shipped = Path(sfumato.__file__).parent / "pretrained" / "mini"
    shutil.copytree(shipped, tmp_path / "mini")
    weights = tmp_path / "mini" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(UserError, match="not a whole pipeline"):
        load(str(tmp_path / "mini"))
