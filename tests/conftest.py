"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the commands that tests start; small networks are fastest so
torch.set_num_threads(int(os.environ.get("SFUMATO_TEST_THREADS", "1")))
settings.register_profile("patient", deadline=None)  # a busy machine is not a failure
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests keep decoded pictures in a folder of their own."""
    os.environ["SFUMATO_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def datasets() -> Path:
    """The folder of real data."""
    folder = os.environ.get("SFUMATO_DATA")
    if not folder or not (Path(folder) / "cifar10").is_dir():
        pytest.skip("SFUMATO_DATA does not name a folder with cifar10/ in it")
    return Path(folder)


@pytest.fixture
def environment() -> dict[str, str]:
    """One thread, so that equal work gives equal bits, and no network."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
