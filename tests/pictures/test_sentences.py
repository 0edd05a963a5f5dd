"""The sentences of benchmarks/text_free.py: well formed, of taught things only, and judged as they should be."""

from __future__ import annotations

import importlib.util
import itertools
import math
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from sfumato.pictures.drawn.emoji.scene import BACKGROUNDS, PLACES, SIZES, Scene, article
from sfumato.pictures.drawn.emoji.things import taught

FOLDER = Path(__file__).parent.parent.parent / "benchmarks"
HALVES = ("first", "second")


@pytest.fixture(scope="module")
def free() -> ModuleType:
    """The script as a module; its folder is on the path while it is imported, for its `common`."""
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("text_free", FOLDER / "text_free.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["text_free"] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(FOLDER))


@pytest.mark.parametrize("half", HALVES)
def test_sentences_state_taught_things_and_known_settings(free: ModuleType, half: str) -> None:
    known = set(taught())
    for number, s in enumerate(free.load(half)):
        assert set(s.things) <= known, number
        assert len(s.things) <= 3, number
        assert (s.kind == "unknown") == (not s.things) == (not s.template), number
        assert s.background in (None, *BACKGROUNDS), number
        assert s.size in (None, *SIZES), number
        assert s.place in (None, *PLACES), number
        assert set(s.accept) <= set(s.things), number
        assert {other for others in s.accept.values() for other in others} <= known, number
        assert not s.place or len(s.things) == 1, number
        assert s.size != "large" or (len(s.things) == 1 and not s.place), number


@pytest.mark.parametrize("half", HALVES)
def test_no_sentence_states_a_combination_that_is_never_drawn(free: ModuleType, half: str) -> None:
    for number, s in enumerate(free.load(half)):
        parts = [(a,) for a in s.things] + [p for p in itertools.combinations(s.things, 2) if p[0] != p[1]]
        papers = [s.background] if s.background else list(BACKGROUNDS)
        for part in parts:
            assert not all(Scene(part, paper).held_out for paper in papers), number


@pytest.mark.parametrize("half", HALVES)
def test_templates_are_the_captions_of_the_scenes(free: ModuleType, half: str) -> None:
    for number, s in enumerate(free.load(half)):
        if not s.things:
            continue
        paper = s.background or "white"
        end = f" on {article(paper)}{paper} background" if s.background else ""
        if len(s.things) == 1 or (len(s.things) == 2 and len(set(s.things)) == 2):
            scene = Scene(s.things, paper, s.size or "", s.place or "")
            assert s.template == scene.caption(s.background is not None), number
        elif len(set(s.things)) == 1:
            start = f"{('two', 'three')[len(s.things) - 2]} {s.things[0][:-2]}"  # "snowmen"
            assert s.template.startswith(start), number
            assert s.template.endswith(end), number
        else:
            a, b, c = (f"{article(name)}{name}" for name in s.things)
            assert s.template == f"{a}, {b} and {c}{end}", number


def test_the_halves_are_alike_and_share_no_sentence(free: ModuleType) -> None:
    first, second = (free.load(half) for half in HALVES)
    assert len(first) == len(second) == 100
    texts = Counter(s.text.casefold() for s in (*first, *second))
    assert max(texts.values()) == 1
    kinds = [Counter(s.kind for s in half) for half in (first, second)]
    assert all(abs(kinds[0][kind] - kinds[1][kind]) <= 2 for kind in kinds[0] | kinds[1])
    assert len({name for s in (*first, *second) for name in s.things}) >= 120


def test_a_sentence_is_right_in_any_order_unless_it_states_one(free: ModuleType) -> None:
    cat_dog, dog_cat = Scene(("cat", "dog"), "red"), Scene(("dog", "cat"), "red")
    free_order = free.Sentence("", "joining", "", ("cat", "dog"), "red")
    stated = free.Sentence("", "joining", "", ("cat", "dog"), "red", ordered=True)
    assert all(free_order.right(scene) == {"things": True, "background": True} for scene in (cat_dog, dog_cat))
    assert stated.right(cat_dog)["things"]
    assert not stated.right(dog_cat)["things"]
    twice = free.Sentence("", "numbers", "", ("cat", "cat"))
    assert twice.right(Scene(("cat", "cat"), "red")) == {"things": True}
    assert not twice.right(cat_dog)["things"]


def test_twins_and_other_things_of_the_same_word_count(free: ModuleType) -> None:
    kitty = free.Sentence("", "names", "", ("cat",), accept={"cat": ["cat face"]})
    assert kitty.right(Scene(("cat face",), "red"))["things"]
    assert not kitty.right(Scene(("dog face",), "red"))["things"]
    assert free.Sentence("", "names", "", ("camel",)).right(Scene(("two-hump camel",), "red"))["things"]


def test_size_and_place_count_only_where_they_are_stated(free: ModuleType) -> None:
    stated = free.Sentence("", "order", "", ("cat",), None, "", "on the left")
    right = stated.right(Scene(("cat",), "red", "small", "on the left"))
    assert right == {"things": True, "size": False, "place": True}


def test_shares_are_over_sentences_and_leave_out_what_was_not_read(free: ModuleType) -> None:
    def row(*right: bool) -> list[dict[str, object]]:
        return [{"right": {"things": r, "background": True}, "things": []} for r in right]

    rows = [
        {"kind": "order", "sentence": row(True, False), "template": row(True, True)},
        {"kind": "order", "sentence": row(False, False), "template": row(True, True)},
        {"kind": "unknown", "sentence": [], "template": []},
    ]
    found = free.over(rows)
    assert (found.n, found.sentence.value, found.template.value, found.difference.value) == (2, 0.25, 1.0, -0.75)
    assert free.over(rows[2:]) is None


def test_the_interval_of_a_difference_is_newcombes(free: ModuleType) -> None:
    def row(right: bool) -> list[dict[str, object]]:
        return [{"right": {"things": right}, "things": []}]

    counts = {(True, True): 36, (True, False): 12, (False, True): 2, (False, False): 0}
    rows = [{"kind": "order", "sentence": row(a), "template": row(b)} for (a, b), n in counts.items() for _ in range(n)]
    found = free.over(rows, ["things"]).difference
    a, b = free.wilson(48, 50), free.wilson(38, 50)
    phi = (36 * 0 - 12 * 2) / math.sqrt(48 * 2 * 38 * 12)
    assert found.value == pytest.approx(0.2)
    for end, x, y in (
        (found.low - 0.2, a.value - a.low, b.high - b.value),
        (found.high - 0.2, a.high - a.value, b.value - b.low),
    ):
        assert end**2 == pytest.approx(x**2 + y**2 - 2 * phi * x * y)
    assert found.low < 0.2 < found.high
