"""The base class of a recipe's sections, and the types of their named values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)
from pydantic_core import core_schema

from sfumato import registry


@dataclass(frozen=True)
class Named:
    """Marks a text as a name in the registry, or as `package.module:Name`."""

    kind: registry.Kind


def _is_named(kind: registry.Kind) -> AfterValidator:
    return AfterValidator(lambda name: registry.check(kind, name))


PredictionName = Literal["epsilon", "x0", "x0-unscaled", "residual", "v", "edm", "flow"]
WeightingName = Literal["uniform", "min-snr-5", "root-snr", "psnr", "edm"]
ScheduleName = Annotated[str, Named("schedule"), _is_named("schedule")]
SamplerName = Annotated[str, Named("sampler"), _is_named("sampler")]
NetworkName = Annotated[str, Named("network"), _is_named("network")]
TaskName = Annotated[str, Named("task"), _is_named("task")]
MetricName = Annotated[str, Named("metric"), _is_named("metric")]
FeatureName = Annotated[str, Named("features"), _is_named("features")]
PresetName = Literal["tiny", "small", "medium", "large", "huge"]
Plain = str | int | float | bool | None
Value = Plain | tuple[Plain, ...]


class Options(Mapping[str, Value]):
    """Arguments by name that have no key of their own: plain values, and lists of them as tuples. Immutable."""

    def __init__(self, values: Mapping[str, Plain | Sequence[Plain]] | None = None) -> None:
        given = (values or {}).items()
        self._values: dict[str, Value] = {k: v if isinstance(v, Plain) else tuple(v) for k, v in given}

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return repr(self._values)

    def plain(self) -> dict[str, Plain | list[Plain]]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in self._values.items()}

    @classmethod
    def __get_pydantic_core_schema__(cls, _: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls,
            handler.generate_schema(dict[str, Plain | list[Plain]]),
            serialization=core_schema.plain_serializer_function_ser_schema(cls.plain),
        )


class Section(BaseModel):
    """A section: its values are checked when it is created, and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _fits(cls, value: object) -> object:
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int) and abs(number) >= 2**63:
                raise ValueError("a whole number has at most 63 bits")
        return value

    @model_serializer(mode="wrap")
    def _without_empty_options(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        values: dict[str, object] = write(self)
        if values.get("options") == {}:
            del values["options"]
        return values
