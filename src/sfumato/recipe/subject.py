"""The sections of the data, the network, the noise, and a text-to-image model's parts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from sfumato import registry
from sfumato.recipe.section import (
    NetworkName,
    Options,
    PredictionName,
    PresetName,
    ScheduleName,
    Section,
    WeightingName,
)


class Data(Section):
    """The pictures, and how they are cropped and scaled to one size."""

    source: str = Field(
        "",
        description=f"a folder of pictures, {', '.join(registry.names('source'))}, a data set of the Hub by its id, or "
        "a source of your own as package.module:Name",
    )
    options: Options = Field(Options(), description="arguments of a source of your own, by name")
    count: int | None = Field(
        None,
        ge=100,
        description="number of emoji scenes, each drawn when needed; left out: 60,000 pictures, drawn once and kept",
    )
    captions: int = Field(4, ge=1, description="captions for each of the data.count scenes")
    image_size: int | tuple[int, int] | None = Field(
        None,
        description="side in pixels, or [height, width], each 8 to 1024; left out: the size that all pictures have",
    )
    grey: bool | None = Field(
        None, description="one channel in place of three; left out: true if every picture is grey"
    )
    labels: tuple[str, ...] | None = Field(None, description="use only pictures with these labels; left out: all")
    condition: Literal["none", "class", "words"] = Field(
        "none", description="the condition of the model: none, the label (class), or the caption (words)"
    )
    crop: Literal["center", "tiles", "pieces"] = Field(
        "center",
        description="center: the central square of a picture; tiles: several overlapping squares; pieces: squares that "
        "cover the unscaled picture",
    )
    split: Literal["source", "random"] = Field(
        "source",
        description="which pictures are held out; source: the source's own test split, if any; random: a share of all",
    )
    flip: bool = Field(True, description="mirror half of the pictures left to right, at random")
    held_out: float = Field(
        0.05, gt=0, lt=0.5, description="share of the pictures that are held out, if no test split is used"
    )
    max_megapixels: float = Field(
        200, gt=0, description="largest size of a picture file, in millions of pixels; larger ones are refused"
    )

    @field_validator("image_size")
    @classmethod
    def _size(cls, value: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
        sides = () if value is None else (value,) if isinstance(value, int) else value
        if any(not 8 <= side <= 1024 for side in sides):
            raise ValueError("a side must be 8 to 1024 pixels")
        return value

    def of(self, source: str | Path) -> Data:
        """The same section for another source, without `options`, and without `count` unless it is `emoji`."""
        source = str(source)
        options = self.options if source == self.source else {}
        count = self.count if source == "emoji" else None
        return self.model_copy(update={"source": source, "count": count, "options": options})


class Net(Section):
    """The network. Values that are left out come from net.preset or net.kind."""

    kind: NetworkName = Field(
        "unet",
        description="unet: with attention, for pictures of one size; plain: only convolutions, for denoising pictures "
        "of any size; latent: diffusers' own networks (tasks autoencoder and text)",
    )
    latent: int = Field(8, ge=1, description="channels of the latents (task autoencoder)")
    encoder: str = Field(
        "",
        description="a model whose encoder is kept unchanged while only a decoder is trained, so that models on its "
        "latents stay valid (task autoencoder); empty: both are trained",
    )
    piece: int | None = Field(
        None,
        ge=16,
        description="side in pixels of the random crops that an autoencoder is trained on; left out: whole pictures",
    )
    gauge: bool = Field(False, description="also learn to estimate the noise level from the picture (task denoise)")
    preset: PresetName = Field(
        "small", description="size of a unet in parameters: tiny 1.4 M, small 4 M, medium 6 M, large 32 M, huge 54 M"
    )
    channels: tuple[int, ...] | None = Field(
        None, description="channels at each resolution, highest first, multiples of 8; left out: the preset's"
    )
    blocks: int | None = Field(None, ge=1, description="residual blocks at each resolution; left out: the preset's")
    attention: tuple[bool, ...] | None = Field(
        None,
        description="self-attention at each resolution, highest first, as many as channels; left out: the preset's",
    )
    stem: Literal[1, 2, 4] | None = Field(
        None,
        description="side in pixels of the squares that the first layer turns into channels; left out: the preset's",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of activations set to 0 in training; helps if there are few pictures"
    )
    shortcut: bool = Field(
        False, description="add the input, weighted by the noise level, to the output: for networks with narrow layers"
    )
    places: bool = Field(
        False, description="add each pixel's coordinates to the input: for drawings and aligned pictures"
    )
    options: Options = Field(Options(), description="arguments of a network of your own, by name")

    @field_validator("channels")
    @classmethod
    def _some(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if any(each < 1 for each in value or ()):
            raise ValueError("channels are 1 or more at each resolution")
        return value


class Noise(Section):
    """The schedule of noise levels, what the network predicts, and how levels are weighted in the loss."""

    schedule: ScheduleName = Field(
        "edm",
        description="the noise levels of training and sampling; linear: DDPM's; scaled-linear: Stable Diffusion's; "
        "scaled-linear-zero: the same, ending in pure noise; edm: ln sigma normally distributed; flow: straight paths",
    )
    prediction: PredictionName = Field(
        "edm",
        description="the meaning of the network's output; epsilon: the noise; x0: the clean picture; x0-unscaled: the "
        "same, with unscaled input; residual: clean minus noisy picture; v: alpha n - sigma x0; flow: n - x0; edm: a "
        "mixture of clean picture and noise that depends on the level",
    )
    options: Options = Field(Options(), description="further arguments of the schedule, by name")
    weighting: WeightingName = Field(
        "edm",
        description="weight of each noise level in the loss; uniform: 1 on the network's output, as in DDPM; "
        "min-snr-5: min(SNR, 5) on the clean picture; root-snr: alpha / sigma on it; psnr: relative errors on photos "
        "count equally at all levels; edm: as in EDM",
    )
    timesteps: int = Field(
        1000, ge=2, description="number T of levels of the discrete schedules (linear, cosine, scaled-linear)"
    )
    shift: float = Field(
        1.0,
        gt=0,
        description="shift of a discrete schedule; above 1 it trains more at high noise, below 1 more at low noise",
    )
    mean: float = Field(-1.2, description="mean of ln sigma in training (schedule edm)")
    std: float = Field(1.2, gt=0, description="standard deviation of ln sigma in training (schedule edm)")
    sigma_min: float = Field(0.002, gt=0, description="sigma at which sampling ends, for pictures in [-1, 1] (edm)")
    sigma_max: float = Field(80.0, gt=0, description="sigma at which sampling begins, for pictures in [-1, 1] (edm)")
    sigma_data: float = Field(
        0.5,
        gt=0,
        description="standard deviation of the pictures in [-1, 1]; with prediction residual: the sigma below which "
        "the network's output is scaled down with the noise",
    )
    model: Literal["white", "photo"] = Field(
        "white",
        description="white: white Gaussian noise; photo: also noise of cameras, JPEG, film and colour, at any level, "
        "on pictures with exchanged colours; it replaces schedule, mean and std (task denoise)",
    )
    clipped: float = Field(
        0.0, ge=0, le=1, description="share of noisy pictures clipped to [-1, 1], as in files (task denoise)"
    )
    grey: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of pictures converted to grey, with the same noise in all channels (task denoise)",
    )

    @model_validator(mode="after")
    def _finite(self) -> Noise:
        if self.schedule in ("scaled-linear-zero", "flow") and self.prediction in (
            "epsilon",
            "x0-unscaled",
            "residual",
        ):
            raise ValueError(
                f"prediction {self.prediction} cannot start from pure noise, as schedule {self.schedule} does: "
                "use prediction=v or flow, or schedule=linear"
            )
        if self.shift != 1 and self.schedule in ("edm", "flow"):
            raise ValueError(f"noise.shift is of the discrete schedules; {self.schedule} draws its levels otherwise")
        if self.sigma_min >= self.sigma_max:
            raise ValueError("sigma_min must be below sigma_max")
        return self


class Text(Section):
    """The autoencoder, vocabulary and text encoder of a text-to-image model (task text)."""

    autoencoder: str = Field("mini", description="a run of the task autoencoder, or a model that has an autoencoder")
    words: int = Field(2560, ge=600, description="size of the vocabulary that is learned from the captions, in tokens")
    length: int = Field(32, ge=8, le=77, description="length of a prompt in tokens, start and end included")
    width: int = Field(192, ge=32, multiple_of=32, description="channels of the text encoder")
    layers: int = Field(3, ge=1, description="transformer layers of the text encoder")
