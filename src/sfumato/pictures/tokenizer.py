"""A tokenizer in CLIP's format, with byte-pair merges learned from captions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sfumato.errors import UserError
from sfumato.pictures.split import RESERVED

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
LENGTH = 32  # tokens of a prompt, start and end included

Word = tuple[str, ...]
Pair = tuple[str, str]


def learn_tokenizer(captions: Iterable[str], size: int = 2048, length: int = LENGTH) -> CLIPTokenizer:
    """A tokenizer of at most `size` tokens in CLIP's order: bytes, bytes that end a word, merges, start, end.

    Each word of RESERVED is one token. The same captions give the same tokens. Raises UserError if `size` is too small.
    """
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    splitter = CLIPTokenizer().backend_tokenizer
    counts: Counter[str] = Counter()
    for caption, often in Counter(captions).items():
        for word, _ in splitter.pre_tokenizer.pre_tokenize_str(splitter.normalizer.normalize_str(caption)):
            counts[word] += often
    most = 1 + sum(counts.values())
    counts.update(dict.fromkeys(RESERVED, most))
    letters = sorted(ByteLevel.alphabet())
    alphabet = [*letters, *(letter + WORD_END for letter in letters)]
    merges = byte_pairs(counts, size - 2 - len(alphabet))
    tokens = dict.fromkeys([*alphabet, *("".join(pair) for pair in merges), START, END])
    made = CLIPTokenizer({token: k for k, token in enumerate(tokens)}, merges, model_max_length=length)
    for word in RESERVED:
        if len(made(word).input_ids) != 3:
            raise UserError(f"text.words={size} is too few: the reserved word {word!r} is not one token; give more")
    return made


def byte_pairs(counts: Counter[str], most: int) -> list[Pair]:
    """Up to `most` merges, each of the most frequent pair of symbols, while it occurs more than once (Sennrich et al.
    2016, algorithm 1); of equally frequent pairs the first in alphabetical order."""
    words: list[Word] = [(*word[:-1], word[-1] + WORD_END) for word in sorted(counts)]
    often = [counts[word] for word in sorted(counts)]
    pairs: Counter[Pair] = Counter()
    where: dict[Pair, set[int]] = defaultdict(set)

    def count(k: int, sign: int) -> None:
        for pair in zip(words[k], words[k][1:], strict=False):
            pairs[pair] += sign * often[k]
            where[pair].add(k)

    for k in range(len(words)):
        count(k, 1)
    merges: list[Pair] = []
    while len(merges) < most and pairs:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < 2:
            break
        merges.append(best)
        for k in where.pop(best):
            count(k, -1)
            words[k] = _merged(words[k], best)
            count(k, 1)
        del pairs[best]
    return merges


def _merged(word: Word, pair: Pair) -> Word:
    """A word with every occurrence of a pair merged into one symbol."""
    done: list[str] = []
    for symbol in word:
        if done and (done[-1], symbol) == pair:
            done[-1] += symbol
        else:
            done.append(symbol)
    return tuple(done)
