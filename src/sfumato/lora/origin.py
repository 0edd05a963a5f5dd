"""The base and version for which a LoRA was made, by its file; on another version of that base it is refused."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from sfumato.errors import UserError
from sfumato.files import Facts
from sfumato.lora.formats import CONFIG
from sfumato.lora.named import WEIGHTS
from sfumato.models.identity import Identity
from sfumato.models.latent import LatentModel

BASE, DIGEST, TRIGGER = "sfumato.base", "sfumato.base_digest", "modelspec.trigger_phrase"
NAMED = "ss_sd_model_name"  # the key of the base's name in kohya's files


@dataclass(frozen=True)
class Origin:
    """base: the name of the base that a LoRA was made for; digest: the base's version; trigger: the name of the learned
    thing; "" if unknown."""

    base: str = ""
    digest: str = ""
    trigger: str = ""

    @classmethod
    def of(cls, identity: Identity | None, base: str, trigger: str) -> Origin:
        """From a base's identity, else from the name by which the base was loaded."""
        return cls(identity.name, identity.digest, trigger) if identity else cls(base, "", trigger)

    def header(self) -> dict[str, str]:
        """Texts for the header of a LoRA's file."""
        version = {BASE: self.base, DIGEST: self.digest} if self.digest else {}
        return {**version, TRIGGER: self.trigger}


def origin(path: Path) -> Origin:
    """The origin by a LoRA's file or PEFT folder; empty if it cannot be read, which `formats.read` reports."""
    header: Mapping[str, str] = {}
    settings: object = {}
    found = [path] if not path.is_dir() else [*path.glob(WEIGHTS), *sorted(path.glob(f"*/{WEIGHTS}"))]
    for weights in found[:1]:
        with contextlib.suppress(OSError, SafetensorError, ValueError), safe_open(weights, "pt") as file:
            header = file.metadata() or {}
        with contextlib.suppress(OSError, ValueError):
            settings = json.loads(weights.with_name(CONFIG).read_text("utf-8")) if path.is_dir() else {}
    named = settings.get("base_model_name_or_path") if isinstance(settings, dict) else None
    base = header.get(BASE) or header.get(NAMED) or (named if isinstance(named, str) else "")
    return Origin(base, header.get(DIGEST, ""), header.get(TRIGGER, ""))


def check(model: LatentModel, made: Origin, where: str) -> None:
    """Raises UserError if a LoRA was made for another version of a base, or for another base that has a version.

    A base without an identity accepts any LoRA whose shapes fit. So does every base for LoRAs that neither have a
    version nor name this base, such as those of other programs.
    """
    here = model.identity
    if here is None or made.digest == here.digest or not (made.digest or made.base == here.name):
        return
    earlier = "an earlier " if made.base == here.name else ""
    version = f"digest {made.digest}" if made.digest else "it names no version"
    raise UserError(
        f"{where} was made for {earlier}{made.base} ({version}), and this is {here.name} ({here.digest}): "
        "tune again on this one"
    )


def same_base(model: LatentModel, begun: Facts | None, where: str) -> None:
    """Raises UserError if a tuning was begun on another version of a base. begun: its facts, None if there are none."""
    here = model.identity
    if begun is not None and begun.get("base") != (here and here.to_json()):
        this = f" ({here.digest})" if here else ""
        raise UserError(
            f"{where} holds a tuning of an earlier {model.name}: choose another --out to tune again on this one{this}"
        )
