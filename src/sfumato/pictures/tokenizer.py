"""A tokenizer in CLIP's format, its byte-pair merges learned from captions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sfumato.errors import UserError

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
LENGTH = 32  # tokens of a prompt, start and end among them
RESERVED = (
    *("zarnu", "vilko", "quopa", "dremu", "fyxo", "glapi", "hurbo", "jasku", "kelvo", "lozu", "mipta", "nuvek"),
    *("oxilu", "pravu", "sofni", "tarbu", "ulmox", "vexo", "wiblo", "xanu", "yorpa", "zilba", "brenu", "cluvo"),
    *("dasko", "enkor", "fupri", "gorvi", "holpu", "irzak", "jeluo", "kwimo"),
)
"""Words that mean nothing and are one token each: no training sees them, so that one can become a new thing's name."""


def learn_tokenizer(captions: Iterable[str], size: int = 2048, length: int = LENGTH) -> CLIPTokenizer:
    """A tokenizer of `size` tokens in CLIP's order: bytes, bytes that end a word, merges, start, end.

    RESERVED are single tokens. Raises UserError if `size` is too small for them.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer
    from transformers import CLIPTokenizer

    like = CLIPTokenizer().backend_tokenizer
    learner = Tokenizer(BPE(end_of_word_suffix=WORD_END))
    learner.normalizer, learner.pre_tokenizer = like.normalizer, like.pre_tokenizer
    letters = sorted(ByteLevel.alphabet())
    told = list(captions)
    often = 1 + len(told)
    trainer = BpeTrainer(
        vocab_size=size - 2, initial_alphabet=letters, end_of_word_suffix=WORD_END, min_frequency=2, show_progress=False
    )
    learner.train_from_iterator([*told, *(f"{word} " * often for word in RESERVED)], trainer)
    merges = [tuple(pair) for pair in _merges(learner)]
    tokens = [*letters, *(letter + WORD_END for letter in letters), *dict.fromkeys("".join(pair) for pair in merges)]
    tokens = [*dict.fromkeys(tokens)][: size - 2]
    kept = set(tokens)
    vocabulary = {token: number for number, token in enumerate([*tokens, START, END])}
    made = CLIPTokenizer(vocabulary, [pair for pair in merges if "".join(pair) in kept], model_max_length=length)
    for word in RESERVED:
        if len(made(word).input_ids) != 3:
            raise UserError(f"a vocabulary of {size} tokens is too small: the word {word!r} falls apart")
    return made


def _merges(learner: object) -> list[list[str]]:
    import json

    found: list[list[str]] = json.loads(learner.to_str())["model"]["merges"]  # type: ignore[attr-defined]
    return found
