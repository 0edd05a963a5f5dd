from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sfumato.errors import UserError
from sfumato.pictures import decode as decoding
from sfumato.pictures import folder as folders
from sfumato.pictures.folder import FolderSource
from sfumato.pictures.lookup import open_source
from sfumato.pictures.scan import Report
from sfumato.pictures.store import open_store, survey
from sfumato.recipe.sections import Data
from tests.pictures.picture_files import photo, save_photos, write_hostile


def keys(source: FolderSource, split: str = "train") -> list[str]:
    return [item.key for item in source.items(split)]


def test_every_case_of_extension_subfolders_labels_and_other_files(tmp_path: Path) -> None:
    image = Image.fromarray(photo(8, 8))
    names = ["a.JPG", "b.jpeg", "cat/c.Png", "cat/deep/d.webp", "dog/e.BMP", "dog/f.tif", "dog/g.TIFF"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        kind = {"jpg": "JPEG", "tif": "TIFF"}.get(name.split(".")[1].lower(), name.split(".")[1].upper())
        image.save(tmp_path / name, kind)
    for other in ("read.me", "film.mp4", "film2.MP4", "none", ".hidden.png", "notes.txt"):
        (tmp_path / other).write_bytes(b"x")
    (tmp_path / ".hidden").mkdir()
    image.save(tmp_path / ".hidden" / "h.png")
    source = FolderSource(tmp_path, Data())
    assert keys(source) == sorted(names)
    labels = {item.key: item.label for item in source.items("train")}
    assert labels == {n: (n.split("/")[0] if "/" in n else None) for n in names}
    assert source.label_names == ["cat", "dog"]
    assert source.ignored == {"(none)": 1, ".me": 1, ".mp4": 2, ".txt": 1}
    assert all(item.read().shape == (8, 8, 3) for item in source.items("train"))


def test_captions_from_sidecars_and_metadata(tmp_path: Path) -> None:
    save_photos(tmp_path, 4, 8, 8)
    save_photos(tmp_path / "sub", 2, 8, 8)
    (tmp_path / "000.txt").write_text("\ufeffa red\n  car ", encoding="utf-8")
    (tmp_path / "001.TXT").write_text("", encoding="utf-8")
    (tmp_path / "002.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "metadata.csv").write_text('file_name,text,label\n003.png,"two, three",bird\ngone.png,x,y\n')
    (tmp_path / "sub" / "metadata.jsonl").write_text(json.dumps({"file_name": "001.png", "caption": "four"}) + "\n\n")
    source = FolderSource(tmp_path, Data())
    captions = {item.key: (item.caption, item.label) for item in source.items("train")}
    assert captions == {
        "000.png": ("a red car", None),
        "001.png": (None, None),
        "002.png": (None, None),
        "003.png": ("two, three", "bird"),
        "sub/000.png": (None, "sub"),
        "sub/001.png": ("four", "sub"),
    }
    assert source.ignored == {}
    assert any("caption of 002.png left out: not UTF-8" in note for note in source.notes)
    assert any("metadata.csv names 1 missing pictures, such as 'gone.png'" in note for note in source.notes)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metadata.csv", "name,text\na.png,x\n", "line 2: no file_name"),
        ("metadata.jsonl", '{"file_name": "a.png"}\n{broken\n', "line 2"),
        ("metadata.jsonl", "[1]\n", "line 1: not a JSON object"),
        ("metadata.jsonl", "[" * 100_000, "line 1"),
    ],
)
def test_broken_metadata_is_one_line_with_its_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    save_photos(tmp_path, 2, 8, 8)
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        FolderSource(tmp_path, Data())
    assert "\n" not in str(caught.value)


def test_links_and_special_files_are_refused_by_name(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    save_photos(root, 2, 8, 8)
    save_photos(outside, 1, 8, 8)
    (root / "out.png").symlink_to(outside / "000.png")
    (root / "folder.png").symlink_to(outside)
    (root / "folder").symlink_to(outside)
    (root / "inside.png").symlink_to(root / "000.png")
    (root / "loop.png").symlink_to("loop.png")
    os.mkfifo(root / "pipe.jpg")
    (root / "real.png").mkdir()
    source = FolderSource(root, Data())
    assert keys(source) == ["000.png", "001.png", "inside.png"]
    assert sorted(source.refused) == ["folder", "folder.png", "loop.png", "out.png", "pipe.jpg"]
    assert "out of the folder" in source.refused["out.png"]
    assert "to nothing" in source.refused["loop.png"]
    (tmp_path / "way in").symlink_to(root)  # the folder itself may be reached by a link
    assert keys(FolderSource(tmp_path / "way in", Data())) == keys(source)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="everything is readable to root")
def test_unreadable_files_and_folders_are_named(tmp_path: Path) -> None:
    save_photos(tmp_path, 2, 8, 8)
    save_photos(tmp_path / "locked", 1, 8, 8)
    (tmp_path / "001.png").chmod(0)
    (tmp_path / "locked").chmod(0)
    source = FolderSource(tmp_path, Data())
    assert keys(source) == ["000.png"]
    assert set(source.refused) == {"001.png", "locked"}
    (tmp_path / "locked").chmod(0o700)


def test_odd_names_can_be_printed_and_kept(tmp_path: Path) -> None:
    for name in ("new\nline.png", "ünï.png", "a b'\".png"):
        Image.fromarray(photo(8, 8)).save(tmp_path / name)
    shutil.copy(tmp_path / "ünï.png", os.fsencode(tmp_path) + b"/\xff\xfe.png")
    lines = survey(Data(source=str(tmp_path))).lines()
    assert all("\n" not in line for line in lines)
    assert "\n".join(lines).encode("utf-8")
    assert len(keys(FolderSource(tmp_path, Data()))) == 4


def test_train_and_test_folders_are_splits(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 2)):
        save_photos(tmp_path / split / "cat", count, 8, 8)
    source = FolderSource(tmp_path, Data())
    assert source.splits == ("train", "test")
    assert (len(keys(source)), len(keys(source, "test"))) == (3, 2)
    assert source.label_names == ["cat"]
    save_photos(tmp_path, 1, 8, 8)
    save_photos(tmp_path / "more", 1, 8, 8)
    mixed = FolderSource(tmp_path, Data())
    assert (keys(mixed), mixed.label_names) == (keys(source), ["cat"])
    assert mixed.refused == dict.fromkeys(
        ("000.png", "more/000.png"), "outside of train/, test/, the folders of the splits"
    )


@pytest.mark.parametrize(
    ("folders", "held"),
    [
        (("train", "val", "test"), {"val", "test"}), (("Training", "VALID"), {"VALID"}),
        (("train", "validation"), {"validation"}), (("train",), set()),
    ],
)  # fmt: skip
def test_splits_by_all_their_names_have_the_labels_below(
    tmp_path: Path, folders: tuple[str, ...], held: set[str]
) -> None:
    for number, split in enumerate(folders):
        for label in ("cat", "dog"):
            (tmp_path / split / label).mkdir(parents=True)
            for k in range(3):
                name = f"{split}/{label}/{k}.png"
                Image.fromarray(photo(8, 8, 10 * number + k + len(label + split))).save(tmp_path / name)
    source = FolderSource(tmp_path, Data())
    assert source.label_names == ["cat", "dog"]
    assert {key.split("/")[0] for key in keys(source)} == set(folders) - held
    assert {item.label for item in source.items("train")} == {"cat", "dog"}
    if not held:
        assert source.splits == ("train",)
        return
    assert {key.split("/")[0] for key in keys(source, "test")} == held
    stored = open_store(Data(source=str(tmp_path)))
    assert {key.split("/")[0] for key in stored.held_out.keys} == held
    assert {key.split("/")[0] for key in stored.train.keys} == set(folders) - held


def test_a_label_may_be_called_train(tmp_path: Path) -> None:
    for label in ("train", "bus"):
        save_photos(tmp_path / label, 2, 8, 8)
    source = FolderSource(tmp_path, Data())
    assert (source.label_names, source.splits, source.refused) == (["bus", "train"], ("train",), {})


@pytest.mark.parametrize(
    ("name", "files", "way"),
    [
        ("cifar-10-batches-py", ("data_batch_1", "batches.meta", "test_batch"), "use `cifar10`"),
        ("cifar-100-python", ("train", "test", "meta"), "data.source=uoft-cs/cifar100"),
    ],
)
def test_pickles_of_torchvision_are_one_line(tmp_path: Path, name: str, files: tuple[str, ...], way: str) -> None:
    (tmp_path / name).mkdir()
    for file in files:
        (tmp_path / name / file).write_bytes(b"\x80\x04N.")
    for folder in (tmp_path / name, tmp_path):
        with pytest.raises(UserError, match="pickles, which are never opened") as caught:
            open_source(str(folder), Data())
        assert way in str(caught.value)
        assert "\n" not in str(caught.value)


def test_every_file_is_used_or_named(tmp_path: Path) -> None:
    image = Image.fromarray(photo(8, 8))
    for name in ("a.jfif", "b.jpe", "IMG_1", "sub/c.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image.save(tmp_path / name, "GIF" if name.endswith("gif") else "JPEG")
    for name in ("d.CR2", "e.jxl", "f.mp4", "words"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "IMG_1.txt").write_text("a caption")
    source = FolderSource(tmp_path, Data())
    assert keys(source) == ["IMG_1", "a.jfif", "b.jpe", "sub/c.gif"]
    assert source.items("train")[0].caption == "a caption"
    assert "sfumato denoise" in source.refused["d.CR2"]
    assert "save it as JPEG, PNG" in source.refused["e.jxl"]
    assert source.ignored == {"(none)": 1, ".mp4": 1}


def test_how_unusual_files_were_read_is_in_the_report(tmp_path: Path) -> None:
    for k in range(4):
        frames = [Image.fromarray(photo(8, 8, 9 * k + n)) for n in range(3)]
        frames[0].save(tmp_path / f"{k}.gif", save_all=True, append_images=frames[1:])
        Image.fromarray(np.full((8, 8), 1000 * k + 500, np.uint16)).save(tmp_path / f"{k}.tif")
    for _ in range(2):  # the second time from the store
        notes = open_store(Data(source=str(tmp_path))).report.notes
        assert "4 pictures, such as 0.gif: the first of its 3 frames is used" in notes
        assert any("read as 12 bits in 16, because no sample is over 4,095" in note for note in notes)


def test_a_missing_extra_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    save_photos(tmp_path, 2, 8, 8)
    Image.fromarray(photo(16, 16)).save(tmp_path / "a.heic")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pillow_heif", None)
        without = FolderSource(tmp_path, Data())
        assert "a.heic" not in keys(without)
        assert "sfumato[heic]" in without.refused["a.heic"]
    assert "a.heic" in keys(FolderSource(tmp_path, Data()))


def test_unchanged_files_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_photos(tmp_path, 5, 8, 8)
    (tmp_path / "broken.png").write_bytes(b"x")
    first = FolderSource(tmp_path, Data()).fingerprint()
    studied: list[str] = []
    study = folders._inspect
    monkeypatch.setattr(folders, "_inspect", lambda found: studied.append(found.key) or study(found))
    again = FolderSource(tmp_path, Data())
    assert again.fingerprint() == first
    assert studied == []
    with pytest.raises(decoding.PictureError, match="not a JPEG"):
        again.items("train")[-1].header()
    Image.fromarray(photo(8, 8, 77)).save(tmp_path / "002.png")
    assert FolderSource(tmp_path, Data()).fingerprint() != first
    assert studied == ["002.png"]


def test_a_damaged_memory_costs_only_a_reading(tmp_path: Path, own_cache: Path) -> None:
    save_photos(tmp_path / "p", 2, 8, 8)
    first = FolderSource(tmp_path / "p", Data()).fingerprint()
    for index in (own_cache / "index").iterdir():
        index.write_text('{"000.png": 3, "001.png": [1')
    assert FolderSource(tmp_path / "p", Data()).fingerprint() == first


def test_a_file_that_changes_between_reading_and_decoding_is_not_mistaken(tmp_path: Path) -> None:
    save_photos(tmp_path, 1, 8, 8)
    item = FolderSource(tmp_path, Data()).items("train")[0]
    Image.fromarray(photo(8, 8, 9)).save(tmp_path / "000.png")
    with pytest.raises(decoding.PictureError, match="changed while it was read"):
        item.read()


def test_report_of_a_mixed_folder(tmp_path: Path) -> None:
    save_photos(tmp_path / "cat", 12, 40, 30)
    save_photos(tmp_path / "dog", 3, 40, 30)
    shutil.copy(tmp_path / "cat" / "000.png", tmp_path / "cat" / "copy.png")
    Image.fromarray(photo(20, 20)[..., 0]).save(tmp_path / "dog" / "grey.png")
    Image.fromarray(np.zeros((90, 100), np.uint16)).save(tmp_path / "dog" / "deep.png")
    Image.new("CMYK", (30, 40)).save(tmp_path / "dog" / "print.jpg")
    Image.new("RGBA", (30, 40)).save(tmp_path / "dog" / "clear.png")
    report = survey(Data(source=str(tmp_path)))
    assert report.modes == {"RGB": 16, "L": 1, "L 16-bit": 1, "CMYK": 1, "RGBA": 1}
    assert report.splits == {"train": 20}
    assert not report.corrupt
    hostile = write_hostile(tmp_path / "hostile")
    (tmp_path / "info.pdf").write_bytes(b"x")
    report = survey(Data(source=str(tmp_path)))
    assert report.duplicates == [["cat/000.png", "cat/copy.png", "dog/000.png"], *report.duplicates[1:]]
    assert report.size_range()["common"] == (40, 30)
    assert report.near_empty == [label for label, count in report.labels.items() if count < 10]
    assert "dog" in report.near_empty
    assert report.ignored[".pdf"] == 1
    assert "claims 30000 x 30000 pixels" in report.refused["hostile/claims-900-megapixels.png"]
    assert "empty file" in report.corrupt["hostile/empty.png"]
    named = report.corrupt.keys() | report.refused.keys()
    assert len([name for name in hostile if f"hostile/{name}" in named]) >= 40
    copied = Report.from_json(json.loads(json.dumps(report.to_json())))
    assert copied.lines() == report.lines()
    text = "\n".join(report.lines())
    assert "exact duplicate" in text
    assert "corrupt" in text
    assert "1 .pdf" in text


@given(st.dictionaries(st.tuples(st.integers(1, 500), st.integers(1, 500)), st.integers(1, 9), min_size=1))
def test_median_size_is_the_middle_picture(sizes: dict[tuple[int, int], int]) -> None:
    report = Report("x", sizes={f"{width}x{height}": count for (height, width), count in sizes.items()})
    every = sorted((h * w, (h, w)) for (h, w), count in sizes.items() for _ in range(count))
    found = report.size_range()
    assert found["median"] == every[(len(every) - 1) // 2][1]
    assert (found["min"], found["max"]) == (every[0][1], every[-1][1])
    assert report.suggested_size() in (32, 64, 128, 256)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "data.source is empty"),
        ("no-such-folder", "no folder no-such-folder"),
        ("./no/such/folder", "no folder"),
        ("{file}", "is a file"),
    ],
)
def test_a_source_that_is_none_of_the_kinds(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=message):
        open_source(name.format(file=tmp_path / "file"), Data())


def test_a_folder_by_its_name_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_photos(tmp_path / "mine", 2, 8, 8)
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path))
    assert len(open_source("mine", Data()).items("train")) == 2
