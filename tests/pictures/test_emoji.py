"""The world of emoji: what is taught, what is kept out, what captions say, what is drawn where."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sfumato.errors import UserError
from sfumato.pictures.drawn.emoji import source, things
from sfumato.pictures.drawn.emoji.english import plural
from sfumato.pictures.drawn.emoji.read import Right, compare, read
from sfumato.pictures.drawn.emoji.scene import BACKGROUNDS, KINDS, PLACES, SIZES, Scene, judged_scene, nth
from sfumato.pictures.lookup import open_source
from sfumato.recipe.sections import Data

FONT = any((Path(folder).expanduser() / things.FONT).is_file() for folder in things.FOLDERS)
needs_font = pytest.mark.skipif(not FONT, reason="needs the font Noto Color Emoji (fonts-noto-color-emoji)")
SOME = [nth("train", index)[0] for index in range(20_000)]


def test_six_hundred_things_are_taught_and_twenty_four_kept() -> None:
    assert len(things.taught()) >= 600
    assert len(things.subjects()) == 24
    assert set(things.subjects()) < set(things.things())
    assert len(set(things.things().values())) == len(things.things())


def test_the_word_for_a_subject_is_one_that_is_taught() -> None:
    words = {word for name in things.taught() for word in name.split()}
    assert set(things.subjects().values()) - words <= {"plant", "vehicle"}


def test_no_subject_and_no_combination_that_is_held_out_is_drawn() -> None:
    assert not {name for scene in SOME for name in scene.things} & set(things.subjects())
    assert not any(scene.held_out for scene in SOME)
    assert {name for scene in SOME for name in scene.things} == set(things.taught())


def test_a_tenth_is_held_out_and_every_thing_is_seen_on_most_backgrounds() -> None:
    pairs = [(thing, paper) for thing in things.taught() for paper in BACKGROUNDS]
    kept = [Scene((thing,), paper).held_out for thing, paper in pairs]
    assert 0.08 < np.mean(kept) < 0.12
    left = Counter(thing for (thing, _), out in zip(pairs, kept, strict=True) if not out)
    assert min(left.values()) >= 5
    two = [Scene((a, b), "white") for a, b in zip(things.taught(), things.taught()[7:], strict=False)]
    assert all(Scene(scene.things[::-1], "white").held_out == scene.held_out for scene in two)


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        (Scene(("red apple",), "blue"), "a red apple on a blue background"),
        (Scene(("elephant",), "orange", "", "on the left"), "an elephant on an orange background, on the left"),
        (Scene(("owl",), "grey", "large"), "a large owl on a grey background"),
        (Scene(("cat face", "rocket"), "pink", "small"), "a small cat face next to a rocket on a pink background"),
        (Scene(("jeans",), "white", "small"), "small jeans on a white background"),
        (Scene(("cactus",), "white"), "a cactus on a white background"),
        (Scene(("penguin", "penguin"), "blue"), "two penguins on a blue background"),
        (Scene(("fox", "fox", "fox"), "orange"), "three foxes on an orange background"),
        (Scene(("cat", "owl", "jeans"), "white"), "a cat, an owl and jeans on a white background"),
    ],
)
def test_captions(scene: Scene, words: str) -> None:
    assert scene.caption() == words
    assert scene.caption(with_background=False) == words.replace(f" on a {scene.background} background", "").replace(
        f" on an {scene.background} background", ""
    )


@pytest.mark.parametrize(
    ("name", "several"),
    [
        ("box", "boxes"), ("cherry", "cherries"), ("key", "keys"), ("kitchen knife", "kitchen knives"),
        ("maple leaf", "maple leaves"), ("computer mouse", "computer mice"), ("mouse trap", "mouse traps"),
        ("tropical fish", "tropical fish"), ("sheep", "sheep"), ("goose", "geese"), ("cherries", "cherries"),
        ("jeans", "jeans"), ("t-rex", "t-rexes"), ("couch and lamp", "couches and lamps"), ("peach", "peaches"),
        ("skull and crossbones", "skulls and crossbones"), ("ear of corn", "ears of corn"), ("bus", "buses"),
        ("globe showing americas", "globes showing americas"), ("hourglass not done", "hourglasses not done"),
        ("house with garden", "houses with garden"), ("fork and knife", "forks and knives"), ("ox", "oxen"),
        ("potato", "potatoes"), ("taco", "tacos"), ("game die", "game dice"), ("wolf", "wolves"), ("tooth", "teeth"),
        ("snowman", "snowmen"), ("rescue worker's helmet", "rescue worker's helmets"), ("koala", "koalas"),
    ],
)  # fmt: skip
def test_plurals(name: str, several: str) -> None:
    assert plural(name) == several


def test_a_plural_in_a_caption_means_one_thing() -> None:
    captions = {scene.caption(): scene for scene in SOME if len(set(scene.things)) < len(scene.things)}
    assert all(captions[scene.caption()] == scene for scene in SOME if scene.caption() in captions)
    assert not {name for scene in captions.values() for name in scene.things} & {"eye", "eyes", "musical note"}


def test_numbers_sizes_and_places_occur_as_often_as_they_should() -> None:
    kinds = Counter((len(scene.things), len(set(scene.things))) for scene in SOME)
    shares = {kind: count / len(SOME) for kind, count in kinds.items()}
    expected = {(1, 1): 0.6, (2, 2): 0.256, (2, 1): 0.064, (3, 3): 0.0533, (3, 1): 0.0267}
    assert shares == pytest.approx(expected, abs=0.012)
    single = [scene for scene in SOME if len(scene.things) == 1]
    assert {scene.size for scene in single} == set(SIZES)
    assert {scene.place for scene in single} == set(PLACES)
    several = {
        kind: {scene.size for scene in SOME if kind == (len(scene.things), len(set(scene.things)))} for kind in kinds
    }
    assert several == {(1, 1): set(SIZES), (2, 2): {"", "small"}, (2, 1): {""}, (3, 3): {""}, (3, 1): {""}}
    assert not any(scene.place for scene in SOME if len(scene.things) > 1)


def test_no_two_of_three_are_held_out_and_a_thing_may_stand_beside_itself() -> None:
    names = things.taught()
    a, b = next((x, y) for x in names for y in names if x < y and Scene((x, y), "white").held_out
                and not Scene((x,), "white").held_out and not Scene((y,), "white").held_out)  # fmt: skip
    c = next(z for z in names if not any(Scene(two, "white").held_out for two in ((a, z), (b, z))))
    assert Scene((a, c, b), "white").held_out
    assert not Scene((a, a, c), "white").held_out
    assert not Scene((a, a), "white").held_out


@needs_font
@pytest.mark.parametrize("side", [64, 128])
def test_jitter_moves_all_together_by_whole_pixels(side: int) -> None:
    reach = side // 32
    for number in (1, 2, 3):
        scene = Scene(("cat", "dog", "rocket")[:number], "blue")
        still = scene.draw((side, side))
        moved = scene.draw((side, side), (0.999, -0.999))
        assert (moved != still).any()
        assert (moved == np.roll(still, (reach, -reach), (0, 1))).all()


@needs_font
@pytest.mark.parametrize("index", range(40))
def test_what_is_drawn_is_whole_and_on_its_background(index: int) -> None:
    scene, _, jitter = nth("train", index)
    picture = scene.draw((64, 64), jitter)
    assert (picture == source.draw("train", index)).all()
    rim = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert (rim == BACKGROUNDS[scene.background]).mean() > 0.8
    for _, (y, x), side in scene.places((64, 64), jitter):
        window = picture[round(y - side / 2) : round(y + side / 2), round(x - side / 2) : round(x + side / 2)]
        assert (window != np.array(BACKGROUNDS[scene.background])).any(2).mean() > 0.1


@needs_font
def test_every_thing_has_a_drawing() -> None:
    for name in things.things():
        drawn = things.glyph(name, 24)
        assert max(drawn.shape[:2]) == 24
        assert drawn[..., 3].mean() > 0.05


@needs_font
def test_it_is_a_source_like_any_other() -> None:
    found = open_source("emoji", Data(source="emoji", image_size=32))
    items = found.items("test")
    assert len(items) == source.TEST
    assert items[3].read().shape == (32, 32, 3)
    assert items[3].caption
    assert found.fingerprint() != open_source("emoji", Data(source="emoji")).fingerprint()


def test_a_missing_font_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(things, "FOLDERS", ())
    monkeypatch.setenv("SFUMATO_DATA", "")
    things.font.cache_clear()
    things.font_digest.cache_clear()
    try:
        with pytest.raises(UserError, match="apt install fonts-noto-color-emoji"):
            open_source("emoji", Data(source="emoji"))
    finally:
        things.font.cache_clear()


@needs_font
@pytest.mark.parametrize(
    ("kind", "side", "jitter"),
    [
        ("single", 64, (0.99, -0.99)), ("single", 128, (-0.99, 0.99)), ("held out", 64, (0.4, 0.0)),
        ("pairs", 64, (0.99, 0.99)), ("pairs", 128, (-0.5, 0.99)), ("many", 64, (-0.99, -0.99)),
        ("many", 128, (0.99, 0.99)), ("many", 96, (0.99, 0.99)), ("single", 48, (0.99, -0.99)),
    ],
)  # fmt: skip
def test_what_is_drawn_is_read_through_blur_and_noise(kind: str, side: int, jitter: tuple[float, float]) -> None:
    scenes = [judged_scene(kind, k) for k in range(12)]
    drawn = [torch.from_numpy(s.draw((side, side), jitter).transpose(2, 0, 1).copy()) for s in scenes]
    for number in {len(scene.things) for scene in scenes}:
        some = [k for k, scene in enumerate(scenes) if len(scene.things) == number]
        true = torch.stack([drawn[k] for k in some])
        blurred = F.avg_pool2d(true.float(), 3, 1, 1, count_include_pad=False)
        noise = 8 * torch.randn(true.shape, generator=torch.Generator().manual_seed(0))
        worse = (0.5 * blurred + 0.5 * true + noise).clamp(0, 255).to(torch.uint8)  # about 28 dB
        right = [compare(scenes[k], b) for k, b in zip(some, read(worse, number), strict=True)]
        assert all(each.things and each.background and each.size and each.place for each in right)


@needs_font
def test_reading_can_fail() -> None:
    scene = Scene(("duck",), "blue", "", "on the left")
    picture = torch.from_numpy(scene.draw().transpose(2, 0, 1).copy())[None]
    (seen,) = read(picture, 1)
    assert compare(Scene(("snail",), "blue", "", "on the left"), seen) == Right(False, True, True, True)
    assert compare(Scene(("duck",), "red", "large"), seen) == Right(True, False, False, False)


def test_what_looks_alike_counts() -> None:
    assert compare(Scene(("locked",), "red"), Scene(("unlocked",), "red")).things


def test_what_is_asked_for_is_of_its_kind() -> None:
    for k in range(200):
        single, out, pair, many = (judged_scene(kind, k) for kind in KINDS)
        assert len(single.things) == 1
        assert not single.held_out
        assert out.held_out
        assert pair.held_out
        assert len(set(pair.things)) == 2
        assert not any(Scene((thing,), pair.background).held_out for thing in pair.things)
        assert (len(many.things), len(set(many.things))) == ((2, 1), (3, 1), (3, 3))[k % 3]
        assert not many.held_out
