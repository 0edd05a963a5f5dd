"""Every test of pictures has a cache of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfumato.pictures import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and files that count as settled the moment they are written."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SFUMATO_CACHE", str(folder))
    monkeypatch.setattr(cache, "FRESH_NS", 0)
    return folder
