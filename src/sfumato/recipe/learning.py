"""The sections of tuning, training, sampling and judging."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from sfumato.recipe.section import FeatureName, MetricName, Options, SamplerName, Section


class Tune(Section):
    """A LoRA from a few photos (task tune)."""

    base: str = Field(
        "mini",
        description="the text-to-image model to adapt: mini, a short name such as sd15, a folder, a file or a Hub id",
    )
    noun: str = Field("", description="the kind of thing in the photos, in a word that the base knows, such as car")
    trigger: str = Field("", description="name of the thing in prompts; empty: an unused word of the base's vocabulary")
    caption: str = Field(
        "",
        description="caption of a photo without NAME.txt beside it; empty: 'a {trigger} {noun}', and on mini also "
        "background, size and place",
    )
    rank: int = Field(16, ge=1, description="rank of the matrices; higher learns more detail, and makes a larger file")
    alpha: float = Field(16.0, gt=0, description="the LoRA's change of the weights is multiplied by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the LoRA's inputs set to 0 in training")
    feed_forward: bool = Field(True, description="adapt the feed-forward layers too, not only attention")
    text_encoder: bool = Field(False, description="adapt the text encoder too")
    dora: bool = Field(False, description="learn the weights' magnitudes and directions separately (DoRA)")
    rank_stabilised: bool = Field(False, description="multiply by alpha / sqrt(rank) instead of alpha / rank")
    init: Literal["default", "gaussian", "pissa", "olora"] = Field(
        "default", description="initial values of the matrices; default: the first random, the second zero"
    )
    prior: float = Field(
        0.5,
        ge=0,
        description="weight of the prior, which keeps the output for prompts without the trigger close to the base's; "
        "0: off",
    )
    class_pictures: int = Field(
        0,
        ge=0,
        le=1000,
        description="pictures of the noun that the base draws, trained on beside the photos as in DreamBooth; 0: none",
    )
    checkpointing: bool | None = Field(
        None, description="activation checkpointing: less memory, more computation; left out: only if memory is short"
    )
    choose: bool = Field(True, description="keep the best step by likeness, fidelity and drift; false: the last step")
    variants: int = Field(8, ge=1, description="crops and flips of each photo, encoded once at the start")

    @model_validator(mode="after")
    def _weighs(self) -> Tune:
        if self.class_pictures and not self.prior:
            raise ValueError("class_pictures need a weight in the loss: set prior above 0")
        return self


class Train(Section):
    """Length and settings of the training. It counts images seen: pictures trained on, repeats included."""

    images: int = Field(1_000_000, ge=1, description="length of the training, in images seen")
    epochs: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="length of the training, in passes over the training pictures; train.images is computed from it; "
        "left out: train.images is the length",
    )
    begin: str = Field(
        "",
        description="a model or run from whose weights the training starts, with task text also from its tokenizer; "
        "empty: random weights",
    )
    batch: int = Field(64, ge=1, description="images of one optimiser step, over all processes together")
    accumulate: int = Field(
        1, ge=1, description="pieces in which each process computes its share of the batch, to fit into memory"
    )
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw",
        description="muon: makes each change of a matrix orthogonal; learns more per image, takes longer per image",
    )
    lr: float = Field(1e-3, gt=0, description="learning rate after the warm-up")
    warmup: int = Field(10_000, ge=0, description="images seen while the learning rate rises from 0")
    decay: Literal["none", "cosine"] = Field(
        "cosine", description="after the warm-up the learning rate stays, or falls to 0 at train.images"
    )
    betas: tuple[float, float] = Field(
        (0.9, 0.99), description="decay rates of the optimiser's two averages, each 0 to 1"
    )
    weight_decay: float = Field(0.0, ge=0, description="weight decay: a step multiplies the weights by 1 - lr * this")
    clip: float = Field(1.0, gt=0, description="largest gradient norm; a longer gradient is scaled down to it")
    ema: tuple[float, ...] = Field(
        (0.05, 0.1),
        min_length=1,
        description="widths of the EMAs of the weights, relative to the training's length, different numbers 0.005 to "
        "0.28; the first EMA is the model",
    )
    drop_condition: float = Field(
        0.1,
        ge=0,
        le=1,
        description="condition dropout: share of pictures trained without their condition, which guidance needs",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16", "fp64"] = Field(
        "auto",
        description="number format of the arithmetic; auto: bf16 or fp16 where the device is fast in it, else fp32",
    )
    compile: bool | None = Field(None, description="use torch.compile; left out: only on a GPU")
    seed: int = Field(
        0, ge=0, lt=2**63, description="seed of the initial weights, the order of the pictures and all noise"
    )
    save_seconds: float = Field(300, gt=0, description="seconds of training between checkpoints")
    save_images: int | None = Field(
        None, ge=1, description="images seen between further checkpoints, which are all kept; left out: none"
    )
    preview_seconds: float = Field(
        300, gt=0, description="seconds of training between preview grids; the first comes within a minute"
    )
    keep: int = Field(4, ge=0, description="evenly spaced checkpoints kept beside the last two and the best")
    tracker: Literal["tensorboard", "wandb"] | None = Field(None, description="also send the log to this tracker")

    @field_validator("betas")
    @classmethod
    def _rates(cls, value: tuple[float, float]) -> tuple[float, float]:
        if any(not 0 <= rate < 1 for rate in value):
            raise ValueError("each decay rate is 0 or more and below 1")
        return value

    @field_validator("ema")
    @classmethod
    def _widths(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0.005 <= width <= 0.28 for width in value) or len(set(value)) != len(value):
            raise ValueError("the widths must be different numbers from 0.005 to 0.28")
        return value

    @model_validator(mode="after")
    def _divides(self) -> Train:
        if self.batch % self.accumulate:
            raise ValueError(f"batch={self.batch} is not divisible by accumulate={self.accumulate}")
        return self

    @model_validator(mode="after")
    def _has_one_length(self) -> Train:
        if self.epochs is not None and "images" in self.model_fields_set:
            raise ValueError("images and epochs are both set: keep one of them")
        return self

    @model_serializer(mode="wrap")
    def _with_one_length(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        values: dict[str, object] = write(self)
        values.pop("epochs" if self.epochs is None else "images", None)
        return values


class Sample(Section):
    """Defaults of `sfumato sample`, also used by previews and judging."""

    sampler: SamplerName = Field("dpm++2m", description="the sampler; ddpm needs many steps")
    steps: int = Field(20, ge=1, description="number of steps of the sampler from pure noise to the picture")
    guidance: float = Field(
        1.0, description="scale of classifier-free guidance; 1: none; higher follows the condition more closely"
    )
    rescale: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share by which the contrast, which strong guidance increases, is reduced again; 0: not at all",
    )
    interval: tuple[float, float] | None = Field(
        None, description="guidance acts only between these two sigmas, the lower first; left out: everywhere"
    )
    eta: float = Field(0.0, ge=0, le=1, description="fresh noise at each step of sampler ddim; 1: as ddpm")
    churn: float = Field(0.0, ge=0, description="noise that sampler heun adds at each step (S_churn)")
    clip: bool = Field(True, description="keep the denoiser's output within the pictures' range")
    options: Options = Field(Options(), description="further arguments of the sampler, by name")

    @field_validator("interval")
    @classmethod
    def _rises(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] < value[1]:
            raise ValueError("give two sigmas, the lower first")
        return value


class Judge(Section):
    """Defaults of `sfumato judge`."""

    features: FeatureName = Field(
        "mini", description="the network whose features the distances are measured on; mini needs no download"
    )
    n: int = Field(5000, ge=2, description="pictures drawn for the distances")
    metrics: tuple[MetricName, ...] = Field(
        (), description="further metrics; coverage: the share of training pictures with a sample near them"
    )
