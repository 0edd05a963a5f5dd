"""What somebody writes who uses every verb; `test_face` has mypy look at it, and nothing runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import sfumato
from sfumato import Event, Model, Preset, Progress, Recipe, Sampling, Stop, UserError


def listen(event: Event) -> None:
    print(event.kind, event.to_json())


def work(recipe: Recipe, listener: Progress = listen) -> Path:
    stop = Stop()
    run = sfumato.train(recipe, ["train.images=1000"], out="runs/mine", progress=listener, stop=stop)
    model: Model = sfumato.load(run.folder, device="cpu", precision="fp32")
    drawn = sfumato.sample(model, 4, texts=["cat", "dog"], seed=1, sampling=Sampling(steps=10, guidance=2.0))
    pictures: np.ndarray = drawn.pictures
    images: list[Image.Image] = drawn.images()
    print(pictures.shape, images[0].size, drawn.texts, drawn.seeds, drawn.warnings)
    clean = sfumato.denoise("photo.jpg", sigma=0.1, strength=0.8)
    clean.save("clean.jpg")
    of_image: Image.Image = sfumato.denoise(images[0], "photo").picture
    of_array: np.ndarray = sfumato.denoise(pictures[0], samples=2).samples[0]
    print(of_image.size, of_array.shape)
    tuned = sfumato.tune("photos", "car", "sd15", preset=Preset("sd", ["tune.rank=8"]), steps=400)
    with_car = sfumato.load("sd15", lora=[(tuned.folder, 0.8), ("style.safetensors", 0.5)])
    verdict = sfumato.judge(with_car, n=100, sampling=Sampling(sampler="ddim")).verdict
    print(verdict.fd.value, verdict.words())
    first, second = sfumato.compare("runs/a", "runs/b", features="clip")
    print(first.verdict.fd.low > second.verdict.fd.high)
    merged = sfumato.merge([tuned.folder], "sd15", "merged", half=False)
    try:
        return sfumato.export(merged.folder, "exported", overwrite=True).folder
    except UserError as error:
        print(error)
        return merged.folder
