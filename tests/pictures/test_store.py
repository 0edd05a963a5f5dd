from __future__ import annotations

import io
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sfumato.errors import UserError
from sfumato.pictures import build as building
from sfumato.pictures.store import open_store
from sfumato.pictures.stored import Pictures, Store
from sfumato.recipe.sections import Data
from tests.pictures.picture_files import photo, save_photos, write_hostile


def stores(cache: Path) -> list[Path]:
    return [path for path in (cache / "stores").glob("*") if path.is_dir()]


def test_pixels_labels_captions_and_keys_belong_together(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        save_photos(tmp_path / label, 10, 16, 24)
    for path in tmp_path.rglob("*.png"):
        path.with_suffix(".txt").write_text(f"picture {path.parent.name} {path.stem}")
        picture = np.array(Image.open(path))
        picture[0, 0] = (int(path.stem), 0, path.parent.name == "dog")
        Image.fromarray(picture).save(path)
    store = open_store(Data(source=str(tmp_path), held_out=0.2))
    assert store.shape == (3, 16, 24)
    assert (len(store.train), len(store.held_out)) == (16, 4)
    for part in (store.train, store.held_out):
        assert part.pixels.dtype == torch.uint8
        assert part.pixels.shape == (len(part), 3, 16, 24)
        assert part.label_names == ["cat", "dog"]
        assert part.captions is not None
        for row, key in enumerate(part.keys):
            label, stem = key.removesuffix(".png").split("/")
            want = np.array(Image.open(tmp_path / key)).transpose(2, 0, 1)
            assert np.array_equal(part.pixels[row].numpy(), want)
            assert part.label_names[part.labels[row]] == label
            assert part.captions[row] == f"picture {label} {stem}"
        assert part.texts("class") == [part.label_names[label] for label in part.labels]
    assert not set(store.train.keys) & set(store.held_out.keys)


def test_the_address_is_the_content(tmp_path: Path, own_cache: Path) -> None:
    save_photos(tmp_path / "a", 4)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    data = Data(source=str(tmp_path / "a"))
    first = open_store(data)
    assert open_store(Data(source=str(tmp_path / "b"))).digest == first.digest
    assert open_store(data.model_copy(update={"flip": False, "condition": "class"})).digest == first.digest
    assert len(stores(own_cache)) == 1
    for change in (
        {"image_size": 16},
        {"grey": True},
        {"held_out": 0.3},
        {"crop": "tiles"},
        {"max_megapixels": 9},
    ):
        assert open_store(data.model_copy(update=change)).digest != first.digest
    Image.fromarray(photo(32, 32, 99)).save(tmp_path / "a" / "000.png")
    changed = open_store(data)
    assert changed.digest != first.digest
    assert not torch.equal(changed.train.pixels, first.train.pixels) or not torch.equal(
        changed.held_out.pixels, first.held_out.pixels
    )


def test_a_write_into_the_tensor_never_reaches_the_file(tmp_path: Path) -> None:
    save_photos(tmp_path, 4)
    data = Data(source=str(tmp_path))
    before = open_store(data).train.pixels.clone()
    open_store(data).train.pixels.zero_()
    assert torch.equal(open_store(data).train.pixels, before)


def test_a_store_that_is_not_whole_is_built_again(tmp_path: Path, own_cache: Path) -> None:
    save_photos(tmp_path / "p", 4)
    data = Data(source=str(tmp_path / "p"))
    want = open_store(data).train.pixels.clone()
    (folder,) = stores(own_cache)
    for damage in (
        lambda: (folder / building.PIXELS).write_bytes(b"short"),
        lambda: (folder / building.PIXELS).unlink(),
        lambda: (folder / building.MANIFEST).write_text("{"),
        lambda: (folder / building.MANIFEST).unlink(),
    ):
        damage()
        assert torch.equal(open_store(data).train.pixels, want)


def test_an_interrupted_build_leaves_nothing_behind(tmp_path: Path, own_cache: Path) -> None:
    save_photos(tmp_path / "p", 40)
    data = Data(source=str(tmp_path / "p"))

    def stop(done: int, total: int) -> None:
        if total == 40 and building.MANIFEST and done == 20 and any((own_cache / "stores").glob(".*")):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_store(data, stop)
    assert stores(own_cache) == []
    assert len(open_store(data).train) == 38


def _open(arguments: tuple[str, str]) -> tuple[str, int]:
    os.environ["SFUMATO_CACHE"] = arguments[1]
    store = open_store(Data(source=arguments[0], image_size=24))
    return store.digest, int(store.train.pixels.sum())


@pytest.mark.slow
def test_two_processes_at_once_both_end_well(tmp_path: Path, own_cache: Path) -> None:
    save_photos(tmp_path / "p", 60, 100, 120)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.map(_open, [(str(tmp_path / "p"), str(own_cache))] * 2, chunksize=1)
    assert results[0] == results[1]
    assert len(stores(own_cache)) == 1


def test_a_build_that_was_killed_is_not_mistaken_for_a_store(tmp_path: Path, own_cache: Path) -> None:
    save_photos(tmp_path / "p", 30)
    code = """if True:
        import os, signal, sys
        from sfumato.pictures.store import open_store
        from sfumato.recipe.sections import Data
        def stop(done, total):
            if done == 15 and os.path.isdir(os.environ["SFUMATO_CACHE"] + "/stores"):
                os.kill(os.getpid(), signal.SIGKILL)
        open_store(Data(source=sys.argv[1]), stop)
        """
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "p")], timeout=60, check=False)
    assert done.returncode == -9
    left = [path for path in stores(own_cache) if path.name.startswith(".")]
    assert left
    os.utime(left[0], (1, 1))
    store = open_store(Data(source=str(tmp_path / "p")))
    assert len(store.train) + len(store.held_out) == 30
    assert [path.name for path in stores(own_cache)] == [store.digest[:32]]


def test_a_full_disk_is_one_line(tmp_path: Path, own_cache: Path) -> None:
    save_photos(tmp_path / "p", 30, 64, 64)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(UserError, match="SFUMATO_CACHE"):
            open_store(Data(source=str(tmp_path / "p")))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert stores(own_cache) == []


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 12), min_size=2, max_size=40).filter(lambda x: len(set(x)) > 1),
    st.floats(0.01, 0.49),
)
def test_no_content_is_on_both_sides(
    tmp_path_factory: pytest.TempPathFactory, contents: list[int], share: float
) -> None:
    folder = tmp_path_factory.mktemp("p")
    for index, content in enumerate(contents):
        Image.new("RGB", (8, 8), (content * 20, 3, 7)).save(folder / f"{index:03d}.png")
    store = open_store(Data(source=str(folder), held_out=share))
    sides = [{int(value) for value in part.pixels[:, 0, 0, 0]} for part in (store.train, store.held_out)]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]
    assert len(store.train) + len(store.held_out) == len(contents)
    different = len(set(contents))
    assert len(sides[1]) == min(max(1, round(share * different)), different - 1)


def test_bad_pictures_are_named_and_left_out(tmp_path: Path) -> None:
    save_photos(tmp_path / "good", 5)
    names = write_hostile(tmp_path / "bad")
    done: list[tuple[int, int]] = []
    store = open_store(Data(source=str(tmp_path), image_size=16), lambda *step: done.append(step))
    assert len(store.train) + len(store.held_out) == 5 == store.report.pictures
    assert all(key.startswith("good/") for key in [*store.train.keys, *store.held_out.keys])
    assert done[-1][0] == done[-1][1]
    named = store.report.corrupt.keys() | store.report.refused.keys()
    assert {f"bad/{name}" for name in names} == named
    assert open_store(Data(source=str(tmp_path), image_size=16)).report.to_json() == store.report.to_json()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_pictures(tmp_path: Path) -> None:
    """32 photos of 12 MB decoded each, in a process that may grow by 200 MB."""
    tmp_path.joinpath("p").mkdir()
    for index in range(32):
        Image.new("RGB", (2000, 2000), (index, 9, 9)).save(tmp_path / "p" / f"{index}.png", compress_level=1)
    code = """if True:
        import resource, sys
        from sfumato.pictures.store import open_store
        from sfumato.recipe.sections import Data
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert len(open_store(Data(source=sys.argv[1], image_size=64)).train) == 30
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
        """
    command = [sys.executable, "-c", code, str(tmp_path / "p")]
    grown = float(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)
    assert grown < 200


@pytest.mark.parametrize("how", ["modes", "colours"])
def test_grey_is_found_out(tmp_path: Path, how: str) -> None:
    for index in range(4):
        grey = Image.fromarray(photo(16, 16, index)[..., 0])
        (grey if how == "modes" else grey.convert("RGB")).save(tmp_path / f"{index}.png")
    store = open_store(Data(source=str(tmp_path)))
    assert store.shape == (1, 16, 16)
    row = store.train.keys.index("2.png") if "2.png" in store.train.keys else None
    part, row = (store.held_out, store.held_out.keys.index("2.png")) if row is None else (store.train, row)
    assert np.array_equal(part.pixels[row, 0].numpy(), photo(16, 16, 2)[..., 0])
    assert open_store(Data(source=str(tmp_path), grey=False)).shape == (3, 16, 16)
    Image.fromarray(photo(16, 16, 9)).save(tmp_path / "colour.png")
    assert open_store(Data(source=str(tmp_path))).shape == (3, 16, 16)
    assert open_store(Data(source=str(tmp_path), grey=True)).shape == (1, 16, 16)


def test_tiles_stay_with_their_picture(tmp_path: Path) -> None:
    for index in range(6):
        Image.new("RGB", (60, 40), (index * 10, 0, 0)).save(tmp_path / f"{index}.png")
    store = open_store(Data(source=str(tmp_path), image_size=16, crop="tiles", held_out=0.3))
    sides = [set(part.pixels[:, 0, 0, 0].tolist()) for part in (store.train, store.held_out)]
    assert not sides[0] & sides[1]
    assert (len(sides[0]), len(sides[1])) == (4, 2)
    assert len(store.held_out) == 2 * 15  # 40 x 60 becomes 32 x 48: 3 x 5 tiles of 16 each
    assert store.train.keys[0].endswith("#0")
    assert "cut into 90 tiles of 16x16" in store.report.lines()


def test_labels_can_be_chosen(tmp_path: Path) -> None:
    for label in ("cat", "dog", "bird"):
        save_photos(tmp_path / label, 4)
    store = open_store(Data(source=str(tmp_path), labels=["dog", "cat"]))
    assert store.train.label_names == ["cat", "dog"]
    assert len(store.train) + len(store.held_out) == 8
    with pytest.raises(UserError, match=r"no label 'bidr'; did you mean 'bird'\?"):
        open_store(Data(source=str(tmp_path), labels=["cat", "bidr"]))
    with pytest.raises(UserError, match="known: bird, cat, dog"):
        open_store(Data(source=str(tmp_path), labels=["zzz"]))
    with pytest.raises(UserError, match="labels is empty"):
        open_store(Data(source=str(tmp_path), labels=[]))
    save_photos(tmp_path / "flat", 3)
    with pytest.raises(UserError, match="have no labels"):
        open_store(Data(source=str(tmp_path / "flat"), labels=["cat"]))


def _one_line(data: Data, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        open_store(data)
    assert "\n" not in str(caught.value)


def test_folders_nothing_can_be_learned_from(tmp_path: Path) -> None:
    data = Data(source=str(tmp_path), image_size=16)
    _one_line(data, "holds no pictures")
    (tmp_path / "readme.md").write_text("x")
    _one_line(data, "holds no pictures")
    save_photos(tmp_path, 1)
    _one_line(data, "only one picture")
    shutil.copy(tmp_path / "000.png", tmp_path / "copy.png")
    _one_line(data, "only 2 copies of one picture")
    for path in tmp_path.glob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    _one_line(data, "none of the 2 pictures")
    for path in tmp_path.glob("*.png"):
        path.write_bytes(b"")
    _one_line(data, "none of the 2 pictures .*: empty file")


def test_sizes_that_differ_or_do_not_suit_get_a_proposal(tmp_path: Path) -> None:
    save_photos(tmp_path, 2, 40, 50)
    assert open_store(Data(source=str(tmp_path))).shape == (3, 40, 50)
    Image.fromarray(photo(50, 40)).save(tmp_path / "tall.png")
    _one_line(Data(source=str(tmp_path)), r"2 sizes, .*data.image_size=32")
    assert open_store(Data(source=str(tmp_path), image_size=(24, 16))).shape == (3, 24, 16)
    save_photos(tmp_path / "big", 2, 1030, 20)
    _one_line(Data(source=str(tmp_path / "big")), "between 8 and 1024")


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_photos(tmp_path / "p", 2)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "file"))
    _one_line(Data(source=str(tmp_path / "p")), "SFUMATO_CACHE")


def test_a_part_of_cifar10(datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split, rows in (("train", 900), ("test", 100)):
        table = parquet.read_table(next((datasets / "cifar10").glob(f"{split}-*.parquet")))
        (tmp_path / "cifar10").mkdir(exist_ok=True)
        parquet.write_table(table.slice(0, rows), tmp_path / "cifar10" / f"{split}-00000-of-00001.parquet")
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path))
    store = open_store(Data(source="cifar10"))
    assert (len(store.train), len(store.held_out), store.shape) == (900, 100, (3, 32, 32))
    content = table["img"][41].as_py()["bytes"]
    assert np.array_equal(store.held_out.pixels[41].permute(1, 2, 0), Image.open(io.BytesIO(content)))
    monkeypatch.setattr(parquet, "read_table", lambda *_, **__: pytest.fail("rows were read again"))
    assert open_store(Data(source="cifar10")).digest == store.digest


@pytest.mark.slow
def test_cifar10(datasets: Path) -> None:
    """Complete, in order, and under 2 seconds (imports aside) from the second start on."""
    data = Data(source="cifar10")
    store: Store = open_store(data)
    assert store.shape == (3, 32, 32)
    assert (len(store.train), len(store.held_out)) == (50_000, 10_000)
    assert store.train.label_names[:3] == ["airplane", "automobile", "bird"]
    assert torch.bincount(store.held_out.labels).tolist() == [1000] * 10
    mean = store.train.pixels.double().mean((0, 2, 3)) / 255
    assert torch.allclose(mean, torch.tensor([0.4914, 0.4822, 0.4465], dtype=torch.float64), atol=1e-4)
    table = parquet.read_table(next((datasets / "cifar10").glob("test-*.parquet")))
    assert store.held_out.labels.tolist() == table["label"].to_pylist()
    start = time.perf_counter()
    again = open_store(data)
    assert again.train.pixels[[0, -1]].sum() == store.train.pixels[[0, -1]].sum()
    assert time.perf_counter() - start < 2
    cats = open_store(Data(source="cifar10", labels=["cat"], image_size=16))
    assert cats.train.pixels.shape == (5000, 3, 16, 16)
    assert cats.train.label_names == ["cat"]


def test_what_is_said_of_pictures(tmp_path: Path) -> None:
    labels, names = torch.tensor([1, 0, -1]), ["ant", "cat"]
    pixels, keys = torch.zeros(3, 3, 8, 8, dtype=torch.uint8), ["x", "y", "z"]
    said = ["a photo of a cat", "a photo of an ant", "a photo"]
    assert Pictures(pixels, labels, names, None, keys).texts("words") == said
    assert Pictures(pixels, labels, names, ["one", "", "two"], keys).texts("words") == ["one", "", "two"]
    assert Pictures(pixels, labels, [], None, keys).texts("words") == [""] * 3
    assert Pictures(pixels, labels, names, None, keys).texts("class") == ["cat", "ant", ""]
