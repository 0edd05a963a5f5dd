from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import datasets as hub_datasets
import numpy as np
import pytest
from PIL import Image

from sfumato.errors import UserError
from sfumato.pictures import store as stores
from sfumato.pictures.hub import from_datasets
from sfumato.recipe.sections import Data
from tests.pictures.picture_files import encoded, photo, png


def dataset(count: int, label: bool = True, caption: str | None = None, start: int = 0) -> hub_datasets.Dataset:
    features: dict[str, object] = {"picture": hub_datasets.Image()}
    rows: dict[str, list[object]] = {
        "picture": [
            {"bytes": encoded(Image.fromarray(photo(8, 8, start + i)), "PNG"), "path": None} for i in range(count)
        ]
    }
    if label:
        features["kind"], rows["kind"] = (
            hub_datasets.ClassLabel(names=["cat", "dog"]),
            [i % 2 for i in range(count)],
        )
        rows["kind"][0] = -1
    if caption:
        features[caption], rows[caption] = (
            hub_datasets.Value("string"),
            [f"a  picture {i}" for i in range(count)],
        )
    return hub_datasets.Dataset.from_dict(rows, hub_datasets.Features(features))


def test_columns_are_found_by_type() -> None:
    splits = {"train": dataset(6, caption="text"), "validation": dataset(4, caption="text", start=6)}
    source = from_datasets("someone/cats", splits, Data())
    assert source.splits == ("train", "test")
    assert source.label_names == ["cat", "dog"]
    items = source.items("train")
    assert [item.label for item in items] == [None, "dog", "cat", "dog", "cat", "dog"]
    assert items[3].caption == "a picture 3"
    assert np.array_equal(items[3].read(), photo(8, 8, 3))
    assert items[3].header().size == "8x8"
    changed = {"train": dataset(6, caption="text"), "validation": dataset(4, caption="text", start=7)}
    assert from_datasets("x", splits, Data()).fingerprint() == source.fingerprint()
    assert from_datasets("x", changed, Data()).fingerprint() != source.fingerprint()


def test_a_store_of_rows_some_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"bytes": encoded(Image.fromarray(photo(8, 8, i)), "PNG"), "path": None} for i in range(6)]
    rows += [{"bytes": b"", "path": None}, {"bytes": png(30000, 30000, 8, 2, b"\0"), "path": None}, None]
    rows += [{"bytes": None, "path": "/not/there.png"}]
    broken = hub_datasets.Dataset.from_dict(
        {"image": rows}, hub_datasets.Features({"image": hub_datasets.Image(decode=False)})
    )
    source = from_datasets("someone/broken", {"train": broken}, Data())
    monkeypatch.setattr(stores, "open_source", lambda name, data: source)
    store = stores.open_store(Data(source="someone/broken"))
    assert len(store.train) + len(store.held_out) == 6
    assert set(store.report.corrupt) == {"train/000006", "train/000008", "train/000009"}
    assert set(store.report.refused) == {"train/000007"}


def test_a_table_on_disk_is_known_by_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset(6).save_to_disk(tmp_path / "d")
    loaded = {"train": hub_datasets.load_from_disk(tmp_path / "d")}
    first = from_datasets("x", loaded, Data()).fingerprint()
    monkeypatch.setattr("sfumato.pictures.table.TableSource.items", lambda *_: pytest.fail("rows were read"))
    assert from_datasets("x", loaded, Data()).fingerprint() == first


def test_data_sets_that_do_not_suit() -> None:
    words = hub_datasets.Dataset.from_dict({"text": ["a", "b"]})
    with pytest.raises(UserError, match=r"no column of pictures \(its columns: text\)"):
        from_datasets("x", {"train": words}, Data())
    with pytest.raises(UserError, match=r"no split called train \(it has dev\)"):
        from_datasets("x", {"dev": dataset(2)}, Data())


@pytest.mark.parametrize(("name", "hint"), [("cifar10", "set SFUMATO_DATA"), ("some-one/no-such-set", "cannot load")])
def test_no_network_is_one_line(tmp_path: Path, name: str, hint: str) -> None:
    code = """if True:
        import sys
        from sfumato.errors import UserError
        from sfumato.pictures.lookup import open_source
        from sfumato.recipe.sections import Data
        try:
            open_source(sys.argv[1], Data())
        except UserError as error:
            print(error)
        """
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "SFUMATO_DATA": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, name],
        capture_output=True, text=True, timeout=60, env=os.environ | offline, cwd=tmp_path, check=True,
    )  # fmt: skip
    assert len(done.stdout.strip().splitlines()) == 1
    assert hint in done.stdout


def test_parquet_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cifar10").mkdir()
    for split in ("train", "test"):
        (tmp_path / "cifar10" / f"{split}-00000-of-00001.parquet").write_bytes(b"not parquet")
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path))
    with pytest.raises(UserError, match="not the parquet files of uoft-cs/cifar10") as caught:
        stores.open_store(Data(source="cifar10"))
    assert "\n" not in str(caught.value)
