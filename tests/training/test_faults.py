"""Damaged checkpoints, full disks, non-finite losses, folders in use."""

from __future__ import annotations

import resource
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import sfumato
from sfumato.errors import Busy, UserError
from sfumato.nets.net import PictureNet
from sfumato.progress import Event, Report, Start
from sfumato.recipe import recipe as recipes
from sfumato.runs import checkpoint
from sfumato.runs.checkpoint import listing
from sfumato.runs.folder import RunFolder
from sfumato.training import start

from .conftest import SMALL, command, run

SHORT = (*SMALL, "train.images=160")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two checkpoints."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    sfumato.train("shapes", SHORT, folder)
    sfumato.train("shapes", [*SMALL, "train.images=320"], folder)
    assert [int(p.name) for p in listing(folder / "checkpoints")] == [160, 320]
    return folder


FILES = ["model", "ema-0.050", "ema-0.100", "optimizer", "config.json", "manifest.json"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("harm", ["truncated", "flipped", "empty", "gone"])
def test_a_damaged_newest_checkpoint_falls_back(finished: Path, tmp_path: Path, file: str, harm: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    path = folder / "checkpoints" / "000000320" / (file if file.endswith("json") else f"{file}.safetensors")
    content = bytearray(path.read_bytes())
    if harm == "truncated":
        path.write_bytes(content[:-7])
    elif harm == "flipped":
        content[len(content) // 2] ^= 0b100
        path.write_bytes(content)
    elif harm == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
    events: list[Event] = []
    sfumato.train("shapes", [*SMALL, "train.images=336"], folder, events.append)
    begun = next(event for event in events if isinstance(event, Start))
    assert begun.images == 160
    assert path.name in begun.damaged[0]
    assert RunFolder(folder).events("start")[-1]["damaged"] == list(begun.damaged)
    assert checkpoint.newest(folder / "checkpoints")[0].images == 336  # type: ignore[union-attr]


def test_a_damaged_last_checkpoint_is_made_again(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    path = folder / "checkpoints" / "000000320" / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    sfumato.train("shapes", [*SMALL, "train.images=320"], folder)
    assert path.read_bytes() == whole
    assert checkpoint.newest(folder / "checkpoints")[0].images == 320  # type: ignore[union-attr]


def test_another_folder_of_the_same_name_is_not_mistaken_for_the_first(tmp_path: Path) -> None:
    for k, name in enumerate(("a", "b")):
        (tmp_path / name / "photos").mkdir(parents=True)
        for j in range(8):
            picture = np.full((32, 32, 3), 20 * j + 10 * k, np.uint8)
            Image.fromarray(picture).save(tmp_path / name / "photos" / f"{j}.png")
    brief = ["train.images=32", "train.batch=16", "net.preset=tiny"]
    out = tmp_path / "run"
    sfumato.train(str(tmp_path / "a" / "photos"), brief, out)
    sfumato.train(str(tmp_path / "a" / "photos"), brief, out)
    with pytest.raises(UserError, match="choose another --out"):
        sfumato.train(str(tmp_path / "b" / "photos"), brief, out)


def test_what_is_learned_from_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "runs").mkdir()
    assert start.source_of("photos") == str(tmp_path / "photos")
    assert start.source_of("owner/name:part") == "owner/name:part"
    for name in ("shapes", "runs/gone", "recipes/mine.yaml", recipes.load("shapes")):
        assert start.source_of(name) is None


def test_a_tracker_that_is_not_installed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfumato.training.accelerator.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'sfumato\[track\]'"):
        start.prepare("shapes", [*SHORT, "train.tracker=tensorboard"], tmp_path / "run")


def test_a_full_disk_leaves_the_old_checkpoint_whole(
    finished: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    limit = 30_000  # bytes a file may have: less than the weights

    done = subprocess.run(
        command("train", "shapes", *SMALL, "train.images=400", "--out", folder),
        env=environment, capture_output=True, text=True, timeout=240, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "no room" in errors[0]
    assert "Traceback" not in done.stderr
    found, troubles = checkpoint.newest(folder / "checkpoints")
    assert found is not None
    assert found.images == 320
    assert not troubles


class Poisoned(PictureNet):
    """Gives NaN for as long as `left` says."""

    def __init__(self, net: nn.Module, calls: range) -> None:
        super().__init__()
        self.net, self.calls, self.count, self.gauge = net, calls, 0, None

    @property
    def multiple(self) -> int:
        return self.net.multiple

    def forward(self, *args: Tensor, **given: Tensor) -> Tensor:
        self.count += 1
        out = self.net(*args, **given)
        return out * float("nan") if self.count in self.calls else out


def poisoned(folder: Path, calls: range, images: int) -> list[Event]:
    job = start.prepare("shapes", [*SMALL, f"train.images={images}"], folder)
    job.task.net = Poisoned(job.task.net, calls)
    events: list[Event] = []
    start.run(job, events.append)
    return events


def test_a_bad_step_is_skipped_and_counted(tmp_path: Path) -> None:
    events = poisoned(tmp_path / "run", range(4, 6), 320)
    reports = [event for event in events if isinstance(event, Report)]
    assert reports[-1].skipped == 2
    last = checkpoint.newest(tmp_path / "run" / "checkpoints")[0]
    assert last is not None
    assert all(torch.isfinite(t).all() for t in last.tensors("model").values())


def test_three_bad_steps_in_a_row_roll_back_and_stop(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(UserError, match=r"not finite 3 steps in a row.*lower train\.lr"):
        poisoned(folder, range(5, 100), 320)
    assert RunFolder(folder).events("rollback")
    assert not listing(folder / "checkpoints")


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.hold(), pytest.raises(Busy, match="in use by another process"):
        sfumato.train("shapes", SHORT, folder.path)


def test_a_run_of_another_recipe_is_refused(finished: Path) -> None:
    with pytest.raises(UserError, match=r"another recipe \(noise.schedule is edm, not flow\)"):
        sfumato.train("shapes", [*SHORT, "noise.schedule=flow"], finished)


def test_a_line_cut_short_in_the_log_is_survived(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"event": "repo')
    sfumato.train("shapes", [*SMALL, "train.images=336"], folder)
    assert RunFolder(folder).events("start")[-1]["images"] == 320


def test_a_size_that_does_not_divide_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"30 is not divisible by 4 .* use 32"):
        start.prepare("shapes", [*SHORT, "data.image_size=30"], tmp_path)


def test_unknown_names_and_keys_name_the_nearest(tmp_path: Path, environment: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"train\.bach=3: unknown key; did you mean train\.batch\?"):
        recipes.load("shapes", ["train.bach=3"])
    with pytest.raises(UserError, match="did you mean shapes"):
        start.prepare("shaeps", (), tmp_path)
    done = run(command("train", "shapes", "train.bach=3"), environment)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
