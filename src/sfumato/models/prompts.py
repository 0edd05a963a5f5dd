"""Prompts as tokens, and the end of a prompt that exceeds the tokenizer's length."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sfumato.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import CLIPTokenizer

LONGEST = 5_000  # characters of a prompt
AT_ONCE = 100_000  # prompts: the tokenizer's output needs much memory


def tokens(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> Tensor:
    """Prompts as tokens, int64 (N, L), padded or cut to the tokenizer's length L. Raises UserError, see `LONGEST`."""
    for prompt in prompts:
        _bearable(prompt)
    length = tokenizer.model_max_length
    with _cut_and_padded(tokenizer) as backend:  # which uses all cores
        parts = [
            np.array([each.ids for each in backend.encode_batch(list(prompts[first : first + AT_ONCE]))], np.int64)
            for first in range(0, len(prompts), AT_ONCE)
        ]
    return torch.from_numpy(np.concatenate(parts)) if parts else torch.empty(0, length, dtype=torch.int64)


@contextlib.contextmanager
def _cut_and_padded(tokenizer: CLIPTokenizer) -> Iterator[Tokenizer]:
    """The tokenizer's backend, which cuts and pads in the block. Then its settings, part of exports, are restored."""
    backend: Tokenizer = tokenizer.backend_tokenizer
    truncation, padding = backend.truncation, backend.padding
    length = tokenizer.model_max_length
    backend.enable_truncation(length)
    backend.enable_padding(length=length, pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
    try:
        yield backend
    finally:
        if truncation is None:
            backend.no_truncation()
        else:
            backend.enable_truncation(**truncation)
        if padding is None:
            backend.no_padding()
        else:
            backend.enable_padding(**padding)


def cut(tokenizer: CLIPTokenizer, prompt: str) -> str:
    """The end of a prompt that exceeds the tokenizer's length; "" if the prompt fits. Raises UserError, as `tokens`."""
    _bearable(prompt)
    ids = tokenizer(prompt, add_special_tokens=False).input_ids
    rest: str = tokenizer.decode(ids[tokenizer.model_max_length - 2 :])
    return rest.strip()


def _bearable(prompt: str) -> None:
    if len(prompt) > LONGEST:
        raise UserError(f"the prompt that starts {prompt[:40]!r} has {len(prompt):,} characters: shorten it")
