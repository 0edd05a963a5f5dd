"""The words that a base knows: split as its tokenizer splits them, learned, exported, and what is not among them."""

# ruff: noqa: F811 (fixtures)
from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from tokenizers.decoders import ByteLevel
from transformers import CLIPTokenizer

from sfumato.errors import PromptWarning, UserError
from sfumato.models.names import PRETRAINED
from sfumato.models.sampling import Sampling
from sfumato.models.sd import pipeline as pipelines
from sfumato.models.words import FILE, Unknown, Words, warning, words_of
from sfumato.pictures import store
from sfumato.pictures.folder import FolderSource
from sfumato.pictures.source import Lexicon
from sfumato.pictures.split import split
from sfumato.recipe import recipe as recipes
from sfumato.training import start
from sfumato.zoo import load

from ..cli.test_commands import Sfumato, sfumato  # noqa: F401
from ..tuning.conftest import base
from .test_training import pictures, run  # noqa: F401

CAPTIONS = ["a red automobile on a road", "two berries, a penguin", "a box", "a red automobile on a road"]
KNOWN = words_of(CAPTIONS, {"car": "automobile", "crimson": "red"})


@pytest.mark.parametrize(
    "text",
    ["A photo, of 12 Penguins!", "the dog's t-shirt_x", "ein süßer Kater, 猫", "don't you'll I'd", "", "  3-d  "],
)
def test_a_text_is_split_as_clip_splits_it(text: str) -> None:
    clip = CLIPTokenizer().backend_tokenizer
    parts = [part for part, _ in clip.pre_tokenizer.pre_tokenize_str(clip.normalizer.normalize_str(text))]
    plain = [ByteLevel().decode([part]) for part in parts]
    assert split(text) == [part for part in plain if part[0].isalnum()]


def test_words_plurals_and_words_for_new_things_are_known() -> None:
    assert KNOWN.unknown("A Penguin's boxes, two penguins and") == [Unknown("and")]
    assert KNOWN.unknown("zarnu berry on roads, automobiles") == [Unknown("berry", "berries")]
    assert words_of(["a berry"]).unknown("berries") == []


def test_the_nearest_word_is_a_synonym_then_one_spelled_alike() -> None:
    assert KNOWN.unknown("cars of crimson, a pengiun; a samurai, a samurai") == [
        Unknown("cars", "automobile"),
        Unknown("of"),
        Unknown("crimson", "red"),
        Unknown("pengiun", "penguin"),
        Unknown("samurai"),
    ]


def test_a_warning_is_one_line() -> None:
    assert warning("mini", KNOWN, ["a red box"]) is None
    assert warning("mini", KNOWN, ["samurai", "a samurai"]) == "mini does not know 'samurai'"
    assert warning("mini", KNOWN, ["car", "car"]) == "mini does not know 'car'; its nearest word is 'automobile'"
    two = "mini does not know 'samurai', 'car'; nearest: 'automobile' for 'car'"
    assert warning("mini", KNOWN, ["a samurai", "car"]) == two


def test_of_many_unknown_words_a_few_are_named_and_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []
    monkeypatch.setattr(Words, "nearest", lambda _, word: looked_up.append(word))
    line = warning("mini", KNOWN, [f"a word {chr(97 + k) * 5}" for k in range(20)])
    assert line is not None
    assert line.endswith("'ggggg' and 13 more")
    assert len(looked_up) == 8


def test_a_base_without_a_list_says_nothing() -> None:
    assert base().warnings(["a samurai"]) == []
    assert base().unknown_words("a samurai") == []


def test_python_warns_once_of_what_the_list_of_warnings_holds() -> None:
    model = base()
    model.words = words_of(["a red house"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.sample(1, texts=["a red house"], sampling=Sampling(negative="a samurai", steps=1))
    lines = [str(each.message) for each in caught if each.category is PromptWarning]
    assert lines == model.warnings(["a red house"], "a samurai") == ["base does not know 'samurai'"]
    assert caught[-1].filename == __file__


def test_a_folder_keeps_the_list_and_diffusers_ignores_it(tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    model = base()
    model.words = KNOWN
    out = pipelines.write(model, tmp_path / "pipe", half=False)
    assert json.loads((out / FILE).read_text("utf-8"))["synonyms"] == {"car": "automobile", "crimson": "red"}
    again = load(out, precision="fp32")
    assert again.words == KNOWN  # type: ignore[attr-defined]
    StableDiffusionPipeline.from_pretrained(out, local_files_only=True)
    assert not (pipelines.write(base(), tmp_path / "plain") / FILE).exists()
    for damage in ("[1, 2]", '{"words": [1]}', "{", '{"words": "abc", "synonyms": 3}'):
        (out / FILE).write_text(damage)
        with pytest.raises(UserError, match=FILE):
            load(out)


def test_a_training_learns_the_list_from_its_captions(run: Path, sfumato: Sfumato, tmp_path: Path) -> None:
    known = load(run).words  # type: ignore[attr-defined]
    assert {"a", "square", "number", "red", "green", "blue"} <= known.known
    assert sfumato("export", run, "--out", "pipe").status == 0
    for model in (run, "pipe"):
        words = ("--prompt", "a red samurai", "--prompt", "a squaer", "-n", 2, "--steps", 1, "--json")
        answer = sfumato("sample", model, *words)
        assert answer.status == 0
        line = f"{Path(model).name} does not know 'samurai', 'squaer'; nearest: 'square' for 'squaer'"
        assert answer.json()["warnings"] == [line]
        assert answer.err.count(line) == 1
        assert "PromptWarning" not in answer.err
    answer = sfumato("sample", run, "--prompt", "a red square", "-n", 1, "--steps", 1, "--json")
    assert answer.json()["warnings"] == []


def test_what_does_not_fit_is_in_the_same_list(run: Path, sfumato: Sfumato) -> None:
    answer = sfumato("sample", run, "--prompt", "a red square " * 8, "-n", 1, "--steps", 1, "--json")
    (line,) = answer.json()["warnings"]
    assert "left out of" in line
    empty = sfumato("sample", run, "--prompt", "", "-n", 1, "--steps", 1, "--json")
    assert "an empty prompt" in empty.json()["warnings"][0]


def test_a_source_may_list_its_words_itself(
    pictures: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Listed(FolderSource):
        known, synonyms = frozenset({"square", "red"}), {"crimson": "red"}

    source = Listed(pictures, recipes.load(run / "recipe.yaml").data)
    assert isinstance(source, Lexicon)
    monkeypatch.setattr(store, "open_source", lambda *_: source)
    recipe = recipes.load(run / "recipe.yaml", ["train.images=16"])
    start.run(start.prepare(recipe, out=tmp_path / "run"))
    assert load(tmp_path / "run").warnings(["a crimson square"]) == [
        "run does not know 'a', 'crimson'; nearest: 'red' for 'crimson'"
    ]


def test_a_judged_model_names_words_of_other_data(run: Path, sfumato: Sfumato, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "other").mkdir()
    for k in range(40):
        Image.new("RGB", (32, 32), (6 * k, 90, 200 - 5 * k)).save(tmp_path / "other" / f"{k}.png")
        (tmp_path / "other" / f"{k}.txt").write_text("a red samurai")
    answer = sfumato(
        "judge", run, "--task", "generate", "--data", "other", "-n", 4, "--steps", 1, "--out", "j", "--json"
    )
    assert answer.status == 0, answer.err
    assert answer.json()["warnings"] == ["whole does not know 'samurai'"]
    assert "does not know 'samurai'" in answer.err


def test_the_shipped_base_carries_a_list_and_an_identity() -> None:
    model = load("mini")
    assert model.identity.name == "mini"  # type: ignore[attr-defined]
    assert (PRETRAINED / "mini" / FILE).is_file()
    assert model.warnings(["a red apple on a blue background"]) == []
    assert model.warnings(["a qwertyx"]) == ["mini does not know 'qwertyx'"]


def test_words_are_json_and_back() -> None:
    assert Words.from_json(json.loads(json.dumps(KNOWN.to_json())), "here") == KNOWN
