"""The doctor always answers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sfumato import device, doctor
from sfumato.doctor import holdings, machine, pace


def test_it_answers_in_json_and_in_one_line_a_subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path))
    found = doctor.diagnose()
    value = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert list(value) == [finding.name for finding in found.findings]
    assert not any(isinstance(part, dict) and "error" in part for part in value.values())
    assert all(name and words and "\n" not in words for name, words in found.rows())
    assert value["datasets"] == {"folder": str(tmp_path), "found": {}}
    assert value["train"]["images_per_second"] > 0
    assert value["sample"]["ms_per_picture"] > 0
    assert value["packages"]["torch"] == torch.__version__
    assert value["devices"][-1]["device"] == "cpu"
    assert all(part["precision"] in ("bf16", "fp16", "fp32") for part in value["devices"])


def test_datasets_are_found_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "train-00000-of-00001.parquet").touch()
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    for name in ("a.JPG", "b.png", "notes.txt"):
        (tmp_path / "photos" / "cats" / name).touch()
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "README.md").touch()
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path))
    words, value = holdings.datasets()
    assert value["found"] == {"cifar10": 1, "photos": 2}
    assert "cifar10 (1 file), photos (2 files)" in words
    assert holdings.downloads()[1]["cifar10"]["here"]


@pytest.mark.parametrize("folder", ["", "gone", "a file"])
def test_a_missing_data_folder_is_said(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path / folder) if folder else "")
    words, value = holdings.datasets()
    assert "SFUMATO_DATA" in words
    assert value["found"] == {}


def test_weights_brought_by_hand_need_no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path))
    assert not holdings.downloads()[1]["inception"]["here"]
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "inception-2015-12-05.pt").touch()
    assert holdings.downloads()[1]["inception"]["here"]


def test_a_broken_part_is_reported_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> doctor.Found:
        raise OSError("no such thing\nand more")

    for room, name in ((machine, "memory"), (machine, "devices"), (pace, "train")):
        monkeypatch.setattr(room, name, lambda *_: broken())
    found = doctor.diagnose()
    value = found.to_json()
    assert value["memory"] == value["devices"] == {"error": "OSError: no such thing"}
    assert "error" in value["train"]
    assert dict(found.rows())["memory"] == "check failed (OSError: no such thing)"
    assert "error" not in value["packages"]


def test_it_takes_little_of_the_processor_and_leaves_the_threads_alone() -> None:
    threads, start = torch.get_num_threads(), time.process_time()
    doctor.diagnose()
    assert torch.get_num_threads() == threads
    assert time.process_time() - start < 5


def test_without_the_network_and_without_a_home(tmp_path: Path) -> None:
    code = "import json, sfumato.doctor as d; print(json.dumps(d.diagnose().to_json()))"
    environment = {"PATH": "", "HOME": str(tmp_path / "gone"), "SFUMATO_DATA": str(tmp_path / "gone")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "error" not in json.loads(done.stdout)["disk"]


def test_precision_follows_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert device.best_precision("cpu") == "bf16"
    assert device.best_precision("mps") == "fp32"
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert device.best_precision("cpu") == "bf16"
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    assert device.best_precision("cpu") == "fp32"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert device.best_precision("cuda:1") == "fp16"  # emulated bf16 is slow


def test_without_torchs_private_question_the_system_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    monkeypatch.setattr(device, "cpu_flags", lambda: {"avx512f", "amx_tile", "amx_bf16"})
    assert device.best_precision("cpu") == "bf16"
    monkeypatch.setattr(device, "cpu_flags", lambda: {"avx512f", "amx_tile"})
    assert device.best_precision("cpu") == "fp32"


def test_best_device_is_one_that_works() -> None:
    torch.zeros(1, device=device.best_device())
