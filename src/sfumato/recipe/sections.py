"""The sections of a recipe: every value with its default and what it means."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

ScheduleName = Literal["linear", "cosine", "scaled-linear", "scaled-linear-zero", "edm", "flow"]
PredictionName = Literal["epsilon", "x0", "x0-unscaled", "residual", "v", "edm", "flow"]
WeightingName = Literal["uniform", "min-snr-5", "root-snr", "psnr", "edm"]
SamplerName = Literal["ddpm", "ddim", "euler", "heun", "dpm++2m", "dpm++2m-sde"]
FeatureName = Literal["mini", "inception", "dinov2", "clip"]
PresetName = Literal["tiny", "small", "medium", "large", "huge"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class Data(Section):
    """Which pictures, and how they are brought to one shape."""

    source: str = Field("", description="a folder, `cifar10`, `shapes`, `emoji`, or a Hub dataset id")
    count: int | None = Field(
        None,
        ge=100,
        description="of `emoji`: so many scenes, drawn when they are needed; left out: 60,000, drawn once and kept",
    )
    captions: int = Field(4, ge=1, description="sentences for each of `data.count` scenes")
    image_size: int | tuple[int, int] | None = Field(
        None, description="side in pixels or [height, width]; left out: the pictures' own size"
    )
    grey: bool | None = Field(None, description="one channel; left out: if every picture is grey")
    labels: tuple[str, ...] | None = Field(None, description="use only these labels")
    condition: Literal["none", "class", "words"] = Field("none", description="what the model is told")
    crop: Literal["center", "tiles", "pieces"] = Field(
        "center",
        description="center: one square a picture; tiles: several, overlapping; pieces: as many as cover it, unscaled",
    )
    split: Literal["source", "random"] = Field(
        "source", description="source: its own test split is held out, if it has one; random: a share of all pictures"
    )
    flip: bool = Field(True, description="mirror half the pictures left to right")
    held_out: float = Field(0.05, gt=0, lt=0.5, description="share kept out of training if there is no test split")
    max_megapixels: float = Field(200, gt=0, description="a file whose header claims more is refused")

    @field_validator("image_size")
    @classmethod
    def _size(cls, value: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
        sides = () if value is None else (value,) if isinstance(value, int) else value
        if any(not 8 <= side <= 1024 for side in sides):
            raise ValueError("a side is between 8 and 1024 pixels")
        return value

    def of(self, source: str) -> Data:
        """The same of another source; `count` is of `emoji` alone."""
        return self.model_copy(update={"source": source, "count": self.count if source == "emoji" else None})


class Net(Section):
    """The network. A preset, or the kind, sets what is left out."""

    kind: Literal["unet", "plain", "latent"] = Field(
        "unet",
        description="plain: convolutions alone, for denoising pictures of any size; latent: diffusers' own networks "
        "(tasks autoencoder and text)",
    )
    latent: int = Field(8, ge=1, description="channels of the latents (task autoencoder)")
    encoder: str = Field(
        "",
        description="a model whose encoder is kept as it is while its decoder learns, so that what was learned on its "
        "latents stays true (task autoencoder)",
    )
    piece: int | None = Field(
        None, ge=16, description="side of the random pieces that an autoencoder learns from; left out: whole pictures"
    )
    gauge: bool = Field(False, description="also read the noise level from the picture (task denoise)")
    preset: PresetName = Field("small", description="tiny 1.4 M, small 4 M, medium 6 M, large 32 M, huge 54 M")
    channels: tuple[int, ...] | None = Field(None, description="channels of each level, top first")
    blocks: int | None = Field(None, ge=1, description="residual blocks a level")
    attention: tuple[bool, ...] | None = Field(None, description="self-attention at each level, top first")
    stem: Literal[1, 2, 4] | None = Field(None, description="space-to-depth factor of the first layer")
    dropout: float = Field(0.0, ge=0, lt=1)
    shortcut: bool = Field(False, description="add the input to the output, weighted by the level")
    places: bool = Field(False, description="tell every position where it lies: for drawings and aligned pictures")


class Noise(Section):
    """The schedule of levels, what the network predicts, and how levels weigh in the loss."""

    schedule: ScheduleName = "edm"
    prediction: PredictionName = "edm"
    weighting: WeightingName = "edm"
    timesteps: int = Field(1000, ge=2, description="T of the discrete schedules (linear, cosine, scaled-linear)")
    shift: float = Field(1.0, gt=0, description="above 1 the discrete schedules train more at high noise")
    mean: float = Field(-1.2, description="mean of ln sigma in training (edm)")
    std: float = Field(1.2, gt=0, description="standard deviation of ln sigma in training (edm)")
    sigma_min: float = Field(0.002, gt=0)
    sigma_max: float = Field(80.0, gt=0)
    sigma_data: float = Field(
        0.5,
        gt=0,
        description="standard deviation of the pictures in [-1, 1]; prediction residual: the noise below which the "
        "network is believed the less the less noise there is",
    )
    model: Literal["white", "photo"] = Field(
        "white",
        description="what the noise is (task denoise); photo: of cameras, JPEG, film and colour too, of any level, and "
        "colours exchanged, in place of schedule, mean and std",
    )
    clipped: float = Field(
        0.0, ge=0, le=1, description="share of noisy pictures clipped to [-1, 1], as files are (task denoise)"
    )
    grey: float = Field(
        0.0, ge=0, le=1, description="share of pictures made grey, with one noise for all colours (task denoise)"
    )

    @model_validator(mode="after")
    def _finite(self) -> Noise:
        if self.schedule in ("scaled-linear-zero", "flow") and self.prediction in (
            "epsilon",
            "x0-unscaled",
            "residual",
        ):
            raise ValueError(
                f"prediction {self.prediction} says nothing of pure noise, where schedule {self.schedule} begins: "
                "use prediction=v or flow, or schedule=linear"
            )
        if self.shift != 1 and self.schedule in ("edm", "flow"):
            raise ValueError(f"noise.shift is of the discrete schedules; {self.schedule} draws its levels otherwise")
        if self.sigma_min >= self.sigma_max:
            raise ValueError("sigma_min must be below sigma_max")
        return self


class Text(Section):
    """What a text-to-image model stands on (task text)."""

    autoencoder: str = Field("mini", description="a run of the task autoencoder, or a model that has one")
    words: int = Field(2560, ge=600, description="tokens of the vocabulary that is learned from the captions")
    length: int = Field(32, ge=8, le=77, description="tokens of a prompt, start and end among them")
    width: int = Field(192, ge=32, multiple_of=32, description="of the text encoder")
    layers: int = Field(3, ge=1, description="of the text encoder")


class Tune(Section):
    """A LoRA from a few photos (task tune)."""

    base: str = Field("mini", description="the model that learns: mini, sd15, sd2, a folder or a Hub id")
    noun: str = Field("", description="what the photos show, in a word that the base knows: car")
    trigger: str = Field("", description="the new thing's name; left out: a word that the base does not know")
    caption: str = Field(
        "",
        description="of a photo without NAME.txt beside it, as 'a {trigger} {noun}'; left out: that, and on mini what "
        "the photo shows",
    )
    rank: int = Field(16, ge=1)
    alpha: float = Field(16.0, gt=0, description="alpha / rank scales the change")
    dropout: float = Field(0.0, ge=0, lt=1)
    feed_forward: bool = Field(True, description="change the feed-forward layers too, not the attention alone")
    text_encoder: bool = Field(False, description="change the text encoder too")
    dora: bool = Field(False, description="learn magnitudes apart from directions (DoRA)")
    rank_stabilised: bool = Field(False, description="scale by alpha / sqrt(rank)")
    init: Literal["default", "gaussian", "pissa", "olora"] = Field("default", description="how the matrices begin")
    prior: float = Field(0.5, ge=0, description="weight of staying with the base where the trigger is not said")
    class_pictures: int = Field(
        0,
        ge=0,
        le=1000,
        description="drawn by the base and learned beside the photos, as DreamBooth does; 0: none needed",
    )
    checkpointing: bool | None = Field(
        None, description="compute activations twice to hold fewer; left out: if memory is short"
    )
    choose: bool = Field(True, description="keep the best step; false: the last one")
    variants: int = Field(8, ge=1, description="crops and flips of each photo, encoded once")

    @model_validator(mode="after")
    def _weighs(self) -> Tune:
        if self.class_pictures and not self.prior:
            raise ValueError("class_pictures need a weight: set prior above 0")
        return self


class Train(Section):
    """How long and how; progress counts in images seen."""

    images: int = Field(1_000_000, ge=1, description="length of the training, in images seen")
    begin: str = Field(
        "", description="a model or run whose weights, and for texts whose tokenizer, the training begins with"
    )
    batch: int = Field(64, ge=1, description="global batch: the same result however it is split")
    accumulate: int = Field(1, ge=1, description="pieces a process cuts its share of the batch into")
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw", description="muon: steps made orthogonal; learns more from a picture and takes longer over it"
    )
    lr: float = Field(1e-3, gt=0)
    warmup: int = Field(10_000, ge=0, description="images over which the learning rate rises")
    decay: Literal["none", "cosine"] = Field("cosine", description="of the learning rate, over train.images")
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    ema: tuple[float, ...] = Field(
        (0.05, 0.1),
        min_length=1,
        description="relative widths of the power-function EMAs; the first is sampled",
    )
    drop_condition: float = Field(0.1, ge=0, le=1, description="share of pictures trained without their condition")
    precision: Literal["auto", "fp32", "bf16", "fp16", "fp64"] = "auto"
    compile: bool | None = Field(None, description="torch.compile; left out: on a GPU")
    seed: int = Field(0, ge=0, lt=2**63)
    save_seconds: float = Field(300, gt=0, description="between checkpoints")
    save_images: int | None = Field(None, ge=1, description="also a checkpoint each so many images; these are kept")
    preview_seconds: float = Field(300, gt=0, description="between preview grids; the first comes within a minute")
    keep: int = Field(4, ge=0, description="spaced checkpoints kept beside the last two and the best")
    tracker: Literal["tensorboard", "wandb"] | None = None

    @field_validator("ema")
    @classmethod
    def _widths(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0.005 <= width <= 0.28 for width in value) or len(set(value)) != len(value):
            raise ValueError("relative widths are different numbers between 0.005 and 0.28")
        return value

    @model_validator(mode="after")
    def _divides(self) -> Train:
        if self.batch % self.accumulate:
            raise ValueError(f"batch={self.batch} is not divisible by accumulate={self.accumulate}")
        return self


class Sample(Section):
    """What `sfumato sample` does when it is told nothing else."""

    sampler: SamplerName = "dpm++2m"
    steps: int = Field(20, ge=1)
    guidance: float = 1.0
    rescale: float = Field(0.0, ge=0, le=1, description="brings the contrast back that strong guidance inflates")
    interval: tuple[float, float] | None = Field(None, description="sigmas between which guidance acts")
    eta: float = Field(0.0, ge=0, le=1, description="of ddim: fresh noise a step, 1 as ddpm")
    churn: float = Field(0.0, ge=0, description="of heun: noise added anew on the way (S_churn)")
    clip: bool = Field(True, description="keep D(x) within the pictures' range")

    @field_validator("interval")
    @classmethod
    def _rises(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] < value[1]:
            raise ValueError("an interval is two sigmas, the lower first")
        return value


class Judge(Section):
    features: FeatureName = "mini"
    n: int = Field(5000, ge=2, description="pictures drawn for the distances")
