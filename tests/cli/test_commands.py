"""The command line: help, one JSON object, one line for every mistake, nothing heavy loaded before it is needed."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image, ImageSequence

from sfumato import __version__, cli
from sfumato.cli.judge import _home as home
from sfumato.judging import features
from sfumato.judging import model as judging

from ..tiny import LABELS, SIDE, model_of, recipe_of, small_features, train_run, write_pictures

COMMANDS = ("demo", "doctor", "train", "recipe", "sample", "denoise", "export", "merge", "judge", "compare", "runs")
SMALL = (
    *("net.channels=[16,32]", "net.attention=[false,true]", "net.blocks=1", "net.stem=2", f"data.image_size={SIDE}"),
    *("train.batch=16", "train.precision=fp32", "sample.steps=2"),
)


KEYS = {
    *("model", "fd", "kid", "kid_error", "precision", "recall", "memorised", "memorisation", "features", "n"),
    *("reference_n", "notes", "sample", "cost", "report", "warnings", "quality", "alike"),
}
"""Of `judge --json`."""


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str

    def json(self) -> dict:
        """The one object on stdout."""
        assert self.out.count("\n") == 1, self.out
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


Sfumato = Callable[..., Answer]


@pytest.fixture
def sfumato(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Sfumato:
    """The command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["sfumato", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        code = left.value.code
        return Answer(code if isinstance(code, int) else 0, out, err)

    return call


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    return train_run(tmp_path_factory.mktemp("runs") / "ants", recipe_of(pictures))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge on features that need no weights."""
    monkeypatch.setattr(judging, "open_features", lambda name: features.open_features(small_features))


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_command_explains_itself(self, sfumato: Sfumato, command: str) -> None:
        answer = sfumato(command, "--help")
        assert answer.status == 0
        assert answer.err == ""
        assert re.search(rf"Usage: .*sfumato {command} ", answer.out)
        assert "--json" in answer.out
        said = " ".join(answer.out.split("Options")[0].split())
        assert len(said) > 60, "no sentence says what it does"

    def test_the_whole(self, sfumato: Sfumato) -> None:
        answer = sfumato("--help")
        assert answer.status == 0
        assert all(command in answer.out for command in COMMANDS)
        assert all(command in sfumato().out for command in COMMANDS)
        assert sfumato("--version").out == f"{__version__}\n"

    @pytest.mark.parametrize(
        "words",
        [
            ("trian",),
            ("sample",),
            ("sample", "x", "--setps", "3"),
            ("sample", "x", "-n", "0"),
            ("judge", "x", "-n", "3"),
        ],
    )
    def test_words_that_are_no_command(self, sfumato: Sfumato, words: tuple[str, ...]) -> None:
        answer = sfumato(*words)
        assert answer.status == 2
        assert answer.out == ""
        assert re.search("Usage: .*sfumato", answer.err)
        assert "Traceback" not in answer.err


@pytest.mark.parametrize("module", ["sfumato", "sfumato.cli", "sfumato.recipe.recipe", "sfumato.doctor", "sfumato.api"])
def test_importing_is_light(module: str) -> None:
    code = (
        f"import sys, time; start = time.process_time(); import {module}; took = time.process_time() - start\n"
        "heavy = {'torch', 'matplotlib', 'diffusers', 'transformers', 'accelerate', 'datasets', 'PIL'}\n"
        "print(took, *heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    took, *heavy = done.stdout.split()
    assert not heavy
    assert float(took) < 1


@pytest.mark.parametrize(
    "before",
    [
        "",
        "import sfumato.training.loop, sfumato.judging.model",
        "from sfumato.training import start; from sfumato import judging",
    ],
)
def test_verbs_can_be_called_whatever_was_imported_before(before: str) -> None:
    """`train` and `judge` are packages and functions at once."""
    code = (
        f"{before}\n"
        "import inspect, sys, sfumato\n"
        "for _ in range(2):\n"
        "    for verb in ('train', 'judge'):\n"
        "        try: getattr(sfumato, verb)('nowhere')\n"
        "        except Exception as error: print(type(error).__name__, error)\n"
        "verbs = set(sfumato.__all__) - {'Event', '__version__'}\n"
        "assert all(callable(getattr(sfumato, name)) for name in verbs)\n"
        "print(*list(inspect.signature(sfumato.train).parameters))\n"
        "try: sfumato.nothing\n"
        "except AttributeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert lines[0] == lines[2]
    assert lines[0].startswith("UserError no recipe, file or folder named nowhere")
    assert lines[1] == lines[3]
    assert lines[1].startswith("UserError no run folder, checkpoint or model named nowhere")
    assert lines[4:] == ["what overrides out progress stop", "module 'sfumato' has no attribute 'nothing'"]


def test_the_command_from_outside(run: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "sfumato", "sample", str(run), "-n", "3", "--out", str(tmp_path / "s"), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 3
    began = time.perf_counter()
    words = [sys.executable, "-m", "sfumato", "train", "shapes", "train.bach=3", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, list(json.loads(done.stdout)), done.stderr.count("\n")) == (2, ["error"], 1)
    assert "did you mean train.batch?" in done.stderr
    assert time.perf_counter() - began < 60


class TestMistakes:
    @staticmethod
    def one_line(answer: Answer, *words: str) -> None:
        assert answer.status == 2
        assert not answer.out or " ".join(answer.json()["error"].split()) == answer.err.removeprefix("error: ").strip()
        assert answer.err.startswith("error: ")
        assert answer.err.count("\n") == 1, answer.err
        assert answer.err.endswith("\n")
        assert all(word in answer.err for word in words), answer.err

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            (("train", "shaeps"), "did you mean shapes?"),
            (("train", "shapes", "train.bach=3"), "did you mean train.batch?"),
            (("train", "shapes", "train.batch"), "KEY=VALUE"),
            (("train", "shapes", "train.lr=.nan"), "train.lr"),
            (("train", "shapes", "sample.guidance=.inf"), "sample.guidance"),
            (("train", "shapes", "data.source=nowhere"), "no folder nowhere"),
            (("train", "shapes", "data.source="), "data.source"),
            (("train", "./nowhere"), "no recipe, file or folder named ./nowhere"),
            (("sample", "nowhere"), "no run folder, checkpoint or model named nowhere"),
            (("sample", "runs/nowhere"), "no run folder, checkpoint or model named runs/nowhere"),
            (("sample", "x", "--label", "a", "--prompt", "b"), "--label or --prompt, not both"),
            (("judge", "runs/nowhere"), "no run folder, checkpoint or model named runs/nowhere"),
            (("judge", "x", "--task", "paint"), "--task paint"),
            (("compare", "runs/nowhere", "runs/gone"), "runs/nowhere"),
        ],
    )
    def test_names_and_keys(self, sfumato: Sfumato, tmp_path: Path, words: tuple[str, ...], reason: str) -> None:
        for more in ((), ("--json",)):
            self.one_line(sfumato(*words, *more), reason)
        assert not list(tmp_path.iterdir()), "a mistake leaves nothing behind"

    def test_files_that_are_no_recipe(self, sfumato: Sfumato, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("data: {source: [}")
        self.one_line(sfumato("train", "a.yaml"), "a.yaml: not readable as YAML")
        (tmp_path / "a.yaml").write_bytes(b"\x89PNG\r\n\x1a\n\x00")
        self.one_line(sfumato("train", "a.yaml"), "a.yaml: not readable as YAML")
        (tmp_path / "a.yaml").write_text("")
        self.one_line(sfumato("train", "a.yaml"), "data.source is empty")

    def test_folders_without_enough_pictures(self, sfumato: Sfumato, pictures: Path, tmp_path: Path) -> None:
        folder = tmp_path / "photos"
        folder.mkdir()
        self.one_line(sfumato("train", folder), "holds no pictures")
        (folder / "notes.txt").write_text("words")
        self.one_line(sfumato("train", folder), "holds no pictures")
        content = next(pictures.rglob("*.png")).read_bytes()
        (folder / "a.png").write_bytes(content)
        self.one_line(sfumato("train", folder), "only one picture")
        (folder / "b.png").write_bytes(content)
        self.one_line(sfumato("train", folder), "only 2 copies of one picture")
        for name in ("a.png", "b.png", "c.png"):
            (folder / name).write_bytes(b"\x89PNG\r\n\x1a\n" + name.encode())
        self.one_line(sfumato("train", folder), "photos")
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize(
        ("override", "reason"),
        [
            ("data.labels=[ant,beee]", "no label 'beee'; did you mean 'bee'?"),
            ("data.labels=[]", "data.labels is empty"),
            ("data.image_size=30", "30 is not divisible by 4"),
            ("data.image_size=4", "a side must be 8 to 1024"),
            ("net.channels=[16,32,64]", "3 levels of channels and 2 of attention"),
            ("net.channels=[9,18]", "multiples of 8"),
            ("train.accumulate=3", "batch=16 is not divisible by accumulate=3"),
            ("noise={schedule: scaled-linear-zero, prediction: epsilon}", "pure noise"),
        ],
    )
    def test_a_folder_and_settings_that_do_not_fit(
        self, sfumato: Sfumato, pictures: Path, override: str, reason: str
    ) -> None:
        answer = sfumato("train", pictures, *SMALL, "train.images=32", override)
        if "accumulate" in override:  # found when the loop is made, after the plan was told
            assert answer.status == 2
            assert reason in answer.err.splitlines()[-1]
            assert "Traceback" not in answer.err
        else:
            self.one_line(answer, reason)

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            (("--sampler", "dpm++3m"), "sample.sampler"),
            (("--label", "antt"), "unknown label 'antt'; did you mean 'ant'?"),
            (("--prompt", "a red circle"), "unknown label"),
            (("--guidance", "nan"), "sample.guidance"),
            (("--guidance", "inf"), "sample.guidance"),
        ],
    )
    def test_a_model_asked_for_what_it_cannot(
        self, sfumato: Sfumato, run: Path, tmp_path: Path, words: tuple[str, ...], reason: str
    ) -> None:
        for more in ((), ("--json",), ("--film", "f.gif")):
            self.one_line(sfumato("sample", run, *words, *more), reason)
        assert not list(tmp_path.iterdir())

    def test_places_that_are_taken(self, sfumato: Sfumato, run: Path, pictures: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        self.one_line(sfumato("sample", run, "-n", "1", "--out", "file"), "cannot write file: ")
        self.one_line(sfumato("sample", run, "-n", "1", "--film", "file/a.gif"), "cannot write file: ")
        self.one_line(sfumato("judge", run, "-n", "4", "--out", "file/deep"), "cannot write file/deep: ")
        self.one_line(sfumato("compare", run, run, "-n", "4", "--out", "file"), "cannot write file: ")
        self.one_line(sfumato("demo", "--out", "file"), "cannot write file: ")
        answer = sfumato("train", pictures, *SMALL, "train.images=16", "--out", "file")
        assert answer.status == 2
        assert "cannot" in answer.err.splitlines()[-1]
        assert "Traceback" not in answer.err
        assert (tmp_path / "file").read_text() == "mine"

    def test_runs_that_are_not_ready(self, sfumato: Sfumato, tmp_path: Path) -> None:
        (tmp_path / "run" / "checkpoints").mkdir(parents=True)
        for command in ("sample", "judge"):
            self.one_line(sfumato(command, "run"), "has no whole checkpoint yet")

    def test_features_and_data_that_do_not_fit(self, sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
        self.one_line(sfumato("judge", run, "--features", "maxi"), "no features named 'maxi'")
        self.one_line(sfumato("judge", run, "--data", "nowhere"), "no folder nowhere")
        grey = write_pictures(tmp_path / "grey", grey=True)
        self.one_line(sfumato("judge", run, "--data", grey), "judge on data of its size")

    @pytest.mark.parametrize(
        ("error", "status", "reason"),
        [
            (KeyboardInterrupt(), 130, "stopped"),
            (MemoryError(), 2, "out of memory"),
            (RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB."), 2, "out of memory"),
            (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 2, "out of memory"),
        ],
    )
    def test_what_stops_a_command(
        self, sfumato: Sfumato, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, reason: str
    ) -> None:
        def stop(**_: object) -> None:
            raise error

        monkeypatch.setattr(cli, "app", stop)
        answer = sfumato()
        assert (answer.status, answer.out) == (status, "")
        assert answer.err.count("\n") == 1
        assert reason in answer.err

    def test_a_bug_is_not_hidden(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def stop(**_: object) -> None:
            raise RuntimeError("a mistake of ours")

        monkeypatch.setattr(cli, "app", stop)
        with pytest.raises(RuntimeError, match="a mistake of ours"):
            cli.main()


class TestTrain:
    def test_a_folder_from_nothing_to_a_run_that_goes_on(
        self, sfumato: Sfumato, pictures: Path, tmp_path: Path
    ) -> None:
        words = ("train", pictures, *SMALL)
        planned = sfumato(*words, "--dry-run", "--json")
        assert planned.status == 0
        assert not (tmp_path / "runs").exists()
        plan = planned.json()
        assert plan["images"] == 0
        assert plan["estimate"].keys() == {"seconds", "images_per_second", "bytes"}
        assert "60 pictures" in planned.err
        assert "57 pictures for training, 3 held out, 16 x 16 x 3" in planned.err

        first = sfumato(*words, "train.images=64", "--json")
        assert first.status == 0, first.err
        value = first.json()
        assert value.keys() == {"run", "images", "stopped", "estimate"}
        assert (value["images"], value["stopped"]) == (64, None)
        folder = tmp_path / value["run"]
        assert folder == tmp_path / "runs" / pictures.name
        for name in (
            "recipe.yaml",
            "data.json",
            "env.json",
            "log.jsonl",
            "checkpoints/000000064",
            "samples/000000064.png",
        ):
            assert (folder / name).exists()
        assert sfumato(*words, "train.images=96", "--json").json()["images"] == 96
        assert sfumato("train", folder, "train.images=112", "--json").json() | {"estimate": 0} == {
            **{"run": str(folder), "images": 112, "stopped": None, "estimate": 0},
        }
        starts = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        assert [row["images"] for row in starts if row["event"] == "start"] == [0, 64, 96]

    def test_one_process_may_train_in_several_precisions(self, sfumato: Sfumato, pictures: Path) -> None:
        for precision in ("fp32", "bf16", "fp32"):
            answer = sfumato("train", pictures, *SMALL, f"train.precision={precision}", "--dry-run")
            assert answer.status == 0, answer.err
            assert f"({precision})" in answer.err

    def test_captions_are_learned_if_there_are_any(self, sfumato: Sfumato, pictures: Path, tmp_path: Path) -> None:
        answer = sfumato("train", pictures, *SMALL, "train.images=16", "--out", "r")
        assert answer.status == 0, answer.err
        assert answer.out == ""
        drawn = sfumato("sample", "r", "--prompt", "a red square on a blue background", "-n", 2, "--json")
        assert drawn.status == 0, drawn.err


class TestSample:
    def test_one_json_object_and_the_grid(self, sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
        answer = sfumato("sample", run, "-n", 5, "--seed", 3, "--json")
        assert answer.status == 0, answer.err
        value = answer.json()
        assert value.keys() == {"model", "n", "seed", "seconds", "ms_per_picture", "files", "warnings"}
        assert (value["model"], value["n"], value["seed"]) == ("ants", 5, 3)
        assert value["files"] == ["samples-ants/grid.png"]
        assert answer.err.splitlines() == value["files"]
        with Image.open(tmp_path / "samples-ants" / "grid.png") as image:
            assert image.format == "PNG"
            assert image.mode == "RGB"

    def test_a_picture_can_be_drawn_again_alone(self, sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
        sfumato("sample", run, "-n", 4, "--seed", 10, "--each", "--out", "a", "--label", "bee")
        sfumato("sample", run, "-n", 1, "--seed", 12, "--each", "--out", "b", "--label", "bee")
        assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
            *(f"{k:06d}.png" for k in range(10, 14)),
            "grid.png",
        ]
        with Image.open(tmp_path / "a" / "000012.png") as one, Image.open(tmp_path / "b" / "000012.png") as two:
            assert one.size == (SIDE, SIDE)
            pairs = zip(one.tobytes(), two.tobytes(), strict=True)
            assert max(abs(x - y) for x, y in pairs) <= 1

    def test_labels_go_round_and_stand_under_the_pictures(self, sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
        sizes = []
        for labels in ([], [word for label in LABELS for word in ("--label", label)]):
            answer = sfumato("sample", run, "-n", 4, *labels, "--json")
            with Image.open(tmp_path / answer.json()["files"][0]) as image:
                sizes.append(image.size)
        assert sizes[0][0] == sizes[1][0]
        assert sizes[0][1] < sizes[1][1]

    def test_nothing_is_replaced_or_mixed_unasked(self, sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
        folders = [Path(sfumato("sample", run, "-n", 1, "--json").json()["files"][0]).parent.name for _ in range(3)]
        assert folders == ["samples-ants", "samples-ants-2", "samples-ants-3"]
        draw = ("sample", run, "--each", "--out", "s", "--film", "film")
        assert sfumato(*draw, "-n", 2).status == 0
        before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
        for words in (("-n", 2), ("-n", 2, "--seed", 1), ("-n", 1, "--overwrite"), ("-n", 1, "--out", "t")):
            refused = sfumato(*draw, *words)
            assert refused.status == 2
            assert refused.err.count("\n") == 1
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before
        assert sfumato(*draw, "-n", 2, "--label", "bee", "--overwrite").status == 0
        assert (tmp_path / "s" / "grid.png").read_bytes() != before[tmp_path / "s" / "grid.png"]

    @pytest.mark.parametrize("name", ["film.gif", "deep/film", "film.mp4"])
    def test_films_of_both_processes(self, sfumato: Sfumato, run: Path, tmp_path: Path, name: str) -> None:
        answer = sfumato("sample", run, "-n", 2, "--steps", 5, "--film", name, "--json")
        assert answer.status == 0, answer.err
        folder = (tmp_path / name).parent
        wanted = [folder / f"film{which}.{kind}" for which in ("", "-forward") for kind in ("gif", "png")]
        assert [tmp_path / file for file in answer.json()["files"]] == [tmp_path / "samples-ants" / "grid.png", *wanted]
        for path in wanted:
            with Image.open(path) as image:
                assert image.format == path.suffix[1:].upper()
                if image.format == "GIF":
                    assert sum(1 for _ in ImageSequence.Iterator(image)) == 6

    @pytest.mark.parametrize("sampler", ["ddpm", "ddim", "euler", "heun", "dpm++2m", "dpm++2m-sde"])
    def test_every_sampler(self, sfumato: Sfumato, run: Path, sampler: str) -> None:
        assert sfumato("sample", run, "-n", 1, "--sampler", sampler, "--steps", 3, "--guidance", 2).status == 0

    def test_the_samplers_own_options(self, sfumato: Sfumato, run: Path) -> None:
        for words in (("--sampler", "ddim", "--eta", 0.5), ("--sampler", "heun", "--churn", 3), ("--interval", 0.1, 2)):
            assert sfumato("sample", run, "-n", 1, "--steps", 2, *words).status == 0
        refused = sfumato("sample", run, "-n", 1, "--steps", 2, "--sampler", "euler", "--churn", 3)
        assert refused.status == 2
        assert "churn is an option of heun, and this is euler" in refused.err

    def test_one_checkpoint_of_a_run(self, sfumato: Sfumato, run: Path) -> None:
        folder = run / "checkpoints" / "000000160"
        assert sfumato("sample", folder, "-n", 1, "--json").json()["model"] == "000000160"


def pasted(page: Path) -> list[str]:
    """The words of the command under "How to repeat this"."""
    text = html.unescape(page.read_text(encoding="utf-8"))
    found = re.search(r"How to repeat this.*?(sfumato judge [^<]*)", text, re.S)
    assert found
    return shlex.split(found[1])


@pytest.mark.usefixtures("offline")
class TestJudge:
    def test_one_json_object_and_the_page(self, sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
        answer = sfumato("judge", run, "-n", 8, "--steps", 2, "--sampler", "heun", "--seed", 4, "--out", "j", "--json")
        assert answer.status == 0, answer.err
        value = answer.json()
        assert value.keys() == KEYS
        assert value["fd"].keys() == {"value", "low", "high", "floor", "floor_n", "scale"}
        assert (value["n"], value["sample"]["evaluations"], value["sample"]["seed"]) == (8, 3, 4)
        assert value["report"] == "j/report.html"
        assert json.loads((tmp_path / "j" / "report.json").read_text()) == {
            k: v for k, v in value.items() if k != "report"
        }
        assert "real held-out pictures have" in answer.err

    def test_the_page_of_a_run_lies_in_the_run(self, sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
        answer = sfumato("judge", run, "-n", 4)
        assert (answer.status, answer.out) == (0, "")
        assert (run / "report.html").is_file()
        assert sfumato("judge", run / "checkpoints" / "000000160", "-n", 4).status == 0
        assert (tmp_path / "judge-000000160" / "report.html").is_file()

    def test_the_command_on_the_page_runs_when_pasted(self, sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
        moved = shutil.copytree(run, tmp_path / "my run")
        other = write_pictures(tmp_path / "other pictures", count=40)
        order = ("--data", other, "-n", 8, "--steps", 2, "--sampler", "heun", "--guidance", 2, "--seed", 4)
        first = sfumato("judge", moved, *order, "--metric", "coverage", "--json").json()
        command = [word.replace("small_features", "mini") for word in pasted(moved / "report.html")]
        (tmp_path / "elsewhere").mkdir()
        os.chdir(tmp_path / "elsewhere")
        again = sfumato(*command[1:], "--json").json()
        assert "error" not in first, first
        assert "error" not in again, (again, command)
        assert command[:2] == ["sfumato", "judge"]
        for value in (first, again):
            value.pop("cost")
        assert again == {**first, "report": again["report"]}

    def test_of_a_tuning_the_own_report_stays(self, sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
        tuned = shutil.copytree(run, tmp_path / "tuned")
        (tuned / "adapter_config.json").write_text("{}")
        assert home(str(tuned), model_of()) == tuned / "judge"
        assert home(str(run), model_of()) == run

    def test_compare(self, sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
        answer = sfumato("compare", run, run / "checkpoints" / "000000160", "-n", 8, "--json")
        assert answer.status == 0, answer.err
        value = answer.json()
        assert value.keys() == {"a", "b", "verdict", "report"}
        assert value["a"]["fd"] == value["b"]["fd"]
        assert "Too close to call" in value["verdict"]
        assert (tmp_path / value["report"]).is_file()


def test_the_doctor_answers_in_one_object(sfumato: Sfumato) -> None:
    value = sfumato("doctor", "--json").json()
    assert value["sfumato"] == __version__
    answer = sfumato("doctor")
    assert (answer.status, answer.err) == (0, "")
    assert len(answer.out.splitlines()) >= len(value)
