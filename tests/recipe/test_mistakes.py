"""Everything that is wrong with a file is one line; all keys that do not exist are in it, each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfumato.errors import UserError
from sfumato.recipe.mistakes import ELSEWHERE, MOST, OTHERS, keys_of, shown
from sfumato.recipe.recipe import Recipe, build, load

SEED = """
image_size: 32
class: cat
epochs: 5
timesteps: 1000
lr: 2.0e-4
batch_size: 128
num_workers: 2
beta_start: 0.0001
beta_end: 0.02
"""


def trouble(content: str, tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert line.isprintable()
    assert len(line) < 2000
    return line.removeprefix(f"{path}: ")


def test_a_seed_projects_file_is_explained_in_one_line(tmp_path: Path) -> None:
    assert trouble(SEED, tmp_path) == (
        "unknown keys image_size (did you mean data.image_size?), class (here it is data.labels, a list), "
        "epochs (did you mean train.epochs?), timesteps (did you mean noise.timesteps?), lr (did you mean train.lr?), "
        "batch_size (here it is train.batch), num_workers (leave it out: pictures are decoded once and kept), "
        "beta_start (leave it out: noise.schedule=linear has betas from 0.0001 to 0.02), "
        "beta_end (leave it out: noise.schedule=linear has betas from 0.0001 to 0.02)"
    )


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("train: {learning_rate: 1}", "unknown key train.learning_rate; here it is train.lr"),
        ("training: {lr: 1}", "unknown key training; did you mean train?"),
        ("data: {lr: 1}", "unknown key data.lr; did you mean train.lr?"),
        ("dropout: 1", "unknown key dropout; did you mean net.dropout or tune.dropout?"),
        ("train.lr: 1", "unknown key train.lr; in a file write train: {lr: ...}"),
        ("LR: 1", "unknown key LR; did you mean train.lr?"),
        ("Batch_Size: 1", "unknown key Batch_Size; here it is train.batch"),
        ("xyzzy: 1", "unknown key xyzzy; `sfumato recipe shapes` shows all keys"),
        (
            "xyzzy: 1\ntrain: {bach: 1, lr: -1}",
            "unknown keys xyzzy, train.bach (did you mean train.batch?); `sfumato recipe shapes` shows all keys",
        ),
        ('"a\\e[31mb": 1', "unknown key a\\x1b[31mb; `sfumato recipe shapes` shows all keys"),
        ("<<: {train: {lr: 1}}", "unknown key <<; `sfumato recipe shapes` shows all keys"),
        ("train: {batch: {size: 1}}", "train.batch: Input should be a valid integer"),
    ],
)
def test_keys_that_do_not_exist(content: str, line: str, tmp_path: Path) -> None:
    assert trouble(content, tmp_path) == line


def test_a_thousand_keys_are_a_line(tmp_path: Path) -> None:
    line = trouble("".join(f"k{k}{'x' * 500}: 1\n" for k in range(1000)), tmp_path)
    assert f" and {1000 - MOST} more" in line


def test_every_other_name_leads_to_a_key_that_exists() -> None:
    valid = keys_of(Recipe)
    assert not set(ELSEWHERE) & set(valid)
    for place in OTHERS:
        dotted = [word.strip(",:=") for word in place.split() if "." in word and not word[0].isdigit()]
        assert dotted or place.startswith(("leave it out: ", "give --out"))
        assert all(key.partition("=")[0] in valid for key in dotted), place


@pytest.mark.parametrize(
    "content",
    [
        "[" * 50_000,
        "{a: " * 5_000,
        "- " * 5_000,
        "data: {labels: " + "[" * 300 + "]" * 300 + "}",
        "train: {images: " + "9" * 5_000 + "}",
        "train: {images: 0x" + "f" * 5_000 + "}",
        "net: {channels: [0x" + "f" * 5_000 + "]}",
        "train: {seed: 0x" + "f" * 5_000 + "}",
        "net: {blocks: 0x" + "f" * 5_000 + "}",
        "train: {lr: 0x" + "f" * 5_000 + "}",
        "train: {images: !!int many}",
        "train: {lr: !!float many}",
        "data: {flip: !!bool many}",
        "about: !!timestamp many",
        "about: !!set {a, b}",
        "about: !!omap [a]",
        "train: {lr: .nan, images: .inf}",
        "train: {lr: 1e999}",
        "train: {images: yes}",
        "train: {images: 1.5}",
        "train: {images: [1]}",
        "train: {images: null}",
        "train: [[1, 2]]",
        "train: text",
        "name: {a: b}",
        "name: [" + "a, " * 10_000 + "]",
        "name: 1\nabout: " + "x" * 100_000,
        "? {a: b}\n: 1",
        "? [a]\n: 1",
        "1: 2",
        "true: 2",
        "a: &a [*a]\nname: *a",
        "name: &a {b: *a}",
        "data: &d {source: *d}",
        "a: &a [x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b]\nname: [*c,*c,*c,*c]",
        "name: [*nothing]",
        "--- 1\n--- 2",
        "%YAML 9.9\n---\nname: 1",
        "\ttrain: {lr: 1}",
        "train: {lr: 1",
        'about: ["\\e[2J"]',
        "about: [\u202e, \u2028]",
    ],
)
def test_a_hostile_file_is_one_line(content: str, tmp_path: Path) -> None:
    assert trouble(content, tmp_path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            [
                "train",
                "lr",
                ": ",
                "\n",
                "  ",
                "- ",
                "[",
                "]",
                "{",
                "}",
                ", ",
                "1",
                "!!int ",
                "&a ",
                "*a",
                "'",
                '"',
                "| ",
                "#",
                "é",
                "\x85",
                "? ",
            ]
        ),
        max_size=30,
    ).map("".join)
)
def test_any_file_is_a_recipe_or_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content, encoding="utf-8")
    line = ""
    try:
        assert isinstance(load(path), Recipe)
    except UserError as error:
        line = str(error)
    assert "\n" not in line
    assert not line or line.isprintable()


@pytest.mark.parametrize(
    "text", ["train.images=" + "9" * 5000, "train.images=0x" + "f" * 5000, "train=" + "[" * 50_000, "a" * 5000]
)
def test_a_hostile_override_is_one_line(text: str) -> None:
    with pytest.raises(UserError) as caught:
        build({}, [text])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "a/" * 3000])
def test_a_hostile_name_is_one_line(name: str) -> None:
    with pytest.raises(UserError, match="no recipe, file or folder") as caught:
        load(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 800


def test_long_and_unprintable_texts_are_shown_short() -> None:
    assert shown("a" * 100) == "a" * 57 + "..."
    assert shown("a\x1b\n\u202e") == "a\\x1b\\n\\u202e"
