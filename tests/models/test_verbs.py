"""Every kind of model with every verb: it works, or it is refused in one line with exit status 2."""

# ruff: noqa: F811 (fixtures)
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from PIL import Image
from safetensors.torch import save_file

from sfumato.lora.adapter import Shape, attach, taken
from sfumato.lora.formats import write_peft
from sfumato.models.names import models
from sfumato.models.sd import pipeline as pipelines
from sfumato.models.sd import single
from sfumato.models.sdxl import shapes
from sfumato.pictures.tokenizer import learn_tokenizer
from sfumato.tuning import start as tuning
from sfumato.tuning.preset import Preset

from ..cli.test_commands import Sfumato, sfumato  # noqa: F401
from ..tiny import recipe_of, train_run, write_pictures
from ..tuning.conftest import base, stirred
from ..tuning.test_photos import scene
from .sdxl import tiny
from .test_ddpm import unet
from .test_single import SMALL, original
from .test_training import pictures, run  # noqa: F401

QUICK = ("pixel", "plain", "pipeline", "LoRA folder", "DDPM folder", "UNet with labels")
XL = ("XL pipeline", "XL file")
KINDS = (*QUICK, *XL, "text run", "unfinished tuning", "single file", "autoencoder", *models())
LATENT = ("pipeline", "LoRA folder", *XL, "text run", "unfinished tuning", "single file", "mini")
DRAWS = ("pixel", "DDPM folder", *LATENT, "cifar10")
CLEANS = ("pixel", "plain", "DDPM folder", "cifar10", "cifar10-denoise", "photo")
BASES = tuple(kind for kind in LATENT if kind != "unfinished tuning")
TAKES_IT = ("pipeline", "LoRA folder", "text run", "unfinished tuning")  # the LoRA of the shelf
BRIEF = ("-n", 4, "--steps", 1)
VERBS: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = {
    "sample": (("sample", "MODEL", "-n", 1, "--steps", 1), DRAWS),
    "sample a prompt": (("sample", "MODEL", "-n", 1, "--steps", 1, "--prompt", "a red car"), LATENT),
    "sample a label": (("sample", "MODEL", "-n", 1, "--steps", 1, "--label", "ant"), ("pixel", *LATENT)),
    "sample a size": (("sample", "MODEL", "-n", 1, "--steps", 1, "--size", "32"), ("text run", *LATENT, "cifar10")),
    "sample with a LoRA": (("sample", "MODEL", "-n", 1, "--steps", 1, "--lora", "LORA"), TAKES_IT),
    "denoise": (("denoise", "photo.png", "--out", "clean.png", "--model", "MODEL"), CLEANS),
    "judge generate": (("judge", "MODEL", "--task", "generate", "--data", "PICTURES", *BRIEF), DRAWS),
    "judge denoise": (("judge", "MODEL", "--task", "denoise", "--data", "PICTURES", "-n", 4), CLEANS),
    "judge denoise blind": (("judge", "MODEL", "--task", "denoise", "--data", "PICTURES", "-n", 4, "--blind"),
                            ("cifar10-denoise", "photo")),
    "judge text": (("judge", "MODEL", "--task", "text", *BRIEF), ("mini",)),
    "compare": (("compare", "MODEL", "OTHER", "--data", "PICTURES", *BRIEF), DRAWS),
    "merge": (("merge", "LORA", "--base", "MODEL", "--out", "merged"), TAKES_IT),
    "merge it": (("merge", "MODEL", "--base", "BASE", "--out", "merged"), ("LoRA folder",)),
    "export": (("export", "MODEL", "--out", "exported"), LATENT),
    "export a file": (("export", "MODEL", "--to", "single", "--out", "a.safetensors"), ("single file", *XL)),
    "tune": (("tune", "PHOTOS", "--noun", "car", "--base", "MODEL", "--dry-run", "train.batch=2"), BASES),
}  # fmt: skip
"""Each verb's command, and the kinds of models with which it works."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for k in range(5):
        scene(k, (40, 40)).save(folder / f"{k}.png")
    return folder


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models that are quick to make: those of QUICK."""
    root = tmp_path_factory.mktemp("shelf")
    seen = write_pictures(root / "pictures")
    train_run(root / "pixel", recipe_of(seen, train={"images": 32}), (32,))
    plain = {"kind": "plain", "channels": [8, 8], "blocks": 1, "stem": 2, "attention": None}
    train_run(root / "plain", recipe_of(seen, "none", net=plain, train={"images": 32}).model_copy(
        update={"task": "denoise"}), (32,))  # fmt: skip
    DDPMPipeline(unet(), DDPMScheduler()).save_pretrained(root / "DDPM folder")
    unet(classes=4).save_pretrained(root / "UNet with labels")
    model = base()
    pipelines.write(model, root / "pipeline", half=False)
    attach(model.net, Shape(rank=2, alpha=4))
    stirred(model.net)
    write_peft(taken(model.net), root / "LoRA folder", str(root / "pipeline"))
    tiny.folder(root / "XL pipeline")
    return root


@pytest.fixture(scope="module")
def slow_shelf(shelf: Path, photos: Path, run: Path) -> Path:
    """The shelf with those that take longer, or need a process that is set up for them."""
    for name, made in (("text run", run), ("autoencoder", run.parent / "ground")):
        (shelf / name).symlink_to(made)
    overrides = ["train.batch=4", "train.warmup=0", "tune.variants=1"]
    recipe = Preset().recipe(str(shelf / "pipeline"))
    recipe = recipe.model_copy(update={
        "data": recipe.data.model_copy(update={"source": str(photos)}),
        "tune": recipe.tune.model_copy(update={"noun": "car", "trigger": "zarnu", "rank": 2}),
    })  # fmt: skip
    tuning.run(tuning.begin(recipe, overrides, shelf / "unfinished tuning", steps=2))
    return shelf


def single_file(folder: Path) -> Path:
    tensors, _ = original()
    save_file(tensors, folder / "single.safetensors")
    (folder / "tokenizer").mkdir()
    learn_tokenizer(["a red car on a road"], 700, 16).backend_tokenizer.model.save(str(folder / "tokenizer"))
    return folder / "single.safetensors"


def crossed(sfumato: Sfumato, shelf: Path, photos: Path, kind: str, verb: str, folder: Path) -> None:
    model: object = kind if kind in models() else shelf / kind
    if kind == "single file":
        model = single_file(folder)
    elif kind == "XL file":
        model = tiny.file(folder, shelf / "XL pipeline")
    Image.new("RGB", (33, 20), (200, 120, 40)).save(folder / "photo.png")
    seen = shelf / "pictures"
    if kind in ("mini", "cifar10", "cifar10-denoise", "photo"):
        seen = folder / "pictures"
        for k, path in enumerate(sorted((shelf / "pictures").rglob("*.png"))):
            side = 128 if kind == "mini" else 32
            (seen / str(k % 2)).mkdir(parents=True, exist_ok=True)
            Image.open(path).resize((side, side)).save(seen / str(k % 2) / path.name)
    words, works = VERBS[verb]
    places = {"MODEL": model, "OTHER": model, "PICTURES": seen, "PHOTOS": photos, "BASE": shelf / "pipeline",
              "LORA": shelf / "LoRA folder"}  # fmt: skip
    answer = sfumato(*(places.get(str(word), word) for word in words))
    if kind in works:
        assert answer.status == 0, answer.err
    else:
        assert answer.status == 2, answer.err
        assert answer.err.strip().splitlines()[-1].startswith("error: ")
        assert answer.err.count("error:") == 1
        assert "Traceback" not in answer.err


@pytest.mark.parametrize("kind", QUICK)
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_works_or_is_one_line(
    sfumato: Sfumato, shelf: Path, photos: Path, tmp_path: Path, kind: str, verb: str
) -> None:
    crossed(sfumato, shelf, photos, kind, verb, tmp_path)


@pytest.mark.parametrize(
    ("kind", "verb"),
    [
        *(("mini", verb) for verb in ("denoise", "judge denoise")),
        *(("photo", verb) for verb in ("sample", "judge generate")),
        *(("XL pipeline", verb) for verb in ("sample a prompt", "sample with a LoRA", "denoise", "export", "tune")),
        *(("XL file", verb) for verb in ("sample a prompt", "merge", "export a file")),
    ],
)
def test_some_of_the_others_in_short(
    sfumato: Sfumato, shelf: Path, photos: Path, tmp_path: Path, kind: str, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "SHAPES", tiny.SMALL)
    crossed(sfumato, shelf, photos, kind, verb, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in QUICK])
@pytest.mark.parametrize("verb", VERBS)
def test_the_others_too(
    sfumato: Sfumato, slow_shelf: Path, photos: Path, tmp_path: Path, kind: str, verb: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(single.SHAPES, "sd1", SMALL)
    monkeypatch.setattr(shapes, "SHAPES", tiny.SMALL)
    torch.manual_seed(0)
    crossed(sfumato, slow_shelf, photos, kind, verb, tmp_path)
