"""The public functions. Arguments are checked first; heavy libraries are imported only if all of them are valid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from sfumato.device import check as check_device
from sfumato.device import check_there
from sfumato.errors import UserError, listed, one_or_more
from sfumato.lora.named import Loras, weighted
from sfumato.models.sampling import Sampling, check_count, check_init, check_seed
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
        model: A run folder, a checkpoint folder, a safetensors file, a folder in diffusers' format, a LoRA folder
            written by `tune`, a shipped model's name (`mini`, `cifar10`, `photo`, ...), a base's name (`sd15`, `sd2`,
            `sdxl`) or a Hub id; or a loaded model, to add LoRAs to it.
        lora: A LoRA to add to the model: a folder in PEFT's format or a safetensors file; or several LoRAs, each a path
            or a pair (path, weight), where 1 is the trained strength. The weight can itself be a pair: of the denoising
            network's changes, and of the text encoders'. LoHa, LoKr and full changes are read too. The given model and
            all files stay unchanged.
        device: "cpu", "cuda", "cuda:1" or "mps"; left out: the fastest that is available.
        precision: "fp32", "bf16" or "fp16"; left out: the fastest that the device has in hardware.

    Returns:
        The model: a `PixelModel`, or for text-to-image a `LatentModel`.

    Raises:
        UserError: There is no such model or device, its files are incomplete or damaged, or a LoRA is for another base.

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
    """Train a model, or resume a training that was stopped.

    Args:
        what: A recipe, a shipped recipe's name (`shapes`, `cifar10`, ...), a YAML file, a folder of pictures, a data
            set of the Hub as owner/name, or a run folder to resume.
        overrides: Changes of the recipe, each `KEY=VALUE` with a dotted path as KEY: "train.images=200000".
        out: The run folder; left out: `runs/NAME`.
        progress: Receives every event. If it raises, the training saves a checkpoint first.
        stop: After `stop.request(reason)` the training saves a checkpoint and ends, as after Ctrl-C.

    Returns:
        The state of the training: its folder, images seen, the reason of a stop, the newest checkpoint.

    Raises:
        UserError: An argument, the recipe or the data are invalid. If another process uses the run folder, it is the
            subclass `Busy`.

    Example:
        >>> run = sfumato.train("shapes", ["train.images=32", "data.image_size=16"], out="runs/shapes")
        >>> run.images
        32
    """
    from sfumato.recipe.recipe import check

    overrides = listed("overrides", overrides)
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
        model: Anything that `load` accepts.
        n: Number of pictures, 1 or more and no fewer than the texts; left out: one for each text, or 16 without texts.
        texts: A prompt or label, or several; picture k has the condition texts[k % len(texts)].
        seed: 0 or more; picture k has the seed `seed + k`, in any batch.
        sampling: Steps, sampler, guidance and so on; a value of None is replaced by the model's default.
        init: A picture to start from in place of noise: a file, a PIL image, or uint8 (H, W, C).
            `sampling.strength` is how much of it is replaced.
        progress: Receives the phases "loading" and "sampling". If it raises, the call ends with that exception.

    Returns:
        The pictures as uint8 (n, H, W, C), with the text and seed of each, and warnings; `images()` returns PIL images.

    Raises:
        UserError: There is no such model, a value is out of its range, or the model has no such condition or picture
            size.

    Example:
        >>> drawn = sfumato.sample("runs/shapes", 3, seed=7, sampling=sfumato.Sampling(steps=2, sampler="ddim"))
        >>> drawn.pictures.shape, drawn.seeds
        ((3, 16, 16, 3), (7, 8, 9))
        >>> drawn.images()[0].size
        (16, 16)
    """
    given = one_or_more("texts", texts)
    count = n if n is not None else len(given) or 16
    check_count(count, given)
    sampling.check()
    check_seed(seed)
    _check_model(model)
    check_init(init)
    from sfumato.models.model import steps_phase
    from sfumato.models.samples import draw
    from sfumato.pictures.given import fitted, read
    from sfumato.zoo import opened

    picture = None if init is None else read(init)
    loaded = opened(model, progress)
    start = None if picture is None else fitted(picture, loaded.shape)
    report = steps_phase("sampling", count, phases(progress))
    return draw(loaded, count, texts=given, seed=seed, sampling=sampling, init=start, callback=report)


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
    """Remove the noise from a picture of any size.

    Args:
        picture: A file (of several pages the first); a PIL image; an array (H, W), (H, W, C) or (N, H, W, C); or a
            tensor (C, H, W) or (N, C, H, W). Values are uint8, uint16, or floats with black at 0 and white at 1.
        model: A model of the task `denoise`, or one that draws pixels; anything that `load` accepts.
        sigma: The standard deviation of the noise, where white is 1: a number from 0 to 1, one number for each picture
            (N,), a map (H, W), or the file of a grey picture as a map; "auto": estimated from the picture.
        strength: The share of the noise level that the model is given, 0 to 1; below 1 some noise is left.
        mirror: Average with the result for the mirrored picture; takes twice the time.
        samples: The number of posterior samples (possible clean pictures) to draw as well, 0 or more.
        seed: Seed of the posterior samples, 0 or more.
        progress: Receives the phases "loading" and "tiles". If it raises, the call ends with that exception.

    Returns:
        The clean picture, the sigma that was used, and the posterior samples. The picture has the type, shape and dtype
        of the given one; for a file it is an array. `save` writes it, with the metadata of the given file.

    Raises:
        UserError: There is no such model or file, the file is no picture, or a value is out of its range.

    Example:
        >>> done = sfumato.denoise("photo.png")
        >>> done.picture.shape, 0 <= done.sigma <= 1
        ((20, 33, 3), True)
        >>> str(done.save("clean.png"))
        'clean.png'
    """
    from sfumato.denoising.sigma import check_samples, given

    level = given(sigma)
    if not 0 <= strength <= 1 or samples < 0:
        raise UserError(f"strength={strength:g}, samples={samples}: strength is 0 to 1, samples are 0 or more")
    check_samples(level, samples)
    check_seed(seed)
    _check_model(model)
    if isinstance(picture, (list, tuple)):
        raise UserError("picture: give one file or array at a time, or several pictures as an array (N, H, W, C)")
    if isinstance(picture, (str, Path)) and not Path(picture).is_file():
        raise UserError(f"{picture}: the file is not there")
    from sfumato.denoising.denoise import Cleaning
    from sfumato.denoising.one import clean_file, clean_one
    from sfumato.denoising.places import Order
    from sfumato.zoo import opened

    cleaner, report = opened(model, progress).cleaner(), phase("tiles", progress)
    order = Order(level, strength, samples, seed, mirror=mirror)
    if isinstance(picture, (str, Path)):
        return clean_file(cleaner, Path(picture), order, report)
    return clean_one(cleaner, picture, level, Cleaning(strength, mirror=mirror, on_tile=report), samples, seed)


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
    """Teach a text-to-image model one thing from a few photos, and write a verified LoRA.

    Args:
        photos: A folder with five to ten photos of the thing.
        noun: The kind of thing, in a word that the base knows: "car".
        base: `mini`, `sd15`, `sd2`, `sdxl`, a folder, a file or a Hub id.
        preset: "default", "mini", "sd" or "seed"; or a `Preset`, which changes values of one of these.
        steps: Train exactly this number of steps, 1 or more, and keep the last; left out: train the preset's number of
            steps, and keep the best.
        out: Folder of the LoRA and its run; left out: `runs/NAME`.
        progress: Receives every event. If it raises, the tuning saves a checkpoint first.
        stop: After `stop.request(reason)` the tuning saves a checkpoint and ends, as after Ctrl-C.

    Returns:
        The folder, the number of steps and the reason of a stop; if the tuning is finished, also the LoRA's file, its
        report and the thing's name in prompts.

    Raises:
        UserError: An argument is invalid, or there are too few usable photos. If another process uses the folder, it is
            the subclass `Busy`.

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
    data: str | Path | None = None,
    features: str | Features | None = None,
    metrics: Sequence[str] = (),
    seed: int = 0,
    sampling: Sampling = Sampling(),
    progress: Progress | None = None,
) -> Judged:
    """Measure how good a model's pictures are, against its training pictures and held-out ones.

    Args:
        model: Anything that `load` accepts.
        n: Number of pictures to draw, 4 or more; left out: the number in the model's recipe, but at most the number of
            its training pictures.
        data: A source of pictures to compare with: a folder, `cifar10`, a Hub data set, ...; left out: the source of
            the model's training.
        features: "mini" (offline), "dinov2", "clip", "inception" (its FD is called FID) or the file of its weights;
            your own as "package.module:Name", or a `Features`; left out: those of the model's recipe.
        metrics: Further metrics by name: "coverage", or your own as "package.module:Name".
        seed: 0 or more; picture k has the seed `seed + k`. Labels and captions are as frequent as in the data.
        sampling: Sampling settings; a value of None is replaced by the model's default.
        progress: Receives the phases "loading", "pictures", "sampling" and those of the features. If it raises, the
            call ends with that exception.

    Returns:
        The verdict (FD, KID and so on, with intervals), the samples, and the time that drawing them took.

    Raises:
        UserError: There is no such model or data, they do not fit together, or a value is out of its range.

    Example:
        >>> judged = sfumato.judge("runs/shapes", n=4, sampling=sfumato.Sampling(steps=1))
        >>> judged.verdict.fd.low <= judged.verdict.fd.value
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
    data: str | Path | None = None,
    features: str | Features | None = None,
    seed: int = 0,
    sampling: Sampling = Sampling(),
    progress: Progress | None = None,
) -> tuple[Judged, Judged]:
    """Judge two models with the same seeds, data, features and number of pictures.

    Args:
        a: Anything that `load` accepts; its data and features are used for both.
        b: Another model, which draws pictures of the same size.
        n: Number of pictures to draw with each model, 4 or more; left out: the smaller number in the
            models' recipes, but at most the number of training pictures.
        data: A source of pictures to compare with; left out: the source of the first model's training.
        features: As for `judge`.
        seed: As for `judge`.
        sampling: Sampling settings of both.
        progress: As for `judge`.

    Returns:
        The result of `judge` for each.

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
    """Merge one or more LoRAs into a base, and write the model in diffusers' format.

    Args:
        loras: One or more LoRAs, as the argument `lora` of `load`.
        base: The text-to-image model that the LoRAs were made for; anything that `load` accepts. A loaded model is
            merged in its own precision.
        out: The folder to write.
        half: Write weights in fp16; if False, in fp32.
        overwrite: Replace an existing folder.

    Returns:
        The folder, its size, and the class of diffusers that loads it.

    Raises:
        UserError: There is no such base or LoRA, no LoRA is given, base and LoRAs do not fit together, or the folder
            exists.

    Example:
        >>> merged = sfumato.merge([("car.safetensors", 0.8)], "base", "merged")
        >>> merged.pipeline
        'StableDiffusionPipeline'
    """
    place, pairs = Path(out), weighted(loras)
    if not pairs:
        raise UserError("no LoRA is given to merge: name one or more, or write the base itself with `export`")
    _check_writing(base, place, [path for path, _ in pairs], overwrite)
    from sfumato.lora.apply import check_half, over
    from sfumato.models.written import write
    from sfumato.zoo import exact

    model, notes = over(exact(base), pairs)
    if half:
        check_half(model)
    return write(model, place, half, tuple(notes))


def export(
    model: str | Path | Model, out: str | Path, *, to: str = "diffusers", half: bool = True, overwrite: bool = False
) -> Written:
    """Write a text-to-image model in the format of another program.

    Args:
        model: Anything that `load` accepts. A loaded model is converted from its own precision.
        out: The folder or file to write.
        to: The format: "diffusers", a folder; or "single", one safetensors file with the original keys.
        half: Write weights in fp16; if False, in fp32.
        overwrite: Replace an existing folder or file.

    Returns:
        The folder or file, its size, and the class of diffusers that loads it.

    Raises:
        UserError: There is no such model or format, the model is no text-to-image model, or the folder or file exists.

    Example:
        >>> sfumato.export("base", "exported", half=False).folder.name
        'exported'
    """
    place = Path(out)
    if to not in ("diffusers", "single"):
        raise UserError(f"to {to}: known formats: diffusers, single")
    if to == "single" and place.suffix != ".safetensors":
        raise UserError(f"out {out}: one file is called NAME.safetensors")
    _check_writing(model, place, [], overwrite, to == "single")
    from sfumato.models.written import write
    from sfumato.zoo import exact

    return write(exact(model), place, half, single=to == "single")


def _check_model(model: str | Path | Model) -> None:
    from sfumato.models.names import check, is_loaded

    if not is_loaded(model):
        check(model)


def check_tuning(photos: str | Path, base: str, preset: Preset) -> None:
    """Raises UserError for invalid arguments of `tune`."""
    if not isinstance(photos, (str, Path)) or not Path(photos).is_dir():
        raise UserError(f"{photos} is not a folder: put five to ten photos of one thing into one")
    _check_model(base)
    preset.check(base)


def _check_writing(
    model: str | Path | Model, out: Path, loras: Sequence[Path], overwrite: bool, file: bool = False
) -> None:
    from sfumato.models import place

    _check_model(model)
    place.check(out, [given for given in (model, *loras) if isinstance(given, (str, Path))], overwrite, file)
