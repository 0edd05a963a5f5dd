"""Sections of the demo's page that stand on shipped models."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sfumato.demo import car, photo, prompts
from sfumato.show.report import Page, write_page


@pytest.mark.slow
def test_prompts_and_a_photo(tmp_path: Path) -> None:
    sections = [prompts.section(tmp_path), photo.section()]
    page = write_page(tmp_path / "page.html", Page("demo", "two sections", sections=sections)).read_text("utf-8")
    assert "data:image/gif;base64," in page
    assert page.count("data:image/png;base64,") >= 2


@pytest.mark.slow
def test_a_toy_car_is_taught(tmp_path: Path) -> None:
    """More like the photos than the base's own cars, with prompts still followed."""
    job = car.job(tmp_path)
    began = time.monotonic()
    done = job.run()
    section = car.section(done, time.monotonic() - began)
    assert section.pictures
    found = done.end
    assert found.score.likeness.low > 0
    assert found.score.fidelity.value > 0.5
    assert found.proofs["effect"] > 0
    assert (done.folder / "adapter_model.safetensors").is_file()
