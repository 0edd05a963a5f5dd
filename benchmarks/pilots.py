"""Pilots of mini: the quality of each design of pilots.yaml after the same training time on one core.

Every pilot trains from random weights in its own process, on the same scenes and captions. They contain only the things
of the first half of the sentences, 113, so that an hour shows each some 1,500 times. Pictures are recognised among all
things. The time includes drawing and encoding scenes, but not training the autoencoder. The number of images is set
from the pilot's own speed at the start. The table has the crisp share and the median PSNR to the drawing (see
text_exact.py), and the result on sentences as people write them, first half (see text_free.py). Claims: `new` is at
least AHEAD dB above `today`; its sentences are at most BEHIND below the template's, of which LEARNED or more are right;
each by the median over seeds.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import tarfile
import time
from dataclasses import asdict
from pathlib import Path

import sfumato
import text_free
from common import Cells, Figures, arguments, passed, run, set_threads, table
from sfumato import yaml12
from sfumato.errors import UserError
from sfumato.files import write_json
from sfumato.judging.emoji import crisp_bounds, judge_emoji
from sfumato.models.latent import LatentModel
from sfumato.models.sampling import Sampling
from sfumato.pictures.drawn.emoji import known, scene
from sfumato.progress import Event, Save
from sfumato.training import plan, start

HERE = Path(__file__).parent
AHEAD, BEHIND, LEARNED = 2.0, 0.10, 0.5
TIMED = 40  # steps that say how fast it is
INSIDE = 0.95  # of a training's time is spent in steps
KINDS = ("single", "held out", "pairs", "many")


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "", n=200)
    p.set_defaults(threads=1)
    p.add_argument("names", nargs="*", metavar="NAME-SEED", help="pilots to train, as new-0 [those measured before]")
    p.add_argument("--minutes", type=float, default=60, help="seconds of one core, in minutes, for each")
    p.add_argument("--inside", help=argparse.SUPPRESS)
    return p.parse_args()


def main() -> None:
    args = parse()
    cells = Cells("pilots", args)
    designs: dict[str, Figures] = yaml12.read((HERE / "pilots.yaml").read_text(encoding="utf-8"))
    named = sorted(path.stem for path in cells.folder.glob("*-*.json"))
    for name in [args.inside] if args.inside else args.names:
        design, _, seed = name.rpartition("-")
        if design not in designs or not seed.isdigit():
            raise UserError(f"no pilot {name}: a name of pilots.yaml and a seed, as {next(iter(designs))}-0")
        world = narrow()
        settings = {**designs[design], "design": design, "minutes": args.minutes, "n": args.n, "seed": int(seed),
                    "things": world}  # fmt: skip
        if args.inside:
            set_threads(args.threads)
            cells.measure(name, settings, lambda d=designs[design], s=int(seed): Pilot(cells, args, d, s).figures())
            return
        if cells.known(name, settings) is None:
            cells.alone(__file__, name)
        named = sorted({*named, name})
    report(cells, named)


def narrow() -> int:
    """Let scenes and captions hold the things of the first half of the sentences alone; their number."""
    names = sorted({thing for sentence in text_free.load("first") for thing in sentence.things})
    scene.taught = known.taught = lambda: names
    return len(names)


class Pilot:
    def __init__(self, cells: Cells, args: argparse.Namespace, design: Figures, seed: int) -> None:
        self.cells, self.args, self.design, self.seed = cells, args, design, seed
        self.folder = cells.work / str(args.inside)

    def figures(self) -> Figures:
        trained = self.train()
        model = sfumato.load(str(self.folder))
        assert isinstance(model, LatentModel)
        bounds = crisp_bounds(lambda x: model.leave(model.enter(x)), model.shape[1])
        found = {}
        for guidance in self.design["guidance"]:
            verdict = judge_emoji(
                model, n=self.args.n, seed=self.args.seed, bounds=bounds, sampling=Sampling(guidance=guidance, steps=20)
            )
            found[f"{guidance:g}"] = {
                name: {
                    "things": asdict(kind.shares["things"]),
                    "crisp": asdict(kind.crisp(bounds[name])),
                    "drawing_psnr": kind.median_psnr,
                }
                for name, kind in verdict.kinds.items()
            }
        self.args.seeds, self.args.show = 1, False
        rows = text_free.measured(model, "first", self.args, self.cells)["rows"]
        return {**trained, "bounds": bounds, "by guidance": found, "sentences": rows}

    def train(self) -> Figures:
        """A finished run, as long as its speed allows; goes on where it was stopped."""
        note = self.folder.with_suffix(".json")
        cache = self.folder.with_suffix(".cache")
        os.environ["SFUMATO_CACHE"] = str(cache)
        if note.is_file():
            noted: Figures = json.loads(note.read_text(encoding="utf-8"))
        else:
            shutil.rmtree(cache, ignore_errors=True)  # nothing is encoded yet
            noted = self.measured()
            write_json(note, noted)
        began, before = time.process_time(), noted["trained_seconds"]

        def spent(event: Event) -> None:
            if isinstance(event, Save):
                noted["trained_seconds"] = before + time.process_time() - began
                write_json(note, noted)

        if start.run(self.prepared(noted["images"]), spent).stopped:
            raise KeyboardInterrupt
        return noted

    def measured(self) -> Figures:
        """How many images fit into the time that scenes and latents leave."""
        began = time.process_time()
        job = self.prepared(1)
        ready = time.process_time() - began
        speed, batch = self.speed(job), job.recipe.train.batch
        images = int(speed * (60 * self.args.minutes - ready)) // batch * batch
        if images <= 0:
            raise UserError(f"--minutes {self.args.minutes:g}: preparing alone takes {ready / 60:.1f}")
        return {"images": images, "images_per_second": speed, "prepared_seconds": ready, "trained_seconds": 0.0}

    def speed(self, job: start.Training) -> float:
        """Images in a second of this process, whatever others do, by TIMED steps after a few; INSIDE of it for all but
        steps.
        """
        plan.estimate(job.task, job.recipe, job.accelerator)
        began = time.process_time()
        plan.estimate(job.task, job.recipe, job.accelerator, TIMED)
        return INSIDE * job.recipe.train.batch * TIMED / (time.process_time() - began)

    def prepared(self, images: int) -> start.Training:
        changes = {"train.images": images, "train.seed": self.seed, "train.keep": 1, **self.design["set"]}
        earlier = self.earlier() if "earlier" in self.design else ""
        overrides = [f"{key}={str(value).format(earlier=earlier)}" for key, value in changes.items()]
        return start.prepare(self.design["recipe"], overrides, self.folder)

    def earlier(self) -> Path:
        """The folder of mini as the history has it."""
        revision = self.design["earlier"]
        folder = self.cells.work / f"mini-{revision}"
        if not folder.is_dir():
            inside = "src/sfumato/pretrained/mini"
            packed = subprocess.run(["git", "archive", revision, inside], cwd=HERE.parent, capture_output=True)
            if packed.returncode:
                raise UserError(f"{revision} is not in this clone's history: {packed.stderr.decode().strip()}")
            with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tar:
                tar.extractall(folder.with_suffix(".part"), filter="data")
            (folder.with_suffix(".part") / inside).rename(folder)
        return folder


def best(figures: Figures) -> tuple[str, Figures]:
    """The guidance whose single things are nearest to their drawings, and the figures there."""
    return max(figures["by guidance"].items(), key=lambda item: item[1]["single"]["drawing_psnr"])


def report(cells: Cells, names: list[str]) -> None:
    rows, ahead, behind, template = [], {}, {}, {}
    for name in names:
        figures = cells.read(name)
        guidance, found = best(figures)
        sentences = text_free.over(figures["sentences"])
        assert sentences is not None
        spent = (figures["prepared_seconds"] + figures["trained_seconds"]) / 60
        kinds = [f"{found[k]['things']['value']:.1%} / {found[k]['crisp']['value']:.1%} / "
                 f"{found[k]['drawing_psnr']:.1f}" for k in KINDS]  # fmt: skip
        said = f"{sentences.sentence.value:.1%} ({100 * sentences.difference.value:+.1f})"
        rows.append([name, f"{figures['images']:,}", f"{spent:.0f}", guidance, *kinds, said])
        design = name.rpartition("-")[0]
        ahead.setdefault(design, []).append(found["single"]["drawing_psnr"])
        behind.setdefault(design, []).append(-sentences.difference.value)
        template.setdefault(design, []).append(sentences.template.value)
    head = ("pilot", "images", "minutes", "guidance", *KINDS, "sentences (less the template's)")
    table("right / crisp / median dB to the drawing", head, rows)
    if ahead.keys() >= {"today", "new"}:
        gap = statistics.median(ahead["new"]) - statistics.median(ahead["today"])
        passed(f"new is {gap:.2f} dB above today, at least {AHEAD:g}", gap >= AHEAD)
    if "new" in behind:
        below, right = statistics.median(behind["new"]), statistics.median(template["new"])
        passed(
            f"new: sentences {100 * below:.1f} points below the template's {right:.1%}, at most {100 * BEHIND:.0f} "
            f"below at least {LEARNED:.0%}: where nothing is learned, nothing is below",
            below <= BEHIND and right >= LEARNED,
        )


if __name__ == "__main__":
    run(main)
