"""The public verbs. Arguments are checked first; nothing heavy is imported before they are found good."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from sfumato.device import check as check_device
from sfumato.device import check_there
from sfumato.errors import UserError
from sfumato.lora.named import Loras, weighted
from sfumato.models.sampling import Sampling, check_seed
from sfumato.progress import Progress, Stop, phase, phases
from sfumato.tuning.preset import Preset

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor

    from sfumato.denoising.arrays import P
    from sfumato.denoising.one import Denoised
    from sfumato.device import Precision
    from sfumato.judging.features import Features
    from sfumato.judging.model import Judged
    from sfumato.models.model import Model
    from sfumato.models.samples import Samples
    from sfumato.models.written import Written
    from sfumato.recipe.recipe import Recipe
    from sfumato.training.start import TrainResult
    from sfumato.tuning.job import TuneResult


def load(
    model: str | Path | Model, *, lora: Loras = (), device: str | None = None, precision: Precision | None = None
) -> Model:
    """Load a model.

    Args:
        model: A run folder, a checkpoint folder, a safetensors file, a folder in diffusers' format, the LoRA folder
            that `tune` left, a shipped model's name (`mini`, `cifar10`, `photo`, ...), a base's name (`sd15`, `sd2`,
            `sdxl`) or a Hub id; or a model that is loaded already, to lay LoRAs over it.
        lora: A LoRA to lay over it: a folder of PEFT's or a safetensors file; or several, each by itself or as a pair
            with its weight. The model that is given, and all files, stay as they are.
        device: "cpu", "cuda", "cuda:1" or "mps"; left out: the best there is.
        precision: "fp32", "bf16" or "fp16"; left out: the fastest that the device has in hardware.

    Raises:
        UserError: There is no such model or device, what is there is not whole, or a LoRA is for another base.

    Example:
        >>> model = sfumato.load("runs/shapes")
        >>> model.shape
        (3, 16, 16)
        >>> sfumato.load("base", lora=[("car.safetensors", 0.8)]).name
        'base'
    """
    loras = weighted(lora)
    _check_model(model)
    check_device(device, precision)
    if isinstance(model, (str, Path)):
        if device is not None:
            check_there(device)
        from sfumato import zoo

        loaded = zoo.load(model, device, precision)
    elif device is not None or precision is not None:
        raise UserError(f"{model.name} is loaded already: give device and precision where it is loaded by its name")
    else:
        loaded = model
    if not loras:
        return loaded
    from sfumato.lora.apply import over

    return over(loaded, loras)[0]


def train(
    what: str | Path | Recipe,
    overrides: Iterable[str] = (),
    out: str | Path | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> TrainResult:
    """Train a model, or go on where an earlier call stopped.

    Args:
        what: A recipe, a shipped recipe's name (`shapes`, `cifar10`, ...), a YAML file, a folder of pictures, a data
            set of the Hub as owner/name, or a run folder to go on with.
        overrides: Values of the recipe to change, each `KEY=VALUE` by dotted path: "train.images=200000".
        out: The run folder; left out: `runs/NAME`.
        progress: Receives every event. If it raises, all is saved first.
        stop: A token; once a stop is requested the training saves and ends, as it does by Ctrl-C.

    Returns:
        Where the training has come to: its folder, images seen, what stopped it, the newest checkpoint.

    Raises:
        UserError: Something a person can mend, among it a run folder that is in use (Busy).

    Example:
        >>> run = sfumato.train("shapes", ["train.images=32", "data.image_size=16"], out="runs/shapes")
        >>> run.images
        32
    """
    from sfumato.recipe.recipe import check, listed

    overrides = listed(overrides)
    check(what, overrides)
    from sfumato.training.job import TrainJob

    return TrainJob(what, overrides, out).run(progress, stop)


def sample(
    model: str | Path | Model,
    n: int | None = None,
    *,
    texts: str | Sequence[str] = (),
    seed: int = 0,
    sampling: Sampling = Sampling(),
    init: str | Path | Image.Image | np.ndarray | None = None,
    progress: Progress | None = None,
) -> Samples:
    """Draw pictures.

    Args:
        model: Anything that `load` takes.
        n: How many, 1 or more and no fewer than the texts; left out: one of each text, or 16.
        texts: A prompt or label, or several; picture k is of texts[k % len(texts)].
        seed: 0 or more; picture k has the seed `seed + k`, and depends on nothing else.
        sampling: Steps, sampler, guidance and so on; what it leaves open is as the model has it.
        init: A picture to start from in place of noise: a file, a PIL image, or uint8 (H, W, C). Of it
            `sampling.strength` is drawn anew.
        progress: Receives the phases "loading" and "sampling". If it raises, the call ends there.

    Returns:
        The pictures as uint8 (n, H, W, C), with the text and seed of each, and warnings; `images()` gives PIL's.

    Raises:
        UserError: There is no such model, a value is out of its range, or the model does not take what is given.

    Example:
        >>> drawn = sfumato.sample("runs/shapes", 3, seed=7, sampling=sfumato.Sampling(steps=2, sampler="ddim"))
        >>> drawn.pictures.shape, drawn.seeds
        ((3, 16, 16, 3), (7, 8, 9))
        >>> drawn.images()[0].size
        (16, 16)
    """
    listed = [texts] if isinstance(texts, str) else list(texts)
    count = n if n is not None else len(listed) or 16
    if count < 1:
        raise UserError(f"n={count}: draw at least one picture")
    if count < len(listed):
        raise UserError(f"n={count} is fewer than the {len(listed)} texts: draw one or more of each, or leave n out")
    sampling.check()
    check_seed(seed)
    _check_model(model)
    if isinstance(init, (str, Path)) and not Path(init).is_file():
        raise UserError(f"init {init}: the file is not there")
    from sfumato.models.model import steps_told
    from sfumato.models.samples import draw
    from sfumato.pictures.given import fitted
    from sfumato.zoo import opened

    loaded = opened(model, progress)
    start = None if init is None else fitted(init, loaded.shape)
    told = steps_told("sampling", count, phases(progress))
    return draw(loaded, count, texts=listed, seed=seed, sampling=sampling, init=start, callback=told)


@overload
def denoise(
    picture: str | Path,
    model: str | Path | Model = "photo",
    sigma: float | str | Path | np.ndarray | Tensor | None = "auto",
    *,
    strength: float = 1.0,
    mirror: bool = False,
    samples: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Denoised[np.ndarray]: ...


@overload
def denoise(
    picture: P,
    model: str | Path | Model = "photo",
    sigma: float | str | Path | np.ndarray | Tensor | None = "auto",
    *,
    strength: float = 1.0,
    mirror: bool = False,
    samples: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Denoised[P]: ...


def denoise(
    picture: str | Path | P,
    model: str | Path | Model = "photo",
    sigma: float | str | Path | np.ndarray | Tensor | None = "auto",
    *,
    strength: float = 1.0,
    mirror: bool = False,
    samples: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Denoised[np.ndarray] | Denoised[P]:
    """Take the noise out of a picture of any size.

    Args:
        picture: A file; a PIL image; an array (H, W), (H, W, C) or (N, H, W, C); or a tensor (C, H, W) or (N, C, H, W);
            uint8, uint16, or floats with white at 1.
        model: A model that was trained to denoise, or to draw pictures pixel by pixel; anything that `load` takes.
        sigma: The standard deviation of the noise where white is 1: a number from 0 to 1, one a picture (N,), a map
            (H, W) or a grey picture's file; "auto": estimated from the picture.
        strength: Clean as if the noise were this part of it, 0 to 1.
        mirror: Average with the mirrored picture's answer, which takes twice the time.
        samples: Also draw so many pictures that the clean one may have been.
        seed: Of the samples, 0 or more.
        progress: Receives the phases "loading" and "tiles". If it raises, the call ends there.

    Returns:
        The clean picture, of the kind that was given (a file's as an array), the sigma that was used, and the samples;
        `save` writes it, of a file with everything else that was in it.

    Raises:
        UserError: No such model or file, no picture, or a value is out of its range.

    Example:
        >>> done = sfumato.denoise("photo.png")
        >>> done.picture.shape, 0 <= done.sigma <= 1
        ((20, 33, 3), True)
        >>> str(done.save("clean.png"))
        'clean.png'
    """
    from sfumato.denoising.sigma import given

    level = given(sigma)
    if not 0 <= strength <= 1 or samples < 0:
        raise UserError(f"strength={strength:g}, samples={samples}: strength is 0 to 1, samples are 0 or more")
    check_seed(seed)
    _check_model(model)
    if isinstance(picture, (str, Path)) and not Path(picture).is_file():
        raise UserError(f"{picture}: the file is not there")
    from sfumato.denoising.denoise import Cleaning
    from sfumato.denoising.files import Order
    from sfumato.denoising.one import clean_file, clean_one
    from sfumato.zoo import opened

    cleaner, told = opened(model, progress).cleaner(), phase("tiles", progress)
    if isinstance(picture, (str, Path)):
        return clean_file(cleaner, Path(picture), Order(level, strength, samples, seed, mirror=mirror), told)
    return clean_one(cleaner, picture, level, Cleaning(strength, mirror=mirror, told=told), samples, seed)


def tune(
    photos: str | Path,
    noun: str,
    base: str = "mini",
    *,
    preset: str | Preset = "default",
    steps: int | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> TuneResult:
    """Teach a text-to-image model one thing from a few photos, and leave a proven LoRA in a folder.

    Args:
        photos: A folder with five to ten photos of the thing.
        noun: What they show, in a word that the base knows: "car".
        base: `mini`, `sd15`, `sd2`, `sdxl`, a folder, a file or a Hub id.
        preset: "default", "mini", "sd" or "seed"; or a `Preset`, which changes values of one.
        steps: Take exactly so many, 1 or more, and keep the last; left out: as the preset has it, and the best is kept.
        out: Folder of the LoRA and its run; left out: `runs/NAME`.
        progress: Receives every event. If it raises, all is saved first.
        stop: A token; once a stop is requested the tuning saves and ends, as it does by Ctrl-C.

    Returns:
        The folder, steps taken and what stopped it; at its end the LoRA's file, its report and the thing's name for
        prompts.

    Raises:
        UserError: Something a person can mend, among it a folder that is in use (Busy).

    Example:
        >>> small = sfumato.Preset(overrides=["train.batch=2", "tune.rank=2"])
        >>> done = sfumato.tune("photos", "car", "base", preset=small, steps=1, out="car")
        >>> done.steps, done.file.name
        (1, 'car.safetensors')
    """
    chosen = Preset(preset) if isinstance(preset, str) else preset
    if steps is not None and steps < 1:
        raise UserError(f"steps={steps}: take one or more")
    check_tuning(photos, base, chosen)
    from sfumato.tuning.job import TuneJob

    return TuneJob(photos, noun, base, chosen.name, steps, chosen.overrides, out).run(progress, stop)


def judge(
    model: str | Path | Model,
    *,
    n: int | None = None,
    data: str | None = None,
    features: str | Features | None = None,
    metrics: Sequence[str] = (),
    seed: int = 0,
    sampling: Sampling = Sampling(),
    progress: Progress | None = None,
) -> Judged:
    """Say how good a model's pictures are, beside those it learned from and those it never saw.

    Args:
        model: Anything that `load` takes.
        n: Pictures to draw, 4 or more; left out: as its recipe says, but no more than it has learned from.
        data: Another source of pictures than the model's own: a folder, `cifar10`, a Hub data set, ...
        features: `mini` (offline), `inception` (the only FID) or its file, `dinov2`, `clip`; or your own; left out: as
            the model's recipe says.
        metrics: Further figures by name: `coverage`, or your own as `package.module:Name`.
        seed: 0 or more; picture k has the seed `seed + k`. Labels and captions come as often as in the data.
        sampling: How they are drawn; what it leaves open is as the model has it.
        progress: Receives the phases "loading", "pictures", "sampling" and those of the features. If it raises, the
            call ends there.

    Returns:
        The verdict, with the samples and what they cost.

    Raises:
        UserError: There is no such model or data, they do not fit together, or a value is out of its range.

    Example:
        >>> found = sfumato.judge("runs/shapes", n=4, sampling=sfumato.Sampling(steps=1))
        >>> found.verdict.fd.low <= found.verdict.fd.value
        True
    """
    from sfumato.judging.order import Order

    order = Order(n, data, features, metrics, seed, sampling)
    order.check()
    _check_model(model)
    from sfumato.judging import model as judging

    return judging.judge(model, order, progress)


def compare(
    a: str | Path | Model,
    b: str | Path | Model,
    *,
    n: int | None = None,
    data: str | None = None,
    features: str | Features | None = None,
    seed: int = 0,
    sampling: Sampling = Sampling(),
    progress: Progress | None = None,
) -> tuple[Judged, Judged]:
    """Judge two models with the same seeds, on the same data by the same features and as many pictures of each.

    Args:
        a: Anything that `load` takes; its data and features are used for both.
        b: Another model, that draws pictures of the same size.
        n: Pictures to draw of each, 4 or more.
        data: Another source of pictures than the first model's own.
        features: As for `judge`.
        seed: As for `judge`.
        sampling: How both draw.
        progress: As for `judge`.

    Returns:
        What `judge` gives of each.

    Raises:
        UserError: As for `judge`, and if the models draw pictures of different sizes.

    Example:
        >>> first, second = sfumato.compare("runs/shapes", "runs/shapes", n=4, sampling=sfumato.Sampling(steps=1))
        >>> first.verdict.fd.value == second.verdict.fd.value
        True
    """
    from sfumato.judging.order import Order

    order = Order(n, data, features, (), seed, sampling)
    order.check()
    _check_model(a)
    _check_model(b)
    from sfumato.judging import model as judging

    return judging.compare(a, b, order, progress)


def merge(
    loras: Loras, base: str | Path | Model, out: str | Path, *, half: bool = True, overwrite: bool = False
) -> Written:
    """Make one model of a base and one or more LoRAs, in diffusers' format.

    Args:
        loras: As `lora` of `load`.
        base: The text-to-image model that they were made for; anything that `load` takes. One that is loaded is
            merged in the precision that it has.
        out: The folder to make.
        half: Weights in fp16, else in fp32.
        overwrite: Replace a folder that is there.

    Returns:
        The folder, its size, and the class of diffusers that loads it.

    Raises:
        UserError: There is no such base or LoRA, none is given, they do not fit together, or the folder is there.

    Example:
        >>> merged = sfumato.merge([("car.safetensors", 0.8)], "base", "merged")
        >>> merged.pipeline
        'StableDiffusionPipeline'
    """
    place, pairs = Path(out), weighted(loras)
    if not pairs:
        raise UserError("no LoRA is given to merge: name one or more, or write the base itself with `export`")
    _check_writing(base, place, overwrite)
    from sfumato.lora.apply import over
    from sfumato.models.written import write
    from sfumato.zoo import exact

    model, notes = over(exact(base), pairs)
    return write(model, place, half, tuple(notes))


def export(
    model: str | Path | Model, out: str | Path, *, to: str = "diffusers", half: bool = True, overwrite: bool = False
) -> Written:
    """Write a text-to-image model in the format of another program.

    Args:
        model: Anything that `load` takes. One that is loaded is written from the precision that it has.
        out: The folder to make, or the file.
        to: The format: "diffusers", a folder; or "single", one safetensors file in the original keys.
        half: Weights in fp16, else in fp32.
        overwrite: Replace a folder that is there.

    Returns:
        What was written, its size, and the class of diffusers that loads it.

    Raises:
        UserError: There is no such model or format, the model is no text-to-image model, or the folder is there.

    Example:
        >>> sfumato.export("base", "exported", half=False).folder.name
        'exported'
    """
    place = Path(out)
    if to not in ("diffusers", "single"):
        raise UserError(f"to {to}: known formats: diffusers, single")
    if to == "single" and place.suffix != ".safetensors":
        raise UserError(f"out {out}: one file is called NAME.safetensors")
    _check_writing(model, place, overwrite)
    from sfumato.models.written import write
    from sfumato.zoo import exact

    return write(exact(model), place, half, single=to == "single")


def _check_model(model: str | Path | Model) -> None:
    from sfumato.models.names import check, is_loaded

    if not is_loaded(model):
        check(model)


def check_tuning(photos: str | Path, base: str, preset: Preset) -> None:
    """Raises UserError for arguments of `tune` that cannot be right."""
    if not Path(photos).is_dir():
        raise UserError(f"{photos} is not a folder: put five to ten photos of one thing into one")
    _check_model(base)
    preset.check(base)


def _check_writing(model: str | Path | Model, out: Path, overwrite: bool) -> None:
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists: --overwrite replaces it")
    _check_model(model)
