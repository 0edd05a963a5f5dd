"""What every section of a recipe is, and the names that its values choose from."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator

ScheduleName = Literal["linear", "cosine", "scaled-linear", "scaled-linear-zero", "edm", "flow"]
PredictionName = Literal["epsilon", "x0", "x0-unscaled", "residual", "v", "edm", "flow"]
WeightingName = Literal["uniform", "min-snr-5", "root-snr", "psnr", "edm"]
SamplerName = Literal["ddpm", "ddim", "euler", "heun", "dpm++2m", "dpm++2m-sde"]
FeatureName = Literal["mini", "inception", "dinov2", "clip"]
PresetName = Literal["tiny", "small", "medium", "large", "huge"]


class Section(BaseModel):
    """Values that are checked when they are set and never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _fits(cls, value: object) -> object:
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int) and abs(number) >= 2**63:
                raise ValueError("a whole number has at most 63 bits")
        return value
