"""The kit, rehearsed as on a machine that lacks packages: trained, stopped by a kill, gone on with, made a model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from sfumato.errors import UserError
from sfumato.models.sampling import Sampling
from sfumato.runs.checkpoint import listing
from sfumato.runs.folder import RunFolder
from sfumato.zoo import load

from .tiny import write_pictures

pytestmark = pytest.mark.slow
KIT = Path(__file__).parent.parent / "benchmarks" / "kit.py"
LACKING = ("diffusers", "pydantic", "pydantic_core", "annotated_types", "typing_inspection", "pyvips", "datasets")
LIMIT = 16 * 2**20  # bytes of a file that comes back
HOOK = """
import sys
from importlib.machinery import PathFinder

class Lacking(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        where = sys.path if path is None else path
        if name.partition(".")[0] in {lacking!r}:
            where = [folder for folder in where if {site!r} in folder]
        return PathFinder.find_spec(name, where, target)

sys.meta_path = [Lacking if finder is PathFinder else finder for finder in sys.meta_path]
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recipes of a second or two, a table of them, and a hook that hides packages but those in runs/site."""
    root = tmp_path_factory.mktemp("kit")
    data = {"source": str(write_pictures(root / "pictures")), "image_size": 16, "flip": False}
    brief = {"batch": 16, "precision": "fp32", "warmup": 0, "images": 320}
    ground = {
        "task": "autoencoder", "data": data, "train": brief,
        "net": {"kind": "latent", "channels": [8, 16], "latent": 4},
    }  # fmt: skip
    text = {
        "task": "text", "data": {**data, "condition": "words"}, "train": brief, "sample": {"guidance": 2.0},
        "net": {"kind": "latent", "channels": [32], "attention": [True]},
        "noise": {"schedule": "scaled-linear-zero", "prediction": "v", "weighting": "uniform"},
        "text": {"words": 800, "length": 16, "width": 32, "layers": 1},
    }  # fmt: skip
    for name, values in (("ground", ground), ("text", text)):
        (root / f"{name}.yaml").write_text(yaml.safe_dump(values))
    table = {
        "broken": {"recipe": "cifar10", "set": {"data.source": str(root / "nowhere")}},
        "ground": {"recipe": str(root / "ground.yaml"), "group": "mini", "export": False},
        "mini": {
            "recipe": str(root / "text.yaml"), "share": 3, "after": "ground",
            "set": {"text.autoencoder": "{work}/ground"},
        },
    }  # fmt: skip
    (root / "table.yaml").write_text(yaml.safe_dump(table, sort_keys=False))
    (root / "hook").mkdir()
    hook = HOOK.format(lacking=LACKING, site=str(root / "runs" / "site"))
    (root / "hook" / "sitecustomize.py").write_text(hook)
    return root


@pytest.fixture(scope="module")
def wheels(root: Path) -> Path:
    """What `kit.py pack` brings for this Python."""
    sys.path.insert(0, str(KIT.parent))
    from kit_pack import WHEELS, _wheels

    try:
        _wheels(root / "wheels", f"{sys.version_info.major}.{sys.version_info.minor}")
    except Exception as error:
        pytest.skip(f"no network: {error}")
    assert len(list((root / "wheels").glob("*.whl"))) == len(WHEELS)
    return root / "wheels"


def kit(root: Path, *words: Any, work: str = "runs", bare: bool = False) -> list[str]:
    places = ["--table", root / "table.yaml", "--work", root / work, "--kit", root if bare else root / "none"]
    own = ["--nice", "0"] if words[0] == "run" else []  # beside other tests it would get next to nothing
    return [sys.executable, str(KIT), *map(str, words), *own, *map(str, places)]


def environment(root: Path, bare: bool = False) -> dict[str, str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "SFUMATO_CACHE": str(root / "cache"), "HF_HUB_OFFLINE": "1"}
    env.pop("SFUMATO_DATA", None)
    return env | ({"PYTHONPATH": str(root / "hook")} if bare else {})


def run(root: Path, *words: Any, **how: Any) -> subprocess.CompletedProcess[str]:
    env = environment(root, how.get("bare", False))
    return subprocess.run(kit(root, *words, **how), env=env, capture_output=True, text=True, timeout=200)


def test_all_of_a_training_within_minutes_where_packages_are_lacking(root: Path, wheels: Path) -> None:
    hidden = subprocess.run(
        [sys.executable, "-c", "import pydantic"], env=environment(root, bare=True), capture_output=True
    )
    assert hidden.returncode, "the hook hides nothing"
    out = root / "out"
    done = run(root, "run", "--minutes", 0.9, "--within", "--only", "mini", "--out", out, "--together", bare=True)
    assert done.returncode == 0, done.stdout + done.stderr + _logs(root)
    assert (root / "runs" / "site" / "pydantic").is_dir()
    files = sorted(out.iterdir())
    assert [file.name for file in files] == ["kit.json", "mini-1of1.safetensors"]
    assert all(file.stat().st_size < LIMIT for file in files)
    said = json.loads((out / "kit.json").read_text())
    assert said["mini"]["state"] == said["ground"]["state"] == "finished"
    assert said["mini"]["figures"]["images"] > 0
    assert said["mini"]["figures"]["held_out"]["loss"] > 0
    shipped = run(root, "ship", out)
    assert shipped.returncode == 0, shipped.stderr
    pictures = load(out / "models" / "mini").sample(
        2, texts=["a red square on a blue background"], sampling=Sampling(steps=2)
    )
    assert pictures.shape == (2, 3, 16, 16)
    again = run(root, "run", "--minutes", 0.5, "--within", "--only", "mini", "--out", out, bare=True)
    assert "finished before" in again.stdout


def test_killed_it_goes_on_from_the_newest_checkpoint(root: Path) -> None:
    more = ("--only", "ground", "--set", "train.images=1000000", "train.save_images=160", "train.save_seconds=1000")
    ground = root / "killed" / "ground"
    with subprocess.Popen(
        kit(root, "run", "--minutes", 30, *more, work="killed"),
        env=environment(root),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        while len(listing(ground / "checkpoints")) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        (child,) = psutil.Process(process.pid).children()
        child.send_signal(signal.SIGKILL)
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "killed by signal 9" in said
    newest = int(listing(ground / "checkpoints")[-1].name)
    assert (root / "killed" / "out" / "ground-1of1.safetensors").is_file(), "the newest average is given out"
    slice_ = run(root, "run", "--minutes", 0.2, *more, work="killed")
    assert slice_.returncode == 0, slice_.stdout
    starts = [event["images"] for event in RunFolder(ground).events("start")]
    assert starts == [0, newest]
    assert int(listing(ground / "checkpoints")[-1].name) > newest


def test_a_job_that_fails_ends_no_other(root: Path) -> None:
    done = run(root, "run", "--minutes", 0.3, "--within", "--only", "broken", "ground", work="apart")
    assert done.returncode == 1
    assert "broken: failed: error: no folder" in done.stdout
    assert (root / "apart" / "out" / "ground-1of1.safetensors").is_file()


def test_what_is_asked_for_and_not_there_is_one_line(root: Path) -> None:
    done = run(root, "run", "--only", "elephants")
    assert done.returncode == 2
    assert "has no job elephants" in done.stderr
    assert run(root, "ship", root / "hook").returncode == 2


def test_steps_before_the_clock_leave_nothing_behind(root: Path) -> None:
    sys.path.insert(0, str(KIT.parent))
    import kit_job
    import kit_table
    from sfumato.training import start

    class Go:
        def wait(self) -> dict[str, float]:
            return {"go": 1e6}

    (job,) = kit_table.read(root / "table.yaml", ["ground"])
    kinds = {}
    for kind in ("plain", "warmed"):
        made = start.prepare(job.recipe, job.overrides("cpu", root, root), root / kind)
        with made.folder.hold():
            made.folder.begin(made.recipe, {})
            loop = kit_job.Paced(made, Go(), within=False)  # type: ignore[arg-type]
            if kind == "warmed":
                loop.warm_up()
            assert loop.train()
        kinds[kind] = [
            path.read_bytes() for path in sorted(listing(root / kind / "checkpoints")[-1].glob("*.safetensors"))
        ]
    assert len(kinds["plain"]) == 4
    assert kinds["plain"] == kinds["warmed"]


def test_the_status_of_a_run_that_has_only_a_note(root: Path) -> None:
    log = root / "noted" / "ground" / "log.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps({"event": "note", "text": "steps are not recorded"}) + "\n")
    done = run(root, "status", "--only", "ground", work="noted")
    assert done.returncode == 0, done.stderr
    assert "begun" in done.stdout


def test_the_shipped_table_is_of_recipes_that_are_there() -> None:
    sys.path.insert(0, str(KIT.parent))
    import kit_table
    from sfumato.recipe import recipe as recipes

    for job in kit_table.read():
        for device in ("cpu", "cuda"):
            made = recipes.load(job.recipe, job.overrides(device, Path("runs"), Path("data")))
            assert made.train.batch > 0
    assert metadata.version("diffusers")


def _logs(root: Path) -> str:
    return "".join(path.read_text() for path in sorted((root / "runs" / "logs").glob("*")))


def test_the_packed_font_draws_the_same(tmp_path: Path) -> None:
    sys.path.insert(0, str(KIT.parent))
    import kit_pack
    from sfumato.pictures.drawn.emoji import things

    try:
        source = things.font()
    except UserError as error:
        pytest.skip(str(error))
    kit_pack._font(tmp_path)
    packed = tmp_path / kit_pack.FONT
    assert packed.stat().st_size < source.stat().st_size / 4
    code = "import hashlib, sys; from sfumato.pictures.drawn.emoji import things as t; h = hashlib.sha256()\n"
    code += "[h.update(t._bitmap(n).tobytes()) for n in t.things()]; print(t.font(), h.hexdigest())"
    drawn = [
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "SFUMATO_DATA": str(folder)},
                       capture_output=True, text=True, check=True).stdout.split()
        for folder in (source.parent, tmp_path)
    ]  # fmt: skip
    assert drawn[1][0] == str(packed)
    assert drawn[0][1] == drawn[1][1]
