from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.pictures.feed import Feed
from sfumato.pictures.vocabulary import Vocabulary


@dataclass
class Few:
    """Pictures whose pixels say which they are."""

    pixels: torch.Tensor

    def texts(self, kind: str) -> list[str]:
        return [f"word{row % 3}" if kind != "none" else "" for row in range(len(self.pixels))]


NONE = Vocabulary("none", [], 0)


def few(count: int) -> Few:
    pixels = torch.zeros(count, 3, 8, 8, dtype=torch.uint8)
    pixels[:, 0] = torch.arange(count, dtype=torch.uint8)[:, None, None]
    pixels[:, 1, :, 0] = 255  # the left edge
    return Few(pixels)


def draw(feed: Feed, images: int, batch: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    return feed.draw(images, batch, torch.Generator().manual_seed(seed))


@settings(max_examples=60)
@given(st.integers(1, 23), st.integers(1, 60), st.integers(0, 200), st.integers(0, 3))
def test_which_pictures_is_a_pure_function_of_seed_and_images(count: int, batch: int, images: int, seed: int) -> None:
    whole = Feed(few(count), NONE, False, seed).order.indices(0, 300)
    fresh = Feed(few(count), NONE, False, seed)
    assert torch.equal(fresh.order.indices(images, batch), whole[images : images + batch])
    for epoch in range(300 // count):
        assert sorted(whole[epoch * count : (epoch + 1) * count].tolist()) == list(range(count))


def test_a_resumed_feed_draws_what_an_uninterrupted_one_draws() -> None:
    vocabulary = Vocabulary.build("class", ["word0", "word1", "word2"])
    one, images = Feed(few(50), vocabulary, True, 7), 0
    seen = []
    for step in range(12):
        seen.append(draw(one, images, 16, step))
        images += 16
    for step in (11, 3, 4):
        pictures, tokens = draw(Feed(few(50), vocabulary, True, 7), step * 16, 16, step)
        assert torch.equal(pictures, seen[step][0])
        assert torch.equal(tokens, seen[step][1])


def test_epochs_and_seeds_differ() -> None:
    order = Feed(few(200), NONE, False, 0).order.indices(0, 400)
    assert not torch.equal(order[:200], order[200:])
    assert not torch.equal(order[:200], Feed(few(200), NONE, False, 1).order.indices(0, 200))


def test_values_layout_and_conditions() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(4, 1, 8, 8)
    feed = Feed(Few(pixels), Vocabulary.build("words", None, ["word0 word1", "word2"]), False, 0)
    pictures, tokens = draw(feed, 0, 4)
    order = feed.order.indices(0, 4)
    assert pictures.dtype == torch.float32
    assert torch.equal(((pictures + 1) * 127.5).round().to(torch.uint8), pixels[order])
    assert (pictures.min(), pictures.max()) == (-1, 1)
    assert torch.equal(tokens[:, 0], order % 3 + 1)
    assert tokens[:, 1].sum() == 0
    pictures, tokens = draw(Feed(few(9), NONE, True, 0), 0, 5)
    assert pictures.is_contiguous(memory_format=torch.channels_last)
    assert tokens.shape == (5, 0)


def test_flips_come_from_the_generator_and_mirror_whole_pictures() -> None:
    feed = Feed(few(64), NONE, True, 0)
    pictures, _ = draw(feed, 0, 64, 1)
    left = pictures[:, 1, :, 0] == 1
    right = pictures[:, 1, :, -1] == 1
    assert (left.all(1) ^ right.all(1)).all()
    assert 16 < right.all(1).sum() < 48
    coins = torch.rand(64, generator=torch.Generator().manual_seed(1)) < 0.5
    assert torch.equal(right.all(1), coins)
    assert torch.equal(pictures[:, 0], draw(feed, 0, 64, 2)[0][:, 0])  # which pictures does not depend on it
    unflipped, _ = draw(Feed(few(64), NONE, False, 0), 0, 64, 1)
    assert (unflipped[:, 1, :, 0] == 1).all()


def test_a_batch_is_cheap() -> None:
    pixels = torch.randint(0, 256, (20_000, 3, 32, 32), dtype=torch.uint8)
    feed = Feed(Few(pixels), NONE, True, 0)
    generator, times = torch.Generator(), []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for step in range(200):
            start = time.perf_counter()
            feed.draw(step * 64, 64, generator)
            times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    assert sorted(times)[50] < 3e-3  # about 0.8 ms on an idle core


def test_what_the_vocabulary_lacks_is_not_told() -> None:
    feed = Feed(few(3), Vocabulary("class", ["word0", "word2"], 1), False, 0)
    _, tokens = feed.draw(0, 3, torch.Generator())
    assert sorted(tokens.flatten().tolist()) == [0, 1, 2]
