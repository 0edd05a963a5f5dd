"""The factor of a LoRA's product by its settings."""

from __future__ import annotations

import math
import re

from sfumato.errors import UserError
from sfumato.files import Facts

PLAIN = re.compile(r"\^?[\w.-]+")  # a module's name or the end of one; with ^ the whole name


def scaled(alpha: float, rank: int, rank_stabilised: bool) -> float:
    """The factor of a LoRA's product (Hu et al. 2021, section 4.1; Kalajdzievski 2023, eq. 3)."""
    return alpha / (math.sqrt(rank) if rank_stabilised else rank)


def by_settings(settings: Facts, name: str, rank: int, where: str, prefix: str = "") -> float:
    """The factor for a module by PEFT's settings, with its `rank_pattern` and `alpha_pattern`.

    rank: of the matrices; prefix: of the keys of the settings. Without `lora_alpha`, alpha is the rank. Raises
    UserError if a pattern is no plain name, or says another rank than the matrices have.
    """
    r = pattern(settings.get(f"{prefix}rank_pattern"), name, settings.get(f"{prefix}r"), where)
    alpha = pattern(settings.get(f"{prefix}alpha_pattern"), name, settings.get(f"{prefix}lora_alpha"), where)
    if r is not None and r != rank:
        raise UserError(
            f"{where} says rank {r:g} for {name}, whose matrices have {rank}: the two do not belong together"
        )
    return scaled(rank if alpha is None else alpha, rank, bool(settings.get(f"{prefix}use_rslora")))


def pattern(patterns: object, name: str, usual: object, where: str) -> float | None:
    """The number for a module: of the first of PEFT's patterns that is the name or, after a dot, its end; else `usual`.

    PEFT runs patterns as regular expressions. They come from strangers, so only plain names are taken here, which mean
    the same there; `^` before one means the whole name. Raises UserError on any other, ValueError if it is no number.
    """
    found = usual
    if patterns is not None and not isinstance(patterns, dict):
        raise ValueError("patterns are no object of JSON")
    for end, value in reversed(patterns.items() if isinstance(patterns, dict) else ()):
        if not PLAIN.fullmatch(end):
            raise UserError(
                f"{where} has the pattern {end[:60]!r}: only plain names of layers are read, as to_q or attn1.to_k"
            )
        whole = name == end.removeprefix("^")
        if whole or (not end.startswith("^") and name.endswith(f".{end}")):
            found = value
    if found is not None and not isinstance(found, (int, float)):
        raise ValueError(f"{found!r} is no number")
    return found
