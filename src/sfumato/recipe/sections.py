"""The sections of a recipe: every value with its default and its meaning."""

from __future__ import annotations

from sfumato.recipe.learning import Judge, Sample, Train, Tune
from sfumato.recipe.section import (
    FeatureName,
    Named,
    NetworkName,
    Options,
    PredictionName,
    PresetName,
    SamplerName,
    ScheduleName,
    Section,
    TaskName,
    WeightingName,
)
from sfumato.recipe.subject import Data, Net, Noise, Text

__all__ = [
    "Data",
    "FeatureName",
    "Judge",
    "Named",
    "Net",
    "NetworkName",
    "Noise",
    "Options",
    "PredictionName",
    "PresetName",
    "Sample",
    "SamplerName",
    "ScheduleName",
    "Section",
    "TaskName",
    "Text",
    "Train",
    "Tune",
    "WeightingName",
]
