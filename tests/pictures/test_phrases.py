"""Captions as people write them: words for all things, true sentences, right grammar, the rates that are promised."""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import Any

import pytest

from sfumato.pictures.drawn.emoji import english, phrases, typos, words
from sfumato.pictures.drawn.emoji.forms import forms
from sfumato.pictures.drawn.emoji.known import known
from sfumato.pictures.drawn.emoji.phrases import sentence
from sfumato.pictures.drawn.emoji.scene import PLACES, SIZES, Scene, nth
from sfumato.pictures.drawn.emoji.things import subjects, taught, things
from sfumato.pictures.split import split

SCENES = [nth("train", index)[0] for index in range(12_000)]
SENTENCES = [sentence(scene, random.Random(index)) for index, scene in enumerate(SCENES)]
NAMES = sorted(things())
OF_A_PLACE = {"left", "right", "top", "bottom", "upper", "lower", "middle", "center", "centre", "background"}
SAID_ANYWAY = {"tank top", "two hump camel", "three leaf clover"}


def many(scene: Scene, n: int = 600) -> list[str]:
    """Different sentences of a scene, in lower case, without the template's and without typos."""
    made = [sentence(scene, random.Random(k)).lower() for k in range(n)]
    plain = {scene.caption(), scene.caption(with_background=False)}
    return [text for text in made if text not in plain and set(split(text)) <= known()]


# Words for things


def test_every_thing_has_other_words() -> None:
    assert set(words._listed()["names"]) == set(NAMES)
    assert all(words.other_words(name) for name in NAMES)


def test_a_word_means_one_thing_unless_it_is_listed_as_shared() -> None:
    own = Counter(word for listed in words._listed()["names"].values() for word in listed)
    assert [word for word, count in own.items() if count > 1] == []
    assert set(own) & set(words.shared()) == set()
    assert all(len(set(names)) == len(names) > 1 and set(names) <= set(taught()) for names in words.shared().values())


def test_no_other_word_is_the_name_of_a_thing() -> None:
    assert {word for name in NAMES for word in words.other_words(name)} & set(NAMES) == set()


def test_no_word_for_a_thing_speaks_of_its_place_size_or_number() -> None:
    sizes = {size for part in ("small", "large", "") for size in forms()["sizes"][part]}
    spoken = {word for name in NAMES for word in words.other_words(name)} - SAID_ANYWAY
    assert [word for word in spoken if set(word.split()) & (OF_A_PLACE | sizes)] == []
    assert [word for word in spoken if word.startswith(("two ", "three ", "another ", "some "))] == []


def test_synonyms_are_those_of_what_is_taught_unless_names_are_given() -> None:
    found = words.synonyms()
    assert found["car"] == "automobile"
    assert found["bike"] == "bicycle"
    assert found["donut"] == "doughnut"
    assert found["kitty"] == "cat face"
    assert found["computer"] == "desktop computer"
    assert "burger" not in found
    assert words.synonyms(["hamburger"])["burger"] == "hamburger"
    assert set(found.values()) == set(taught())


# Grammar


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("apple", "an "), ("red apple", "a "), ("hourglass", "an "), ("unicorn", "a "), ("umbrella", "an "),
        ("one-armed bandit", "a "), ("ufo", "a "), ("suv", "an "), ("8 ball", "an "), ("onion", "an "), ("house", "a "),
        ("upside-down face", "an "), ("u-shaped magnet", "a "), ("utensil", "a "), ("herb", "a "), ("enormous", "an "),
    ],
)  # fmt: skip
def test_articles(name: str, expected: str) -> None:
    assert english.article(name) == expected


def test_no_sentence_has_the_wrong_article() -> None:
    silent = re.compile(r"\ban (?!hour|8|suv|nfl|md\b)[^aeiou]")
    spoken = re.compile(r"\ba (?!uni|ufo|u-|ute|one|eu)[aeiou]")
    for scene, text in zip(SCENES, SENTENCES, strict=True):
        if text not in (scene.caption(), scene.caption(with_background=False)) and set(split(text)) <= known():
            assert not silent.search(text.lower()), text
            assert not spoken.search(text.lower()), text


def test_no_article_stands_before_a_plural_or_a_mass() -> None:
    for name in ("jeans", "scissors", "glasses", "popcorn", "french fries"):
        alone = re.compile(rf"\b(?:a|an|one|a single) (?:\w+ )?{name}\b(?! bucket)")
        assert not [text for text in many(Scene((name,), "blue")) if alone.search(text)]


@pytest.mark.parametrize(
    ("name", "several"),
    [
        ("box", "boxes"), ("cherry", "cherries"), ("monkey", "monkeys"), ("kitchen knife", "kitchen knives"),
        ("loaf of bread", "loaves of bread"), ("maple leaf", "maple leaves"), ("computer mouse", "computer mice"),
        ("tooth", "teeth"), ("ox", "oxen"), ("game die", "game dice"), ("snowman", "snowmen"), ("tomato", "tomatoes"),
        ("snowman with a scarf", "snowmen with a scarf"), ("wolf", "wolves"), ("scarf", "scarves"), ("bus", "buses"),
        ("sheaf of rice", "sheaves of rice"), ("octopus", "octopuses"), ("deer", "deer"),
        ("tropical fish", "tropical fish"), ("shrimp", "shrimp"), ("cow's head", "cow's heads"), ("bison", "bison"),
        ("moai", "moai"), ("yo-yo", "yo-yos"), ("jack-o-lantern", "jack-o-lanterns"), ("t-rex", "t-rexes"),
        ("fork and knife", "forks and knives"), ("skull and crossbones", "skulls and crossbones"),
        ("rhinoceros", "rhinoceroses"), ("wine glass", "wine glasses"), ("glass of milk", "glasses of milk"),
        ("taxi", "taxis"), ("mosquito", "mosquitoes"), ("taco", "tacos"), ("water buffalo", "water buffaloes"),
        ("butterfly", "butterflies"), ("monarch", "monarchs"), ("peach", "peaches"), ("watch", "watches"),
        ("cat's face", "cat's faces"), ("pair of jeans", "pairs of jeans"), ("light aircraft", "light aircraft"),
        ("globe showing americas", "globes showing americas"), ("mountain with snow", "mountains with snow"),
    ],
)  # fmt: skip
def test_plurals(name: str, several: str) -> None:
    assert english.plural(name) == several


@pytest.mark.parametrize("name", ["jeans", "skis", "cherries", "crossed swords", "musical notes", "beans", "flames"])
def test_what_is_plural_already(name: str) -> None:
    assert english.number(name) == "many"


@pytest.mark.parametrize("name", ["bus", "cactus", "wine glass", "rhinoceros", "tennis ball", "world atlas", "cat's"])
def test_what_only_ends_in_s(name: str) -> None:
    assert english.number(name) == "one"


def test_verbs_agree() -> None:
    for scene in (Scene(("cat", "cat"), "red"), Scene(("jeans",), "red"), Scene(("cat", "dog"), "red")):
        stated = [found for text in many(scene, 2000) for found in re.findall(r"there (?:is|are) (?:\S+ ){0,3}", text)]
        assert stated
        for text in stated:
            one = re.match(r"there (?:is|are) (?:a|an|one|another) ", text + " ")
            several = re.match(r"there (?:is|are) (?:two|2|exactly|twin|(?:the )?two|(?:some )?jeans) ", text + " ")
            assert not (one and "there are" in text), text
            assert not (several and "there is" in text), text


# Truth

ZEBRA, ANCHOR = "zebra", "anchor"
TRUE_ORDERS = [  # L is on the left of R
    r"L (?:to the left|left|on the left) of .*R",
    r"R (?:to the right|right|on the right) of .*L",
    r"(?:on the left|to the left|left):? [^LR]*L.*(?:on the right|to the right|right):? [^LR]*R",
    r"on the right [^LR]*R, on the left [^LR]*L",
    r"L (?:on the left|left|on the left side|in the left half)(?:,| and) .*R (?:on the right|right|in the right half)",
    r"R on the right and [^LR]*L on the left",
    r"L with .*R to its right",
    r"R with .*L to its left",
    r"L and to the right of it .*R",
    r"L and [^LR]*R, from left to right",
]


def marked(text: str, names: dict[str, str]) -> str:
    """With a letter in place of each word for a thing."""
    for letter, name in names.items():
        for word in sorted((name, *words.other_words(name)), key=len, reverse=True):
            text = text.replace(word, letter)
    return text


def test_left_and_right_are_true() -> None:
    scenes = [Scene((ZEBRA, ANCHOR), "blue"), Scene((ZEBRA, ANCHOR), "blue", "small")]
    texts = [marked(text, {"L": ZEBRA, "R": ANCHOR}) for scene in scenes for text in many(scene, 3000)]
    used = Counter()  # type: ignore[var-annotated]
    for text in texts:
        assert text.count("L") == text.count("R") == 1, text
        if not re.search("left|right", text):
            assert text.index("L") < text.index("R"), text
            continue
        matching = [rule for rule in TRUE_ORDERS if re.search(rule, text)]
        assert matching, text
        used.update(matching)
        mirrored = text.translate(str.maketrans("LR", "RL"))
        assert not [rule for rule in TRUE_ORDERS if re.search(rule, mirrored)], text
    assert set(used) == set(TRUE_ORDERS)


def test_three_things_are_named_from_left_to_right_or_with_the_one_between() -> None:
    texts = many(Scene((ZEBRA, ANCHOR, "rocket"), "blue"), 3000)
    orders = Counter()  # type: ignore[var-annotated]
    for text in (marked(text, {"L": ZEBRA, "M": ANCHOR, "R": "rocket"}) for text in texts):
        order = "".join(re.findall("[LMR]", text))
        orders[order] += 1
        assert order == ("MLR" if "between" in text else "LMR"), text
    assert set(orders) == {"LMR", "MLR"}


WORDS_OF_PLACES = {
    "on the left": {"left"},
    "on the right": {"right"},
    "at the top": {"top", "upper", "up", "higher", "above"},
    "at the bottom": {"bottom", "lower", "down", "below"},
    "": {"centered", "centred"},
}


@pytest.mark.parametrize("place", PLACES)
def test_a_place_is_true(place: str) -> None:
    others = set().union(*WORDS_OF_PLACES.values()) - WORDS_OF_PLACES[place]
    texts = many(Scene((ANCHOR,), "green", "", place), 1500)
    assert not [text for text in texts if set(split(text)) & others]
    silent = [
        text for text in texts if not set(split(text)) & (WORDS_OF_PLACES[place] | {"middle", "center", "centre"})
    ]
    if place:
        assert 0.05 < len(silent) / len(texts) < 0.15
    else:
        assert 0.9 < len(silent) / len(texts) < 0.97


@pytest.mark.parametrize("size", SIZES)
def test_a_size_is_true_and_rarely_left_out(size: str) -> None:
    own, others = set(forms()["sizes"][size]), {s for part in SIZES if part != size for s in forms()["sizes"][part]}
    texts = many(Scene((ANCHOR,), "green", size), 1500)
    told = [text for text in texts if any(re.search(rf"\b{word}\b", text) for word in own)]
    assert not [text for text in texts if any(re.search(rf"\b{word}\b", text) for word in others)]
    assert 0.85 < len(told) / len(texts) < 0.95 if size else len(told) / len(texts) < 0.05


def test_only_the_first_of_a_pair_is_small() -> None:
    small = "|".join(sorted({re.escape(size) for size in forms()["sizes"]["small"]}, key=len, reverse=True))
    for text in many(Scene((ZEBRA, ANCHOR), "blue", "small"), 1500):
        assert not re.search(rf"(?:{small}) (?:ship's |boat )?anchor", text), text


def test_no_other_colour_is_named() -> None:
    colours = {word: name for name, listed in forms()["colours"].items() for word in listed}
    for name in forms()["colours"]:
        texts = many(Scene(("wolf", ANCHOR), name), 300)
        texts = [marked(text, {"L": "wolf"}) for text in texts]
        meant = [{colours[word] for word in split(text) if word in colours} for text in texts]
        assert all(found <= {name} for found in meant)
        assert 0.08 < sum(not found for found in meant) / len(meant) < 0.22


@pytest.mark.parametrize(("count", "told"), [(2, "two|2|twin|another|second|pair|couple"), (3, "three|3|trio|third")])
def test_the_same_thing_again_is_counted(count: int, told: str) -> None:
    texts = many(Scene(("penguin",) * count, "blue"), 1000)
    for text in texts:
        assert len(re.findall("penguin", text)) == count or re.search(rf"\b(?:x?(?:{told})x?)\b", text), text
        assert not re.search(r"\b(?:three|3|trio|third)\b" if count == 2 else r"\b(?:two|2|pair|twin)\b", text), text
    assert sum("penguins" in text for text in texts) > len(texts) / 2


def test_a_pair_of_something_is_one_drawing_of_it() -> None:
    assert any("a pair of headphones" in text for text in many(Scene(("headphone",), "blue"), 2000))
    again = many(Scene(("headphone",) * 2, "blue"), 2000)
    assert all(text.count("headphones") == 2 for text in again if "a pair of headphones" in text)


def test_an_orange_is_not_taken_for_a_colour() -> None:
    texts = many(Scene(("tangerine",), "blue"), 1500)
    named = [text for text in texts if re.search(r"\borange\b(?! fruit)", text)]
    assert named
    assert all(re.search(r"\b(?:a|an|the|one|single|mandarin)(?: [\w-]+){0,2} orange", text) for text in named)


# As promised


def test_a_sentence_depends_on_its_scene_and_generator_alone() -> None:
    class Plain(random.Random):
        """One that has only `random()`, whose numbers no version of Python changes."""

        def getrandbits(self, k: int) -> int:
            raise AssertionError("not the same in every version")

    again = [sentence(scene, Plain(index)) for index, scene in enumerate(SCENES[:2000])]
    assert again == SENTENCES[:2000]
    assert len(set(SENTENCES)) > 0.9 * len(SENTENCES)


def test_the_rates() -> None:
    plain = [text in (scene.caption(), scene.caption(False)) for scene, text in zip(SCENES, SENTENCES, strict=True)]
    assert sum(plain) / len(plain) == pytest.approx(phrases.PLAIN, abs=0.02)
    misspelt = [not set(split(text)) <= known() for text in SENTENCES]
    assert sum(misspelt) / len(misspelt) == pytest.approx(0.10, abs=0.015)
    fillers = {filler for part in ("before", "after") for filler in forms()["fillers"][part]}
    filled = [any(filler in text.lower().split() for filler in fillers) for text in SENTENCES]
    assert 0.06 < sum(filled) / len(filled) < 0.10


def test_the_length() -> None:
    assert max(map(len, SENTENCES)) <= 250
    assert sorted(len(split(text)) for text in SENTENCES)[len(SENTENCES) * 99 // 100] <= 22


def test_known_words_are_those_of_the_sentences() -> None:
    listed = known()
    assert all(word == word.lower() for word in listed)
    assert {"car", "draw", "photo", "mice", "please", "3", "backdrop", "violet", "trio"} <= listed
    assert not {"pineapple", "hibiscus", "noun", "statement"} & listed
    without_slips = {word for scene in SCENES[:50] for text in many(scene, 40) for word in split(text)}
    assert without_slips <= listed


def test_what_is_kept_out_of_training_can_be_put_into_words() -> None:
    for name in subjects():
        texts = many(Scene((name,), "blue"), 40)
        assert all(any(word in text for word in (name, *words.other_words(name))) for text in texts) or not texts


@pytest.mark.parametrize(
    ("section", "allowed"),
    [
        ("pairs", "ab"),
        ("two", "apw"),
        ("two apart", "abw"),
        ("three", "apw"),
        ("three apart", "abw"),
        ("triples", "abc"),
    ],
)
def test_forms_use_what_they_are_given(section: str, allowed: str) -> None:
    for form in forms()[section]:
        assert set(re.findall(r"\{(\w+)\}", form)) <= set(allowed), form


def test_a_slip_is_one_slip_and_makes_no_other_word() -> None:
    rng = random.Random(3)
    slips: list[Any] = [typos.slip("elephant", rng) for _ in range(400)]
    assert {len(word) for word in slips} == {7, 8, 9}
    assert all(word[0] == "e" for word in slips)
    for text in (typos.mistype("a boat on blue", rng, {"on", "blue"}, {"boat", "bot", "boot"}) for _ in range(200)):
        assert text.endswith(" on blue")
        assert text not in ("a bot on blue", "a boot on blue")
